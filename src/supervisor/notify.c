/* SPDX-License-Identifier: Apache-2.0 */
/* One datagram for each state, to the socket that NOTIFY_SOCKET names.
 *
 * The supervisor's loop calls this file.  The manager knows the sender by the ids that the kernel
 * adds, so nobody else can speak for us: no child has the socket or the variable.  What must never
 * happen here: waiting for a manager that does not read, or a sign of life that the loop did not
 * ask for. */
#include "supervisor/notify.h"

#include "base/fd.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STATE_MAX = 1024 };

/* "/path", or "@name" in the abstract namespace, where all bytes of the address are the name,
 * without an end. */
static int parse_address(const char *text, struct notify *ret)
{
    size_t n = strlen(text);

    if ((*text != '/' && *text != '@') || n < 2)
        return -EAFNOSUPPORT;
    if (n >= sizeof(ret->to.sun_path))
        return -ENAMETOOLONG;
    ret->to.sun_family = AF_UNIX;
    memcpy(ret->to.sun_path, text, n + 1);
    ret->len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n);
    if (*text == '@')
        ret->to.sun_path[0] = '\0';
    else
        ret->len++;
    return 0;
}

/* sd_watchdog_enabled(3). */
static int64_t read_watchdog(const char *usec, const char *pid)
{
    char *end;

    if (!usec || (pid && strtol(pid, NULL, 10) != getpid()))
        return 0;
    errno = 0;
    long long us = strtoll(usec, &end, 10);
    return errno || end == usec || *end || us <= 0 ? 0 : us;
}

static int open_socket(struct notify *ret, const char *address)
{
    int err = parse_address(address, ret);

    if (err)
        return err;
    ret->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return ret->fd < 0 ? -errno : 0;
}

int notify_open(struct notify *ret, struct buf *error)
{
    const char *text = getenv("NOTIFY_SOCKET");
    int err = 0;

    *ret = (struct notify){ .fd = -1 };
    buf_init(&ret->unsent, STATE_MAX);
    if (text && *text)
        err = open_socket(ret, text);
    if (err)
        buf_addf(error, "NOTIFY_SOCKET: %s is not a socket that can be told anything (%s)", text, strerror(-err));
    if (ret->fd >= 0)
        ret->watchdog_us = read_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return err;
}

void notify_close(struct notify *notify)
{
    fd_close(&notify->fd);
    buf_free(&notify->unsent);
}

/* True if the state was sent, or if it is pointless to try again: only a manager without room is
 * asked again. */
static bool send_state(const struct notify *notify, const char *text, size_t n)
{
    return sendto(notify->fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *) &notify->to, notify->len)
               >= 0
           || (errno != EAGAIN && errno != EINTR && errno != ENOBUFS);
}

void notify_say(struct notify *notify, const char *fmt, ...)
{
    char text[STATE_MAX];
    va_list ap;

    if (notify->fd < 0)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_reset(&notify->unsent);
    if (!send_state(notify, text, strlen(text)))
        buf_adds(&notify->unsent, text);
}

bool notify_again(struct notify *notify)
{
    if (notify->unsent.len && send_state(notify, notify->unsent.data, notify->unsent.len))
        buf_reset(&notify->unsent);
    return !notify->unsent.len;
}

void notify_alive(struct notify *notify)
{
    static const char alive[] = "WATCHDOG=1";

    if (notify->fd >= 0)
        send_state(notify, alive, sizeof(alive) - 1);
}
