/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the kernel whether an address is one of this host's.
 *
 * Called by the courier for each address that it is about to connect to.
 * What must never happen here: a packet to that address, or a yes taken for a
 * no because the kernel had no memory or no descriptor to answer with. */
#include "own.h"

#include "../base/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

enum { DISCARD_PORT = 9 }; /* any but 0 */

/* What counts of an address: port, zone and flow are no part of it. */
static const void *bytes_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr;
    return &((const struct sockaddr_in *) (const void *) address)->sin_addr;
}

/* Where the way leads over the loopback interface the kernel may choose that one's address. */
static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return *(const unsigned char *) bytes_of(address) == IN_LOOPBACKNET;
    const struct in6_addr *v6 = bytes_of(address);
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
}

int own_address(const struct sockaddr *address)
{
    struct sockaddr_in6 to = { 0 }, from = { 0 };
    bool v6 = address->sa_family == AF_INET6;
    socklen_t size = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    if (!v6 && address->sa_family != AF_INET)
        return -EAFNOSUPPORT;
    memcpy(&to, address, size);
    to.sin6_port = htons(DISCARD_PORT); /* at the same place in both */
    _cleanup_fd_ int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *) &to, size) < 0)
        return errno == ENETUNREACH || errno == EHOSTUNREACH || errno == EACCES || errno == EADDRNOTAVAIL ? 0 : -errno;
    if (getsockname(fd, (struct sockaddr *) &from, &size) < 0)
        return -errno;
    const struct sockaddr *source = (const struct sockaddr *) &from;
    return is_loopback(source) || memcmp(bytes_of(source), bytes_of(address), v6 ? 16 : 4) == 0;
}
