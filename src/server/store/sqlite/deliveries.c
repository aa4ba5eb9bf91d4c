/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries: which are sent, what became of each, which are sent again.
 *
 * Called by writer.c and, when a job with a webhook ends, by leases.c, inside of the writer
 * thread's transactions.  turns.c says whose turn it is.
 * What must never happen here: a delivery that waits without a row in the table of turns, a job's
 * reply that retention may drop while it is owed, or more under way to one host than that host is
 * to have. */
#include "server/store/sqlite/sqlite.h"

#include "base/fair.h"

#include <errno.h>
#include <string.h>

enum { ATTEMPTS_KEPT = 64 };

/* --- sending --- */

int delivery_add(struct writer *w, const struct job_charge *c, int64_t due_us)
{
    PREPARE(s, ADD_DELIVERY);

    sqlite3_bind_int64(s, 1, c->seq);
    sqlite3_bind_int64(s, 2, due_us);
    TRY(db_step(s));
    count_delivery(w, c->tenant, 1);
    return turns_add(w, c->seq);
}

/* How many more deliveries of @t may be under way to @host. */
static int64_t room_at(const struct writer *w, const struct store_outbox_claim *claim, const struct tenant *t,
                       const char *host)
{
    int64_t all = 0, mine = 0;

    for (unsigned i = 0; i < claim->n_busy; i++)
        if (strcmp(claim->busy[i].host, host) == 0) {
            all += claim->busy[i].n;
            mine += claim->busy[i].tenant && strcmp(claim->busy[i].tenant, t->name) == 0 ? claim->busy[i].n : 0;
        }
    return w->senders > 1 ? fair_left(claim->per_host, all, mine) : (int64_t) claim->per_host - all;
}

static int send_one(struct writer *w, struct op *op, struct tenant *t, int64_t seq, struct store_record *record)
{
    TRY(load_record(w, op, seq, record));
    TRY(run_on_seq(w, SQL_SEND, seq));
    turns_sent(w, t, 1, record->longest);
    op->answer.n++;
    return 0;
}

/* Send the deliveries that are due to the host whose turn it is, as many as may be under way. */
static int send_to_host(struct writer *w, struct op *op, const struct turn *turn, struct store_record *records)
{
    const struct store_outbox_claim *claim = &op->args.outbox_claim;
    struct tenant *t = turn->tenant;
    int64_t room = room_at(w, claim, t, turn->host), left = turns_left(w, t, claim);
    int64_t seqs[STORE_CLAIM_MAX], left_us = 0;
    unsigned n = 0, sent = 0;
    int r;
    PREPARE(s, DUE_OF);

    if (room < 1) /* the host is asked for again when one of its deliveries is over */
        return turns_end(w, turn, turn->due_us, false);
    room = room < left ? room : left;
    if (room > claim->max - op->answer.n)
        room = claim->max - op->answer.n;
    db_bind_string(s, 1, t->name);
    db_bind_string(s, 2, turn->host);
    sqlite3_bind_int64(s, 3, room + 1);
    while (!left_us && (r = db_step(s)) > 0) {
        int64_t due_us = sqlite3_column_int64(s, 1);
        if (due_us > claim->now_us || n == room)
            left_us = due_us;
        else
            seqs[n++] = sqlite3_column_int64(s, 0);
    }
    sqlite3_reset(s);
    for (; sent < n && r >= 0 && turns_left(w, t, claim) > 0; sent++)
        r = send_one(w, op, t, seqs[sent], &records[op->answer.n]);
    if (sent < n) /* its replies are too large for now */
        left_us = turn->due_us;
    t->sent_all = turns_left(w, t, claim) < 1;
    op->answer.more = op->answer.more || (left_us && left_us <= claim->now_us);
    return r < 0 ? r : turns_end(w, turn, left_us, sent > 0);
}

int apply_outbox_claim(struct writer *w, struct op *op)
{
    unsigned max = op->args.outbox_claim.max < STORE_CLAIM_MAX ? op->args.outbox_claim.max : STORE_CLAIM_MAX;
    struct store_record *records = op_alloc(op, (max + 1) * sizeof(*records));
    struct turn turn;

    op->args.outbox_claim.max = max;
    op->answer.records = records;
    turns_begin(w, &op->args.outbox_claim);
    while (op->answer.n < max) {
        int r = turns_next(w, op->args.outbox_claim.now_us, &turn);
        if (r > 0)
            r = send_to_host(w, op, &turn, records);
        else
            return r ? r : turns_next_due(w, op->args.outbox_claim.now_us, &op->answer.next_due_us);
        if (r < 0)
            return r;
    }
    op->answer.more = true;
    return 0;
}

/* --- what became of it --- */

/* The delivery was made or given up: its reply may be dropped. */
static int end_delivery(struct writer *w, int64_t seq)
{
    struct job_charge c;
    int r = charge_read(w, seq, &c);

    if (r <= 0)
        return r ? r : -EUCLEAN;
    count_delivery(w, c.tenant, -1);
    charge_let_go(w, c.tenant, seq, c.bytes);
    return 0;
}

/* Keep the last few attempts: a job can be delivered again as often as its sender likes. */
static int add_attempt(struct writer *w, int64_t seq, const struct store_attempt *a)
{
    PREPARE(s, ADD_ATTEMPT);
    int n = 0;
    int r = has_row(w, SQL_LAST_ATTEMPT, seq, &n);

    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, a->at_us);
    sqlite3_bind_int64(s, 3, a->duration_us);
    sqlite3_bind_int(s, 4, a->status);
    if (a->error.p)
        sqlite3_bind_text(s, 5, a->error.p, (int) a->error.n, SQLITE_STATIC);
    if (a->address.p)
        sqlite3_bind_text(s, 6, a->address.p, (int) a->address.n, SQLITE_STATIC);
    sqlite3_bind_int(s, 7, n + 1);
    int err = db_step(s);
    if (err || n < ATTEMPTS_KEPT)
        return err;
    PREPARE(drop, DROP_ATTEMPT);
    sqlite3_bind_int64(drop, 1, seq);
    sqlite3_bind_int(drop, 2, n + 1 - ATTEMPTS_KEPT);
    return db_step(drop);
}

int apply_outbox_done(struct writer *w, struct op *op)
{
    const struct op_outbox_done *done = &op->args.outbox_done;
    const struct store_attempt *a = &done->attempt;
    PREPARE(sent, SENT);

    sqlite3_bind_int64(sent, 1, done->seq);
    sqlite3_bind_int(sent, 2, (int) a->next);
    sqlite3_bind_int64(sent, 3, a->next == STORE_PENDING ? a->next_us : a->at_us);
    TRY(db_step(sent));
    if (!sqlite3_changes(w->db.handle))
        return op_refuse(op, -ESTALE);
    TRY(a->next == STORE_PENDING ? turns_add(w, done->seq) : end_delivery(w, done->seq));
    return add_attempt(w, done->seq, a);
}

int apply_redeliver(struct writer *w, struct op *op)
{
    struct job_charge c;
    bool has_url;
    int64_t seq;
    int state, attempts, was = STORE_PENDING;
    int r = find_job(w, &op->args.redeliver.target, &seq, &state, &attempts, &has_url);

    if (r <= 0)
        return r ? r : op_refuse(op, -ENOENT);
    if (!has_url)
        return op_refuse(op, -ENOMSG);
    r = has_row(w, SQL_DELIVERY_STATE, seq, &was);
    if (r >= 0)
        r = charge_read(w, seq, &c);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    if (was > STORE_SENDING && room_find_share(w, op, c.tenant, c.bytes, true))
        return 0;
    PREPARE(s, REDELIVER);
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, op->args.redeliver.now_us);
    TRY(db_step(s));
    if (!sqlite3_changes(w->db.handle))
        return op_refuse(op, -EBUSY);
    if (was > STORE_SENDING) {
        count_delivery(w, c.tenant, 1);
        charge_hold(w, c.tenant, c.bytes);
    }
    return turns_add(w, seq);
}
