/* SPDX-License-Identifier: Apache-2.0 */
/* The warm boxes of each runtime, and the jobs that wait for one.
 *
 * The server's handlers and its main loop call it.  pool_size boxes wait for
 * each runtime, and max_runs run in all.  Of these only as many as there are
 * places have just begun: a program that runs for long gives its place to the
 * next, so that those that sleep hold up nobody.  There are more slots than
 * that, because a dying box keeps its own until the kernel is done with it; the
 * pool makes those beyond the first ones when it needs them.
 * What must never happen here: a box used twice, or a job forgotten. */
#include "server/pool/pool_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "box/box.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- boxes --- */

static const struct run_hooks run_hooks;

static struct run *make_run(struct pool *pool)
{
    struct run *run = xcalloc(1, sizeof(*run));

    run_init(run, pool->n_runs, pool->loop, &pool->conf->limits, &run_hooks, pool);
    pool->runs[pool->n_runs++] = run;
    return run;
}

struct run *pool_run_of(const struct pool *pool, uint32_t slot, uint32_t serial)
{
    return slot < pool->n_runs && pool->runs[slot]->serial == serial ? pool->runs[slot] : NULL;
}

struct run *pool_free_run(struct pool *pool)
{
    /* In turn: one slot that makes no box must not hold up the others. */
    for (unsigned i = 0; i < pool->n_runs; i++) {
        struct run *run = pool->runs[pool->next_slot++ % pool->n_runs];
        if (run->state == RUN_FREE)
            return run;
    }
    /* Boxes that run for long keep theirs; the first ones are enough for all others, and for those that die. */
    unsigned most = pool->conf->n_first_slots + pool->running - pool->begun;
    return pool->n_runs < pool->conf->n_slots && pool->n_runs < most ? make_run(pool) : NULL;
}

void runtime_remove_idle(struct runtime *rt, unsigned i)
{
    rt->idle[i]->zygote->waiting--;
    rt->waiting--;
    memmove(&rt->idle[i], &rt->idle[i + 1], (rt->waiting - i) * sizeof(struct run *));
}

/* There are enough without it: an old zygote's box makes room for a new one's.  The old one may have come last, because
 * it was ordered before its zygote was retired. */
static void drop_oldest(struct runtime *rt)
{
    if (rt->waiting <= rt->conf->pool_size)
        return;
    for (unsigned i = 0; i < rt->waiting; i++)
        if (rt->idle[i]->zygote->retired) {
            struct run *oldest = rt->idle[i];
            runtime_remove_idle(rt, i);
            run_release(oldest);
            return;
        }
}

static void on_run_ready(struct run *run)
{
    struct pool *pool = run->pool;
    struct runtime *rt = runtime_of(run);

    metric_observe(METRIC_SANDBOX_START, now_us() - run->ordered_us, 0, 0, 0);
    run->zygote->coming--;
    run->zygote->waiting++;
    rt->idle[rt->waiting++] = run;
    rt->failing = false;
    if (!pool->ever_ready && !rt->index) {
        pool->ever_ready = true;
        pool->hooks->on_ready(pool->data);
    }
    pool_dispatch(pool);
    drop_oldest(rt);
    runtime_refill(rt);
    if (rt->waiting && pool->hooks->on_room)
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
    runtime_refill_later(runtime_of(run));
}

static void on_run_outcome(struct run *run)
{
    struct pool *pool = run->pool;
    struct job *job = run->job;
    struct share *share = job->share;
    struct runtime *rt = &pool->runtimes[job->runtime];

    job->run = NULL;
    rt->used_us = job->ended_us;
    job->on_done(job, &run->outcome);
    run_release(run);
    pool_give_place_back(pool, run);
    pool->running--;
    rt->running--;
    shares_done(share);
    pool_dispatch(pool);
    runtime_refill(rt);
}

static void on_run_ask(struct run *run)
{
    struct pool *pool = run->pool;
    pool->hooks->ask_usage(pool->data, run->slot, run->serial);
}

/* A program that is none of the short ones gives its place to the next: at once where somebody waits for it. */
static void on_run_long(struct run *run, bool maybe)
{
    struct pool *pool = run->pool;

    if (!run->has_place)
        return;
    maybe &= !pool->shares.waiting || pool->lack != LACK_PLACE;
    pool->hooks->tell_long(pool->data, run->slot, run->serial, maybe);
    if (maybe)
        return;
    pool_give_place_back(pool, run);
    pool_dispatch(pool);
    runtime_refill(runtime_of(run)); /* its own box is not free soon */
}

static void on_run_free(struct run *run)
{
    struct runtime *rt = runtime_of(run);

    zygote_gone(run->zygote);
    run->zygote = NULL;
    runtime_refill(rt);
}

/* A waiting or warming box that ended by itself. */
static void on_run_lost(struct run *run)
{
    struct runtime *rt = runtime_of(run);

    metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_LOST);
    for (unsigned i = 0; i < rt->waiting; i++)
        if (rt->idle[i] == run) {
            runtime_remove_idle(rt, i);
            log_warn("a waiting box ended", LOG_I("slot", run->slot));
            runtime_refill_later(rt);
            return;
        }
    run->zygote->coming--;
    log_warn("a box ended before it was ready", LOG_I("slot", run->slot));
    runtime_refill_later(rt);
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

/* --- for the handlers --- */

int pool_run(struct pool *pool, struct job *job)
{
    struct share *share = job->share ? job->share : &pool->share;
    struct runtime *rt = &pool->runtimes[job->runtime];
    bool at_once = rt->waiting && !shares_next(&pool->shares, lane_of(rt)) && !pool_lack_of(pool, share);

    if (pool->draining)
        return -ESHUTDOWN;
    if (!job->leased && pool_is_unable(pool, job->runtime))
        return -ENOEXEC;
    if (!at_once && !job->leased && !shares_may_wait(&pool->shares, share, (int64_t) pool->conf->queue_max))
        return -EAGAIN;
    if (!at_once && !job->leased && share->max_waiting && share->waiting >= share->max_waiting)
        return -EDQUOT;
    job->run = NULL;
    job->share = share;
    job->waited_for = LACK_NONE;
    job->queued_us = rt->used_us = now_us();
    shares_add(&pool->shares, job);
    runtime_want_zygote(rt);
    pool_dispatch(pool);
    if (!job->run && !job->waited_for)
        pool_note_lack(pool, job);
    return 0;
}

void pool_cancel(struct pool *pool, struct job *job)
{
    struct runtime *rt = &pool->runtimes[job->runtime];

    if (!job->run) {
        shares_remove(&pool->shares, job);
        runtime_watch_for_lack(rt);
        return;
    }
    run_cancel(job->run);
    pool_give_place_back(pool, job->run);
    job->run = NULL;
    pool->running--;
    rt->running--;
    shares_done(job->share);
    pool_dispatch(pool);
    runtime_refill(rt);
}

void pool_stop(struct pool *pool, struct job *job)
{
    (void) pool;
    run_stop(job->run);
}

void pool_usage(struct pool *pool, const struct wire_msg *msg)
{
    struct run *run = pool_run_of(pool, msg->slot, msg->serial);

    if (run)
        run_usage(run, msg);
}

void pool_out_of_memory(struct pool *pool, const struct wire_msg *msg)
{
    struct run *run = pool_run_of(pool, msg->slot, msg->serial);

    if (run)
        run_out_of_memory(run, msg->status == 1);
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
    for (unsigned i = 0; i < pool->n_runs; i++)
        run_log_last(pool->runs[i]);
}

unsigned pool_sharers(const struct pool *pool, const struct share *share)
{
    return pool->shares.n_busy + !share->waiting;
}

unsigned pool_queue_length(const struct pool *pool)
{
    return pool->shares.waiting;
}

enum lack pool_lack(const struct pool *pool)
{
    return pool->shares.waiting ? pool->lack : LACK_NONE;
}

unsigned pool_free_boxes(const struct pool *pool)
{
    unsigned n = 0;

    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        n += pool->runtimes[i].waiting;
    return n;
}

struct pool_counts pool_count(const struct pool *pool)
{
    struct pool_counts counts = { .waiting = pool_free_boxes(pool),
                                  .running = pool->running,
                                  .zygote = pool->runtimes[0].zygote != NULL,
                                  .oldest_queued_us = shares_oldest_us(&pool->shares) };

    for (unsigned i = 0; i < pool->n_runs; i++)
        counts.warming += pool->runs[i]->state == RUN_ORDERED || pool->runs[i]->state == RUN_WARMING;
    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        counts.runtimes += pool->runtimes[i].zygote != NULL;
    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        counts.failing += pool->runtimes[i].fault != FAULT_NONE;
    return counts;
}

bool pool_is_ready(const struct pool *pool)
{
    const struct runtime *rt = &pool->runtimes[0];
    return rt->zygote && !pool->draining && (rt->waiting || (pool->running && !rt->failing));
}

int pool_find_runtime(const struct pool *pool, const char *name)
{
    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        if (strcmp(pool->conf->runtimes[i].name, name) == 0)
            return (int) i;
    return -1;
}

const char *pool_runtime_name(const struct pool *pool, unsigned runtime)
{
    return pool->conf->runtimes[runtime].name;
}

const char *pool_fault_words(const struct pool *pool, unsigned runtime)
{
    static const char *const words[FAULTS] = {
        NULL,
#define FAULT(name, words) words,
#include "base/fault.def"
#undef FAULT
    };
    return words[pool->runtimes[runtime].fault];
}

bool pool_is_warm(const struct pool *pool, unsigned runtime)
{
    return pool->runtimes[runtime].zygote != NULL;
}

static void timer_init(struct runtime *rt, uv_timer_t *timer)
{
    uv_timer_init(rt->pool->loop, timer);
    timer->data = rt;
}

static void runtime_init(struct runtime *rt, struct pool *pool, unsigned index)
{
    rt->pool = pool;
    rt->index = index;
    rt->conf = &pool->conf->runtimes[index];
    rt->wanted = !index || rt->conf->at_start; /* the supervisor starts these by itself */
    rt->idle = xcalloc(pool->conf->n_slots, sizeof(struct run *));
    timer_init(rt, &rt->retry);
    timer_init(rt, &rt->lack);
    timer_init(rt, &rt->idle_timer);
}

struct pool *pool_new(uv_loop_t *loop, const struct wire_server_conf *conf, const struct pool_hooks *hooks, void *data)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));

    pool->loop = loop;
    pool->conf = conf;
    pool->hooks = hooks;
    pool->data = data;
    pool->runs = xcalloc(conf->n_slots, sizeof(struct run *));
    pool->runtimes = xcalloc(conf->n_runtimes, sizeof(*pool->runtimes));
    uv_timer_init(loop, &pool->memory);
    pool->memory.data = pool;
    shares_init(&pool->shares);
    share_init(&pool->share);
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        runtime_init(&pool->runtimes[i], pool, i);
    while (pool->n_runs < conf->n_first_slots)
        make_run(pool);
    return pool;
}
