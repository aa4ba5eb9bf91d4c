/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pool share; nobody else includes it.
 *
 * pool.c has the boxes and what the handlers ask for, turns.c who begins next,
 * makers.c the zygotes.  One loop, one thread; nothing here blocks. */
#ifndef HATCHERY_SERVER_POOL_POOL_PARTS_H
#define HATCHERY_SERVER_POOL_POOL_PARTS_H

#include "server/pool/pool.h"

#include "server/pool/slot.h"
#include "server/pool/zygote.h"

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
    struct slot **idle;        /* the waiting ones: those of old zygotes first, the warmest last */
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
    unsigned running;    /* boxes with a job */
    unsigned begun;      /* those of them that hold a place */
    struct slot **slots; /* by index: n_slots of at most conf->n_slots */
    unsigned n_slots;
    enum lack lack;       /* of the job that would be next, when it was looked at last */
    uv_timer_t memory;    /* active: jobs wait for memory, which nobody tells of */
    struct shares shares; /* the queue */
    struct share share;   /* of jobs that belong to nobody */
};

/* @rt as one of a share's runtimes. */
static inline uint32_t runtime_bit(const struct runtime *rt)
{
    return 1U << rt->index;
}

/* Whose box it is: only while a zygote makes or has made it. */
static inline struct runtime *runtime_of(const struct slot *slot)
{
    return slot->zygote->runtime;
}

/* --- pool.c --- */

/* A slot without a box, made where there may be one more; NULL: there is none now. */
struct slot *pool_free_slot(struct pool *pool);

/* The slot that a message tells of; NULL: it has another box by now. */
struct slot *pool_slot_of(const struct pool *pool, uint32_t index, uint32_t serial);

/* The waiting box rt->idle[i] waits for no job any more.  It is not released. */
void runtime_remove_idle(struct runtime *rt, unsigned i);

/* --- turns.c --- */

/* Hand over jobs while one may begin and has a box.  May call the jobs' owners and the pool's hooks. */
void pool_dispatch(struct pool *pool);

/* What a job of @share lacks to begin, beside a box. */
enum lack pool_lack_of(const struct pool *pool, const struct share *share);

/* Note in job->waited_for what @job, which has just come and did not begin, waits for. */
void pool_note_lack(struct pool *pool, struct job *job);

/* The program in @slot has not just begun any more; nothing where it holds no place. */
void pool_give_place_back(struct pool *pool, struct slot *slot);

/* Start or stop the clock after which jobs that wait for a box are refused.  Asks for a zygote and orders boxes where jobs
 * wait for them. */
void runtime_watch_for_lack(struct runtime *rt);

/* Refuse the jobs that wait for a box of @rt, except those that their share keeps waiting. */
void runtime_refuse_waiting(struct runtime *rt);

/* --- makers.c --- */

/* Ask the supervisor for a zygote, unless there is one or it was asked. */
void runtime_want_zygote(struct runtime *rt);

/* Order boxes until as many wait or are coming as are to wait.  Nothing where there is no zygote, or after a failure. */
void runtime_refill(struct runtime *rt);

/* A box failed: order the next in a moment. */
void runtime_refill_later(struct runtime *rt);

#endif
