/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of the pool, fair between those who send jobs (start-time fair queueing).
 *
 * Called by pool.c.  What must never happen here: one share's flood delaying
 * another's first job by more than the jobs that run already. */
#include "share.h"

#include "job.h"

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

void shares_add(struct shares *shares, struct job *job)
{
    struct share *share = job->share;

    job->next = NULL;
    job->previous = share->last;
    *(share->last ? &share->last->next : &share->first) = job;
    share->last = job;
    shares->waiting++;
    if (share->waiting++)
        return;
    LIST_INSERT_HEAD(&shares->busy, share, link);
    if (share->virtual_time < shares->virtual_time)
        share->virtual_time = shares->virtual_time;
}

void shares_remove(struct shares *shares, struct job *job)
{
    struct share *share = job->share;

    *(job->previous ? &job->previous->next : &share->first) = job->next;
    *(job->next ? &job->next->previous : &share->last) = job->previous;
    shares->waiting--;
    if (--share->waiting == 0)
        LIST_REMOVE(share, link);
}

struct job *shares_next(const struct shares *shares)
{
    struct share *next = NULL, *share;

    LIST_FOREACH(share, &shares->busy, link)
    if (share_has_room(share) && (!next || share->virtual_time < next->virtual_time))
        next = share;
    return next ? next->first : NULL;
}

void shares_start(struct shares *shares, struct job *job)
{
    struct share *share = job->share;

    shares_remove(shares, job);
    if (shares->virtual_time < share->virtual_time)
        shares->virtual_time = share->virtual_time;
    share->virtual_time += 1.0 / share->weight;
    share->running++;
}

void shares_done(struct share *share)
{
    share->running--;
}
