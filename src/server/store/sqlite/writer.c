/* SPDX-License-Identifier: Apache-2.0 */
/* The writer thread's transactions: each operation, applied inside of the one that commits a whole
 * batch.
 *
 * Called by threads.c.  Here are the table of operations, and what accepts, cancels and queues
 * again; leases.c, deliveries.c and retention.c have the rest. An operation's refusal is its
 * answer; only what SQLite itself fails at breaks the transaction, and then nothing of the batch
 * has happened: what is counted in memory is as it was before.
 * What must never happen here: a job that is accepted without its program, two jobs for one
 * idempotency key, or an operation that answers before it is applied. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- opening and closing --- */

int writer_recover(struct writer *w)
{
    PREPARE(s, RECOVER);
    PREPARE(outbox, RECOVER_OUTBOX);
    sqlite3_bind_blob(s, 1, w->owner, sizeof(w->owner), SQLITE_STATIC);
    int err = db_step(s);
    w->recovered = err ? 0 : sqlite3_changes(w->db.handle);
    return err ? err : db_step(outbox);
}

void writer_free(struct writer *w)
{
    for (struct tenant *t = w->tenants, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    db_close(&w->db);
}

/* --- records --- */

/* Answer with one record. */
static int answer_job(struct writer *w, struct op *op, int64_t seq)
{
    struct store_record *record = op_alloc(op, sizeof(*record));
    TRY(load_record(w, op, seq, record));
    op->answer.records = record;
    op->answer.n = 1;
    return 0;
}

static size_t length(const char *s)
{
    return s ? strlen(s) : 0;
}

/* The same with the job that @op has just added, which need not be read. */
static void answer_new_job(struct op *op, const struct store_record *added, const unsigned char *id, int64_t seq)
{
    struct store_record *record = op_alloc(op, sizeof(*record));

    *record = *added;
    record->seq = seq;
    uuid_format(id, record->id);
    record->webhook_url.n = length(record->webhook_url.p);
    record->host.n = length(record->host.p);
    record->trace.n = length(record->trace.p);
    op->answer.records = record;
    op->answer.n = 1;
}

/* --- accepting --- */

/* 1: the key is known and answered; 0: it is new. */
static int look_up_key(struct writer *w, struct op *op)
{
    const struct store_job *job = &op->args.enqueue;
    PREPARE(s, IDEM);

    db_bind_string(s, 1, job->tenant);
    db_bind_string(s, 2, job->idem_key);
    int r = db_step(s);
    if (r <= 0)
        return r;
    bool same = sqlite3_column_bytes(s, 0) == STORE_FINGERPRINT
                && memcmp(sqlite3_column_blob(s, 0), job->fingerprint, STORE_FINGERPRINT) == 0;
    bool expired = sqlite3_column_int64(s, 1) <= job->created_us;
    int64_t seq = sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    if (expired)
        return 0;
    op->answer.existing = true;
    if (!same) {
        op->answer.err = -EBADMSG;
        return 1;
    }
    TRY(answer_job(w, op, seq));
    return strcmp(op->answer.records[0].tenant, job->tenant) == 0 ? 1 : -EUCLEAN; /* never another's */
}

static int add_key(struct writer *w, const struct store_job *job, int64_t seq)
{
    PREPARE(s, ADD_IDEM);
    db_bind_string(s, 1, job->tenant);
    db_bind_string(s, 2, job->idem_key);
    sqlite3_bind_blob(s, 3, job->fingerprint, STORE_FINGERPRINT, SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, seq);
    sqlite3_bind_int64(s, 5, job->idem_expires_us);
    return db_step(s);
}

static int add_job(struct writer *w, const struct store_record *r, const unsigned char *id, int64_t bytes,
                   const char *idem)
{
    PREPARE(s, ADD_JOB);
    sqlite3_bind_blob(s, 1, id, UUID_BYTES, SQLITE_STATIC);
    db_bind_string(s, 2, r->tenant);
    sqlite3_bind_int(s, 3, (int) r->state);
    sqlite3_bind_int64(s, 4, r->created_us);
    db_bind_time(s, 5, r->started_us);
    db_bind_time(s, 6, r->over_us);
    sqlite3_bind_int64(s, 7, r->timeout_ms);
    sqlite3_bind_int(s, 8, r->status);
    db_bind_bytes(s, 9, r->client_id);
    db_bind_string(s, 10, r->webhook_url.p);
    db_bind_string(s, 11, r->host.p);
    db_bind_string(s, 12, r->trace.p);
    db_bind_string(s, 13, r->runtime.p);
    sqlite3_bind_int64(s, 14, bytes);
    db_bind_string(s, 15, idem);
    sqlite3_bind_int(s, 16, r->api);
    return db_step(s);
}

/* Is there room for @bytes of @t?  1: @op is refused; 0; -errno. */
static int find_room(struct writer *w, struct op *op, struct tenant *t, int64_t bytes)
{
    int r = retention_make_room(w, t, bytes);

    if (r == 0)
        op_refuse(op, -EFBIG);
    return r < 0 ? r : !r;
}

/* May one more job of @t wait?  1: @op is refused; 0. */
static int find_place(struct writer *w, struct op *op, const struct tenant *t, const struct store_limits *limits)
{
    int64_t mine = t->is.queued + t->is.lost, tenants = !mine;

    for (const struct tenant *other = w->tenants; other; other = other->next)
        tenants += other->is.queued + other->is.lost > 0;
    int err = store_may_wait(limits, w->is.queued + w->is.lost, mine, tenants);
    if (err)
        op_refuse(op, err);
    return err != 0;
}

static int add_program(struct writer *w, int64_t seq, struct store_bytes code)
{
    PREPARE(s, ADD_PROGRAM);

    sqlite3_bind_int64(s, 1, seq);
    db_bind_bytes(s, 2, code);
    return db_step(s);
}

int apply_enqueue(struct writer *w, struct op *op)
{
    const struct store_job *job = &op->args.enqueue;
    struct tenant *t = tenant_of(w, job->tenant);
    const int64_t bytes = store_charge(job);
    unsigned char id[UUID_BYTES];
    int r = job->idem_key ? look_up_key(w, op) : 0;

    uuid_parse(job->id, UUID_SIZE - 1, id);
    if (!r)
        r = room_find_share(w, op, t, bytes, job->webhook_url != NULL);
    if (!r)
        r = find_room(w, op, t, bytes);
    if (!r)
        r = find_place(w, op, t, &job->limits);
    if (r)
        return r < 0 ? r : 0;
    const struct store_record record = { .tenant = job->tenant,
                                         .state = STORE_QUEUED,
                                         .created_us = job->created_us,
                                         .timeout_ms = job->timeout_ms,
                                         .client_id = job->client_id,
                                         .webhook_url = { job->webhook_url, 0 },
                                         .host = { job->webhook_url ? job->host : NULL, 0 },
                                         .trace = { job->trace, 0 },
                                         .runtime = { job->runtime, 0 },
                                         .api = job->api };
    TRY(add_job(w, &record, id, bytes, job->idem_key));
    int64_t seq = sqlite3_last_insert_rowid(w->db.handle);
    TRY(add_program(w, seq, job->code));
    if (job->idem_key)
        TRY(add_key(w, job, seq));
    tenant_add(w, t);
    charge_add(w, t, bytes);
    charge_hold(w, t, bytes);
    answer_new_job(op, &record, id, seq);
    return 0;
}

/* --- cancelling, queueing again, history --- */

int apply_cancel(struct writer *w, struct op *op)
{
    struct job_charge c;
    bool has_url;
    int64_t seq;
    int state, attempts;
    int r = find_job(w, &op->args.cancel.target, &seq, &state, &attempts, &has_url);

    if (r <= 0)
        return r ? r : op_refuse(op, -ENOENT);
    if (state != STORE_QUEUED)
        return op_refuse(op, state == STORE_RUNNING ? -EBUSY : -EALREADY);
    r = charge_read(w, seq, &c);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    PREPARE(s, CANCEL);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int(s, 2, (int) op->args.cancel.end.state);
    sqlite3_bind_int(s, 3, op->args.cancel.end.status);
    sqlite3_bind_int64(s, 4, op->args.cancel.end.over_us);
    sqlite3_bind_int64(s, 5, charge_after(&c, &op->args.cancel.end));
    TRY(db_step(s));
    if (attempts)
        count_lost(w, c.tenant, -1);
    else {
        c.tenant->is.queued--;
        w->is.queued--;
    }
    return add_result(w, &c, &op->args.cancel.end);
}

/* Drop the job's reply, and with it the delivery, which is still owed (@was_due) or not. */
static int queue_again(struct writer *w, const struct job_charge *c, bool was_due)
{
    const int64_t after = c->bytes - c->reply;
    PREPARE(s, REQUEUE);

    sqlite3_bind_int64(s, 1, c->seq);
    sqlite3_bind_int64(s, 2, after);
    TRY(db_step(s));
    TRY(run_on_seq(w, SQL_DROP_RESULT, c->seq));
    TRY(run_on_seq(w, SQL_DROP_DELIVERY, c->seq));
    charge_change(w, c->tenant, after - c->bytes);
    charge_hold(w, c->tenant, was_due ? after - c->bytes : after);
    count_delivery(w, c->tenant, -was_due);
    count_lost(w, c->tenant, 1);
    return 0;
}

int apply_requeue(struct writer *w, struct op *op)
{
    struct job_charge c;
    bool has_url;
    int64_t seq;
    int state, attempts, value;
    int r = find_job(w, &op->args.requeue.target, &seq, &state, &attempts, &has_url);

    if (r <= 0)
        return r ? r : op_refuse(op, -ENOENT);
    if (state != STORE_DEAD)
        return op_refuse(op, -ENOTRECOVERABLE);
    r = charge_read(w, seq, &c);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    r = has_row(w, SQL_DELIVERY_STATE, seq, &value);
    if (r > 0 && value == STORE_SENDING)
        return op_refuse(op, -EBUSY);
    bool was_due = r > 0 && value < STORE_SENDING;
    if (r >= 0)
        r = has_row(w, SQL_PROGRAM, seq, &value);
    if (r <= 0) /* an older version dropped the program of a dead job */
        return r ? r : op_refuse(op, -ENODATA);
    r = was_due ? 0 : room_find_share(w, op, c.tenant, c.bytes, false);
    if (!r)
        r = find_place(w, op, c.tenant, &op->args.requeue.limits);
    return r < 0 ? r : r ? 0 : queue_again(w, &c, was_due);
}

int apply_history(struct writer *w, struct op *op)
{
    const struct op_history *history = &op->args.history;
    unsigned char id[UUID_BYTES];

    for (unsigned i = 0; i < history->n; i++) {
        const struct store_job as_job = { .client_id = history->records[i].client_id };
        struct tenant *t = tenant_of(w, history->records[i].tenant);
        const int64_t bytes = store_charge(&as_job);
        int r = uuid_parse(history->records[i].id, UUID_SIZE - 1, id) ? retention_make_room(w, t, bytes) : 0;
        if (r < 0)
            return r;
        if (r == 0) /* no room for it */
            continue;
        TRY(add_job(w, &history->records[i], id, bytes, NULL));
        charge_add(w, t, bytes);
        charge_let_go(w, t, sqlite3_last_insert_rowid(w->db.handle), 0);
        t->is.history++;
    }
    return 0;
}

/* --- the table --- */

static int (*const appliers[OP_KINDS])(struct writer *w, struct op *op) = {
#define WRITER(NAME, name) [OP_##NAME] = apply_##name,
#define READER(NAME, name)
#define OP(NAME, name, side, durable, wakes, argument) side(NAME, name)
#include "server/store/ops.def"
};

int writer_apply(struct writer *w, struct op *op)
{
    op->answer = (struct store_answer){ 0 };
    int err = appliers[op->kind](w, op);
    op->answer.queued = w->is.queued + w->is.lost;
    op->answer.deliveries = w->is.deliveries;
    return err;
}
