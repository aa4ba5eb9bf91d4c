/* SPDX-License-Identifier: Apache-2.0 */
/* The zygotes of each runtime, which make the boxes.
 *
 * pool.c has them make boxes.  The supervisor sends zygotes and faults (pool_zygote(),
 * pool_fault()), and each zygote tells of its boxes.
 * What must never happen here: a zygote that can't make boxes and is asked for them in a tight
 * loop, news of a box that has ended taken for news of the box that is in its slot now, or a
 * descriptor of a message that nobody closes. */
#include "server/pool/pool_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/metrics/metrics.h"

#include <string.h>

enum { RETRY_MS = 500 }; /* after a failure */

/* The supervisor keeps the zygote alive from then on, until the pool lets go of it. */
void runtime_want_zygote(struct runtime *rt)
{
    if (rt->wanted)
        return;
    rt->wanted = true;
    rt->pool->hooks->ask_zygote(rt->pool->data, rt->index);
}

/* Boxes of an old zygote are still used, but do not count. */
void runtime_refill(struct runtime *rt)
{
    struct zygote *zygote = rt->zygote;
    struct pool *pool = rt->pool;
    struct slot *slot;

    if (!zygote || uv_is_active((uv_handle_t *) &rt->retry))
        return;
    while (zygote->waiting + zygote->coming < rt->conf->pool_size && (slot = pool_free_slot(pool))) {
        slot->serial = ++pool->serial;
        if (zygote_order(zygote, slot->index, slot->serial) < 0)
            return; /* the zygote's socket is full or closed: its next message brings us back here */
        slot->zygote = zygote;
        slot->runtime = rt->index ? rt->conf->name : "";
        slot->state = SLOT_ORDERED;
        slot->ordered_us = now_us();
        metric_count(METRIC_ZYGOTE_FORKS, 0);
    }
}

static void on_retry(uv_timer_t *timer)
{
    runtime_refill(timer->data);
}

void runtime_refill_later(struct runtime *rt)
{
    rt->failing = true;
    if (!uv_is_active((uv_handle_t *) &rt->retry))
        uv_timer_start(&rt->retry, on_retry, RETRY_MS, 0);
}

/* The boxes of the zygote before it are used up or replaced, one by one. */
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
    runtime_refill(rt);
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
            runtime_remove_idle(rt, i);
    for (unsigned i = 0; i < pool->n_slots; i++)
        if (pool->slots[i]->zygote == zygote)
            slot_bereft(pool->slots[i]);
}

/* news of a box that has ended */
static struct slot *slot_of(struct zygote *zygote, uint32_t index, uint32_t serial)
{
    struct slot *slot = pool_slot_of(((struct runtime *) zygote->runtime)->pool, index, serial);
    return slot && slot->zygote == zygote ? slot : NULL;
}

static bool on_box(struct zygote *zygote, const struct wire_of_box *box, const int fds[static 4])
{
    struct slot *slot = slot_of(zygote, box->slot, box->serial);
    return slot && slot->state == SLOT_ORDERED && slot_open(slot, fds) == 0;
}

static void on_exited(struct zygote *zygote, const struct wire_exited *exited)
{
    struct slot *slot = slot_of(zygote, exited->slot, exited->serial);
    if (slot)
        slot_exited(slot, exited);
}

/* All of a box has ended, or it could not be made.  A box that never came leaves its slot to
 * another. */
static void on_gone(struct zygote *zygote, const struct wire_gone *gone)
{
    static struct log_pace pace;
    struct slot *slot = slot_of(zygote, gone->slot, gone->serial);

    if (!slot)
        return;
    if (gone->error) {
        if (log_may(&pace))
            log_error("the zygote could not make a box", LOG_S("errno", strerrorname_np(gone->error)));
        metric_count(METRIC_SANDBOX_FAILURES, METRIC_NO_BOX_FORK);
    }
    if (slot->state == SLOT_ORDERED) {
        slot->zygote->coming--;
        runtime_refill_later(runtime_of(slot));
    }
    slot_gone(slot);
}

static const struct zygote_hooks zygote_hooks = {
    .on_warm = on_zygote_warm,
    .on_box = on_box,
    .on_exited = on_exited,
    .on_gone = on_gone,
    .on_old = on_zygote_old,
    .on_lost = on_zygote_lost,
};

/* --- runtimes that nobody uses --- */

static void watch_idle(struct runtime *rt);

/* Let go of the waiting boxes and of the interpreter: the next job has it started again. */
static void let_go(struct runtime *rt)
{
    log_info("a runtime that nobody uses lets go of its interpreter", LOG_S("runtime", rt->conf->name));
    struct zygote *zygote = rt->zygote;
    rt->zygote = NULL;
    rt->wanted = false;
    while (rt->waiting) {
        struct slot *slot = rt->idle[rt->waiting - 1];
        runtime_remove_idle(rt, rt->waiting - 1);
        slot_release(slot);
    }
    zygote_retire(zygote);
}

static void on_idle(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    bool used = rt->running || rt->next || shares_next(&rt->pool->shares, runtime_bit(rt));

    if (!used && rt->zygote && !rt->zygote->coming && now_us() - rt->used_us >= rt->conf->idle_ms * 1000)
        let_go(rt);
    else
        watch_idle(rt);
}

/* A timer looks now and then, so that a job costs no timer. */
static void watch_idle(struct runtime *rt)
{
    if (!rt->index || rt->conf->at_start || !rt->conf->idle_ms)
        return;
    int64_t left_ms = rt->conf->idle_ms - (now_us() - rt->used_us) / 1000;
    uv_timer_start(&rt->idle_timer, on_idle, left_ms > 0 ? (uint64_t) left_ms + 1 : (uint64_t) rt->conf->idle_ms, 0);
}

/* --- what the supervisor says --- */

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
    runtime_refuse_waiting(rt);
    /* A zygote that was coming has ended, even if its end has not been read yet. */
    rt->wanted = !rt->index || rt->conf->at_start;
}

bool pool_is_unable(struct pool *pool, unsigned runtime)
{
    struct runtime *rt = &pool->runtimes[runtime];
    bool unable = rt->fault && !rt->zygote;

    if (unable)
        runtime_want_zygote(rt); /* the cause may have been mended */
    return unable;
}
