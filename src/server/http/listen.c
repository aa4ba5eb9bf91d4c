/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections: the caps, the count by address, and what happens when there are no
 * descriptors left.
 *
 * Called by the loop; http.c closes the listeners and has them try again.
 * What must never happen here: memory taken for a connection beyond the caps, or a loop that spins
 * on a listening socket it cannot accept from: then one descriptor held in reserve is given up to
 * accept and refuse, and where even that fails, accepting pauses until the next tick. */
#include "server/http/conn.h"

#include "base/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* How many connections are accepted before those that are open have their turn; when the turn is
 * over already; and as a part of all that may be open, so that a new connection is heard before
 * those that come after it can take all places. */
enum { ACCEPT_MAX = 64, ACCEPT_LATE = 4, ACCEPT_PART = 32 };
enum { REST_MAX = 1024 }; /* before the listeners are closed */

struct listener {
    LIST_ENTRY(listener) all;
    struct http *http;
    uv_poll_t poll;
    int fd;
    bool tcp, paused;
};

/* Refuse @fd at once.  A request that has come is read first: closing with it unread would reset
 * the connection, and the refusal with it. */
static void shed(struct http *http, int fd)
{
    char drop[4096];

    if (http->conf.on_shed)
        http->conf.on_shed(http->conf.data);
    send(fd, reply_overload, strlen(reply_overload), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    (void) !recv(fd, drop, sizeof(drop), MSG_DONTWAIT);
    fd_close(&fd);
}

/* Is there a place for the newest connection of @address?  It is counted there already; NULL is a
 * unix socket. */
static bool has_place(struct http *http, const struct address *address)
{
    if (address && address->n_conns > http->conf.max_connections_per_address
        && !yield_to_newcomer(http, &address->holder))
        return false;
    return http->n_conns < http->conf.max_connections || yield_to_newcomer(http, NULL);
}

static void admit(struct listener *listener, int fd, const struct sockaddr_storage *from)
{
    struct http *http = listener->http;
    struct address *address = listener->tcp ? address_take(&http->addresses, from) : NULL;

    if (has_place(http, address))
        conn_new(http, fd, listener->tcp, address);
    else {
        address_drop(&http->addresses, address);
        shed(http, fd);
    }
}

static void pause_listener(struct listener *listener)
{
    listener->paused = true;
    uv_poll_stop(&listener->poll);
    http_start_tick(listener->http);
}

/* No descriptors: if it is not accepted, the connection stays in the queue and wakes us for ever. */
static int accept_reserved(struct listener *listener)
{
    struct http *http = listener->http;

    fd_close(&http->reserve_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        shed(http, fd);
    http->reserve_fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0 || http->reserve_fd < 0)
        pause_listener(listener);
    return listener->paused ? -EMFILE : 0;
}

static int accept_one(struct listener *listener)
{
    struct sockaddr_storage from = { 0 };
    socklen_t len = sizeof(from);
    int fd = accept4(listener->fd, (struct sockaddr *) &from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        admit(listener, fd, &from);
        return 0;
    }
    switch (errno) {
    case EAGAIN: return -EAGAIN;
    case EMFILE:
    case ENFILE: return accept_reserved(listener);
    case ENOBUFS:
    case ENOMEM: pause_listener(listener); return -ENOMEM;
    default: /* accept(2): the connection broke while it waited; the next one may be fine */ return 0;
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    struct http *http = listener->http;
    unsigned part = http->conf.max_connections / ACCEPT_PART + 1, max = part < ACCEPT_MAX ? part : ACCEPT_MAX;

    (void) status, (void) events;
    for (unsigned n = 0; n < max && accept_one(listener) == 0; n++)
        if (n >= ACCEPT_LATE && http_turn_is_over(http))
            break;
}

/* The socket's address family or -errno. */
static int get_family(int fd)
{
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof(addr);

    return getsockname(fd, (struct sockaddr *) &addr, &len) < 0 ? -errno : addr.ss_family;
}

int http_listen(struct http *http, int fd)
{
    _cleanup_fd_ int owned = fd;
    int on = 1;

    int family = get_family(fd);
    if (family < 0)
        return family;
    bool tcp = family != AF_UNIX;
    if (tcp && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) /* accepted sockets inherit it */
        return -errno;
    struct listener *listener = xcalloc(1, sizeof(*listener));
    int err = uv_poll_init(http->loop, &listener->poll, fd);
    if (err < 0) {
        free(listener);
        return err;
    }
    listener->http = http;
    listener->fd = fd_steal(&owned);
    listener->tcp = tcp;
    listener->poll.data = listener;
    LIST_INSERT_HEAD(&http->listeners, listener, all);
    http_ref(http);
    return uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

void listen_retry(struct http *http)
{
    struct listener *listener;

    if (http->reserve_fd < 0)
        http->reserve_fd = eventfd(0, EFD_CLOEXEC);
    LIST_FOREACH (listener, &http->listeners, all) {
        if (!listener->paused || http->reserve_fd < 0)
            continue;
        listener->paused = false;
        uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
    }
}

bool listen_paused(struct http *http)
{
    struct listener *listener;

    LIST_FOREACH (listener, &http->listeners, all)
        if (listener->paused)
            return true;
    return false;
}

void listen_take_rest(struct http *http)
{
    struct listener *listener;

    LIST_FOREACH (listener, &http->listeners, all)
        for (unsigned n = 0; n < REST_MAX && accept_one(listener) == 0;)
            n++;
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    struct http *http = listener->http;

    free(listener);
    http_unref(http);
}

void listen_close_all(struct http *http)
{
    struct listener *listener;

    while ((listener = LIST_FIRST(&http->listeners))) {
        LIST_REMOVE(listener, all);
        uv_close((uv_handle_t *) &listener->poll, on_closed);
        fd_close(&listener->fd);
    }
}
