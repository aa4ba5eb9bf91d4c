/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that must survive a restart: those accepted for later, how they ended, and the deliveries
 * that are owed.
 *
 * Asynchronous: every operation returns at once and answers through its callback, on the loop,
 * exactly once.  Operations that write answer in the order of their calls.  Arguments are copied,
 * except the body of a store_end, which must stay until the answer; an answer is valid during its
 * callback only. An answer with err == 0 is on disk (fsync) before it comes, except that of
 * store_history(), whose rows may be lost with the power.
 *
 * A job is queued -> running -> done | failed | cancelled | dead.  A claim is a lease, fenced by
 * (seq, attempt, owner): a late finish by an owner that lost its lease changes nothing.  A result
 * and the delivery it calls for are one transaction.  Times are microseconds since 1970, given by
 * the caller.
 *
 * Only an engine's own files know which engine is in use. */
#ifndef HATCHERY_SERVER_STORE_STORE_H
#define HATCHERY_SERVER_STORE_STORE_H

#include "base/blob.h"
#include "base/buf.h"
#include "base/uuid.h"

#include <stdint.h>
#include <uv.h>

enum store_state { STORE_QUEUED, STORE_RUNNING, STORE_DONE, STORE_FAILED, STORE_CANCELLED, STORE_DEAD, STORE_N_STATES };

/* The word of a state ("queued" ...), and the state of a word; -1 if no state has it. */
const char *store_state_word(enum store_state state);
int store_state_of(const char *word);

/* A delivery waits for its time, an owner has it, or it is over. */
enum store_delivery_state { STORE_PENDING, STORE_SENDING, STORE_DELIVERED, STORE_GIVEN_UP };

enum { STORE_TENANT_MAX = 64, STORE_HOST_MAX = 280, STORE_CLAIM_MAX = 64, STORE_FINGERPRINT = 32 };

/* Bytes that the strings of one answer of store_list() may take; one record more may pass it. */
enum { STORE_LIST_BYTES = 1 << 20 };

struct store;

struct store_bytes {
    const char *p; /* NULL: absent */
    size_t n;
};

/* How many jobs may wait, in all and of one tenant (0: unlimited); and how many jobs wait elsewhere
 * and count as well: in all, of this tenant, and of how many tenants. */
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
    const char *host;        /* the host of the webhook: deliveries are limited by host */
    const char *trace;       /* traceparent; NULL: none */
    const char *runtime;     /* its name; NULL: the default */
    int api;                 /* which one took it: a number that its callers give a meaning */
    const char *idem_key;    /* NULL: none */
    unsigned char fingerprint[STORE_FINGERPRINT];
    int64_t idem_expires_us;
    struct store_limits limits;
};

/* How a job ended, and with what: bytes that no engine reads. */
struct store_end {
    enum store_state state;
    int status; /* HTTP */
    int64_t started_us, over_us;
    struct store_bytes body;
    int form;        /* what @body is: a number that its callers give a meaning; 0 of rows that are older than forms */
    int64_t longest; /* bytes that the reply can have that is made of it */
};

struct store_lease {
    int64_t seq;
    int attempt;
};

/* A tenant's part in a claim; tenants that are not named have weight 1 and no limit. */
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

/* How much the jobs of one tenant may take at most; a tenant that is not named has no such limit. */
struct store_quota {
    const char *tenant;
    int64_t max_bytes;
};

struct store_sweep {
    int64_t now_us;
    unsigned n_quotas;
    const struct store_quota *quotas; /* valid for the store until the next sweep */
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

/* A host to which deliveries of a tenant are under way: how many, and the bytes of their replies. */
struct store_busy {
    const char *host;
    unsigned n;
    const char *tenant;
    int64_t bytes;
};

struct store_outbox_claim {
    int64_t now_us;
    unsigned max, per_host; /* if tenants share the store, each leaves a part of both to others (fair_left()) */
    int64_t max_bytes;      /* of all replies under way, which are in memory; 0: any */
    unsigned n_busy;
    const struct store_busy *busy;
};

/* One attempt to deliver, and what happens next. */
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
    int requeues;                                        /* how often it was queued again after it was dead */
    int64_t created_us, started_us, over_us, timeout_ms; /* 0: not yet */
    int status;
    struct store_bytes client_id, webhook_url, host, trace;
    struct store_bytes runtime; /* absent: the default; for history() it ends with NUL */
    struct store_bytes code;    /* of a claim */
    int api;
    struct store_bytes
        body; /* of a get and an outbox claim: what the job ended with; as struct store_end has the next two */
    int form;
    int64_t longest;
    struct blob
        *blob; /* has the bytes of @code or @body, for longer than the answer is valid; NULL: neither is there */
    /* if it has a delivery: */
    bool has_delivery;
    enum store_delivery_state delivery;
    int tries;      /* since the delivery was last asked for */
    int64_t due_us; /* of a PENDING one */
};

/* Which limit keeps a tenant from holding more of the store. */
enum store_limit {
    STORE_LIMIT_QUOTA,      /* its own (struct store_quota) */
    STORE_LIMIT_BYTES,      /* its part of max_bytes */
    STORE_LIMIT_DELIVERIES, /* its part of the deliveries that may be owed */
};

struct store_answer {
    int err; /* 0 or -errno, as each operation says */
    unsigned n;
    const struct store_record *records;
    unsigned n_attempts; /* oldest first */
    const struct store_attempt *attempts;
    enum store_limit limit; /* of -ENOBUFS */
    bool existing;          /* enqueue: the idempotency key was known; records[0] is that job */
    bool suspects;          /* claim: lost jobs wait until this owner holds no lease */
    bool more;           /* sweep: more is to be done at once; outbox claim: more is due; list: there are more rows */
    int64_t next_due_us; /* outbox claim: when the next delivery is due; 0: none waits */
    int64_t queued;      /* jobs that wait, in all, after this operation */
    int64_t deliveries;  /* deliveries that are owed, in all, after this operation */
    int64_t oldest_us;   /* sweep: when the job that waits longest was created; 0: none waits */
};

typedef void store_done(void *data, const struct store_answer *answer);

/* Any operation may fail with -ENOSPC (disk full), -EROFS (read-only), -EUCLEAN (corrupt), -EIDRM
 * (its files were taken away), -EIO or -ENOMEM.  Then nothing was changed, and the operation may be
 * tried again.
 *
 * Each tenant's use is counted in bytes (store_charge() and its reply).  A tenant holds what
 * retention may not drop: jobs that wait or run, and replies that are not delivered.  It holds at
 * most its part of max_bytes (fair_left()), and owes at most its part of store_owed_max()
 * deliveries.  Beyond that its own new jobs are refused, and its waiting jobs go on waiting.  To
 * keep size and number, retention drops the oldest jobs of the tenant that has most, so that no
 * tenant loses a reply or an idempotency key because another sends much. */

/* Accept a job.  -EFBIG: max_bytes reached; -ENOBUFS: the tenant holds as much as it may; -EAGAIN:
 * max_queued reached, and the tenant has its part of it (fair_may_wait()); -EDQUOT:
 * max_tenant_queued reached; -EBADMSG: the idempotency key is known with another fingerprint. */
void store_enqueue(struct store *store, const struct store_job *job, store_done *done, void *data);

/* Lease jobs: fair between tenants by virtual time; jobs of one tenant in the order in which they
 * came. */
void store_claim(struct store *store, const struct store_claim *claim, store_done *done, void *data);

/* The lease's job is over; its delivery, if it has a webhook, is due.  -ESTALE: the lease was lost. */
void store_finish(struct store *store, const struct store_lease *lease, const struct store_end *end, store_done *done,
                  void *data);

/* Give a lease back: as if its job had never been claimed, or as lost.  -ESTALE as above. */
void store_release(struct store *store, const struct store_lease *lease, bool lost, store_done *done, void *data);

/* One job, its reply and its delivery's attempts.  -ENOENT: the tenant has no such job. */
void store_get(struct store *store, const char *tenant, const char *id, store_done *done, void *data);

/* End a queued job as @end says.  -ENOENT; -EBUSY: it runs, so its owner must end it; -EALREADY: it
 * is over. */
void store_cancel(struct store *store, const char *tenant, const char *id, const struct store_end *end,
                  store_done *done, void *data);

/* Queue a dead job again: it will run alone, and its attempts go on counting.  Its reply is
 * forgotten, and with it the delivery of that reply.  -ENOENT; -ENOTRECOVERABLE: it isn't dead;
 * -EBUSY: it is being delivered; -ENODATA: its program was dropped; -EAGAIN, -EDQUOT, -ENOBUFS as
 * above. */
void store_requeue(struct store *store, const char *tenant, const char *id, const struct store_limits *limits,
                   store_done *done, void *data);

/* Jobs without their replies, the newest first; fewer than @limit if their strings would be more
 * than STORE_LIST_BYTES.  answer->more: there are more.  Tenants take turns with this and with
 * store_get(). */
void store_list(struct store *store, const struct store_query *query, store_done *done, void *data);

/* Add rows of synchronous runs, which never waited for the store.  They may be lost with the power. */
void store_history(struct store *store, const struct store_record *records, unsigned n, store_done *done, void *data);

/* Take due deliveries, with the replies to deliver. */
void store_outbox_claim(struct store *store, const struct store_outbox_claim *claim, store_done *done, void *data);

/* Record one attempt to deliver (by its job's seq).  -ESTALE: the delivery is not under way. */
void store_outbox_done(struct store *store, int64_t seq, const struct store_attempt *attempt, store_done *done,
                       void *data);

/* Deliver again, now, with all retries.  -ENOENT; -ENOMSG: it has no webhook; -EBUSY: it isn't
 * over, or is being delivered; -ENOBUFS as above. */
void store_redeliver(struct store *store, const char *tenant, const char *id, int64_t now_us, store_done *done,
                     void *data);

/* Call it every few seconds.  In small batches it ends leases of owners that are gone, drops what
 * retention drops, and forgets expired idempotency keys. */
void store_sweep(struct store *store, const struct store_sweep *sweep, store_done *done, void *data);

/* Finish the operations that were asked for, then free; @on_closed is called from the loop. */
void store_close(struct store *store, void (*on_closed)(void *), void *data);

/* Every engine's struct begins with this. */
struct store {
    const struct store_engine *engine;
    /* As the last answers said, for the metrics and /readyz: */
    _Atomic int write_err; /* why the last change could not be written, or 0 */
    int64_t deliveries, oldest_us;
};

/* The bytes that a job is charged while it has no reply: its row and index entries, its program,
 * and the members whose length its caller chooses. */
int64_t store_charge(const struct store_job *job);

/* How many deliveries all tenants may owe; 0: any number. */
int64_t store_owed_max(int64_t retention_count);

/* May one more job wait, beside @queued jobs in the store, @mine of them of this tenant, @tenants
 * tenants having some?  0, -EAGAIN or -EDQUOT. */
int store_may_wait(const struct store_limits *limits, int64_t queued, int64_t mine, int64_t tenants);

/* Tell the metrics the words of all operations.  Opening a store does it, too: a server without one
 * calls it, so that its metrics are the same. */
void store_name_operations(void);

struct store_conf {
    const char *path;                          /* of SQLite: the file, its directory exists */
    int64_t retention_age_us, retention_count; /* 0: for ever, unlimited */
    int64_t max_bytes;                         /* bytes of the store, without an engine's log; 0: unlimited */
    /* Jobs or deliveries may wait that did not before; called from the loop. NULL: nobody asks. */
    void (*on_wake)(void *data);
    void *data;
};

/* SQLite, in threads of its own.  Jobs that an earlier process had claimed are queued again, as
 * lost: the caller makes sure that no other process has the file open.  Blocks.  0, or -errno with
 * a sentence in @error that says how to mend it. */
int store_sqlite_open(struct store **ret, const struct store_conf *conf, uv_loop_t *loop, struct buf *error);

#endif
