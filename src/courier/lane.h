/* SPDX-License-Identifier: Apache-2.0 */
/* Who may go: at most so many deliveries at once in all, and so many to one host.
 * A lane is one host's waiting deliveries, in the order they came; lanes take turns. */
#ifndef HATCHERY_COURIER_LANE_H
#define HATCHERY_COURIER_LANE_H

#include "courier/delivery.h"

/* More than this wait for nobody: a host that is this far behind is behind for good. */
enum { LANE_MAX = 256 };

struct lane {
    TAILQ_ENTRY(lane) link;
    struct deliveries waiting;
    unsigned n_waiting, n_running;
    char host[GUARD_HOST_MAX + 1];
};

struct lanes {
    TAILQ_HEAD(, lane) lanes; /* the one whose turn is next first */
    unsigned per_host, in_all, n_waiting, n_running;
};

void lanes_init(struct lanes *lanes, unsigned per_host, unsigned in_all);

/* Let @delivery wait for its turn, behind those for the same host (the port does not count).
 * Returns 0; -EAGAIN when LANE_MAX wait there (it was not taken). */
int lanes_add(struct lanes *lanes, struct delivery *delivery);

/* The next one that may start; it counts as running until lanes_done().  NULL: none may. */
struct delivery *lanes_next(struct lanes *lanes);

/* A delivery from lanes_next() is over.  Its lane is gone when nothing else is in it. */
void lanes_done(struct lanes *lanes, struct delivery *delivery);

/* Free all that wait. */
void lanes_clear(struct lanes *lanes);

#endif
