/* SPDX-License-Identifier: Apache-2.0 */
/* Where jobs survive: what was accepted, how it ended, whom it must be told.
 *
 * Asynchronous: every operation returns at once and answers through its callback, on the
 * loop, exactly once, in the order in which operations that write were asked for.  Arguments are copied, but for the
 * body of a store_end, which must stay until the answer; an answer is valid during its callback only.  An answer with err == 0 is on disk (fsync) before it comes,
 * but for store_history(), whose rows may be lost with the power.
 *
 * A job is queued -> running -> done | failed | cancelled | dead.  A claim is a lease, fenced by (seq, attempt,
 * owner): what a lost owner finishes late changes nothing.  A result and the delivery it calls for are one
 * transaction.  Times are microseconds since 1970, given by the caller.
 *
 * Nothing outside of an engine's own files knows which engine is in use. */
#ifndef HATCHERY_SERVER_STORE_STORE_H
#define HATCHERY_SERVER_STORE_STORE_H

#include "base/blob.h"
#include "base/buf.h"
#include "base/uuid.h"

#include <stdint.h>
#include <uv.h>

enum store_state { STORE_QUEUED, STORE_RUNNING, STORE_DONE, STORE_FAILED, STORE_CANCELLED, STORE_DEAD, STORE_N_STATES };

/* "queued" ...; -1 for a word that is none. */
const char *store_state_word(enum store_state state);
int store_state_of(const char *word);

/* What becomes of a delivery: it waits for its time, an owner has it, it is over. */
enum store_delivery_state { STORE_PENDING, STORE_SENDING, STORE_DELIVERED, STORE_GIVEN_UP };

enum { STORE_TENANT_MAX = 64, STORE_HOST_MAX = 280, STORE_CLAIM_MAX = 64, STORE_FINGERPRINT = 32 };

/* What the strings of one answer of list() may take, give or take one record. */
enum { STORE_LIST_BYTES = 1 << 20 };

struct store;

struct store_bytes {
    const char *p; /* NULL: absent */
    size_t n;
};

/* How many jobs may wait, of all and of one tenant (0: unlimited), where so many more wait elsewhere: of all, of this
 * tenant, and of how many tenants. */
struct store_limits {
    int64_t max_queued, max_tenant_queued;
    int64_t waiting, tenant_waiting, tenants_waiting;
};

/* A job to accept. */
struct store_job {
    char id[UUID_SIZE];
    const char *tenant; /* the name of the key that sent it */
    struct store_bytes code, client_id;
    int64_t timeout_ms, created_us;
    const char *webhook_url; /* NULL: none */
    const char *host;        /* of it: deliveries are limited by it */
    const char *trace;       /* traceparent; NULL: none */
    const char *runtime;     /* its name; NULL: the default */
    const char *idem_key;    /* NULL: none */
    unsigned char fingerprint[STORE_FINGERPRINT];
    int64_t idem_expires_us;
    struct store_limits limits;
};

/* How a job ended, with the whole reply. */
struct store_end {
    enum store_state state;
    int status; /* HTTP */
    int64_t started_us, over_us;
    struct store_bytes body;
};

struct store_lease {
    int64_t seq;
    int attempt;
};

/* Who may have how much of a claim; tenants that are not named have weight 1 and no limit. */
struct store_share {
    const char *tenant;
    unsigned weight, room;
};

struct store_claim {
    unsigned max; /* at most STORE_CLAIM_MAX */
    bool alone;   /* this owner holds no lease: a job that was lost before may be given, and is then the only one */
    int64_t
        within_ms; /* while lost jobs wait for that: others whose timeout is at most this may be given all the same */
    int64_t reply_max; /* bytes of the largest reply that a job can have: a tenant runs no more than it has room for */
    unsigned n_shares;
    const struct store_share *shares;
};

/* What the jobs of one tenant may take at most; of tenants that are not named there is no such limit. */
struct store_quota {
    const char *tenant;
    int64_t max_bytes;
};

struct store_sweep {
    int64_t now_us;
    unsigned n_quotas;
    const struct store_quota *quotas; /* they hold until the next sweep */
};

struct store_query {
    const char *tenant;
    unsigned states;    /* bit 1 << state; 0: all */
    int64_t since_us;   /* created at or after; 0: all */
    int64_t before_seq; /* older than this; 0: from the newest */
    unsigned limit;
    bool brief;         /* seq, id, state and attempt are all that is asked for */
    unsigned n_waiting; /* leased jobs that have not begun: they count, and are answered, as queued and never claimed */
    const int64_t *waiting;
};

/* Hosts that have deliveries of a tenant under way: how many, and the bytes of their replies. */
struct store_busy {
    const char *host;
    unsigned n;
    const char *tenant;
    int64_t bytes;
};

struct store_outbox_claim {
    int64_t now_us;
    unsigned max, per_host; /* where tenants share the store, each leaves a part of both to others (fair_left()) */
    int64_t max_bytes;      /* of replies under way, and so in memory, in all; 0: any */
    unsigned n_busy;
    const struct store_busy *busy;
};

/* One attempt to deliver, and what follows from it. */
struct store_attempt {
    int64_t at_us, duration_us;
    int status; /* HTTP; 0: no answer */
    struct store_bytes error, address;
    enum store_delivery_state next; /* PENDING: again at next_us */
    int64_t next_us;
};

struct store_record {
    int64_t seq;
    char id[UUID_SIZE];
    const char *tenant;
    enum store_state state;
    int attempt;
    int requeues;                                        /* how often it was dead and queued again */
    int64_t created_us, started_us, over_us, timeout_ms; /* 0: not yet */
    int status;
    struct store_bytes client_id, webhook_url, host, trace;
    struct store_bytes runtime; /* absent: the default; of history() as a string */
    struct store_bytes code;    /* of a claim */
    struct store_bytes body;    /* the reply; of a get and an outbox claim */
    struct blob *
        blob; /* where the one or the other lies, for whoever needs it longer than the answer is valid; NULL: there is none */
    /* of its delivery, where it has one */
    bool has_delivery;
    enum store_delivery_state delivery;
    int tries;      /* since it was last asked for */
    int64_t due_us; /* of a PENDING one */
};

/* Why a tenant may hold no more of the store. */
enum store_limit {
    STORE_LIMIT_QUOTA,      /* its own (struct store_quota) */
    STORE_LIMIT_BYTES,      /* its part of max_bytes */
    STORE_LIMIT_DELIVERIES, /* its part of the deliveries that may be owed */
};

struct store_answer {
    int err; /* 0 or -errno; each operation says which */
    unsigned n;
    const struct store_record *records;
    unsigned n_attempts; /* oldest first */
    const struct store_attempt *attempts;
    enum store_limit limit; /* of -ENOBUFS */
    bool existing;          /* enqueue: the idempotency key was known; records[0] is that job */
    bool suspects;          /* claim: lost jobs wait until this owner holds no lease */
    bool more;              /* sweep: there is more to do at once; outbox claim: more is due; list: there are others */
    int64_t next_due_us;    /* outbox claim: when the next delivery is due; 0: none waits */
    int64_t queued;         /* jobs that wait, in all, after this operation */
    int64_t deliveries;     /* the same of deliveries that are neither made nor given up */
    int64_t oldest_us;      /* sweep: when the job was created that waits longest; 0: none waits */
};

typedef void store_done(void *data, const struct store_answer *answer);

/* What may go wrong with any operation: -ENOSPC (disk full), -EROFS (read-only), -EUCLEAN (corrupt), -EIDRM (its
 * files were taken away), -EIO, -ENOMEM.
 * Then nothing was changed, and the operation may be tried again.
 *
 * What one tenant takes is counted in bytes (store_charge() and its reply).  A tenant holds what no retention may drop:
 * jobs that wait or run, and replies that are not delivered.  It holds at most its part of max_bytes (fair_left()), and
 * owes at most its part of store_owed_max() deliveries; beyond that its own new jobs are refused, and its jobs that wait
 * go on waiting.  For size and number retention drops from the tenant that has most, its oldest first, so that nobody
 * loses a reply or an idempotency key because another sends much. */

/* Accept a job.  -EFBIG: max_bytes reached; -ENOBUFS: the tenant holds as much as it may; -EAGAIN: max_queued reached,
 * and the tenant has its part of it (fair_may_wait()); -EDQUOT: max_tenant_queued reached; -EBADMSG: the idempotency
 * key is known with another fingerprint. */
void store_enqueue(struct store *store, const struct store_job *job, store_done *done, void *data);

/* Lease jobs: fair between tenants by virtual time, each tenant's in the order they came. */
void store_claim(struct store *store, const struct store_claim *claim, store_done *done, void *data);

/* The lease's job is over; its delivery, if it has a webhook, is due.  -ESTALE: the lease was lost. */
void store_finish(struct store *store, const struct store_lease *lease, const struct store_end *end, store_done *done,
                  void *data);

/* Give it back: as if it had never been claimed, or lost.  -ESTALE as above. */
void store_release(struct store *store, const struct store_lease *lease, bool lost, store_done *done, void *data);

/* One job, its reply and its delivery's attempts.  -ENOENT also for another tenant's. */
void store_get(struct store *store, const char *tenant, const char *id, store_done *done, void *data);

/* End a queued job as @end says.  -ENOENT, -EBUSY (it runs: its owner has to), -EALREADY (it is over). */
void store_cancel(struct store *store, const char *tenant, const char *id, const struct store_end *end,
                  store_done *done, void *data);

/* Queue a dead job again: it will run alone, and its attempts go on counting.  Its reply is forgotten, and the delivery of
 * that.  -ENOENT; -ENOTRECOVERABLE: it isn't dead; -EBUSY: it is being delivered; -ENODATA: its program is no more;
 * -EAGAIN, -EDQUOT, -ENOBUFS as above. */
void store_requeue(struct store *store, const char *tenant, const char *id, const struct store_limits *limits,
                   store_done *done, void *data);

/* Newest first, without their replies; fewer than @limit where their strings would be more than STORE_LIST_BYTES.
 * answer->more: there are others.  Tenants take turns with this and with get(). */
void store_list(struct store *store, const struct store_query *query, store_done *done, void *data);

/* Runs that never waited for the store.  May be lost with the power. */
void store_history(struct store *store, const struct store_record *records, unsigned n, store_done *done, void *data);

/* Take due deliveries, with the replies to deliver. */
void store_outbox_claim(struct store *store, const struct store_outbox_claim *claim, store_done *done, void *data);

/* What became of one (by its job's seq). */
void store_outbox_done(struct store *store, int64_t seq, const struct store_attempt *attempt, store_done *done,
                       void *data);

/* Deliver again, now, with all retries.  -ENOENT; -ENOMSG: it has no webhook; -EBUSY: it isn't over, or is being
 * delivered; -ENOBUFS as above. */
void store_redeliver(struct store *store, const char *tenant, const char *id, int64_t now_us, store_done *done,
                     void *data);

/* To be called every few seconds: leases of owners that are gone, retention, expired idempotency keys; in small
 * batches. */
void store_sweep(struct store *store, const struct store_sweep *sweep, store_done *done, void *data);

/* Finish what was asked for, then free; @on_closed from the loop. */
void store_close(struct store *store, void (*on_closed)(void *), void *data);

/* What every engine's struct begins with. */
struct store {
    const struct store_engine *engine;
    /* As the last answers had it, for who watches: */
    _Atomic int write_err; /* why the last change could not be written, or 0 */
    int64_t deliveries, oldest_us;
};

/* What a job is charged while it has no reply: its row and what hangs on it, the program, what its caller could make long. */
int64_t store_charge(const struct store_job *job);

/* How many deliveries all tenants may owe; 0: any number. */
int64_t store_owed_max(int64_t retention_count);

/* May one more job wait, beside @queued of all in the store, @mine of this tenant, of @tenants that have some there?
 * 0, -EAGAIN or -EDQUOT. */
int store_may_wait(const struct store_limits *limits, int64_t queued, int64_t mine, int64_t tenants);

/* Tell the metrics the words of all operations.  Opening a store does it, too: a server without
 * one calls it, so that its metrics are the same. */
void store_name_operations(void);

struct store_conf {
    const char *path;                          /* of SQLite: the file, its directory exists */
    int64_t retention_age_us, retention_count; /* 0: for ever, unlimited */
    int64_t max_bytes;                         /* what lies there, without an engine's log; 0: unlimited */
    /* Jobs or deliveries may wait that did not before; from the loop. NULL: nobody asks. */
    void (*on_wake)(void *data);
    void *data;
};

/* SQLite, in threads of its own.  Jobs that another process of ours had claimed are queued again, as lost: the
 * caller has seen to it that there is no other.  Blocks.  0, or -errno with a sentence in @error that says what to do. */
int store_sqlite_open(struct store **ret, const struct store_conf *conf, uv_loop_t *loop, struct buf *error);

#endif
