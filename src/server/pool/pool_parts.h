/* SPDX-License-Identifier: Apache-2.0 */
/* The inner header of the pool's files; no other file includes it.
 *
 * pool.c has the boxes and what the handlers call, turns.c decides which job begins next, makers.c
 * has the zygotes.  One loop, one thread; nothing here blocks. */
#ifndef HATCHERY_SERVER_POOL_POOL_PARTS_H
#define HATCHERY_SERVER_POOL_POOL_PARTS_H

#include "server/pool/pool.h"

#include "server/pool/slot.h"
#include "server/pool/zygote.h"

/* A runtime: the zygote that makes its boxes, and the boxes that wait. */
struct runtime {
    struct pool *pool;
    unsigned index;
    const struct wire_runtime *conf;
    struct zygote *zygote;     /* makes the boxes; NULL: none is warm yet */
    struct zygote *next;       /* the zygote that came last, while it is warming */
    bool wanted;               /* it has a zygote, or has asked for one */
    uv_timer_t retry;          /* active: boxes fail, and the next is ordered when it fires */
    uv_timer_t lack;           /* active: jobs wait that could run, were there a box */
    uv_timer_t idle_timer;     /* active: when it fires, a runtime without a recent job lets go of its zygote */
    enum fault fault;          /* why it does not start, or FAULT_NONE */
    bool failing;              /* its last box did not become ready */
    unsigned waiting, running; /* boxes of all its zygotes: without a job; with one */
    struct slot **idle;        /* the waiting boxes: of old zygotes first, the warmest last */
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
    enum lack lack;       /* what the next job lacked when it was looked at last */
    uv_timer_t memory;    /* active: jobs wait for memory; no event tells when there is more */
    struct shares shares; /* the queue */
    struct share share;   /* of jobs that belong to nobody */
};

/* @rt as one of a share's runtimes. */
static inline uint32_t runtime_bit(const struct runtime *rt)
{
    return 1U << rt->index;
}

/* The runtime of a box: only while a zygote makes or has made it. */
static inline struct runtime *runtime_of(const struct slot *slot)
{
    return slot->zygote->runtime;
}

/* --- pool.c --- */

/* A slot without a box, made where there may be one more; NULL: there is none now. */
struct slot *pool_free_slot(struct pool *pool);

/* The slot that a message tells of; NULL: it has another box by now. */
struct slot *pool_slot_of(const struct pool *pool, uint32_t index, uint32_t serial);

/* Take rt->idle[i] out of the waiting boxes.  It is not released. */
void runtime_remove_idle(struct runtime *rt, unsigned i);

/* --- turns.c --- */

/* Hand over jobs while one may begin and has a box.  May call the jobs' owners and the pool's
 * hooks. */
void pool_dispatch(struct pool *pool);

/* What a job of @share lacks to begin, beside a box. */
enum lack pool_lack_of(const struct pool *pool, const struct share *share);

/* Note in job->waited_for what @job, which has just come and did not begin, waits for. */
void pool_note_lack(struct pool *pool, struct job *job);

/* The program in @slot has not just begun any more.  Nothing if it holds no place. */
void pool_give_place_back(struct pool *pool, struct slot *slot);

/* Start or stop the timer that refuses jobs for which no box comes.  If jobs wait for a box, it
 * also asks for a zygote and orders boxes. */
void runtime_watch_for_lack(struct runtime *rt);

/* Refuse the jobs that wait for a box of @rt, except jobs that wait for room in their share. */
void runtime_refuse_waiting(struct runtime *rt);

/* --- makers.c --- */

/* Ask the supervisor for a zygote, unless the runtime has one or has asked. */
void runtime_want_zygote(struct runtime *rt);

/* Order boxes until pool_size of them wait or are coming.  Nothing without a zygote, or soon after
 * a failure. */
void runtime_refill(struct runtime *rt);

/* A box failed: order the next in a moment. */
void runtime_refill_later(struct runtime *rt);

#endif
