/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the server, the supervisor and hatchery-courier.
 *
 * courier.def has a row for each message.
 *
 * SOCK_SEQPACKET socketpairs, fixed-size messages, as in base/wire.h.  Nobody misses the courier's
 * queue: if the courier dies, its open orders get no result.  The server, whose store has the
 * deliveries, orders them again from the next courier. */
#ifndef HATCHERY_COURIER_COURIER_H
#define HATCHERY_COURIER_COURIER_H

#include "base/guard.h"
#include "base/wire.h"

#include <stdbool.h>
#include <stdint.h>

enum { COURIER_SECRETS_MAX = 8, COURIER_ALLOW_MAX = 4096, COURIER_PORTS_MAX = 512 };

enum courier_type {
    COURIER_NONE,
#define MESSAGE(name, from, to, members, descriptors, times) COURIER_##name,
#include "courier/courier.def"
#undef MESSAGE
    COURIER_TYPES
};

extern const struct wire_table courier_table; /* courier.def */

/* The courier's slice of the configuration.  The server never sees the secrets. */
struct courier_conf {
    enum courier_type type;
    int log_format, log_level;
    unsigned timeout_ms;           /* of one attempt, connecting included */
    unsigned per_host, in_all;     /* attempts at once */
    char allow[COURIER_ALLOW_MAX]; /* webhooks.allow, as configured */
    char ports[COURIER_PORTS_MAX]; /* webhooks.ports, as configured */
    unsigned n_secrets;
    struct {
        unsigned char key[64];      /* decoded from whsec_... */
        unsigned len;               /* 24 to 64 */
    } secrets[COURIER_SECRETS_MAX]; /* every one of them signs, for rotation */
};

struct courier_server {
    enum courier_type type;
};

/* Deliver the content of the descriptor that comes with it (a sealed memfd, read from its start) to
 * @url, once. */
struct courier_order {
    enum courier_type type;
    uint64_t delivery; /* the server's number for it, unique in the server's life */
    uint64_t body_len;
    char webhook_id[64];  /* the same on every attempt */
    char traceparent[64]; /* empty: none */
    char url[GUARD_URL_MAX + 1];
};

enum courier_verdict {
    COURIER_ANSWERED, /* an HTTP answer came: @status says which */
    COURIER_FAILED,   /* no answer (connection, time, TLS): worth another try */
    COURIER_REFUSED,  /* never sent: the address is forbidden, or the URL is wrong. Another try
                       * helps only if the name then resolves to something else; the server may make
                       * it */
};

struct courier_result {
    enum courier_type type;
    uint64_t delivery;
    enum courier_verdict verdict;
    int status; /* HTTP status of COURIER_ANSWERED */
    int64_t duration_us;
    int64_t retry_after_s; /* the answer's Retry-After in seconds, also if it was a date; -1:
                            * none */
    char address[64];      /* the address that was connected to; empty if none */
    char error[256];       /* a sentence for the log and the delivery's record; empty for
                            * COURIER_ANSWERED */
};

#endif
