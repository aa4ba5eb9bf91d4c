/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket.
 *
 * The supervisor calls this once before it starts anything else, so that an operator first hears of
 * a port that is taken.  What must never happen here: taking a unix socket away from a server that
 * still lives. */
#include "supervisor/listener.h"

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

/* Parse ADDRESS:PORT.  Returns the address's size, or 0. */
static socklen_t parse_inet(const char *spec, union address *ret)
{
    char host[64];
    const char *colon = strrchr(spec, ':');
    size_t n = colon ? (size_t) (colon - spec) : sizeof(host);
    char *end;

    if (n >= sizeof(host) || n < 2)
        return 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || *end || port > 65535)
        return 0;
    bool v6 = spec[0] == '[' && spec[n - 1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int) (v6 ? n - 2 : n), v6 ? spec + 1 : spec);
    if (v6 && inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t) port);
        return sizeof(ret->v6);
    }
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &ret->v4.sin_addr) != 1)
        return 0;
    ret->v4.sin_family = AF_INET;
    ret->v4.sin_port = htons((uint16_t) port);
    return sizeof(ret->v4);
}

static socklen_t parse(const char *spec, union address *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (strncmp(spec, "unix:", 5) != 0)
        return parse_inet(spec, ret);
    if (!spec[5] || strlen(spec + 5) >= sizeof(ret->un.sun_path))
        return 0;
    ret->un.sun_family = AF_UNIX;
    strcpy(ret->un.sun_path, spec + 5);
    return sizeof(ret->un);
}

/* A socket file at which nobody answers is left over from a server that was killed. */
static void remove_dead_socket(const union address *address)
{
    struct stat st;
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && lstat(address->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode)
        && connect(fd, &address->any, sizeof(address->un)) < 0 && errno == ECONNREFUSED)
        unlink(address->un.sun_path);
}

static void add_path(const struct sockaddr_un *un, socklen_t size, struct buf *ret_url)
{
    size_t most = size - offsetof(struct sockaddr_un, sun_path);
    bool abstract = most && !un->sun_path[0];
    size_t n = abstract ? most - 1 : strnlen(un->sun_path, most);

    buf_adds(ret_url, abstract ? "unix:@" : "unix:");
    buf_add(ret_url, un->sun_path + abstract, n);
}

void listener_describe(int fd, struct buf *ret_url)
{
    union address bound = { .v6 = { 0 } };
    socklen_t size = sizeof(bound);
    char host[INET6_ADDRSTRLEN];

    if (getsockname(fd, &bound.any, &size) < 0)
        return;
    if (bound.any.sa_family == AF_UNIX) {
        add_path(&bound.un, size, ret_url);
        return;
    }
    if (bound.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &bound.v6.sin6_addr, host, sizeof(host));
        buf_addf(ret_url, "http://[%s]:%u", host, ntohs(bound.v6.sin6_port));
        return;
    }
    inet_ntop(AF_INET, &bound.v4.sin_addr, host, sizeof(host));
    buf_addf(ret_url, "http://%s:%u", host, ntohs(bound.v4.sin_port));
}

bool listener_is_everywhere(int fd)
{
    union address bound = { .v6 = { 0 } };
    socklen_t size = sizeof(bound);

    if (getsockname(fd, &bound.any, &size) < 0)
        return false;
    if (bound.any.sa_family == AF_INET)
        return bound.v4.sin_addr.s_addr == htonl(INADDR_ANY);
    return bound.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&bound.v6.sin6_addr);
}

bool listener_is_local(int fd)
{
    union address bound = { .v6 = { 0 } };
    socklen_t size = sizeof(bound);

    if (getsockname(fd, &bound.any, &size) < 0)
        return false;
    if (bound.any.sa_family == AF_INET)
        return ntohl(bound.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return bound.any.sa_family == AF_UNIX || IN6_IS_ADDR_LOOPBACK(&bound.v6.sin6_addr);
}

static const char *hint_for(int err)
{
    switch (err) {
    case -EADDRINUSE: return ": something else listens there; choose another with --listen";
    case -EACCES: return ": ports below 1024 and directories of others need root; choose another with --listen";
    case -EADDRNOTAVAIL: return ": this machine has no such address";
    default: return "";
    }
}

static int fail_to_listen(struct buf *error, const char *spec, int err)
{
    return fail(error, err, "cannot listen on %s (%s)%s", spec, strerror(-err), hint_for(err));
}

int listener_open(const char *spec, struct buf *ret_url, struct buf *error)
{
    union address address;
    socklen_t size = parse(spec, &address);
    int on = 1;

    if (!size)
        return fail(error, -EINVAL, "server.listen: '%s' is not ADDRESS:PORT, [IPV6]:PORT or unix:PATH", spec);
    _cleanup_fd_ int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_to_listen(error, spec, -errno);
    if (address.any.sa_family == AF_UNIX)
        remove_dead_socket(&address);
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    mode_t mask = umask(0117);
    int failed = bind(fd, &address.any, size);
    umask(mask);
    if (failed < 0 || listen(fd, SOMAXCONN) < 0)
        return fail_to_listen(error, spec, -errno);
    listener_describe(fd, ret_url);
    return fd_steal(&fd);
}
