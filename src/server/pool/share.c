/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of the pool, fair between those who send jobs (start-time fair queueing).
 *
 * Called by the pool.  What must never happen here: one share's flood delaying another's first job
 * by more than the jobs that run already. */
#include "server/pool/share.h"

#include "server/pool/job.h"

#include "base/fair.h"

#include <limits.h>

void shares_init(struct shares *shares)
{
    *shares = (struct shares){ 0 };
    LIST_INIT(&shares->busy);
}

void share_init(struct share *share)
{
    *share = (struct share){ .weight = 1 };
}

bool share_has_room(const struct share *share)
{
    return !share->max_runs || share->running < share->max_runs;
}

bool shares_may_wait(const struct shares *shares, const struct share *share, int64_t max)
{
    return fair_may_wait(max, shares->waiting, share->waiting, shares->n_busy + !share->waiting);
}

void shares_add(struct shares *shares, struct job *job)
{
    struct share *share = job->share;
    struct queue *queue = &share->queues[job->runtime];

    job->next = NULL;
    job->previous = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = job;
    queue->last = job;
    share->runtimes |= 1U << job->runtime;
    shares->waiting++;
    if (share->waiting++)
        return;
    LIST_INSERT_HEAD(&shares->busy, share, link);
    shares->n_busy++;
    if (share->virtual_time < shares->virtual_time)
        share->virtual_time = shares->virtual_time;
}

void shares_remove(struct shares *shares, struct job *job)
{
    struct share *share = job->share;
    struct queue *queue = &share->queues[job->runtime];

    *(job->previous ? &job->previous->next : &queue->first) = job->next;
    *(job->next ? &job->next->previous : &queue->last) = job->previous;
    if (!queue->first)
        share->runtimes &= ~(1U << job->runtime);
    shares->waiting--;
    if (--share->waiting)
        return;
    LIST_REMOVE(share, link);
    shares->n_busy--;
}

/* The oldest job of @share for one of @runtimes, of which at least one has a job. */
static struct job *first_of(const struct share *share, uint32_t runtimes)
{
    struct job *first = NULL;

    for (runtimes &= share->runtimes; runtimes; runtimes &= runtimes - 1) {
        struct job *job = share->queues[__builtin_ctz(runtimes)].first;
        if (!first || job->queued_us < first->queued_us)
            first = job;
    }
    return first;
}

/* @most: only of a share that has no more jobs than that running. */
static struct job *next_of(const struct shares *shares, uint32_t runtimes, unsigned most)
{
    struct share *next = NULL, *share;

    LIST_FOREACH (share, &shares->busy, link)
        if (share->runtimes & runtimes && share->running <= most && share_has_room(share)
            && (!next || share->virtual_time < next->virtual_time))
            next = share;
    return next ? first_of(next, runtimes) : NULL;
}

struct job *shares_next(const struct shares *shares, uint32_t runtimes)
{
    return next_of(shares, runtimes, UINT_MAX);
}

struct job *shares_next_newcomer(const struct shares *shares, uint32_t runtimes)
{
    return next_of(shares, runtimes, 0);
}

int64_t shares_oldest_us(const struct shares *shares)
{
    const struct share *share;
    int64_t oldest = 0;

    LIST_FOREACH (share, &shares->busy, link) {
        int64_t queued_us = first_of(share, SHARES_ALL)->queued_us;
        oldest = !oldest || queued_us < oldest ? queued_us : oldest;
    }
    return oldest;
}

void shares_start(struct shares *shares, struct job *job)
{
    struct share *share = job->share;

    shares_remove(shares, job);
    if (shares->virtual_time < share->virtual_time)
        shares->virtual_time = share->virtual_time;
    else /* its jobs had to wait for a box of their own kind: it does not catch up at the cost of the others */
        share->virtual_time = shares->virtual_time;
    share->virtual_time += 1.0 / share->weight;
    share->running++;
}

void shares_done(struct share *share)
{
    share->running--;
}
