/* SPDX-License-Identifier: Apache-2.0 */
/* Which job is next: jobs wait in the share of their sender, and shares take turns by virtual time.
 *
 * A share whose job starts moves ahead by 1 / weight; the share that is furthest behind is next.  A
 * share that was idle starts where the others are: it neither waits for the jobs it had before, nor
 * catches up on turns that it did not need.
 *
 * Each runtime has its own boxes, so a share has a queue for each runtime: a job that waits for one
 * runtime's box does not hold up the jobs behind it that another runtime's box could run. */
#ifndef HATCHERY_SERVER_POOL_SHARE_H
#define HATCHERY_SERVER_POOL_SHARE_H

#include "base/wire.h"

#include <stdbool.h>
#include <sys/queue.h>

struct job;

/* Runtimes are bits, 1 << runtime. */
#define SHARES_ALL UINT32_MAX
_Static_assert((int) WIRE_RUNTIMES_MAX <= 32, "a runtime is a bit");

struct queue {
    struct job *first, *last;
};

struct share {
    unsigned weight;                /* at least 1 */
    unsigned max_runs, max_waiting; /* 0: unlimited */
    unsigned waiting, running;      /* jobs */
    double virtual_time;
    uint32_t runtimes; /* for which a job waits */
    struct queue queues[WIRE_RUNTIMES_MAX];
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

/* May one more job of @share wait?  At most @max jobs may in all (0: unlimited); fair_may_wait(). */
bool shares_may_wait(const struct shares *shares, const struct share *share, int64_t max);

/* Queue @job behind the others of its share and runtime; take it out from any place in its queue. */
void shares_add(struct shares *shares, struct job *job);
void shares_remove(struct shares *shares, struct job *job);

/* The next job for one of @runtimes, of a share that has room; it stays in its queue.  NULL: none. */
struct job *shares_next(const struct shares *shares, uint32_t runtimes);

/* The same, of a share that has no job running. */
struct job *shares_next_newcomer(const struct shares *shares, uint32_t runtimes);

/* When the job that waits longest came (now_us()); 0: none waits. */
int64_t shares_oldest_us(const struct shares *shares);

/* @job leaves its queue and counts as running until shares_done(). */
void shares_start(struct shares *shares, struct job *job);
void shares_done(struct share *share);

#endif
