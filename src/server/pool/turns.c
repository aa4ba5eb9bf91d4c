/* SPDX-License-Identifier: Apache-2.0 */
/* Who begins next, and what a job that does not begin waits for.
 *
 * pool.c calls it when a job comes or a box is ready, and when a program gives its place or its box
 * back.  share.c says whose turn it is.
 * What must never happen here: a job that waits for something that nobody tells of (memory is
 * looked at again by a timer), or a job that waits for ever for a box that does not come. */
#include "server/pool/pool_parts.h"

#include "base/clock.h"
#include "base/log.h"

/* How long jobs wait for boxes that don't come; and for an interpreter that has only just been
 * started. */
enum { LACK_MS = 10000, LACK_COLD_MS = 60000 };
/* When all cores run programs, more begin while so many thousandths of the memory are left; a share
 * of which nothing runs needs only the smaller reserve.  An eighth of all runs is kept for such
 * shares, too: no share's waiting programs shut out another share. */
enum { MEMORY_KEPT = 100, MEMORY_KEPT_FROM_NEWCOMERS = 50, RUNS_FOR_NEWCOMERS = 8 };
enum { MEMORY_AGAIN_MS = 50 };

static void on_memory(uv_timer_t *timer);

/* No box comes, whatever the reason: refuse the waiting jobs while their clients still listen. */
void runtime_refuse_waiting(struct runtime *rt)
{
    struct shares *shares = &rt->pool->shares;
    struct job *job;

    rt->wanted =
        !rt->index || rt->zygote || rt->next || rt->conf->at_start; /* a zygote that never came is asked for again */
    /* Jobs that are added meanwhile stay, and so do jobs that wait for room in their share. */
    for (unsigned n = shares->waiting; n && (job = shares_next(shares, runtime_bit(rt))); n--) {
        shares_remove(shares, job);
        job->started_us = job->ended_us = now_us();
        job->on_refused(job);
    }
}

static void on_lack(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;

    log_error("no box can be had: the jobs that wait are refused",
              LOG_S("runtime", rt->conf->name) LOG_I("jobs", rt->pool->shares.waiting));
    runtime_refuse_waiting(rt);
}

static bool is_short_of_memory(const struct pool *pool, bool newcomer)
{
    unsigned kept = newcomer ? MEMORY_KEPT_FROM_NEWCOMERS : MEMORY_KEPT;

    return pool->running >= pool->conf->places && pool->hooks->memory_left
           && pool->hooks->memory_left(pool->data, kept) <= 0;
}

static unsigned max_runs(const struct pool *pool, bool newcomer)
{
    unsigned most = pool->conf->max_runs, kept = newcomer ? 0 : most / RUNS_FOR_NEWCOMERS;

    if (pool->running + kept < most || !kept)
        return most;
    return pool->hooks->has_keys && pool->hooks->has_keys(pool->data) ? most - kept : most;
}

/* What a job of @share lacks to begin, beside a box. */
enum lack pool_lack_of(const struct pool *pool, const struct share *share)
{
    bool newcomer = !share->running;

    if (!share_has_room(share))
        return LACK_KEY;
    if (pool->running >= max_runs(pool, newcomer))
        return LACK_RUNS;
    /* A newcomer may be one more: otherwise it would wait until another program has run for long. */
    if (pool->begun >= pool->conf->places + newcomer)
        return LACK_PLACE;
    if (is_short_of_memory(pool, newcomer))
        return LACK_MEMORY;
    return LACK_NONE;
}

/* @job has room to begin, but is not the next one, or has no box. */
void pool_note_lack(struct pool *pool, struct job *job)
{
    job->waited_for = pool_lack_of(pool, job->share);
    if (!job->waited_for)
        job->waited_for = pool->runtimes[job->runtime].waiting ? LACK_QUEUE : LACK_BOX;
}

static void take_place(struct pool *pool, struct slot *slot)
{
    pool->running++;
    pool->begun++;
    slot->has_place = true;
}

void pool_give_place_back(struct pool *pool, struct slot *slot)
{
    pool->begun -= slot->has_place;
    slot->has_place = false;
}

void runtime_watch_for_lack(struct runtime *rt)
{
    struct pool *pool = rt->pool;

    if (!shares_next(&pool->shares, runtime_bit(rt)) || rt->waiting || pool->running >= pool->conf->max_runs) {
        uv_timer_stop(&rt->lack);
        return;
    }
    if (!uv_is_active((uv_handle_t *) &rt->lack))
        uv_timer_start(&rt->lack, on_lack, rt->zygote || !rt->index ? LACK_MS : LACK_COLD_MS, 0);
    runtime_want_zygote(rt);
    /* Not only when a reply has left: all boxes may be in use for long, and then no reply leaves. */
    runtime_refill(rt);
}

/* The runtimes that have a waiting box. */
static uint32_t ready_runtimes(const struct pool *pool)
{
    uint32_t runtimes = 0;

    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        runtimes |= pool->runtimes[i].waiting ? runtime_bit(&pool->runtimes[i]) : 0;
    return runtimes;
}

static bool may_begin(struct pool *pool, struct job *job)
{
    pool->lack = pool_lack_of(pool, job->share);
    if (pool->lack)
        job->waited_for = pool->lack;
    return !pool->lack;
}

/* The next job, if it may begin; otherwise a job of a share of which nothing runs, which may begin
 * where others may not. */
static struct job *next_to_begin(struct pool *pool)
{
    uint32_t runtimes = ready_runtimes(pool);
    struct job *job = shares_next(&pool->shares, runtimes);

    if (!job || may_begin(pool, job))
        return job;
    if (pool->lack == LACK_KEY)
        return NULL;
    job = shares_next_newcomer(&pool->shares, runtimes);
    return job && may_begin(pool, job) ? job : NULL;
}

void pool_dispatch(struct pool *pool)
{
    struct job *job;

    while ((job = next_to_begin(pool))) {
        struct runtime *rt = &pool->runtimes[job->runtime];
        struct slot *slot = rt->idle[--rt->waiting];
        slot->zygote->waiting--;
        if (slot_start(slot, job) < 0) { /* the box died a moment ago: nothing was run, so the job may have another */
            log_warn("a waiting box ended", LOG_I("slot", slot->index));
            slot_release(slot);
            runtime_refill_later(rt);
            continue;
        }
        shares_start(&pool->shares, job);
        take_place(pool, slot);
        rt->running++;
        uv_timer_stop(&rt->lack);
    }
    if (pool->lack == LACK_MEMORY && pool->shares.waiting && !uv_is_active((uv_handle_t *) &pool->memory))
        uv_timer_start(&pool->memory, on_memory, MEMORY_AGAIN_MS, 0);
    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        runtime_watch_for_lack(&pool->runtimes[i]);
}

static void on_memory(uv_timer_t *timer)
{
    pool_dispatch(timer->data);
}
