/* SPDX-License-Identifier: Apache-2.0 */
/* The warm boxes of each runtime, and the jobs that wait for one.
 *
 * The server's handlers and its main loop call it.  pool_size boxes wait for each runtime, and
 * max_runs run in all.  Of these only as many as there are places have just begun: a program that
 * runs for long gives its place to the next, so that those that sleep hold up nobody.  There are
 * more slots than that, because a dying box keeps its own until the kernel is done with it; the
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

static const struct slot_hooks slot_hooks;

static struct slot *make_slot(struct pool *pool)
{
    struct slot *slot = xcalloc(1, sizeof(*slot));

    slot_init(slot, pool->n_slots, pool->loop, &pool->conf->limits, &slot_hooks, pool);
    pool->slots[pool->n_slots++] = slot;
    return slot;
}

struct slot *pool_slot_of(const struct pool *pool, uint32_t index, uint32_t serial)
{
    return index < pool->n_slots && pool->slots[index]->serial == serial ? pool->slots[index] : NULL;
}

struct slot *pool_free_slot(struct pool *pool)
{
    /* In turn: a slot in which no box can be made must not hold up the others. */
    for (unsigned i = 0; i < pool->n_slots; i++) {
        struct slot *slot = pool->slots[pool->next_slot++ % pool->n_slots];
        if (slot->state == SLOT_FREE)
            return slot;
    }
    /* Boxes that run for long keep their slots; the first slots are enough for all other boxes,
     * dying ones included. */
    unsigned most = pool->conf->n_first_slots + pool->running - pool->begun;
    return pool->n_slots < pool->conf->n_slots && pool->n_slots < most ? make_slot(pool) : NULL;
}

void runtime_remove_idle(struct runtime *rt, unsigned i)
{
    rt->idle[i]->zygote->waiting--;
    rt->waiting--;
    memmove(&rt->idle[i], &rt->idle[i + 1], (rt->waiting - i) * sizeof(struct slot *));
}

/* If more boxes wait than are wanted, a box of an old zygote makes room for a new one's.  The old
 * one may have come last, because it was ordered before its zygote was retired. */
static void drop_oldest(struct runtime *rt)
{
    if (rt->waiting <= rt->conf->pool_size)
        return;
    for (unsigned i = 0; i < rt->waiting; i++)
        if (rt->idle[i]->zygote->retired) {
            struct slot *oldest = rt->idle[i];
            runtime_remove_idle(rt, i);
            slot_release(oldest);
            return;
        }
}

static void on_slot_ready(struct slot *slot)
{
    struct pool *pool = slot->pool;
    struct runtime *rt = runtime_of(slot);

    metric_observe(METRIC_SANDBOX_START, now_us() - slot->ordered_us, 0, 0, 0);
    slot->zygote->coming--;
    slot->zygote->waiting++;
    rt->idle[rt->waiting++] = slot;
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

static void on_slot_failed(struct slot *slot, const struct wire_box_state *state)
{
    struct pool *pool = slot->pool;

    metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_JAIL);
    slot->zygote->coming--;
    log_error("a box could not enter its jail; nothing ran in it",
              LOG_S("layer", box_step_word(state->step))
                  LOG_S("errno", state->error ? strerrorname_np(state->error) : "none")
                      LOG_S("hint", box_step_hint(state->step)) LOG_I("slot", slot->index));
    if (!pool->ever_ready)
        pool->hooks->on_refused(pool->data, state);
    runtime_refill_later(runtime_of(slot));
}

static void on_slot_outcome(struct slot *slot)
{
    struct pool *pool = slot->pool;
    struct job *job = slot->job;
    struct share *share = job->share;
    struct runtime *rt = &pool->runtimes[job->runtime];

    job->slot = NULL;
    rt->used_us = job->ended_us;
    job->on_done(job, &slot->outcome);
    slot_release(slot);
    pool_give_place_back(pool, slot);
    pool->running--;
    rt->running--;
    shares_done(share);
    pool_dispatch(pool);
    runtime_refill(rt);
}

static void on_slot_ask(struct slot *slot)
{
    struct pool *pool = slot->pool;
    pool->hooks->ask_usage(pool->data, slot->index, slot->serial);
}

/* A program that runs for long gives its place to the next: at once if another job waits for a
 * place. */
static void on_slot_long(struct slot *slot, bool maybe)
{
    struct pool *pool = slot->pool;

    if (!slot->has_place)
        return;
    maybe &= !pool->shares.waiting || pool->lack != LACK_PLACE;
    pool->hooks->tell_long(pool->data, slot->index, slot->serial, maybe);
    if (maybe)
        return;
    pool_give_place_back(pool, slot);
    pool_dispatch(pool);
    runtime_refill(runtime_of(slot)); /* its own box will not be free soon */
}

static void on_slot_free(struct slot *slot)
{
    struct runtime *rt = runtime_of(slot);

    zygote_gone(slot->zygote);
    slot->zygote = NULL;
    runtime_refill(rt);
}

/* A waiting or warming box has ended by itself. */
static void on_slot_lost(struct slot *slot)
{
    struct runtime *rt = runtime_of(slot);

    metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_LOST);
    for (unsigned i = 0; i < rt->waiting; i++)
        if (rt->idle[i] == slot) {
            runtime_remove_idle(rt, i);
            log_warn("a waiting box ended", LOG_I("slot", slot->index));
            runtime_refill_later(rt);
            return;
        }
    slot->zygote->coming--;
    log_warn("a box ended before it was ready", LOG_I("slot", slot->index));
    runtime_refill_later(rt);
}

static const struct slot_hooks slot_hooks = {
    .on_ready = on_slot_ready,
    .on_failed = on_slot_failed,
    .on_outcome = on_slot_outcome,
    .on_ask = on_slot_ask,
    .on_long = on_slot_long,
    .on_free = on_slot_free,
    .on_lost = on_slot_lost,
};

/* --- for the handlers --- */

int pool_run(struct pool *pool, struct job *job)
{
    struct share *share = job->share ? job->share : &pool->share;
    struct runtime *rt = &pool->runtimes[job->runtime];
    bool at_once = rt->waiting && !shares_next(&pool->shares, runtime_bit(rt)) && !pool_lack_of(pool, share);

    if (pool->draining)
        return -ESHUTDOWN;
    if (!job->leased && pool_is_unable(pool, job->runtime))
        return -ENOEXEC;
    if (!at_once && !job->leased && !shares_may_wait(&pool->shares, share, (int64_t) pool->conf->queue_max))
        return -EAGAIN;
    if (!at_once && !job->leased && share->max_waiting && share->waiting >= share->max_waiting)
        return -EDQUOT;
    job->slot = NULL;
    job->share = share;
    job->waited_for = LACK_NONE;
    job->queued_us = rt->used_us = now_us();
    shares_add(&pool->shares, job);
    runtime_want_zygote(rt);
    pool_dispatch(pool);
    if (!job->slot && !job->waited_for)
        pool_note_lack(pool, job);
    return 0;
}

void pool_cancel(struct pool *pool, struct job *job)
{
    struct runtime *rt = &pool->runtimes[job->runtime];

    if (!job->slot) {
        shares_remove(&pool->shares, job);
        runtime_watch_for_lack(rt);
        return;
    }
    slot_cancel(job->slot);
    pool_give_place_back(pool, job->slot);
    job->slot = NULL;
    pool->running--;
    rt->running--;
    shares_done(job->share);
    pool_dispatch(pool);
    runtime_refill(rt);
}

void pool_stop(struct pool *pool, struct job *job)
{
    (void) pool;
    slot_stop(job->slot);
}

void pool_usage(struct pool *pool, const struct wire_usage *usage)
{
    struct slot *slot = pool_slot_of(pool, usage->slot, usage->serial);

    if (slot)
        slot_usage(slot, usage);
}

void pool_out_of_memory(struct pool *pool, const struct wire_oom *oom)
{
    struct slot *slot = pool_slot_of(pool, oom->slot, oom->serial);

    if (slot)
        slot_out_of_memory(slot, oom->of_machine);
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
    for (unsigned i = 0; i < pool->n_slots; i++)
        slot_log_last(pool->slots[i]);
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

    for (unsigned i = 0; i < pool->n_slots; i++)
        counts.warming += pool->slots[i]->state == SLOT_ORDERED || pool->slots[i]->state == SLOT_WARMING;
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
    rt->idle = xcalloc(pool->conf->n_slots, sizeof(struct slot *));
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
    pool->slots = xcalloc(conf->n_slots, sizeof(struct slot *));
    pool->runtimes = xcalloc(conf->n_runtimes, sizeof(*pool->runtimes));
    uv_timer_init(loop, &pool->memory);
    pool->memory.data = pool;
    shares_init(&pool->shares);
    share_init(&pool->share);
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        runtime_init(&pool->runtimes[i], pool, i);
    while (pool->n_slots < conf->n_first_slots)
        make_slot(pool);
    return pool;
}
