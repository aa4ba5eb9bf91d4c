/* SPDX-License-Identifier: Apache-2.0 */
/* The table of addresses that have connections, and an address as text.
 *
 * listen.c counts each connection that it accepts, conn.c gives it back, and request.c asks for the
 * text.
 * What must never happen here: an address that a stranger can choose so that it shares a bucket
 * with many others, or an address that stays without a connection. */
#include "server/http/address.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

void addresses_init(struct addresses *addresses)
{
    if (getrandom(&addresses->seed, sizeof(addresses->seed), 0) < 0)
        addresses->seed = uv_hrtime();
}

/* The seed is the process's secret, so that nobody can choose addresses that share a bucket. */
static struct address **bucket(struct addresses *addresses, uint64_t bits)
{
    uint64_t hash = (bits ^ addresses->seed) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 29) * (addresses->seed | 1);
    return &addresses->buckets[(hash >> 32) % ADDRESS_BUCKETS];
}

static void read_bits(const struct sockaddr_storage *from, bool *ret_v6, uint64_t *ret_bits)
{
    struct sockaddr_in6 in6;
    struct sockaddr_in in;
    uint32_t v4;

    memcpy(&in6, from, sizeof(in6));
    memcpy(&in, from, sizeof(in));
    *ret_v6 = false;
    if (from->ss_family == AF_INET)
        *ret_bits = in.sin_addr.s_addr;
    else if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        memcpy(&v4, &in6.sin6_addr.s6_addr[12], sizeof(v4));
        *ret_bits = v4;
    } else {
        *ret_v6 = true;
        memcpy(ret_bits, in6.sin6_addr.s6_addr, sizeof(*ret_bits));
    }
}

struct address *address_take(struct addresses *addresses, const struct sockaddr_storage *from)
{
    struct address *address;
    uint64_t bits;
    bool v6;

    read_bits(from, &v6, &bits);
    struct address **head = bucket(addresses, bits);
    for (address = *head; address && (address->bits != bits || address->v6 != v6);)
        address = address->next;
    if (!address) {
        address = xcalloc(1, sizeof(*address));
        *address = (struct address){ .next = *head, .bits = bits, .v6 = v6 };
        *head = address;
    }
    address->n_conns++;
    return address;
}

void address_drop(struct addresses *addresses, struct address *address)
{
    if (!address || --address->n_conns)
        return;
    struct address **p = bucket(addresses, address->bits);
    while (*p != address)
        p = &(*p)->next;
    *p = address->next;
    free(address);
}

void address_write(const struct sockaddr_storage *from, char *ret, size_t size)
{
    struct sockaddr_in6 in6;
    struct sockaddr_in in;

    memcpy(&in6, from, sizeof(in6));
    memcpy(&in, from, sizeof(in));
    if (from->ss_family == AF_UNIX)
        snprintf(ret, size, "unix");
    else if (from->ss_family == AF_INET)
        inet_ntop(AF_INET, &in.sin_addr, ret, (socklen_t) size);
    else if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        inet_ntop(AF_INET, &in6.sin6_addr.s6_addr[12], ret, (socklen_t) size);
    else
        inet_ntop(AF_INET6, &in6.sin6_addr, ret, (socklen_t) size);
}
