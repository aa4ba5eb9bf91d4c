/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs a job: claims, and what becomes of the lease.
 *
 * Called by writer.c, inside of the writer thread's transactions.  A lease is the job's row: who
 * owns it and which attempt this is; whoever ends it names both.
 * What must never happen here: a finish by an owner that lost its lease, a result without the
 * delivery it calls for, or a lost job that begins beside others. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>

/* --- claiming --- */

static int load_program(struct writer *w, struct op *op, struct store_record *record)
{
    int r = run_on_seq(w, SQL_PROGRAM, record->seq);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    record->blob = column_blob(op, w->db.statements[SQL_PROGRAM], 0, &record->code);
    sqlite3_reset(w->db.statements[SQL_PROGRAM]);
    return 0;
}

static int lease(struct writer *w, struct op *op, int64_t seq, struct store_record *ret)
{
    PREPARE(s, LEASE);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_blob(s, 2, w->owner, sizeof(w->owner), SQLITE_STATIC);
    TRY(db_step(s));
    TRY(load_record(w, op, seq, ret));
    TRY(load_program(w, op, ret));
    op->answer.n++;
    return 0;
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
    TRY(lease(w, op, seq, &records[0]));
    struct tenant *t = tenant_of(w, records[0].tenant);
    count_lost(w, t, -1);
    count_run(w, t, 1);
    return 0;
}

/* The first job of @t; with @within_ms, one of its first few jobs whose timeout is not larger. */
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

    tenants_take_shares(w, &op->args.claim);
    while (r >= 0 && op->answer.n < max && (t = tenants_next(w, op->args.claim.reply_max))) {
        r = next_of(w, t, within_ms, &seq);
        if (r == 0 && !within_ms)
            return -EUCLEAN;
        if (r == 0)
            t->room = 0; /* none in this claim: all its jobs are too long */
        if (r <= 0)
            continue;
        r = lease(w, op, seq, &records[op->answer.n]);
        tenant_take(w, t);
        if (t->room != UINT32_MAX)
            t->room--;
    }
    return r < 0 ? r : 0;
}

int apply_claim(struct writer *w, struct op *op)
{
    unsigned max = op->args.claim.max < STORE_CLAIM_MAX ? op->args.claim.max : STORE_CLAIM_MAX;
    struct store_record *records = op_alloc(op, (max + 1) * sizeof(*records));

    op->answer.records = records;
    op->answer.suspects = w->is.lost > 0;
    if (!w->is.lost)
        return claim_fresh(w, op, max, 0, records);
    if (op->args.claim.alone)
        return claim_suspect(w, op, records);
    return op->args.claim.within_ms ? claim_fresh(w, op, max, op->args.claim.within_ms, records) : 0;
}

/* --- the end of a lease --- */

int add_result(struct writer *w, const struct job_charge *c, const struct store_end *end)
{
    const int64_t after = charge_after(c, end);

    if (end->body.p) {
        PREPARE(s, ADD_RESULT);
        sqlite3_bind_int64(s, 1, c->seq);
        db_bind_bytes(s, 2, end->body);
        sqlite3_bind_int(s, 3, end->form);
        sqlite3_bind_int64(s, 4, end->longest);
        TRY(db_step(s));
    }
    charge_change(w, c->tenant, after - c->bytes);
    if (c->has_url)
        charge_hold(w, c->tenant, after - c->bytes);
    else
        charge_let_go(w, c->tenant, c->seq, c->bytes);
    if (c->has_url)
        TRY(delivery_add(w, c, end->over_us));
    return end->state == STORE_DEAD ? 0 : run_on_seq(w, SQL_DROP_PROGRAM, c->seq);
}

static void bind_lease(const struct writer *w, sqlite3_stmt *s, const struct store_lease *lease)
{
    sqlite3_bind_int64(s, 1, lease->seq);
    sqlite3_bind_int(s, 2, lease->attempt);
    sqlite3_bind_blob(s, 3, w->owner, sizeof(w->owner), SQLITE_STATIC);
}

int apply_finish(struct writer *w, struct op *op)
{
    const struct op_finish *finish = &op->args.finish;
    const struct store_end *end = &finish->end;
    struct job_charge c;
    int r = charge_read(w, finish->lease.seq, &c);
    PREPARE(s, FINISH);

    if (r <= 0)
        return r ? r : op_refuse(op, -ESTALE);
    bind_lease(w, s, &finish->lease);
    sqlite3_bind_int(s, 4, (int) end->state);
    sqlite3_bind_int(s, 5, end->status);
    db_bind_time(s, 6, end->started_us);
    sqlite3_bind_int64(s, 7, end->over_us);
    sqlite3_bind_int64(s, 8, charge_after(&c, end));
    TRY(db_step(s));
    if (!sqlite3_changes(w->db.handle))
        return op_refuse(op, -ESTALE);
    count_run(w, c.tenant, -1);
    return add_result(w, &c, end);
}

int apply_release(struct writer *w, struct op *op)
{
    PREPARE(s, RELEASE);

    bind_lease(w, s, &op->args.release.lease);
    sqlite3_bind_int(s, 4, op->args.release.lost);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : op_refuse(op, -ESTALE);
    struct tenant *t = tenant_of(w, (const char *) sqlite3_column_text(s, 0));
    count_run(w, t, -1);
    if (sqlite3_column_int(s, 1))
        count_lost(w, t, 1);
    else
        tenant_add(w, t);
    return db_step(s);
}
