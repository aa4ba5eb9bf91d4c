/* SPDX-License-Identifier: Apache-2.0 */
/* Who is next: jobs wait in the share of whoever sent them, and shares take turns by virtual time.
 *
 * A share that is given a job moves ahead by 1 / weight; the one that is furthest behind is next.  One that was idle
 * starts where the others are: it neither waits for what it did before nor catches up on what it did not need. */
#ifndef HATCHERY_JOBS_SHARE_H
#define HATCHERY_JOBS_SHARE_H

#include <stdbool.h>
#include <sys/queue.h>

struct job;

struct share {
    unsigned weight;                /* at least 1 */
    unsigned max_runs, max_waiting; /* 0: unlimited */
    unsigned waiting, running;      /* jobs */
    double virtual_time;
    struct job *first, *last;
    LIST_ENTRY(share) link; /* while something waits */
};

struct shares {
    LIST_HEAD(, share) busy;
    double virtual_time; /* of the last job taken */
    unsigned waiting;    /* jobs in all */
};

void shares_init(struct shares *shares);

/* Weight 1, no limits, nothing waiting. */
void share_init(struct share *share);

/* May one more of its jobs run? */
bool share_has_room(const struct share *share);

/* Queue @job behind the others of job->share; take it out again wherever it is. */
void shares_add(struct shares *shares, struct job *job);
void shares_remove(struct shares *shares, struct job *job);

/* The next job of a share that has room, which stays where it is; NULL if there is none. */
struct job *shares_next(const struct shares *shares);

/* That job leaves the queue and counts as running until shares_done(). */
void shares_start(struct shares *shares, struct job *job);
void shares_done(struct share *share);

#endif
