/* SPDX-License-Identifier: Apache-2.0 */
/* Who has how much of the store, and what is dropped for others.
 *
 * Called by the writer thread, inside of its transactions.  Each job's row says
 * what it is charged; the sums by tenant are in memory and are made again from
 * the rows when the store is opened.
 * What must never happen here: a job dropped that waits, runs or is not
 * delivered, a job dropped for size or number of a tenant that has less than
 * another, or a sum that differs from the rows. */
#include "server/store/sqlite/sqlite.h"

#include "base/fair.h"

#include <errno.h>
#include <stdio.h>

enum { SWEEP_MAX = 200, ROOM_MAX = 8 };
static const int64_t SWEEP_BYTES = 64 << 20; /* dropped in one transaction: each byte is overwritten */

/* --- what is charged --- */

int charge_read(struct writer *w, int64_t seq, struct job_charge *ret)
{
    sqlite3_stmt *s = db_statement(&w->db, SQL_CHARGE);

    if (!s)
        return -EIO;
    sqlite3_bind_int64(s, 1, seq);
    int r = db_step(s);
    if (r <= 0)
        return r;
    const char *idem = (const char *) sqlite3_column_text(s, 5);
    *ret = (struct job_charge){ .tenant = tenant_of(w, (const char *) sqlite3_column_text(s, 0)),
                                .seq = seq,
                                .bytes = sqlite3_column_int64(s, 1),
                                .has_url = sqlite3_column_int(s, 2),
                                .is_over = sqlite3_column_int(s, 3),
                                .attempts = sqlite3_column_int(s, 4),
                                .program = sqlite3_column_int64(s, 6),
                                .has_reply = sqlite3_column_type(s, 7) != SQLITE_NULL,
                                .reply = sqlite3_column_int64(s, 7) };
    snprintf(ret->idem, sizeof(ret->idem), "%s", idem ? idem : "");
    sqlite3_reset(s);
    return 1;
}

void charge_add(struct writer *w, struct tenant *t, int64_t bytes)
{
    t->is.jobs++;
    w->is.jobs++;
    charge_change(w, t, bytes);
}

void charge_change(struct writer *w, struct tenant *t, int64_t bytes)
{
    t->is.bytes += bytes;
    w->is.bytes += bytes;
}

void charge_hold(struct writer *w, struct tenant *t, int64_t bytes)
{
    t->is.held += bytes;
    w->is.held += bytes;
}

void charge_let_go(struct writer *w, struct tenant *t, int64_t seq, int64_t bytes)
{
    charge_hold(w, t, -bytes);
    if (seq < t->old_from)
        t->old_from = seq;
}

int64_t charge_after(const struct job_charge *c, const struct store_end *end)
{
    return c->bytes + (int64_t) end->body.n - (end->state == STORE_DEAD ? 0 : c->program);
}

/* --- is there room? --- */

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

int room_measure(struct writer *w)
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
        w->is.bytes = (pages - unused) * size;
    return err;
}

/* May @t hold @bytes more, and owe a delivery?  0, or -ENOBUFS and why. */
static int may_hold(const struct writer *w, const struct tenant *t, int64_t bytes, bool owes, enum store_limit *ret)
{
    const int64_t max = w->conf->max_bytes, owed_max = store_owed_max(w->conf->retention_count);

    if (t->max_bytes && t->is.held + bytes > t->max_bytes)
        return *ret = STORE_LIMIT_QUOTA, -ENOBUFS;
    if (max && bytes > fair_left(max, w->is.held, t->is.held))
        return *ret = STORE_LIMIT_BYTES, -ENOBUFS;
    if (owes && owed_max && fair_left(owed_max, w->is.deliveries, t->is.deliveries) < 1)
        return *ret = STORE_LIMIT_DELIVERIES, -ENOBUFS;
    return 0;
}

int room_find_share(const struct writer *w, struct op *op, const struct tenant *t, int64_t bytes, bool owes)
{
    int err = may_hold(w, t, bytes, owes, &op->answer.limit);

    if (err)
        op_refuse(op, err);
    return err != 0;
}

static int64_t left_for(const struct writer *w, const struct tenant *t, int64_t reply_max)
{
    const int64_t max = w->conf->max_bytes, mine = t->is.held + t->is.running * reply_max;
    int64_t left = max ? fair_left(max, w->is.held + w->is.running * reply_max, mine) : INT64_MAX;

    return t->max_bytes && t->max_bytes - mine < left ? t->max_bytes - mine : left;
}

bool room_for_reply(const struct writer *w, const struct tenant *t, int64_t reply_max)
{
    /* However small the limits are, one by one they run. */
    return left_for(w, t, reply_max) >= reply_max || (!t->is.running && left_for(w, t, 0) > 0);
}

/* --- dropping --- */

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

/* What @s finds. */
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

/* By age: of all tenants. */
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

/* The oldest of @t that may be dropped, or of its rows of history.  @from: none of these is before it. */
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

/* Who has most; NULL: nobody has any.  @ret_lead: how much more than the next. */
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

static bool has_room(const struct writer *w, int64_t bytes)
{
    return !w->conf->max_bytes || w->is.bytes + bytes <= w->conf->max_bytes;
}

static bool is_within(const struct tenant *t, int64_t bytes)
{
    return !t->max_bytes || t->is.bytes + bytes <= t->max_bytes;
}

/* Who is over its own limit gives way to itself, else who has most. */
static struct tenant *who_gives_way(const struct writer *w, struct tenant *t, int64_t bytes)
{
    int64_t lead;

    if (!is_within(t, bytes))
        return droppable(t) > 0 ? t : NULL;
    return largest(w, by_bytes, &lead);
}

int room_make(struct writer *w, struct tenant *t, int64_t bytes)
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

/* There are too many: rows of history of who has most of them, then the oldest jobs of who has most. */
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

/* The store is nine tenths full, or a tenant's own part of it. */
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

int room_sweep(struct writer *w, const struct store_sweep *sweep, bool *ret_more)
{
    int aged = 0, counted = 0;

    take_quotas(w, sweep);
    int err = room_measure(w);
    if (!err && w->conf->retention_age_us)
        err = drop_old(w, sweep->now_us - w->conf->retention_age_us, SWEEP_MAX, &aged);
    int64_t excess = w->conf->retention_count ? w->is.jobs - w->conf->retention_count : 0;
    if (!err && excess > 0)
        err = drop_excess(w, excess, &counted);
    *ret_more = aged == SWEEP_MAX || counted >= SWEEP_MAX;
    return err ? err : drop_large(w, ret_more);
}
