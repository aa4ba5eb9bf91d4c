/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the backlog share; nobody else includes it.
 *
 * backlog.c owns the leases: claims, runs, ends.  waiters.c, cancel.c,
 * history.c and sweep.c each have one thing beside these.  One loop, one
 * thread; nothing here blocks, and nothing here fails. */
#ifndef HATCHERY_SERVER_JOBS_BACKLOG_PARTS_H
#define HATCHERY_SERVER_JOBS_BACKLOG_PARTS_H

#include "server/jobs/backlog.h"

#include "base/beside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { HISTORY_MAX = 256 }; /* rows in struct backlog's history */

enum lease_state {
    LEASE_POOLED,  /* the pool has it */
    LEASE_PACKED,  /* its run is over, and what it ended with is being made one piece */
    LEASE_ENDING,  /* its end is on its way to the disk */
    LEASE_REFUSED, /* the disk did not take it; it is tried again */
    LEASE_TOLD,    /* it is on disk, and the reply is being written for those who wait */
};

/* A job of the store that this server has, until its end is on disk. */
struct lease {
    struct job job;
    struct backlog *backlog;
    struct key *key;
    struct store_lease fence;
    enum lease_state state;
    bool released, lost; /* it ends by being given back */
    struct blob *code;
    char runtime[WIRE_RUNTIME_NAME_MAX + 1]; /* "": the default */
    int api;
    struct store_bytes client_id;
    int64_t created_us;
    struct store_end end;
    struct verdict verdict;
    struct beside beside; /* while it is packed: into */
    struct blob *packed;
    void (*on_cancelled)(void *data, int err);
    void *on_cancelled_data;
    LIST_ENTRY(lease) link;
};

/* Jobs that were lost once run alone: each may be what took its server down. */
enum suspects {
    SUSPECTS_NONE,
    SUSPECTS_WAIT,    /* until we hold no lease */
    SUSPECTS_RUNNING, /* one of them: nothing else is claimed */
};

struct backlog {
    struct backlog_conf conf;
    LIST_HEAD(, lease) leases;
    LIST_HEAD(, waiter) waiters;
    unsigned n_leases, n_pooled;
    unsigned asked;       /* answers of the store that are outstanding and must not find us gone */
    bool claiming, again; /* a claim is under way; and one more is wanted after it */
    enum suspects suspects;
    int64_t quiet_by_us; /* SUSPECTS_WAIT: no lease is held by then; a job that ends before puts it off no further */
    bool draining;
    int64_t queued;
    uv_timer_t retry, sweep, flush;
    struct store_record *history;
    unsigned n_history, n_flushes;
    void (*on_idle)(void *data);
    void *on_idle_data;
};

/* A copy that free_bytes() frees, with a NUL behind it; NULL of NULL. */
static inline struct store_bytes copy_bytes(struct store_bytes from)
{
    if (!from.p)
        return from;
    char *p = xmalloc(from.n + 1);
    memcpy(p, from.p, from.n);
    p[from.n] = '\0';
    return (struct store_bytes){ p, from.n };
}

static inline void free_bytes(struct store_bytes bytes)
{
    free((char *) (uintptr_t) bytes.p);
}

/* Post the end of @lease to the store: its result, or that it is given back (lease->released).  It is posted again until
 * the disk takes it, and @lease is freed then. */
void lease_post_end(struct lease *lease);

/* Call backlog_drain()'s on_idle once the last thing is over: each part calls this when it is done with something. */
void backlog_check_idle(struct backlog *b);

/* @verdict, which is freed, in one piece, as the body of @end.  In any thread. */
struct blob *backlog_pack(struct store_end *end, struct verdict *verdict, struct store_bytes client_id);

/* Does anybody wait for the job @id? */
bool backlog_is_awaited(const struct backlog *b, const char *id);

/* Call and forget the waiters of the job @id, or all where it is NULL.  @reply stays the caller's. */
void backlog_tell_waiters(struct backlog *b, const char *id, int status, struct blob *reply);

/* The server drains: waiters whose job runs are told when it is over, the others now, as they would wait for the next
 * server. */
void backlog_dismiss_waiters(struct backlog *b);

/* Post the rows that wait, without waiting for more.  Where too many posts are outstanding the rows are dropped. */
void backlog_flush_history(struct backlog *b);

/* Sweep the store, and have backlog->sweep call this again some seconds after. */
void backlog_on_sweep(uv_timer_t *timer);

#endif
