/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses that connections come from: each is counted, so that none takes all places. */
#ifndef HATCHERY_SERVER_HTTP_ADDRESS_H
#define HATCHERY_SERVER_HTTP_ADDRESS_H

#include "base/holder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An address with connections: IPv4, or the /64 of IPv6 that one customer has to itself. */
struct address {
    struct address *next;
    uint64_t bits;
    bool v6;
    unsigned n_conns, n_known; /* all of its connections, and those that have shown a key */
    struct holder holder;      /* of its connections without a key */
};

enum { ADDRESS_BUCKETS = 1024 };

struct addresses {
    uint64_t seed;
    struct address *buckets[ADDRESS_BUCKETS];
};

/* No addresses; @addresses is zeros. */
void addresses_init(struct addresses *addresses);

/* Count one more connection from @from, an IPv4 or IPv6 address.  It is valid until its last
 * connection is given back. */
struct address *address_take(struct addresses *addresses, const struct sockaddr_storage *from);

/* A connection of @address has ended; NULL is fine. */
void address_drop(struct addresses *addresses, struct address *address);

/* @from as text: "unix" for a unix socket.  @ret is left alone where it is none of the three. */
void address_write(const struct sockaddr_storage *from, char *ret, size_t size);

#endif
