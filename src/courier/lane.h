/* SPDX-License-Identifier: Apache-2.0 */
/* Which deliveries may go: a bounded number at once in all, and a bounded number to one host.  A
 * lane has one host's waiting deliveries, in the order in which they came.  Lanes take turns. */
#ifndef HATCHERY_COURIER_LANE_H
#define HATCHERY_COURIER_LANE_H

#include "courier/delivery.h"

/* At most this many deliveries wait for one host: a host with more will never catch up. */
enum { LANE_MAX = 256 };

struct lane {
    TAILQ_ENTRY(lane) link;
    struct deliveries waiting;
    unsigned n_waiting, n_running;
    char host[GUARD_HOST_MAX + 1];
};

struct lanes {
    TAILQ_HEAD(, lane) lanes; /* the next one to be served comes first */
    unsigned per_host, in_all, n_waiting, n_running;
};

void lanes_init(struct lanes *lanes, unsigned per_host, unsigned in_all);

/* Let @delivery wait for its turn, behind other deliveries to the same host (whatever the port).
 * Returns 0, or -EAGAIN if LANE_MAX wait there (then it was not taken). */
int lanes_add(struct lanes *lanes, struct delivery *delivery);

/* The next delivery that may start; it counts as running until lanes_done().  NULL if none may. */
struct delivery *lanes_next(struct lanes *lanes);

/* A delivery from lanes_next() is over.  A lane with no other delivery is freed. */
void lanes_done(struct lanes *lanes, struct delivery *delivery);

/* Free all waiting deliveries. */
void lanes_clear(struct lanes *lanes);

#endif
