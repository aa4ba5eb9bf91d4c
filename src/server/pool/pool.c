/* SPDX-License-Identifier: Apache-2.0 */
/* The warm boxes of each runtime, and the jobs that wait for one.
 *
 * Called by the server's handlers and main loop.  pool_size boxes wait for each runtime, and max_runs run in all.  Of
 * these only as many as there are places have just begun: a program that runs for long gives its place to the next, so
 * that those that sleep hold up nobody.  There are more slots than that, because a dying box keeps its own until the
 * kernel is done with it; those beyond the first ones are made when they are needed.
 * What must never happen: a box used twice, a job forgotten, or a zygote that
 * can't make boxes being asked for them in a tight loop. */
#include "server/pool/pool.h"

#include "server/pool/slot.h"
#include "server/pool/zygote.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "box/box.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* After a failure; how long jobs wait for boxes that don't come; and for an interpreter that is only just started. */
enum { RETRY_MS = 500, LACK_MS = 10000, LACK_COLD_MS = 60000 };
/* Beyond what the cores run, programs begin while these thousandths of the memory are left; those of a key of which none
 * runs, while half of that is.  So is an eighth of all runs for such keys: no key's programs that wait shut out another. */
enum { MEMORY_KEPT = 100, MEMORY_KEPT_FROM_NEWCOMERS = 50, RUNS_FOR_NEWCOMERS = 8 };
enum { MEMORY_AGAIN_MS = 50 };

/* What makes boxes of one kind. */
struct runtime {
    struct pool *pool;
    unsigned index;
    const struct wire_runtime *conf;
    struct zygote *zygote;     /* makes the boxes; NULL until one is warm */
    struct zygote *next;       /* the one that came last, while it is warming */
    bool wanted;               /* there is one, or it was asked for */
    uv_timer_t retry;          /* active: boxes fail, and the next is ordered when it fires */
    uv_timer_t lack;           /* active: jobs wait that could run, were there a box */
    uv_timer_t idle_timer;     /* active: it lets go of its zygote if it has had no job when it fires */
    enum fault fault;          /* it does not start, or FAULT_NONE */
    bool failing;              /* the last box that was to be ready is not */
    unsigned waiting, running; /* boxes, of all its zygotes: without a job; with one */
    struct run **idle;         /* the waiting ones: those of old zygotes first, the warmest last */
    int64_t used_us;           /* when a job came for it last */
};

struct pool {
    uv_loop_t *loop;
    const struct wire_server_conf *conf;
    const struct pool_hooks *hooks;
    void *data;
    struct runtime *runtimes; /* conf->n_runtimes of them */
    uint32_t serial;
    unsigned next_slot; /* where the search for a free one goes on */
    bool ever_ready, draining;
    unsigned running;  /* boxes with a job */
    unsigned begun;    /* those of them that hold a place */
    struct run **runs; /* by slot: n_runs of at most conf->n_slots */
    unsigned n_runs;
    enum lack lack;       /* of the job that would be next, when it was looked at last */
    uv_timer_t memory;    /* active: jobs wait for memory, which nobody tells of */
    struct shares shares; /* the queue */
    struct share share;   /* of jobs that belong to nobody */
};

static void refill(struct runtime *rt);
static void refill_later(struct runtime *rt);
static void watch_for_lack(struct runtime *rt);
static void on_memory(uv_timer_t *timer);

static uint32_t lane_of(const struct runtime *rt)
{
    return 1U << rt->index;
}

/* The supervisor keeps it alive from then on, until we let go of it. */
static void want_zygote(struct runtime *rt)
{
    if (rt->wanted)
        return;
    rt->wanted = true;
    rt->pool->hooks->ask_zygote(rt->pool->data, rt->index);
}

/* No box can be had, whatever the reason: who waits is told, while its client still listens. */
static void refuse_waiting(struct runtime *rt)
{
    struct shares *shares = &rt->pool->shares;
    struct job *job;

    rt->wanted =
        !rt->index || rt->zygote || rt->next || rt->conf->at_start; /* one that never came is asked for again */
    /* Not those that are added meanwhile, nor those that their share keeps waiting. */
    for (unsigned n = shares->waiting; n && (job = shares_next(shares, lane_of(rt))); n--) {
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
    refuse_waiting(rt);
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
static enum lack lack_of(const struct pool *pool, const struct share *share)
{
    bool newcomer = !share->running;

    if (!share_has_room(share))
        return LACK_KEY;
    if (pool->running >= max_runs(pool, newcomer))
        return LACK_RUNS;
    if (pool->begun
        >= pool->conf->places + newcomer) /* one more: or it would wait until the next of others has run for long */
        return LACK_PLACE;
    if (is_short_of_memory(pool, newcomer))
        return LACK_MEMORY;
    return LACK_NONE;
}

static void take_place(struct pool *pool, struct run *run)
{
    pool->running++;
    pool->begun++;
    run->has_place = true;
}

static void give_place_back(struct pool *pool, struct run *run)
{
    pool->begun -= run->has_place;
    run->has_place = false;
}

static void watch_for_lack(struct runtime *rt)
{
    struct pool *pool = rt->pool;

    if (!shares_next(&pool->shares, lane_of(rt)) || rt->waiting || pool->running >= pool->conf->max_runs) {
        uv_timer_stop(&rt->lack);
        return;
    }
    if (!uv_is_active((uv_handle_t *) &rt->lack))
        uv_timer_start(&rt->lack, on_lack, rt->zygote || !rt->index ? LACK_MS : LACK_COLD_MS, 0);
    want_zygote(rt);
    refill(rt); /* not only when a reply has left: where fewer boxes wait than may run, these still run */
}

/* Those that have a box for the next job. */
static uint32_t ready_lanes(const struct pool *pool)
{
    uint32_t lanes = 0;

    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        lanes |= pool->runtimes[i].waiting ? lane_of(&pool->runtimes[i]) : 0;
    return lanes;
}

static bool may_begin(struct pool *pool, struct job *job)
{
    pool->lack = lack_of(pool, job->share);
    if (pool->lack)
        job->waited_for = pool->lack;
    return !pool->lack;
}

/* The job that is next and may begin; else one of a key of which nothing runs, which may where others may not. */
static struct job *next_to_begin(struct pool *pool)
{
    uint32_t lanes = ready_lanes(pool);
    struct job *job = shares_next(&pool->shares, lanes);

    if (!job || may_begin(pool, job))
        return job;
    if (pool->lack == LACK_KEY)
        return NULL;
    job = shares_next_newcomer(&pool->shares, lanes);
    return job && may_begin(pool, job) ? job : NULL;
}

static void dispatch(struct pool *pool)
{
    struct job *job;

    while ((job = next_to_begin(pool))) {
        struct runtime *rt = &pool->runtimes[job->runtime];
        struct run *run = rt->idle[--rt->waiting];
        run->zygote->waiting--;
        if (run_start(run, job) < 0) { /* it died a moment ago: nothing has been run, so another may */
            log_warn("a waiting box ended", LOG_I("slot", run->slot));
            run_release(run);
            refill_later(rt);
            continue;
        }
        shares_start(&pool->shares, job);
        take_place(pool, run);
        rt->running++;
        uv_timer_stop(&rt->lack);
    }
    if (pool->lack == LACK_MEMORY && pool->shares.waiting && !uv_is_active((uv_handle_t *) &pool->memory))
        uv_timer_start(&pool->memory, on_memory, MEMORY_AGAIN_MS, 0);
    for (unsigned i = 0; i < pool->conf->n_runtimes; i++)
        watch_for_lack(&pool->runtimes[i]);
}

static void on_memory(uv_timer_t *timer)
{
    dispatch(timer->data);
}

/* --- boxes --- */

static const struct run_hooks run_hooks;

static struct run *make_run(struct pool *pool)
{
    struct run *run = xcalloc(1, sizeof(*run));

    run_init(run, pool->n_runs, pool->loop, &pool->conf->limits, &run_hooks, pool);
    pool->runs[pool->n_runs++] = run;
    return run;
}

static struct run *run_of(const struct pool *pool, uint32_t slot, uint32_t serial)
{
    return slot < pool->n_runs && pool->runs[slot]->serial == serial ? pool->runs[slot] : NULL;
}

static struct run *free_run(struct pool *pool)
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

/* Boxes of an old zygote are still used, but do not count. */
static void refill(struct runtime *rt)
{
    struct zygote *zygote = rt->zygote;
    struct pool *pool = rt->pool;
    struct run *run;

    if (!zygote || uv_is_active((uv_handle_t *) &rt->retry))
        return;
    while (zygote->waiting + zygote->coming < rt->conf->pool_size && (run = free_run(pool))) {
        run->serial = ++pool->serial;
        if (zygote_order(zygote, run->slot, run->serial) < 0)
            return; /* full or gone: its next word brings us back here */
        run->zygote = zygote;
        run->runtime = rt->index ? rt->conf->name : "";
        run->state = RUN_ORDERED;
        run->ordered_us = now_us();
        metric_count(METRIC_ZYGOTE_FORKS, 0);
    }
}

static void on_retry(uv_timer_t *timer)
{
    refill(timer->data);
}

static void refill_later(struct runtime *rt)
{
    rt->failing = true;
    if (!uv_is_active((uv_handle_t *) &rt->retry))
        uv_timer_start(&rt->retry, on_retry, RETRY_MS, 0);
}

static struct runtime *runtime_of(const struct run *run)
{
    return run->zygote->runtime;
}

static void remove_idle(struct runtime *rt, unsigned i)
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
            remove_idle(rt, i);
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
    dispatch(pool);
    drop_oldest(rt);
    refill(rt);
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
    refill_later(runtime_of(run));
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
    give_place_back(pool, run);
    pool->running--;
    rt->running--;
    shares_done(share);
    dispatch(pool);
    refill(rt);
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
    give_place_back(pool, run);
    dispatch(pool);
    refill(runtime_of(run)); /* its own box is not free soon */
}

static void on_run_free(struct run *run)
{
    struct runtime *rt = runtime_of(run);

    zygote_gone(run->zygote);
    run->zygote = NULL;
    refill(rt);
}

/* A waiting or warming box that ended by itself. */
static void on_run_lost(struct run *run)
{
    struct runtime *rt = runtime_of(run);

    metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_LOST);
    for (unsigned i = 0; i < rt->waiting; i++)
        if (rt->idle[i] == run) {
            remove_idle(rt, i);
            log_warn("a waiting box ended", LOG_I("slot", run->slot));
            refill_later(rt);
            return;
        }
    run->zygote->coming--;
    log_warn("a box ended before it was ready", LOG_I("slot", run->slot));
    refill_later(rt);
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
    struct runtime *rt = zygote->runtime;
    struct zygote *old = rt->zygote;

    if (rt->next == zygote)
        rt->next = NULL;
    rt->zygote = zygote;
    rt->fault = FAULT_NONE;
    if (old) {
        log_info("a new zygote makes the boxes from here",
                 LOG_S("runtime", rt->conf->name) LOG_I("boxes_of_the_old", old->ordered));
        metric_count(METRIC_ZYGOTE_ROTATIONS, 0);
        zygote_retire(old);
    } else if (rt->index)
        log_info("a runtime is warm", LOG_S("runtime", rt->conf->name));
    refill(rt);
}

static void on_zygote_old(struct zygote *zygote)
{
    struct runtime *rt = zygote->runtime;
    rt->pool->hooks->ask_zygote(rt->pool->data, rt->index);
}

static void on_zygote_lost(struct zygote *zygote)
{
    struct runtime *rt = zygote->runtime;
    struct pool *pool = rt->pool;

    log_warn("a zygote is gone, and its boxes with it", LOG_S("runtime", rt->conf->name) LOG_I("boxes", zygote->boxes));
    metric_count(METRIC_ZYGOTE_RESTARTS, 0);
    if (rt->zygote == zygote)
        rt->zygote = NULL;
    if (rt->next == zygote)
        rt->next = NULL;
    for (unsigned i = rt->waiting; i-- > 0;)
        if (rt->idle[i]->zygote == zygote)
            remove_idle(rt, i);
    for (unsigned i = 0; i < pool->n_runs; i++)
        if (pool->runs[i]->zygote == zygote)
            run_bereft(pool->runs[i]);
}

/* All of a box has ended, or it could not be made.  One that never came leaves its place to another. */
static void on_gone(struct run *run, const struct wire_msg *msg)
{
    static struct log_pace pace;

    if (msg->status < 0) {
        if (log_may(&pace))
            log_error("the zygote could not make a box", LOG_S("errno", strerrorname_np(-msg->status)));
        metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_FORK);
    }
    if (run->state == RUN_ORDERED) {
        run->zygote->coming--;
        refill_later(runtime_of(run));
    }
    run_gone(run);
}

static void on_message(struct zygote *zygote, const struct wire_msg *msg, int *fds)
{
    struct pool *pool = ((struct runtime *) zygote->runtime)->pool;
    struct run *run = run_of(pool, msg->slot, msg->serial);

    if (run && run->zygote != zygote)
        run = NULL; /* news of a box that is no more */
    if (run && msg->type == WIRE_BOX && fds[3] >= 0 && run->state == RUN_ORDERED && run_open(run, fds) == 0)
        return;
    for (int i = 0; i < 4; i++)
        fd_close(&fds[i]);
    if (run && msg->type == WIRE_EXITED)
        run_exited(run, msg);
    else if (run && msg->type == WIRE_GONE)
        on_gone(run, msg);
}

static const struct zygote_hooks zygote_hooks = {
    .on_warm = on_zygote_warm,
    .on_message = on_message,
    .on_old = on_zygote_old,
    .on_lost = on_zygote_lost,
};

/* --- runtimes that nobody uses --- */

static void watch_idle(struct runtime *rt);

/* Boxes that wait, and the interpreter: the next job has it started again. */
static void let_go(struct runtime *rt)
{
    log_info("a runtime that nobody uses lets go of its interpreter", LOG_S("runtime", rt->conf->name));
    struct zygote *zygote = rt->zygote;
    rt->zygote = NULL;
    rt->wanted = false;
    while (rt->waiting) {
        struct run *run = rt->idle[rt->waiting - 1];
        remove_idle(rt, rt->waiting - 1);
        run_release(run);
    }
    zygote_retire(zygote);
}

static void on_idle(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    bool used = rt->running || rt->next || shares_next(&rt->pool->shares, lane_of(rt));

    if (!used && rt->zygote && !rt->zygote->coming && now_us() - rt->used_us >= rt->conf->idle_ms * 1000)
        let_go(rt);
    else
        watch_idle(rt);
}

/* Looked at once in a while, so that a job costs no timer. */
static void watch_idle(struct runtime *rt)
{
    if (!rt->index || rt->conf->at_start || !rt->conf->idle_ms)
        return;
    int64_t left_ms = rt->conf->idle_ms - (now_us() - rt->used_us) / 1000;
    uv_timer_start(&rt->idle_timer, on_idle, left_ms > 0 ? (uint64_t) left_ms + 1 : (uint64_t) rt->conf->idle_ms, 0);
}

void pool_zygote(struct pool *pool, unsigned runtime, int fd)
{
    struct runtime *rt = &pool->runtimes[runtime < pool->conf->n_runtimes ? runtime : 0];

    if (rt->next)
        zygote_retire(rt->next); /* it never got warm, and has no box */
    rt->wanted = true;
    rt->next = zygote_new(pool->loop, fd, pool->conf->rotate_runs, pool->conf->rotate_age_ms, &zygote_hooks, rt);
    rt->used_us = now_us();
    watch_idle(rt);
}

void pool_fault(struct pool *pool, unsigned runtime, enum fault fault)
{
    struct runtime *rt = &pool->runtimes[runtime < pool->conf->n_runtimes ? runtime : 0];

    rt->fault = (unsigned) fault < FAULTS ? fault : FAULT_NONE;
    if (!rt->fault || rt->zygote)
        return;
    refuse_waiting(rt);
    rt->wanted =
        !rt->index || rt->conf->at_start; /* the one that was coming is over, whether we have heard it or not */
}

/* --- for the handlers --- */

bool pool_is_unable(struct pool *pool, unsigned runtime)
{
    struct runtime *rt = &pool->runtimes[runtime];
    bool unable = rt->fault && !rt->zygote;

    if (unable)
        want_zygote(rt); /* it may have been mended */
    return unable;
}

/* It is not the next one, or has no box. */
static void note_lack(struct pool *pool, struct job *job)
{
    job->waited_for = lack_of(pool, job->share);
    if (!job->waited_for)
        job->waited_for = pool->runtimes[job->runtime].waiting ? LACK_QUEUE : LACK_BOX;
}

int pool_run(struct pool *pool, struct job *job)
{
    struct share *share = job->share ? job->share : &pool->share;
    struct runtime *rt = &pool->runtimes[job->runtime];
    bool at_once = rt->waiting && !shares_next(&pool->shares, lane_of(rt)) && !lack_of(pool, share);

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
    want_zygote(rt);
    dispatch(pool);
    if (!job->run && !job->waited_for)
        note_lack(pool, job);
    return 0;
}

void pool_cancel(struct pool *pool, struct job *job)
{
    struct runtime *rt = &pool->runtimes[job->runtime];

    if (!job->run) {
        shares_remove(&pool->shares, job);
        watch_for_lack(rt);
        return;
    }
    run_cancel(job->run);
    give_place_back(pool, job->run);
    job->run = NULL;
    pool->running--;
    rt->running--;
    shares_done(job->share);
    dispatch(pool);
    refill(rt);
}

void pool_stop(struct pool *pool, struct job *job)
{
    (void) pool;
    run_stop(job->run);
}

void pool_usage(struct pool *pool, const struct wire_msg *msg)
{
    struct run *run = run_of(pool, msg->slot, msg->serial);

    if (run)
        run_usage(run, msg);
}

void pool_out_of_memory(struct pool *pool, const struct wire_msg *msg)
{
    struct run *run = run_of(pool, msg->slot, msg->serial);

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
