/* SPDX-License-Identifier: Apache-2.0 */
/* The warm boxes, and the jobs that wait for one.
 *
 * One loop, one thread; nothing here blocks. */
#ifndef HATCHERY_SERVER_POOL_POOL_H
#define HATCHERY_SERVER_POOL_POOL_H

#include "server/pool/job.h"

#include <uv.h>

struct pool;

struct pool_hooks {
    void (*on_ready)(void *data); /* the first box ever waits */
    /* The first box ever could not enter its jail. */
    void (*on_refused)(void *data, const struct wire_box_state *state);
    /* Send WIRE_USAGE_GET; answer with pool_usage(). */
    void (*ask_usage)(void *data, uint32_t slot, uint32_t serial);
    void (*tell_long)(void *data, uint32_t slot, uint32_t serial, bool maybe); /* send WIRE_LONG */
    /* Send WIRE_ZYGOTE_GET; answer with pool_zygote(). */
    void (*ask_zygote)(void *data, unsigned runtime);
    void (*on_room)(void *data); /* a box waits and no job does; NULL: nobody asks */
    /* Bytes of the memory that are left beside so many thousandths of all; NULL: enough. */
    int64_t (*memory_left)(void *data, unsigned kept);
    bool (*has_keys)(void *data); /* more than one may send jobs; NULL: no */
};

/* An empty pool: boxes come once pool_zygote() has brought a zygote. */
struct pool *pool_new(uv_loop_t *loop, const struct wire_server_conf *conf, const struct pool_hooks *hooks, void *data);

/* A zygote's socket, which the pool owns from here.  Once it is warm it makes the runtime's boxes;
 * the zygote before it, if there is one, is let go of with its last box. */
void pool_zygote(struct pool *pool, unsigned runtime, int fd);

/* WIRE_FAULT: the runtime does not start; jobs that wait for it are refused, and those that come,
 * until it does. */
void pool_fault(struct pool *pool, unsigned runtime, enum fault fault);

/* Does it not start?  Then it is tried again, for those that come later. */
bool pool_is_unable(struct pool *pool, unsigned runtime);

/* Why not: words of fault.def, or NULL where it may. */
const char *pool_fault_words(const struct pool *pool, unsigned runtime);

/* Run @job in a waiting box of its runtime, which is started for it where it is not, or queue it
 * until one is free; on_done() gives it back exactly once, or on_refused() if no box comes for some
 * seconds though the job could run. 0, or -EAGAIN when the queue is full and the share has its part
 * of it, -EDQUOT when its share's is, -ENOEXEC when the runtime does not start, and -ESHUTDOWN
 * after pool_drain() (the job is untouched). */
int pool_run(struct pool *pool, struct job *job);

/* The owner has no use for @job any more: take it out of the queue, or kill its box.  It is not
 * called back. */
void pool_cancel(struct pool *pool, struct job *job);

/* Kill the box in which @job runs (job->slot): on_done() is called from within, with
 * OUTCOME_CANCELLED and what it has printed so far. */
void pool_stop(struct pool *pool, struct job *job);

/* The supervisor's answer. */
void pool_usage(struct pool *pool, const struct wire_usage *usage);

/* WIRE_OOM. */
void pool_out_of_memory(struct pool *pool, const struct wire_oom *oom);

/* Take no more jobs; those taken go on. */
void pool_drain(struct pool *pool);

bool pool_is_draining(const struct pool *pool);

/* Jobs that wait; boxes that wait; whether a job would find a box, or at least boxes that come. */
unsigned pool_queue_length(const struct pool *pool);

/* How many keys have something that waits, @share's included. */
unsigned pool_sharers(const struct pool *pool, const struct share *share);
unsigned pool_free_boxes(const struct pool *pool);
enum lack pool_lack(const struct pool *pool); /* why the first of those that wait does */
bool pool_is_ready(const struct pool *pool);

/* The runtime of this name, or -1; and its name. */
int pool_find_runtime(const struct pool *pool, const char *name);
const char *pool_runtime_name(const struct pool *pool, unsigned runtime);

/* Has this runtime an interpreter? */
bool pool_is_warm(const struct pool *pool, unsigned runtime);

/* Boxes: that wait for a job, run one, are being made.  Has the default runtime a zygote; how many
 * have?  When the job that waits longest came (now_us(); 0: none waits). */
struct pool_counts {
    unsigned waiting, running, warming;
    bool zygote;
    unsigned runtimes, failing; /* the latter do not start */
    int64_t oldest_queued_us;
};
struct pool_counts pool_count(const struct pool *pool);

/* Before the process ends: log the runs whose boxes are not reaped yet. */
void pool_log_last(struct pool *pool);

#endif
