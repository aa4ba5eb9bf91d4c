/* SPDX-License-Identifier: Apache-2.0 */
/* Who is next: jobs wait in the share of whoever sent them, and shares take turns by virtual time.
 *
 * A share that is given a job moves ahead by 1 / weight; the one that is furthest behind is next.  One that was idle
 * starts where the others are: it neither waits for what it did before nor catches up on what it did not need.
 *
 * Each runtime's boxes are its own, so a share has a lane for each: a job that waits for one runtime's box does not hold
 * up those behind it that another's box could run. */
#ifndef HATCHERY_SERVER_POOL_SHARE_H
#define HATCHERY_SERVER_POOL_SHARE_H

#include "base/wire.h"

#include <stdbool.h>
#include <sys/queue.h>

struct job;

/* Lanes are bits, 1 << runtime. */
#define SHARES_ALL UINT32_MAX
_Static_assert((int) WIRE_RUNTIMES_MAX <= 32, "a lane is a bit");

struct lane {
    struct job *first, *last;
};

struct share {
    unsigned weight;                /* at least 1 */
    unsigned max_runs, max_waiting; /* 0: unlimited */
    unsigned waiting, running;      /* jobs */
    double virtual_time;
    uint32_t busy_lanes; /* those with jobs */
    struct lane lanes[WIRE_RUNTIMES_MAX];
    LIST_ENTRY(share) link; /* while something waits */
};

struct shares {
    LIST_HEAD(, share) busy;
    double virtual_time; /* of the last job taken */
    unsigned waiting;    /* jobs in all */
    unsigned n_busy;     /* shares in which a job waits */
};

void shares_init(struct shares *shares);

/* Weight 1, no limits, nothing waiting. */
void share_init(struct share *share);

/* May one more of its jobs run? */
bool share_has_room(const struct share *share);

/* May one more job of @share wait, where @max may in all (0: unlimited)?  fair_may_wait(). */
bool shares_may_wait(const struct shares *shares, const struct share *share, int64_t max);

/* Queue @job behind the others of its share and runtime; take it out again wherever it is. */
void shares_add(struct shares *shares, struct job *job);
void shares_remove(struct shares *shares, struct job *job);

/* The next job of a share that has room, in one of these lanes; it stays where it is.  NULL if there is none. */
struct job *shares_next(const struct shares *shares, uint32_t lanes);

/* The same, of a share of which nothing runs. */
struct job *shares_next_newcomer(const struct shares *shares, uint32_t lanes);

/* When the job came that waits longest; 0: none waits. */
int64_t shares_oldest_us(const struct shares *shares);

/* That job leaves the queue and counts as running until shares_done(). */
void shares_start(struct shares *shares, struct job *job);
void shares_done(struct share *share);

#endif
