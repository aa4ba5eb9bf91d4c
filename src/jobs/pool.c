/* SPDX-License-Identifier: Apache-2.0 */
/* The warm boxes, and the jobs that wait for one.
 *
 * Called by the server's handlers and main loop.  Slots are counted, not
 * grown: pool_size boxes wait, max_runs run, and the rest of the slots are
 * there because a dying box keeps its own until the kernel is done with it.
 * What must never happen: a box used twice, a job forgotten, or a zygote that
 * can't make boxes being asked for them in a tight loop. */
#include "pool.h"

#include "run.h"
#include "zygote.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../box/box.h"
#include "../metrics/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* After a failure; and how long jobs wait for boxes that don't come. */
enum { RETRY_MS = 500, LACK_MS = 10000 };

struct pool {
    uv_loop_t *loop;
    const struct wire_server_conf *conf;
    const struct pool_hooks *hooks;
    void *data;
    struct zygote *zygote; /* makes the boxes; NULL until one is warm */
    struct zygote *next;   /* the one that came last, while it is warming */
    uv_timer_t retry;      /* active: boxes fail, and the next is ordered when it fires */
    uv_timer_t lack;       /* active: jobs wait that could run, were there a box */
    bool failing;          /* the last box that was to be ready is not */
    uint32_t serial;
    unsigned next_slot; /* where the search for a free one goes on */
    bool ever_ready, draining;
    unsigned waiting, running; /* boxes, of all zygotes: without a job; with one */
    struct run *runs;          /* conf->n_slots of them */
    struct run **idle;         /* the waiting ones: those of old zygotes first, the warmest last */
    struct shares shares;      /* the queue */
    struct share share;        /* of jobs that belong to nobody */
};

static void refill(struct pool *pool);
static void refill_later(struct pool *pool);

/* None came for so long, whatever the reason: who waits is told, while its client still listens. */
static void on_lack(uv_timer_t *timer)
{
    struct pool *pool = timer->data;

    log_error("no box can be had: the jobs that wait are refused", LOG_I("jobs", pool->shares.waiting));
    struct job *job;
    /* Not those that are added meanwhile, nor those that their share keeps waiting. */
    for (unsigned n = pool->shares.waiting; n && (job = shares_next(&pool->shares)); n--) {
        shares_remove(&pool->shares, job);
        job->started_us = job->ended_us = now_us();
        job->on_refused(job);
    }
}

static void watch_for_lack(struct pool *pool)
{
    if (!shares_next(&pool->shares) || pool->waiting || pool->running >= pool->conf->max_runs) {
        uv_timer_stop(&pool->lack);
        return;
    }
    if (!uv_is_active((uv_handle_t *) &pool->lack))
        uv_timer_start(&pool->lack, on_lack, LACK_MS, 0);
    refill(pool); /* not only when a reply has left: where fewer boxes wait than may run, these still run */
}

static void dispatch(struct pool *pool)
{
    struct job *job;

    while (pool->waiting && pool->running < pool->conf->max_runs && (job = shares_next(&pool->shares))) {
        struct run *run = pool->idle[--pool->waiting];
        run->zygote->waiting--;
        if (run_start(run, job) < 0) { /* it died a moment ago: nothing has been run, so another may */
            log_warn("a waiting box ended", LOG_I("slot", run->slot));
            run_release(run);
            refill_later(pool);
            continue;
        }
        shares_start(&pool->shares, job);
        pool->running++;
        uv_timer_stop(&pool->lack);
    }
    watch_for_lack(pool);
}

/* --- boxes --- */

static struct run *free_run(struct pool *pool)
{
    /* In turn: one slot that makes no box must not hold up the others. */
    for (unsigned i = 0; i < pool->conf->n_slots; i++) {
        struct run *run = &pool->runs[pool->next_slot++ % pool->conf->n_slots];
        if (run->state == RUN_FREE)
            return run;
    }
    return NULL;
}

/* Boxes of an old zygote are still used, but do not count. */
static void refill(struct pool *pool)
{
    struct zygote *zygote = pool->zygote;
    struct run *run;

    if (!zygote || uv_is_active((uv_handle_t *) &pool->retry))
        return;
    while (zygote->waiting + zygote->coming < pool->conf->pool_size && (run = free_run(pool))) {
        run->serial = ++pool->serial;
        if (zygote_order(zygote, run->slot, run->serial) < 0)
            return; /* full or gone: its next word brings us back here */
        run->zygote = zygote;
        run->state = RUN_ORDERED;
        run->ordered_us = now_us();
        metric_count(METRIC_ZYGOTE_FORKS, 0);
    }
}

static void on_retry(uv_timer_t *timer)
{
    refill(timer->data);
}

static void refill_later(struct pool *pool)
{
    pool->failing = true;
    if (!uv_is_active((uv_handle_t *) &pool->retry))
        uv_timer_start(&pool->retry, on_retry, RETRY_MS, 0);
}

static void remove_idle(struct pool *pool, unsigned i)
{
    pool->idle[i]->zygote->waiting--;
    pool->waiting--;
    memmove(&pool->idle[i], &pool->idle[i + 1], (pool->waiting - i) * sizeof(struct run *));
}

/* There are enough without it: an old zygote's box makes room for a new one's.  The old one may have come last, because
 * it was ordered before its zygote was retired. */
static void drop_oldest(struct pool *pool)
{
    if (pool->waiting <= pool->conf->pool_size)
        return;
    for (unsigned i = 0; i < pool->waiting; i++)
        if (pool->idle[i]->zygote->retired) {
            struct run *oldest = pool->idle[i];
            remove_idle(pool, i);
            run_release(oldest);
            return;
        }
}

static void on_run_ready(struct run *run)
{
    struct pool *pool = run->pool;

    metric_observe(METRIC_SANDBOX_START, now_us() - run->ordered_us, 0, 0, 0);
    run->zygote->coming--;
    run->zygote->waiting++;
    pool->idle[pool->waiting++] = run;
    pool->failing = false;
    if (!pool->ever_ready) {
        pool->ever_ready = true;
        pool->hooks->on_ready(pool->data);
    }
    dispatch(pool);
    drop_oldest(pool);
    refill(pool);
    if (pool->waiting && pool->hooks->on_room)
        pool->hooks->on_room(pool->data);
}

static void on_run_failed(struct run *run, const struct wire_box_state *state)
{
    struct pool *pool = run->pool;

    metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_JAIL);
    run->zygote->coming--;
    log_error("a box could not enter its jail; nothing ran in it",
              LOG_S("layer", box_step_word(state->step))
                  LOG_S("errno", state->error ? strerrorname_np(state->error) : "none")
                      LOG_S("hint", box_step_hint(state->step)) LOG_I("slot", run->slot));
    if (!pool->ever_ready)
        pool->hooks->on_refused(pool->data, state);
    refill_later(pool);
}

static void on_run_outcome(struct run *run)
{
    struct pool *pool = run->pool;
    struct job *job = run->job;
    struct share *share = job->share;

    job->run = NULL;
    job->on_done(job, &run->outcome);
    run_release(run);
    pool->running--;
    shares_done(share);
    dispatch(pool);
    refill(pool);
}

static void on_run_ask(struct run *run)
{
    struct pool *pool = run->pool;
    pool->hooks->ask_usage(pool->data, run->slot, run->serial);
}

static void on_run_long(struct run *run, bool maybe)
{
    struct pool *pool = run->pool;
    pool->hooks->tell_long(pool->data, run->slot, run->serial, maybe);
}

static void on_run_free(struct run *run)
{
    zygote_gone(run->zygote);
    run->zygote = NULL;
    refill(run->pool);
}

/* A waiting or warming box that ended by itself. */
static void on_run_lost(struct run *run)
{
    struct pool *pool = run->pool;

    metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_LOST);
    for (unsigned i = 0; i < pool->waiting; i++)
        if (pool->idle[i] == run) {
            remove_idle(pool, i);
            log_warn("a waiting box ended", LOG_I("slot", run->slot));
            refill_later(pool);
            return;
        }
    run->zygote->coming--;
    log_warn("a box ended before it was ready", LOG_I("slot", run->slot));
    refill_later(pool);
}

static const struct run_hooks run_hooks = {
    .on_ready = on_run_ready,
    .on_failed = on_run_failed,
    .on_outcome = on_run_outcome,
    .on_ask = on_run_ask,
    .on_long = on_run_long,
    .on_free = on_run_free,
    .on_lost = on_run_lost,
};

/* --- zygotes --- */

/* The boxes of the one before it are used up or replaced, one by one. */
static void on_zygote_warm(struct zygote *zygote)
{
    struct pool *pool = zygote->pool;
    struct zygote *old = pool->zygote;

    if (pool->next == zygote)
        pool->next = NULL;
    pool->zygote = zygote;
    if (old) {
        log_info("a new zygote makes the boxes from here", LOG_I("boxes_of_the_old", old->ordered));
        metric_count(METRIC_ZYGOTE_ROTATIONS, 0);
        zygote_retire(old);
    }
    refill(pool);
}

static void on_zygote_old(struct zygote *zygote)
{
    struct pool *pool = zygote->pool;
    pool->hooks->ask_zygote(pool->data);
}

static void on_zygote_lost(struct zygote *zygote)
{
    struct pool *pool = zygote->pool;

    log_warn("a zygote is gone, and its boxes with it", LOG_I("boxes", zygote->boxes));
    metric_count(METRIC_ZYGOTE_RESTARTS, 0);
    if (pool->zygote == zygote)
        pool->zygote = NULL;
    if (pool->next == zygote)
        pool->next = NULL;
    for (unsigned i = pool->waiting; i-- > 0;)
        if (pool->idle[i]->zygote == zygote)
            remove_idle(pool, i);
    for (unsigned i = 0; i < pool->conf->n_slots; i++)
        if (pool->runs[i].zygote == zygote)
            run_bereft(&pool->runs[i]);
}

/* All of a box has ended, or it could not be made.  One that never came leaves its place to another. */
static void on_gone(struct pool *pool, struct run *run, const struct wire_msg *msg)
{
    if (msg->status < 0) {
        log_error("the zygote could not make a box", LOG_S("errno", strerrorname_np(-msg->status)));
        metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_FORK);
    }
    if (run->state == RUN_ORDERED) {
        run->zygote->coming--;
        refill_later(pool);
    }
    run_gone(run);
}

static void on_message(struct zygote *zygote, const struct wire_msg *msg, int *fds)
{
    struct pool *pool = zygote->pool;
    struct run *run = msg->slot < pool->conf->n_slots ? &pool->runs[msg->slot] : NULL;

    if (!run || run->serial != msg->serial || run->zygote != zygote)
        run = NULL; /* news of a box that is no more */
    if (run && msg->type == WIRE_BOX && fds[3] >= 0 && run->state == RUN_ORDERED && run_open(run, fds) == 0)
        return;
    for (int i = 0; i < 4; i++)
        fd_close(&fds[i]);
    if (run && msg->type == WIRE_EXITED)
        run_exited(run, msg);
    else if (run && msg->type == WIRE_GONE)
        on_gone(pool, run, msg);
}

static const struct zygote_hooks zygote_hooks = {
    .on_warm = on_zygote_warm,
    .on_message = on_message,
    .on_old = on_zygote_old,
    .on_lost = on_zygote_lost,
};

void pool_zygote(struct pool *pool, int fd)
{
    if (pool->next)
        zygote_retire(pool->next); /* it never got warm, and has no box */
    pool->next = zygote_new(pool->loop, fd, pool->conf->rotate_runs, pool->conf->rotate_age_ms, &zygote_hooks, pool);
}

/* --- for the handlers --- */

int pool_run(struct pool *pool, struct job *job)
{
    struct share *share = job->share ? job->share : &pool->share;
    bool at_once =
        pool->waiting && !pool->shares.waiting && pool->running < pool->conf->max_runs && share_has_room(share);

    if (pool->draining)
        return -ESHUTDOWN;
    if (!at_once && !job->leased && pool->conf->queue_max && pool->shares.waiting >= pool->conf->queue_max)
        return -EAGAIN;
    if (!at_once && !job->leased && share->max_waiting && share->waiting >= share->max_waiting)
        return -EDQUOT;
    job->run = NULL;
    job->share = share;
    job->queued_us = now_us();
    shares_add(&pool->shares, job);
    dispatch(pool);
    return 0;
}

void pool_cancel(struct pool *pool, struct job *job)
{
    if (!job->run) {
        shares_remove(&pool->shares, job);
        watch_for_lack(pool);
        return;
    }
    run_cancel(job->run);
    job->run = NULL;
    pool->running--;
    shares_done(job->share);
    dispatch(pool);
    refill(pool);
}

void pool_usage(struct pool *pool, const struct wire_msg *msg)
{
    if (msg->slot < pool->conf->n_slots && pool->runs[msg->slot].serial == msg->serial)
        run_usage(&pool->runs[msg->slot], msg);
}

void pool_out_of_memory(struct pool *pool, const struct wire_msg *msg)
{
    if (msg->slot < pool->conf->n_slots && pool->runs[msg->slot].serial == msg->serial)
        run_out_of_memory(&pool->runs[msg->slot]);
}

void pool_drain(struct pool *pool)
{
    pool->draining = true;
}

bool pool_is_draining(const struct pool *pool)
{
    return pool->draining;
}

void pool_log_last(struct pool *pool)
{
    for (unsigned i = 0; i < pool->conf->n_slots; i++)
        run_log_last(&pool->runs[i]);
}

unsigned pool_queue_length(const struct pool *pool)
{
    return pool->shares.waiting;
}

struct pool_counts pool_count(const struct pool *pool)
{
    struct pool_counts counts = { .waiting = pool->waiting, .running = pool->running, .zygote = pool->zygote != NULL };
    const struct share *share;

    for (unsigned i = 0; i < pool->conf->n_slots; i++)
        counts.warming += pool->runs[i].state == RUN_ORDERED || pool->runs[i].state == RUN_WARMING;
    LIST_FOREACH(share, &pool->shares.busy, link)
    if (!counts.oldest_queued_us || share->first->queued_us < counts.oldest_queued_us)
        counts.oldest_queued_us = share->first->queued_us;
    return counts;
}

bool pool_is_ready(const struct pool *pool)
{
    return pool->zygote && !pool->draining && (pool->waiting || (pool->running && !pool->failing));
}

struct pool *pool_new(uv_loop_t *loop, const struct wire_server_conf *conf, const struct pool_hooks *hooks, void *data)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));

    pool->loop = loop;
    pool->conf = conf;
    pool->hooks = hooks;
    pool->data = data;
    pool->runs = xcalloc(conf->n_slots, sizeof(*pool->runs));
    pool->idle = xcalloc(conf->n_slots, sizeof(struct run *));
    pool->retry.data = pool;
    shares_init(&pool->shares);
    share_init(&pool->share);
    pool->lack.data = pool;
    uv_timer_init(loop, &pool->retry);
    uv_timer_init(loop, &pool->lack);
    for (uint32_t i = 0; i < conf->n_slots; i++)
        run_init(&pool->runs[i], i, loop, &conf->limits, &run_hooks, pool);
    return pool;
}
