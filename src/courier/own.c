/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the kernel whether an address is one of this host's.
 *
 * The courier calls this file for each address before it connects.  What must never happen here: a
 * packet to that address, or a yes taken for a no because the kernel had no memory or no descriptor
 * to answer with. */
#include "courier/own.h"

#include "base/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

enum { DISCARD_PORT = 9 }; /* any port but 0 */

union inet {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* IPv4 written as IPv6 becomes IPv4: the route is the same, and so only one set of the kernel's
 * rules counts. */
static int take(union inet *ret, const struct sockaddr *address)
{
    *ret = (union inet){ .v6 = { .sin6_family = AF_UNSPEC } };
    if (address->sa_family == AF_INET) {
        memcpy(&ret->v4, address, sizeof(ret->v4));
        return 0;
    }
    if (address->sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    memcpy(&ret->v6, address, sizeof(ret->v6));
    if (IN6_IS_ADDR_V4MAPPED(&ret->v6.sin6_addr)) {
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        memcpy(&v4.sin_addr, &ret->v6.sin6_addr.s6_addr[12], sizeof(v4.sin_addr));
        ret->v4 = v4;
    }
    return 0;
}

static socklen_t size_of(const union inet *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

static void set_port(union inet *a, unsigned short port)
{
    a->v4.sin_port = htons(port); /* at the same place in both structs */
}

/* Compares neither port nor zone nor flow. */
static bool same(const union inet *a, const union inet *b)
{
    if (a->any.sa_family == AF_INET6)
        return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

/* If the route uses the loopback interface, the kernel may choose that interface's address. */
static bool is_loopback(const union inet *a)
{
    if (a->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
    return ntohl(a->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static int udp_socket(const union inet *a)
{
    int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* May a socket have this address?  1, 0 or -errno. */
static int may_bind(const union inet *address)
{
    union inet from = *address;
    _cleanup_fd_ int fd = udp_socket(address);

    if (fd < 0)
        return fd;
    set_port(&from, 0);
    if (bind(fd, &from.any, size_of(&from)) == 0)
        return 1;
    /* EINVAL, ENODEV: a link-local address whose zone is missing or is not an interface. */
    return errno == EADDRNOTAVAIL || errno == EINVAL || errno == ENODEV ? 0 : -errno;
}

/* If ip_nonlocal_bind is set, a socket may have any address. Then it may also have one that nobody
 * has. */
static int bind_tells(const union inet *address)
{
    union inet nobody = { .v4 = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(0xfffffffe) } }; /* RFC 1112: reserved */

    if (address->any.sa_family == AF_INET6)
        nobody.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                           /* RFC 3849 */
                                           .sin6_addr.s6_addr = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0xfe } };
    int yes = may_bind(&nobody);
    return yes < 0 ? yes : !yes;
}

/* Does the kernel send to @address from @address? */
static int is_own_way(const union inet *address)
{
    union inet to = *address, from = *address;
    socklen_t size = size_of(&to);
    _cleanup_fd_ int fd = udp_socket(address);

    if (fd < 0)
        return fd;
    set_port(&to, DISCARD_PORT);
    if (connect(fd, &to.any, size) < 0)
        return errno == ENETUNREACH || errno == EHOSTUNREACH || errno == EACCES || errno == EADDRNOTAVAIL ? 0 : -errno;
    if (getsockname(fd, &from.any, &size) < 0)
        return -errno;
    return is_loopback(&from) || same(&from, address);
}

int own_address(const struct sockaddr *address)
{
    union inet a;
    int own = take(&a, address);

    if (own < 0)
        return own;
    own = is_own_way(&a);
    if (own)
        return own;
    /* An interface's second address in a network: the kernel sends to it from the first. */
    own = may_bind(&a);
    return own > 0 ? bind_tells(&a) : own;
}
