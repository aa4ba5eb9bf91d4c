/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs of the store that run here: leased, run, finished; and whoever waits for one.
 *
 * One loop, one thread; nothing here blocks. */
#ifndef HATCHERY_SERVER_JOBS_BACKLOG_H
#define HATCHERY_SERVER_JOBS_BACKLOG_H

#include "server/jobs/keys.h"
#include "server/jobs/wording.h"

#include "server/pool/pool.h"
#include "server/store/store.h"

struct backlog;
struct waiter;

struct backlog_conf {
    uv_loop_t *loop;
    struct pool *pool;
    struct keys *keys;
    struct store *store;
    const struct figures *self;     /* what is the same for all jobs that end here */
    const struct wording *wordings; /* [APIS]: for those who wait for a reply */
    unsigned places;                /* the pool's: programs that have just begun */
    const struct wire_limits *limits;
};

struct backlog *backlog_new(const struct backlog_conf *conf);

/* Something may wait in the store (struct store_conf's on_wake), or the pool has room (struct pool_hooks'). */
void backlog_wake(struct backlog *backlog);

/* Accept @job, whose limits are filled in: store_enqueue(), and a claim in the same transaction where a box would be
 * free.  @max_queued: jobs that may wait in all; 0: unlimited. */
void backlog_submit(struct backlog *backlog, const struct store_job *job, int64_t max_queued, store_done *done,
                    void *data);

/* Have @on_over called once, when the job @id is over: with its reply, or without one when the server stops first
 * (NULL, the job is kept).  backlog_unwait() forgets a waiter that was not called.  NULL: the server stops, and the job will not
 * be over before; on_over is not called. */
struct waiter *backlog_wait(struct backlog *backlog, const char *id,
                            void (*on_over)(void *data, int status, struct blob *reply), void *data);
void backlog_unwait(struct backlog *backlog, struct waiter *waiter);

/* End a job: a queued one never starts, a running one is killed at once.  @done: 0 once that is on disk, -ENOENT,
 * -EALREADY (it is over), -EBUSY (another server runs it), or what the store says. */
void backlog_cancel(struct backlog *backlog, const char *tenant, const char *id, void (*done)(void *data, int err),
                    void *data);

/* Queue a dead job again: store_requeue(). */
void backlog_requeue(struct backlog *backlog, const char *tenant, const char *id, int64_t max_queued, store_done *done,
                     void *data);

/* A run that never waited for the store: its row is written later, with others. */
void backlog_history(struct backlog *backlog, const struct store_record *record);

/* Jobs that wait in the store. */
int64_t backlog_queued(const struct backlog *backlog);

/* Has the job @id, which the store calls running, not been given to a box yet?  Where it has: when, by the wall clock;
 * 0: it is not ours. */
bool backlog_waits(const struct backlog *backlog, const char *id, int64_t *ret_started_us);

/* Those of which this is so, for struct store_query; the caller frees them. */
unsigned backlog_list_waiting(const struct backlog *backlog, int64_t **ret_seqs);

/* Start no more jobs, give back those that have not begun; @on_idle when the others are over and on disk. */
void backlog_drain(struct backlog *backlog, void (*on_idle)(void *data), void *data);

#endif
