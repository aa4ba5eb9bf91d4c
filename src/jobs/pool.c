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

#include "../base/fd.h"
#include "../base/log.h"
#include "../box/box.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 500 };

struct pool {
    uv_loop_t *loop;
    const struct wire_server_conf *conf;
    const struct pool_hooks *hooks;
    void *data;
    int zygote_fd;
    uv_poll_t *zygote_poll;
    uv_timer_t retry; /* active: boxes fail, and the next is ordered when it fires */
    uint32_t serial;
    bool warm, ever_ready, draining;
    unsigned coming, waiting, running; /* boxes ordered or warming; waiting; with a job */
    struct run *runs;                  /* conf->n_slots of them */
    struct run **idle;                 /* the waiting ones, the warmest last */
    struct job *first, *last;
    unsigned queued;
};

static void refill(struct pool *pool);

/* --- the queue --- */

static void queue_add(struct pool *pool, struct job *job)
{
    job->next = NULL;
    job->previous = pool->last;
    *(pool->last ? &pool->last->next : &pool->first) = job;
    pool->last = job;
    pool->queued++;
}

static void queue_remove(struct pool *pool, struct job *job)
{
    *(job->previous ? &job->previous->next : &pool->first) = job->next;
    *(job->next ? &job->next->previous : &pool->last) = job->previous;
    pool->queued--;
}

static void dispatch(struct pool *pool)
{
    while (pool->first && pool->waiting && pool->running < pool->conf->max_runs) {
        struct job *job = pool->first;
        struct run *run = pool->idle[--pool->waiting];
        queue_remove(pool, job);
        pool->running++;
        run_start(run, job);
    }
}

/* --- boxes --- */

static struct run *free_run(struct pool *pool)
{
    for (unsigned i = 0; i < pool->conf->n_slots; i++)
        if (pool->runs[i].state == RUN_FREE)
            return &pool->runs[i];
    return NULL;
}

static void refill(struct pool *pool)
{
    struct wire_msg order = { .type = WIRE_SPAWN };
    struct run *run;

    if (!pool->warm || uv_is_active((uv_handle_t *) &pool->retry))
        return;
    while (pool->waiting + pool->coming < pool->conf->pool_size && (run = free_run(pool))) {
        run->serial = order.serial = ++pool->serial;
        order.slot = run->slot;
        if (fd_send(pool->zygote_fd, &order, sizeof(order), NULL, 0) < 0)
            return; /* full or gone: its next word brings us back here */
        run->state = RUN_ORDERED;
        pool->coming++;
    }
}

static void on_retry(uv_timer_t *timer)
{
    refill(timer->data);
}

static void refill_later(struct pool *pool)
{
    if (!uv_is_active((uv_handle_t *) &pool->retry))
        uv_timer_start(&pool->retry, on_retry, RETRY_MS, 0);
}

static void on_run_ready(struct run *run)
{
    struct pool *pool = run->pool;

    pool->coming--;
    pool->idle[pool->waiting++] = run;
    if (!pool->ever_ready) {
        pool->ever_ready = true;
        pool->hooks->on_ready(pool->data);
    }
    dispatch(pool);
    refill(pool);
}

static void on_run_failed(struct run *run, const struct wire_box_state *state)
{
    struct pool *pool = run->pool;

    pool->coming--;
    log_error("a box could not enter its jail; nothing ran in it",
              LOG_S("layer", box_step_word(state->step))
                  LOG_S("errno", state->error ? strerrorname_np(state->error) : "none")
                      LOG_S("hint", box_step_hint(state->step)) LOG_I("slot", run->slot));
    if (!pool->ever_ready)
        pool->hooks->on_refused(pool->data);
    refill_later(pool);
}

static void on_run_outcome(struct run *run)
{
    struct pool *pool = run->pool;
    struct job *job = run->job;

    job->run = NULL;
    job->on_done(job, &run->outcome);
    run_release(run);
    pool->running--;
    dispatch(pool);
    refill(pool);
}

static void on_run_ask(struct run *run)
{
    struct pool *pool = run->pool;
    pool->hooks->ask_usage(pool->data, run->slot);
}

static void on_run_free(struct run *run)
{
    refill(run->pool);
}

/* A waiting or warming box that ended by itself. */
static void on_run_lost(struct run *run)
{
    struct pool *pool = run->pool;

    for (unsigned i = 0; i < pool->waiting; i++)
        if (pool->idle[i] == run) {
            pool->waiting--;
            memmove(&pool->idle[i], &pool->idle[i + 1], (pool->waiting - i) * sizeof(struct run *));
            log_warn("a waiting box ended", LOG_I("slot", run->slot));
            refill_later(pool);
            return;
        }
    pool->coming--;
    refill_later(pool);
}

static const struct run_hooks run_hooks = {
    .on_ready = on_run_ready,
    .on_failed = on_run_failed,
    .on_outcome = on_run_outcome,
    .on_ask = on_run_ask,
    .on_free = on_run_free,
    .on_lost = on_run_lost,
};

/* --- the zygote --- */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void lose_zygote(struct pool *pool)
{
    if (!pool->zygote_poll)
        return;
    uv_close((uv_handle_t *) pool->zygote_poll, on_poll_closed);
    pool->zygote_poll = NULL;
    fd_close(&pool->zygote_fd);
    pool->warm = false;
    pool->waiting = pool->coming = 0;
    for (unsigned i = 0; i < pool->conf->n_slots; i++)
        run_bereft(&pool->runs[i]);
}

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++) {
        int fd = fds[i];
        fd_close(&fd);
    }
}

/* All of a box has ended, or it could not be made.  One that never came leaves its place to another. */
static void on_gone(struct pool *pool, struct run *run, const struct wire_msg *msg)
{
    if (msg->status < 0)
        log_error("the zygote could not make a box", LOG_S("errno", strerrorname_np(-msg->status)));
    if (run->state == RUN_ORDERED) {
        pool->coming--;
        refill_later(pool);
    }
    run_gone(run);
}

/* Descriptors that nothing here takes are closed. */
static void on_message(struct pool *pool, const struct wire_msg *msg, const int *fds)
{
    struct run *run = msg->slot < pool->conf->n_slots ? &pool->runs[msg->slot] : NULL;
    bool known = run && run->serial == msg->serial && run->state != RUN_FREE;

    if (known && msg->type == WIRE_BOX && fds[3] >= 0 && run->state == RUN_ORDERED) {
        run_open(run, fds);
        return;
    }
    close_all(fds, 4);
    if (msg->type == WIRE_WARM) {
        pool->warm = true;
        refill(pool);
    } else if (known && msg->type == WIRE_EXITED)
        run_exited(run, msg);
    else if (known && msg->type == WIRE_GONE)
        on_gone(pool, run, msg);
}

static void on_zygote(uv_poll_t *handle, int status, int events)
{
    struct pool *pool = handle->data;
    struct wire_msg msg;
    int fds[4];

    (void) status;
    (void) events;
    for (;;) {
        ssize_t n = fd_recv(pool->zygote_fd, &msg, sizeof(msg), fds, 4, NULL);
        if (n == -EAGAIN)
            return;
        if (n != sizeof(msg)) {
            close_all(fds, 4);
            log_warn("the zygote is gone, and its boxes with it");
            lose_zygote(pool);
            return;
        }
        on_message(pool, &msg, fds);
    }
}

void pool_zygote(struct pool *pool, int fd)
{
    lose_zygote(pool);
    pool->zygote_fd = fd;
    pool->zygote_poll = xcalloc(1, sizeof(*pool->zygote_poll));
    pool->zygote_poll->data = pool;
    uv_poll_init(pool->loop, pool->zygote_poll, fd); /* makes it non-blocking */
    uv_poll_start(pool->zygote_poll, UV_READABLE, on_zygote);
}

/* --- for the handlers --- */

int pool_run(struct pool *pool, struct job *job)
{
    bool at_once = pool->waiting && !pool->first && pool->running < pool->conf->max_runs;

    if (pool->draining)
        return -ESHUTDOWN;
    if (!at_once && pool->conf->queue_max && pool->queued >= pool->conf->queue_max)
        return -EAGAIN;
    job->run = NULL;
    job->queued_us = now_us();
    queue_add(pool, job);
    dispatch(pool);
    return 0;
}

void pool_cancel(struct pool *pool, struct job *job)
{
    if (!job->run) {
        queue_remove(pool, job);
        return;
    }
    run_cancel(job->run);
    job->run = NULL;
    pool->running--;
    dispatch(pool);
    refill(pool);
}

void pool_usage(struct pool *pool, const struct wire_msg *msg)
{
    if (msg->slot < pool->conf->n_slots)
        run_usage(&pool->runs[msg->slot], msg);
}

void pool_drain(struct pool *pool)
{
    pool->draining = true;
}

unsigned pool_queue_length(const struct pool *pool)
{
    return pool->queued;
}

bool pool_is_ready(const struct pool *pool)
{
    return pool->warm && !pool->draining && (pool->waiting || pool->running);
}

struct pool *pool_new(uv_loop_t *loop, const struct wire_server_conf *conf, const struct pool_hooks *hooks, void *data)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));

    pool->loop = loop;
    pool->conf = conf;
    pool->hooks = hooks;
    pool->data = data;
    pool->zygote_fd = -1;
    pool->runs = xcalloc(conf->n_slots, sizeof(*pool->runs));
    pool->idle = xcalloc(conf->n_slots, sizeof(struct run *));
    pool->retry.data = pool;
    uv_timer_init(loop, &pool->retry);
    for (uint32_t i = 0; i < conf->n_slots; i++)
        run_init(&pool->runs[i], i, loop, &conf->limits, &run_hooks, pool);
    return pool;
}
