/* SPDX-License-Identifier: Apache-2.0 */
/* The writer thread's transactions: each operation, applied inside of the one that commits a whole batch.
 *
 * Called by store_sqlite.c.  An operation's refusal is its answer; only what
 * SQLite itself fails at breaks the transaction, and then nothing of the batch
 * has happened: what is counted in memory is counted again from the tables.
 * What must never happen here: a result without the delivery it calls for, a
 * finish by an owner that lost its lease, a delivery dropped by retention. */
#include "store_sqlite.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_MAX = 200, SWEEP_LARGE = 20 };
enum { JOB_BYTES = 1024 }; /* a row and its places in the indexes, at most, but for what a caller can make long */

/* A statement whose bindings are numbers or ours for as long as it runs. */
#define PREPARE(var, which)                                                                                            \
    sqlite3_stmt *var = db_statement(&w->db, SQL_##which);                                                             \
    if (!(var))                                                                                                        \
    return -EIO

static int run_on_seq(struct writer *w, enum statement which, int64_t seq)
{
    sqlite3_stmt *s = db_statement(&w->db, which);

    if (!s)
        return -EIO;
    sqlite3_bind_int64(s, 1, seq);
    return db_step(s);
}

/* --- what is known of tenants --- */

struct tenant *tenant_of(struct writer *w, const char *name)
{
    struct tenant **p = &w->tenants;

    while (*p && strcmp((*p)->name, name) != 0)
        p = &(*p)->next;
    if (*p)
        return *p;
    *p = xcalloc(1, sizeof(**p));
    (*p)->weight = 1;
    snprintf((*p)->name, sizeof((*p)->name), "%s", name);
    return *p;
}

/* A tenant that was idle does not catch up on the time it had no use for. */
static void tenant_add(struct writer *w, struct tenant *t)
{
    if (t->queued++ == 0)
        t->vt = fmax(t->vt, w->vt);
    w->queued++;
}

static void tenant_take(struct writer *w, struct tenant *t)
{
    w->vt = fmax(w->vt, t->vt);
    t->vt += 1.0 / t->weight;
    t->queued--;
    w->queued--;
}

static struct tenant *next_tenant(struct writer *w)
{
    struct tenant *best = NULL;

    for (struct tenant *t = w->tenants; t; t = t->next)
        if (t->queued && t->room && (!best || t->vt < best->vt))
            best = t;
    return best;
}

static int read_number(struct writer *w, enum statement which, int64_t *ret)
{
    sqlite3_stmt *s = db_statement(&w->db, which);
    int r = s ? db_step(s) : -EIO;

    if (r <= 0)
        return r ? r : -EIO;
    *ret = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return 0;
}

/* How much is in use.  In between, what is added is counted: asking costs a batch a twentieth of its time. */
static int measure(struct writer *w)
{
    int64_t pages, unused, size;

    if (!w->conf->max_bytes)
        return 0;
    int err = read_number(w, SQL_PAGES, &pages);
    if (!err)
        err = read_number(w, SQL_FREE_PAGES, &unused);
    if (!err)
        err = read_number(w, SQL_PAGE_SIZE, &size);
    if (!err)
        w->bytes = (pages - unused) * size;
    return err;
}

int writer_count(struct writer *w)
{
    PREPARE(jobs, COUNT_JOBS);
    PREPARE(s, COUNT_QUEUED);
    int r;

    w->queued = w->suspects = 0;
    for (struct tenant *t = w->tenants; t; t = t->next) {
        t->queued = 0;
        t->sends = true; /* turns were rolled back, or are filled */
    }
    while ((r = db_step(s)) > 0) {
        struct tenant *t = tenant_of(w, (const char *) sqlite3_column_text(s, 0));
        int64_t lost = sqlite3_column_int64(s, 2);
        t->queued = sqlite3_column_int64(s, 1) - lost;
        w->queued += t->queued + lost;
        w->suspects += lost;
    }
    if (r < 0 || (r = db_step(jobs)) < 0)
        return r;
    w->jobs = sqlite3_column_int64(jobs, 0);
    sqlite3_reset(jobs);
    PREPARE(deliveries, COUNT_DELIVERIES);
    if ((r = db_step(deliveries)) < 0)
        return r;
    w->deliveries = sqlite3_column_int64(deliveries, 0);
    sqlite3_reset(deliveries);
    return measure(w);
}

static bool has_room(const struct writer *w, int64_t bytes)
{
    return !w->conf->max_bytes || w->bytes + bytes <= w->conf->max_bytes;
}

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

static int load_record(struct writer *w, struct op *op, int64_t seq, struct store_record *ret)
{
    PREPARE(s, JOB);
    sqlite3_bind_int64(s, 1, seq);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    record_from_row(op, s, ret);
    sqlite3_reset(s);
    return 0;
}

static int load_program(struct writer *w, struct op *op, struct store_record *record)
{
    int r = run_on_seq(w, SQL_PROGRAM, record->seq);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    record->code = column_bytes(op, w->db.statements[SQL_PROGRAM], 0);
    sqlite3_reset(w->db.statements[SQL_PROGRAM]);
    return 0;
}

/* Answer with one record. */
static int answer_job(struct writer *w, struct op *op, int64_t seq)
{
    struct store_record *record = op_alloc(op, sizeof(*record));
    int err = load_record(w, op, seq, record);
    if (err)
        return err;
    op->answer.records = record;
    op->answer.n = 1;
    return 0;
}

static size_t length(const char *s)
{
    return s ? strlen(s) : 0;
}

/* The same with the job that @op has just added: it is known without being read. */
static void answer_new_job(struct op *op, const struct store_record *added, int64_t seq)
{
    struct store_record *record = op_alloc(op, sizeof(*record));

    *record = *added;
    record->seq = seq;
    uuid_format(op->id, record->id);
    record->webhook_url.n = length(record->webhook_url.p);
    record->host.n = length(record->host.p);
    record->trace.n = length(record->trace.p);
    op->answer.records = record;
    op->answer.n = 1;
}

static int refuse(struct op *op, int err)
{
    op->answer.err = err;
    return 0;
}

/* --- accepting --- */

/* 1: the key is known and answered; 0: it is new. */
static int look_up_key(struct writer *w, struct op *op)
{
    const struct store_job *job = &op->job;
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
    int err = answer_job(w, op, seq);
    if (err == -EUCLEAN) { /* retention has dropped the job: nothing is remembered any more */
        op->answer.existing = false;
        return 0;
    }
    return err ? err : 1;
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

static int add_job(struct writer *w, const struct store_record *r, const unsigned char *id)
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
    int err = db_step(s);
    if (!err)
        w->jobs++;
    return err;
}

static int apply_enqueue(struct writer *w, struct op *op)
{
    const struct store_job *job = &op->job;
    struct tenant *t = tenant_of(w, job->tenant);
    int err = job->idem_key ? look_up_key(w, op) : 0;

    if (err)
        return err < 0 ? err : 0;
    const int64_t bytes =
        JOB_BYTES + (int64_t) (job->code.n + job->client_id.n + (job->webhook_url ? strlen(job->webhook_url) : 0));
    if (!has_room(w, bytes) && (err = measure(w)) < 0)
        return err;
    if (!has_room(w, bytes))
        return refuse(op, -EFBIG);
    if (job->max_queued && w->queued >= job->max_queued)
        return refuse(op, -EAGAIN);
    if (job->max_tenant_queued && t->queued >= job->max_tenant_queued)
        return refuse(op, -EDQUOT);
    const struct store_record record = { .tenant = job->tenant,
                                         .state = STORE_QUEUED,
                                         .created_us = job->created_us,
                                         .timeout_ms = job->timeout_ms,
                                         .client_id = job->client_id,
                                         .webhook_url = { job->webhook_url, 0 },
                                         .host = { job->webhook_url ? job->host : NULL, 0 },
                                         .trace = { job->trace, 0 },
                                         .runtime = { job->runtime, 0 } };
    err = add_job(w, &record, op->id);
    int64_t seq = sqlite3_last_insert_rowid(w->db.handle);
    sqlite3_stmt *s = db_statement(&w->db, SQL_ADD_PROGRAM);
    if (err || !s)
        return err ? err : -EIO;
    sqlite3_bind_int64(s, 1, seq);
    db_bind_bytes(s, 2, job->code);
    err = db_step(s);
    if (!err && job->idem_key)
        err = add_key(w, job, seq);
    if (err)
        return err;
    tenant_add(w, t);
    w->bytes += bytes;
    answer_new_job(op, &record, seq);
    return 0;
}

/* --- leases --- */

static int lease(struct writer *w, struct op *op, int64_t seq, struct store_record *ret)
{
    PREPARE(s, LEASE);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_blob(s, 2, w->owner, sizeof(w->owner), SQLITE_STATIC);
    int err = db_step(s);
    if (!err)
        err = load_record(w, op, seq, ret);
    if (!err)
        err = load_program(w, op, ret);
    if (!err)
        op->answer.n++;
    return err;
}

static void name_shares(struct writer *w, const struct store_claim *claim)
{
    for (struct tenant *t = w->tenants; t; t = t->next) {
        t->weight = 1;
        t->room = UINT32_MAX;
    }
    for (unsigned i = 0; i < claim->n_shares; i++) {
        struct tenant *t = tenant_of(w, claim->shares[i].tenant);
        t->weight = claim->shares[i].weight ? claim->shares[i].weight : 1;
        t->room = claim->shares[i].room;
    }
}

/* The first row's number: 1; 0: there is none; -errno. */
static int next_seq(sqlite3_stmt *s, int64_t *ret)
{
    int r = db_step(s);

    if (r > 0) {
        *ret = sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
    }
    return r;
}

static int claim_suspect(struct writer *w, struct op *op, struct store_record *records)
{
    int64_t seq;
    PREPARE(s, SUSPECT);
    int r = next_seq(s, &seq);

    if (r <= 0)
        return r ? r : -EUCLEAN;
    w->suspects--;
    w->queued--;
    return lease(w, op, seq, &records[0]);
}

/* @within_ms: of the first few of its jobs, one with no larger timeout; 0: the first. */
static int next_of(struct writer *w, const struct tenant *t, int64_t within_ms, int64_t *ret)
{
    sqlite3_stmt *s = db_statement(&w->db, within_ms ? SQL_NEXT_SHORT_OF : SQL_NEXT_OF);

    if (!s)
        return -EIO;
    db_bind_string(s, 1, t->name);
    if (within_ms)
        sqlite3_bind_int64(s, 2, within_ms);
    return next_seq(s, ret);
}

static int claim_fresh(struct writer *w, struct op *op, unsigned max, int64_t within_ms, struct store_record *records)
{
    struct tenant *t;
    int64_t seq;
    int r = 0;

    name_shares(w, &op->claim);
    while (r >= 0 && op->answer.n < max && (t = next_tenant(w))) {
        r = next_of(w, t, within_ms, &seq);
        if (r == 0 && !within_ms)
            return -EUCLEAN;
        if (r == 0)
            t->room = 0; /* of this claim: its jobs are all too long */
        if (r <= 0)
            continue;
        r = lease(w, op, seq, &records[op->answer.n]);
        tenant_take(w, t);
        if (t->room != UINT32_MAX)
            t->room--;
    }
    return r < 0 ? r : 0;
}

static int apply_claim(struct writer *w, struct op *op)
{
    unsigned max = op->claim.max < STORE_CLAIM_MAX ? op->claim.max : STORE_CLAIM_MAX;
    struct store_record *records = op_alloc(op, (max + 1) * sizeof(*records));

    op->answer.records = records;
    op->answer.suspects = w->suspects > 0;
    if (!w->suspects)
        return claim_fresh(w, op, max, 0, records);
    if (op->claim.alone)
        return claim_suspect(w, op, records);
    return op->claim.within_ms ? claim_fresh(w, op, max, op->claim.within_ms, records) : 0;
}

static int add_result(struct writer *w, int64_t seq, const struct store_end *end)
{
    int err = 0;

    if (end->body.p) {
        PREPARE(s, ADD_RESULT);
        sqlite3_bind_int64(s, 1, seq);
        db_bind_bytes(s, 2, end->body);
        err = db_step(s);
        w->bytes += (int64_t) end->body.n;
    }
    PREPARE(delivery, ADD_DELIVERY);
    sqlite3_bind_int64(delivery, 1, seq);
    sqlite3_bind_int64(delivery, 2, end->over_us);
    if (!err)
        err = db_step(delivery);
    if (!err)
        w->deliveries += sqlite3_changes(w->db.handle);
    if (!err)
        err = turns_add(w, seq);
    if (err || end->state == STORE_DEAD) /* it may be queued again */
        return err;
    return run_on_seq(w, SQL_DROP_PROGRAM, seq);
}

static void bind_lease(const struct writer *w, sqlite3_stmt *s, const struct store_lease *lease)
{
    sqlite3_bind_int64(s, 1, lease->seq);
    sqlite3_bind_int(s, 2, lease->attempt);
    sqlite3_bind_blob(s, 3, w->owner, sizeof(w->owner), SQLITE_STATIC);
}

static int apply_finish(struct writer *w, struct op *op)
{
    const struct store_end *end = &op->end;
    PREPARE(s, FINISH);

    bind_lease(w, s, &op->lease);
    sqlite3_bind_int(s, 4, (int) end->state);
    sqlite3_bind_int(s, 5, end->status);
    db_bind_time(s, 6, end->started_us);
    sqlite3_bind_int64(s, 7, end->over_us);
    int err = db_step(s);
    if (err)
        return err;
    if (!sqlite3_changes(w->db.handle))
        return refuse(op, -ESTALE);
    return add_result(w, op->lease.seq, end);
}

static int apply_release(struct writer *w, struct op *op)
{
    PREPARE(s, RELEASE);

    bind_lease(w, s, &op->lease);
    sqlite3_bind_int(s, 4, op->lost);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : refuse(op, -ESTALE);
    struct tenant *t = tenant_of(w, (const char *) sqlite3_column_text(s, 0));
    if (sqlite3_column_int(s, 1)) {
        w->suspects++;
        w->queued++;
    } else
        tenant_add(w, t);
    r = db_step(s);
    return r;
}

static int find_job(struct writer *w, struct op *op, int64_t *ret_seq, int *ret_state, int *ret_attempts,
                    bool *ret_has_url)
{
    PREPARE(s, STATE_BY_ID);

    if (!op->id_ok)
        return 0;
    sqlite3_bind_blob(s, 1, op->id, sizeof(op->id), SQLITE_STATIC);
    db_bind_string(s, 2, op->tenant);
    int r = db_step(s);
    if (r > 0) {
        *ret_seq = sqlite3_column_int64(s, 0);
        *ret_state = sqlite3_column_int(s, 1);
        *ret_attempts = sqlite3_column_int(s, 2);
        *ret_has_url = sqlite3_column_type(s, 3) != SQLITE_NULL;
        sqlite3_reset(s);
    }
    return r;
}

static int apply_cancel(struct writer *w, struct op *op)
{
    bool has_url;
    int64_t seq;
    int state, attempts;
    int r = find_job(w, op, &seq, &state, &attempts, &has_url);

    if (r <= 0)
        return r ? r : refuse(op, -ENOENT);
    if (state != STORE_QUEUED)
        return refuse(op, state == STORE_RUNNING ? -EBUSY : -EALREADY);
    PREPARE(s, CANCEL);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int(s, 2, (int) op->end.state);
    sqlite3_bind_int(s, 3, op->end.status);
    sqlite3_bind_int64(s, 4, op->end.over_us);
    int err = db_step(s);
    if (err)
        return err;
    w->queued--;
    if (attempts)
        w->suspects--;
    else
        tenant_of(w, op->tenant)->queued--;
    return add_result(w, seq, &op->end);
}

/* 1: a row; 0: none. */
static int has_row(struct writer *w, enum statement which, int64_t seq, int *ret_value)
{
    int r = run_on_seq(w, which, seq);

    if (r > 0) {
        *ret_value = sqlite3_column_int(w->db.statements[which], 0);
        sqlite3_reset(w->db.statements[which]);
    }
    return r;
}

static int apply_requeue(struct writer *w, struct op *op)
{
    bool has_url;
    int64_t seq;
    int state, attempts, value;
    int r = find_job(w, op, &seq, &state, &attempts, &has_url);

    if (r <= 0)
        return r ? r : refuse(op, -ENOENT);
    if (state != STORE_DEAD)
        return refuse(op, -ENOTRECOVERABLE);
    if (op->max_queued && w->queued >= op->max_queued)
        return refuse(op, -EAGAIN);
    r = has_row(w, SQL_DELIVERY_STATE, seq, &value);
    if (r > 0 && value == STORE_SENDING)
        return refuse(op, -EBUSY);
    bool was_due = r > 0 && value < STORE_SENDING;
    if (r >= 0)
        r = has_row(w, SQL_PROGRAM, seq, &value);
    if (r <= 0) /* buried by a version that dropped it */
        return r ? r : refuse(op, -ENODATA);
    int err = run_on_seq(w, SQL_REQUEUE, seq);
    if (!err)
        err = run_on_seq(w, SQL_DROP_RESULT, seq);
    if (!err)
        err = run_on_seq(w, SQL_DROP_DELIVERY, seq);
    if (err)
        return err;
    w->deliveries -= was_due;
    w->suspects++;
    w->queued++;
    return 0;
}

static int apply_history(struct writer *w, struct op *op)
{
    unsigned char id[UUID_BYTES];
    int err = 0;

    for (unsigned i = 0; i < op->n_history && !err; i++) {
        const int64_t bytes = JOB_BYTES + (int64_t) op->history[i].client_id.n;
        if (!uuid_parse(op->history[i].id, UUID_SIZE - 1, id) || !has_room(w, bytes))
            continue;
        err = add_job(w, &op->history[i], id);
        w->bytes += bytes;
    }
    return err;
}

/* --- deliveries --- */

static unsigned under_way(const struct store_outbox_claim *claim, const char *host)
{
    for (unsigned i = 0; i < claim->n_busy; i++)
        if (strcmp(claim->busy[i].host, host) == 0)
            return claim->busy[i].n;
    return 0;
}

static int send_one(struct writer *w, struct op *op, int64_t seq, struct store_record *record)
{
    int err = load_record(w, op, seq, record);
    if (!err)
        err = run_on_seq(w, SQL_SEND, seq);
    if (!err)
        op->answer.n++;
    return err;
}

/* Of the host whose turn it is, what is due, as much as it may have under way. */
static int send_to_host(struct writer *w, struct op *op, const struct turn *turn, struct store_record *records)
{
    const struct store_outbox_claim *claim = &op->outbox;
    unsigned busy = under_way(claim, turn->host);
    unsigned room = claim->per_host > busy ? claim->per_host - busy : 0;
    int64_t seqs[STORE_CLAIM_MAX], left_us = 0;
    unsigned n = 0;
    int r;
    PREPARE(s, DUE_OF);

    if (!room) /* it is asked for again when one of them is done */
        return turns_end(w, turn, turn->due_us, false);
    if (room > claim->max - op->answer.n)
        room = claim->max - op->answer.n;
    db_bind_string(s, 1, turn->tenant->name);
    db_bind_string(s, 2, turn->host);
    sqlite3_bind_int64(s, 3, (int64_t) room + 1);
    while (!left_us && (r = db_step(s)) > 0) {
        int64_t due_us = sqlite3_column_int64(s, 1);
        if (due_us > claim->now_us || n == room)
            left_us = due_us;
        else
            seqs[n++] = sqlite3_column_int64(s, 0);
    }
    sqlite3_reset(s);
    op->answer.more = op->answer.more || (left_us && left_us <= claim->now_us);
    for (unsigned i = 0; i < n && r >= 0; i++)
        r = send_one(w, op, seqs[i], &records[op->answer.n]);
    return r < 0 ? r : turns_end(w, turn, left_us, n > 0);
}

static int apply_outbox_claim(struct writer *w, struct op *op)
{
    unsigned max = op->outbox.max < STORE_CLAIM_MAX ? op->outbox.max : STORE_CLAIM_MAX;
    struct store_record *records = op_alloc(op, (max + 1) * sizeof(*records));
    struct turn turn;

    op->outbox.max = max;
    op->answer.records = records;
    turns_begin(w);
    while (op->answer.n < max) {
        int r = turns_next(w, op->outbox.now_us, &turn);
        if (r > 0)
            r = send_to_host(w, op, &turn, records);
        else
            return r ? r : turns_next_due(w, op->outbox.now_us, &op->answer.next_due_us);
        if (r < 0)
            return r;
    }
    op->answer.more = true;
    return 0;
}

static int apply_outbox_done(struct writer *w, struct op *op)
{
    const struct store_attempt *a = &op->attempt;
    PREPARE(sent, SENT);
    PREPARE(s, ADD_ATTEMPT);

    sqlite3_bind_int64(sent, 1, op->seq);
    sqlite3_bind_int(sent, 2, (int) a->next);
    sqlite3_bind_int64(sent, 3, a->next == STORE_PENDING ? a->next_us : a->at_us);
    int err = db_step(sent);
    if (err)
        return err;
    if (!sqlite3_changes(w->db.handle))
        return refuse(op, -ESTALE);
    w->deliveries -= a->next != STORE_PENDING;
    err = a->next == STORE_PENDING ? turns_add(w, op->seq) : 0;
    if (err)
        return err;
    sqlite3_bind_int64(s, 1, op->seq);
    sqlite3_bind_int64(s, 2, a->at_us);
    sqlite3_bind_int64(s, 3, a->duration_us);
    sqlite3_bind_int(s, 4, a->status);
    if (a->error.p)
        sqlite3_bind_text(s, 5, a->error.p, (int) a->error.n, SQLITE_STATIC);
    if (a->address.p)
        sqlite3_bind_text(s, 6, a->address.p, (int) a->address.n, SQLITE_STATIC);
    return db_step(s);
}

static int apply_redeliver(struct writer *w, struct op *op)
{
    bool has_url;
    int64_t seq;
    int state, attempts;
    int r = find_job(w, op, &seq, &state, &attempts, &has_url);

    if (r <= 0)
        return r ? r : refuse(op, -ENOENT);
    if (!has_url)
        return refuse(op, -ENOMSG);
    r = run_on_seq(w, SQL_DELIVERY_STATE, seq);
    if (r < 0)
        return r;
    bool was_over = r && sqlite3_column_int(w->db.statements[SQL_DELIVERY_STATE], 0) > STORE_SENDING;
    sqlite3_reset(w->db.statements[SQL_DELIVERY_STATE]);
    PREPARE(s, REDELIVER);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, op->now_us);
    int err = db_step(s);
    if (err)
        return err;
    if (!sqlite3_changes(w->db.handle))
        return refuse(op, -EBUSY);
    w->deliveries += was_over;
    return turns_add(w, seq);
}

/* --- retention --- */

static int drop_job(struct writer *w, int64_t seq)
{
    static const enum statement drops[] = { SQL_DROP_ATTEMPTS, SQL_DROP_DELIVERY, SQL_DROP_RESULT, SQL_DROP_PROGRAM,
                                            SQL_DROP_JOB };
    int err = 0;

    for (size_t i = 0; i < sizeof(drops) / sizeof(*drops) && !err; i++)
        err = run_on_seq(w, drops[i], seq);
    if (!err)
        w->jobs--;
    return err;
}

/* What @s finds. */
static int drop_found(struct writer *w, sqlite3_stmt *s, int *ret_n, int64_t *ret_first)
{
    int64_t seqs[SWEEP_MAX];
    int n = 0, r;

    while (n < SWEEP_MAX && (r = db_step(s)) > 0)
        seqs[n++] = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    for (int i = 0; i < n && r >= 0; i++)
        r = drop_job(w, seqs[i]);
    *ret_first = n ? seqs[0] : 0;
    *ret_n = n;
    return r < 0 ? r : 0;
}

static int drop_old(struct writer *w, int64_t over_before_us, int64_t max, int *ret_n)
{
    int64_t first;
    PREPARE(s, OLD);

    sqlite3_bind_int64(s, 1, over_before_us);
    sqlite3_bind_int64(s, 2, max < SWEEP_MAX ? max : SWEEP_MAX);
    return drop_found(w, s, ret_n, &first);
}

/* Rows of runs whose callers have the reply: nothing hangs on them. */
static int drop_history(struct writer *w, int64_t max, int *ret_n)
{
    int64_t first;
    PREPARE(s, OLD_HISTORY);

    sqlite3_bind_int64(s, 1, w->history_from);
    sqlite3_bind_int64(s, 2, max);
    int err = drop_found(w, s, ret_n, &first);
    if (err || first)
        w->history_from = first ? first : w->history_from;
    else
        err = read_number(w, SQL_NEXT_SEQ, &w->history_from);
    return err;
}

static int drop_of_largest(struct writer *w, int64_t max, int *ret_n)
{
    char tenant[STORE_TENANT_MAX + 1];
    int64_t first;
    PREPARE(largest, LARGEST);
    PREPARE(s, OLD_OF);
    int r = db_step(largest);

    if (r <= 0)
        return r;
    snprintf(tenant, sizeof(tenant), "%s", (const char *) sqlite3_column_text(largest, 0));
    sqlite3_reset(largest);
    db_bind_string(s, 1, tenant);
    sqlite3_bind_int64(s, 2, max);
    return drop_found(w, s, ret_n, &first);
}

/* There are too many.  A tenant that sends much must not have others' replies forgotten, nor their idempotency keys. */
static int drop_excess(struct writer *w, int64_t excess, int *ret_n)
{
    int64_t max = excess < SWEEP_MAX ? excess : SWEEP_MAX;
    int more = 0;
    int err = drop_history(w, max, ret_n);

    if (!err && *ret_n < max)
        err = drop_of_largest(w, max - *ret_n, &more);
    *ret_n += more;
    return err || *ret_n ? err : drop_old(w, INT64_MAX, max, ret_n);
}

static int note_oldest(struct writer *w, struct op *op, enum statement which, const char *tenant)
{
    sqlite3_stmt *s = db_statement(&w->db, which);

    if (!s)
        return -EIO;
    db_bind_string(s, 1, tenant);
    int r = db_step(s);
    if (r <= 0)
        return r;
    int64_t created_us = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    if (!op->answer.oldest_us || created_us < op->answer.oldest_us)
        op->answer.oldest_us = created_us;
    return 0;
}

static int find_oldest(struct writer *w, struct op *op)
{
    int err = w->suspects ? note_oldest(w, op, SQL_OLDEST_SUSPECT, NULL) : 0;

    for (struct tenant *t = w->tenants; t && !err; t = t->next)
        if (t->queued)
            err = note_oldest(w, op, SQL_OLDEST_OF, t->name);
    return err;
}

/* As much as a job of some size: the disk is not well because there is a place for one page.  The next sweep takes it
 * away; the sweep itself must not hang on it, as dropping what is old may be what makes room. */
static int apply_probe(struct writer *w, struct op *op)
{
    PREPARE(s, PROBE);

    (void) op;
    w->probed = true;
    return db_step(s);
}

static int apply_sweep(struct writer *w, struct op *op)
{
    int aged = 0, counted = 0, large = 0;
    int err = w->probed ? run_on_seq(w, SQL_DROP_RESULT, -1) : 0;
    PREPARE(s, DROP_IDEM);

    w->probed = w->probed && err;
    if (!err)
        err = measure(w);

    if (!err && w->conf->retention_age_us)
        err = drop_old(w, op->now_us - w->conf->retention_age_us, SWEEP_MAX, &aged);
    int64_t excess = w->conf->retention_count ? w->jobs - w->conf->retention_count : 0;
    if (!err && excess > 0)
        err = drop_excess(w, excess, &counted);
    if (!err && w->conf->max_bytes && w->bytes > w->conf->max_bytes / 10 * 9) /* a few: each may be large */
        err = drop_old(w, INT64_MAX, SWEEP_LARGE, &large);
    sqlite3_bind_int64(s, 1, op->now_us);
    sqlite3_bind_int64(s, 2, SWEEP_MAX);
    if (!err)
        err = db_step(s);
    op->answer.more =
        aged == SWEEP_MAX || counted == SWEEP_MAX || large == SWEEP_LARGE || sqlite3_changes(w->db.handle) == SWEEP_MAX;
    return err ? err : find_oldest(w, op);
}

/* --- the table --- */

static int (*const appliers[])(struct writer *w, struct op *op) = {
    [OP_ENQUEUE] = apply_enqueue,
    [OP_CLAIM] = apply_claim,
    [OP_FINISH] = apply_finish,
    [OP_RELEASE] = apply_release,
    [OP_CANCEL] = apply_cancel,
    [OP_REQUEUE] = apply_requeue,
    [OP_HISTORY] = apply_history,
    [OP_OUTBOX_CLAIM] = apply_outbox_claim,
    [OP_OUTBOX_DONE] = apply_outbox_done,
    [OP_REDELIVER] = apply_redeliver,
    [OP_SWEEP] = apply_sweep,
    [OP_PROBE] = apply_probe,
};

bool op_is_durable(const struct op *op)
{
    return op->kind != OP_HISTORY && op->kind != OP_SWEEP;
}

int writer_apply(struct writer *w, struct op *op)
{
    op->answer = (struct store_answer){ 0 };
    int err = appliers[op->kind](w, op);
    op->answer.queued = w->queued;
    op->answer.deliveries = w->deliveries;
    return err;
}
