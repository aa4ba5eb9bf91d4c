/* SPDX-License-Identifier: Apache-2.0 */
/* Retention: what is dropped for age, for number, for size and for others.
 *
 * Called by writer.c, inside of the writer thread's transactions: every few seconds by the sweep,
 * and when a new job finds no room.
 * What must never happen here: a job dropped that waits, runs or is not delivered, a job dropped
 * for size or number of a tenant that has less than another, or a transaction that drops so much
 * that others wait for it. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>

enum { SWEEP_MAX = 200, ROOM_MAX = 8, KEYS_MAX = 200 };
static const int64_t SWEEP_BYTES = 64 << 20; /* dropped in one transaction: each byte is overwritten */

/* --- one job --- */

static int drop_key(struct writer *w, const struct job_charge *c)
{
    sqlite3_stmt *s = db_statement(&w->db, SQL_DROP_IDEM_OF);

    if (!s)
        return -EIO;
    db_bind_string(s, 1, c->tenant->name);
    db_bind_string(s, 2, c->idem);
    sqlite3_bind_int64(s, 3, c->seq);
    return db_step(s);
}

static int drop_job(struct writer *w, int64_t seq)
{
    static const enum statement drops[] = { SQL_DROP_ATTEMPTS, SQL_DROP_DELIVERY, SQL_DROP_RESULT, SQL_DROP_PROGRAM,
                                            SQL_DROP_JOB };
    struct job_charge c;
    int r = charge_read(w, seq, &c);

    if (r <= 0)
        return r ? r : -EUCLEAN;
    int err = *c.idem ? drop_key(w, &c) : 0;
    for (size_t i = 0; i < sizeof(drops) / sizeof(*drops) && !err; i++)
        err = run_on_seq(w, drops[i], seq);
    if (err)
        return err;
    charge_change(w, c.tenant, -c.bytes);
    c.tenant->is.jobs--;
    w->is.jobs--;
    c.tenant->is.history -= !c.attempts && !c.has_reply;
    return 0;
}

/* Drop the jobs that @s finds. */
static int drop_found(struct writer *w, sqlite3_stmt *s, int *ret_n, int64_t *ret_first)
{
    int64_t seqs[SWEEP_MAX];
    int n = 0, r = 0;

    while (n < SWEEP_MAX && (r = db_step(s)) > 0)
        seqs[n++] = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    for (int i = 0; i < n && r >= 0; i++)
        r = drop_job(w, seqs[i]);
    *ret_first = n ? seqs[0] : 0;
    *ret_n = n;
    return r < 0 ? r : 0;
}

/* --- whose jobs --- */

/* Drop by age, of all tenants. */
static int drop_old(struct writer *w, int64_t over_before_us, int64_t max, int *ret_n)
{
    sqlite3_stmt *s = db_statement(&w->db, SQL_OLD);
    int64_t first;

    if (!s)
        return -EIO;
    sqlite3_bind_int64(s, 1, over_before_us);
    sqlite3_bind_int64(s, 2, max < SWEEP_MAX ? max : SWEEP_MAX);
    return drop_found(w, s, ret_n, &first);
}

/* Find the oldest jobs of @t that may be dropped, or its oldest rows of history.  None of them is
 * before @from. */
static int drop_of(struct writer *w, struct tenant *t, enum statement which, int64_t *from, int64_t max, int *ret_n)
{
    sqlite3_stmt *s = db_statement(&w->db, which);
    int64_t first;

    if (!s)
        return -EIO;
    db_bind_string(s, 1, t->name);
    sqlite3_bind_int64(s, 2, *from);
    sqlite3_bind_int64(s, 3, max < SWEEP_MAX ? max : SWEEP_MAX);
    int err = drop_found(w, s, ret_n, &first);
    if (first)
        *from = first;
    return err;
}

static int drop_oldest(struct writer *w, struct tenant *t, int64_t max, int *ret_n)
{
    return drop_of(w, t, SQL_OLD_OF, &t->old_from, max, ret_n);
}

static int64_t droppable(const struct tenant *t)
{
    const struct counts *is = &t->is;

    return is->jobs - is->queued - is->lost - is->running - is->deliveries;
}

static int64_t by_bytes(const struct tenant *t)
{
    return droppable(t) > 0 ? t->is.bytes : 0;
}

static int64_t by_jobs(const struct tenant *t)
{
    return droppable(t) > 0 ? t->is.jobs : 0;
}

static int64_t by_history(const struct tenant *t)
{
    return t->is.history;
}

/* The tenant that has most; NULL: no tenant has any.  @ret_lead: how much more it has than the
 * next. */
static struct tenant *largest(const struct writer *w, int64_t (*size)(const struct tenant *), int64_t *ret_lead)
{
    struct tenant *most = NULL;
    int64_t first = 0, second = 0;

    for (struct tenant *t = w->tenants; t; t = t->next) {
        int64_t n = size(t);
        if (n > first) {
            second = first;
            first = n;
            most = t;
        } else if (n > second)
            second = n;
    }
    *ret_lead = first - second;
    return most;
}

/* --- room for a new job --- */

static bool has_room(const struct writer *w, int64_t bytes)
{
    return !w->conf->max_bytes || w->is.bytes + bytes <= w->conf->max_bytes;
}

static bool is_within(const struct tenant *t, int64_t bytes)
{
    return !t->max_bytes || t->is.bytes + bytes <= t->max_bytes;
}

/* A tenant above its own limit gives way to itself; otherwise the tenant that has most gives way. */
static struct tenant *who_gives_way(const struct writer *w, struct tenant *t, int64_t bytes)
{
    int64_t lead;

    if (!is_within(t, bytes))
        return droppable(t) > 0 ? t : NULL;
    return largest(w, by_bytes, &lead);
}

int retention_make_room(struct writer *w, struct tenant *t, int64_t bytes)
{
    int err = has_room(w, bytes) ? 0 : room_measure(w);

    for (int i = 0; i < ROOM_MAX && !err && !(has_room(w, bytes) && is_within(t, bytes)); i++) {
        struct tenant *giver = who_gives_way(w, t, bytes);
        int n = 0;
        if (giver)
            err = drop_oldest(w, giver, 1, &n);
        if (!n)
            break;
    }
    return err ? err : has_room(w, bytes) && is_within(t, bytes);
}

/* --- the sweep --- */

static void take_quotas(struct writer *w, const struct store_sweep *sweep)
{
    for (struct tenant *t = w->tenants; t; t = t->next)
        t->max_bytes = 0;
    for (unsigned i = 0; i < sweep->n_quotas; i++)
        tenant_of(w, sweep->quotas[i].tenant)->max_bytes = sweep->quotas[i].max_bytes;
}

/* There are too many jobs: drop rows of history of the tenant that has most of them, then the
 * oldest jobs of the tenant that has most. */
static int drop_excess(struct writer *w, int64_t excess, int *ret_n)
{
    int err = 0, n = 1;

    while (!err && n && *ret_n < SWEEP_MAX && *ret_n < excess) {
        int64_t lead, max = excess - *ret_n;
        struct tenant *t = largest(w, by_history, &lead);
        bool history = t != NULL;
        n = 0;
        if (!history)
            t = largest(w, by_jobs, &lead);
        if (!t)
            break;
        max = max < lead + 1 ? max : lead + 1;
        err = history ? drop_of(w, t, SQL_OLD_HISTORY_OF, &t->history_from, max, &n) : drop_oldest(w, t, max, &n);
        *ret_n += n;
    }
    return err;
}

/* The store, or a tenant's own part of it, is nine tenths full. */
static struct tenant *who_is_too_large(const struct writer *w)
{
    int64_t lead;

    for (struct tenant *t = w->tenants; t; t = t->next)
        if (t->max_bytes && t->is.bytes > t->max_bytes / 10 * 9 && droppable(t) > 0)
            return t;
    return w->conf->max_bytes && w->is.bytes > w->conf->max_bytes / 10 * 9 ? largest(w, by_bytes, &lead) : NULL;
}

static int drop_large(struct writer *w, bool *ret_more)
{
    const int64_t before = w->is.bytes;
    struct tenant *t;
    int err = 0, n = 1;

    for (int i = 0; !err && n && i < SWEEP_MAX && before - w->is.bytes < SWEEP_BYTES; i++) {
        t = who_is_too_large(w);
        if (!t)
            return 0;
        err = drop_oldest(w, t, 1, &n);
    }
    *ret_more = *ret_more || n;
    return err;
}

static int sweep_jobs(struct writer *w, const struct store_sweep *sweep, bool *ret_more)
{
    int aged = 0, counted = 0;

    take_quotas(w, sweep);
    TRY(room_measure(w));
    if (w->conf->retention_age_us)
        TRY(drop_old(w, sweep->now_us - w->conf->retention_age_us, SWEEP_MAX, &aged));
    int64_t excess = w->conf->retention_count ? w->is.jobs - w->conf->retention_count : 0;
    if (excess > 0)
        TRY(drop_excess(w, excess, &counted));
    *ret_more = aged == SWEEP_MAX || counted >= SWEEP_MAX;
    return drop_large(w, ret_more);
}

static int drop_expired_keys(struct writer *w, int64_t now_us, bool *ret_more)
{
    PREPARE(s, DROP_IDEM);

    sqlite3_bind_int64(s, 1, now_us);
    sqlite3_bind_int64(s, 2, KEYS_MAX);
    int err = db_step(s);
    *ret_more = *ret_more || sqlite3_changes(w->db.handle) == KEYS_MAX;
    return err;
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
    if (w->is.lost)
        TRY(note_oldest(w, op, SQL_OLDEST_SUSPECT, NULL));
    for (struct tenant *t = w->tenants; t; t = t->next)
        if (t->is.queued)
            TRY(note_oldest(w, op, SQL_OLDEST_OF, t->name));
    return 0;
}

int apply_sweep(struct writer *w, struct op *op)
{
    if (w->probed)
        TRY(run_on_seq(w, SQL_DROP_RESULT, -1));
    w->probed = false;
    TRY(sweep_jobs(w, &op->args.sweep, &op->answer.more));
    TRY(drop_expired_keys(w, op->args.sweep.now_us, &op->answer.more));
    return find_oldest(w, op);
}

/* A probe writes as much as a job of some size: room for one page does not prove that the disk is
 * well.  The next sweep removes the row; the sweep itself must not depend on writing it, as
 * dropping old jobs may be what makes room. */
int apply_probe(struct writer *w, struct op *op)
{
    PREPARE(s, PROBE);

    (void) op;
    w->probed = true;
    return db_step(s);
}
