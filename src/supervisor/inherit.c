/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets from descriptor 3 on that a service manager has bound, and keeps open when we end.
 *
 * The supervisor calls this before it starts anything, and check-config calls it.  What must never
 * happen here: that a descriptor which is not a listening socket is taken for one, or one that a
 * program could find open. */
#include "supervisor/inherit.h"

#include "supervisor/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */

static const char metrics_name[] = "metrics";

static int get_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

/* The reason why @fd can't be served, or NULL. */
static const char *judge(int fd)
{
    int domain = get_option(fd, SO_DOMAIN), type = get_option(fd, SO_TYPE);

    if (domain == -EBADF)
        return "is not open";
    if (domain == -ENOTSOCK)
        return "is not a socket";
    if ((domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX) || type != SOCK_STREAM)
        return "is not a stream socket of TCP or unix: ListenStream= makes one";
    if (get_option(fd, SO_ACCEPTCONN) != 1)
        return "does not listen: Accept=no leaves accepting to the service";
    return NULL;
}

/* The next of the names, which are separated by colons. */
static size_t next_name(const char **names, const char **ret)
{
    size_t n = strcspn(*names, ":");

    *ret = *names;
    *names += n + ((*names)[n] == ':');
    return n;
}

static int take(struct inherited *in, int fd, const char *name, size_t n, struct buf *error)
{
    bool metrics = n == strlen(metrics_name) && strncmp(name, metrics_name, n) == 0;
    const char *reason = judge(fd);

    if (!reason && metrics && in->metrics_fd >= 0)
        reason = "is the second with the name metrics: one can be served";
    if (!reason && !metrics && in->n == WIRE_LISTENERS_MAX)
        reason = "is one too many: four can be served beside one with the name metrics";
    if (reason)
        return fail(error, -EINVAL, "LISTEN_FDS: descriptor %d (%.*s) %s", fd, (int) n, name, reason);
    if (metrics)
        in->metrics_fd = fd;
    else
        in->fds[in->n++] = fd;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int inherit_listeners(struct inherited *ret, struct buf *error)
{
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
    struct inherited in = { .metrics_fd = -1 };
    const char *name;
    char *end = NULL;
    int err = 0;

    *ret = in;
    if (!count || !pid || strtol(pid, NULL, 10) != getpid())
        return 0;
    errno = 0;
    long n = strtol(count, &end, 10);
    if (errno || end == count || *end || n < 0 || n > 1 << 20)
        return fail(error, -EINVAL, "LISTEN_FDS: %s is not a number of descriptors", count);
    names = names ? names : "";
    for (int i = 0; i < n && !err; i++) {
        size_t len = next_name(&names, &name);
        err = take(&in, FIRST_FD + i, len ? name : "unknown", len ? len : strlen("unknown"), error);
    }
    if (err)
        return err;
    *ret = in;
    return 0;
}

void inherit_describe(const struct inherited *in, struct buf *ret)
{
    for (unsigned i = 0; i < in->n; i++) {
        buf_adds(ret, i ? ", " : "Served instead of server.listen, because the service manager has given it to us: ");
        listener_describe(in->fds[i], ret);
    }
    if (in->metrics_fd < 0)
        return;
    buf_adds(ret, in->n ? "; instead" : "Served instead");
    buf_adds(ret, " of metrics.listen: ");
    listener_describe(in->metrics_fd, ret);
}

void inherit_forget(void)
{
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}
