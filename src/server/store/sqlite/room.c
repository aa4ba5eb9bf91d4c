/* SPDX-License-Identifier: Apache-2.0 */
/* Who has how much of the store, and who may have more.
 *
 * Called by the writer thread, inside of its transactions.  Each job's row says what it is charged;
 * the sums by tenant are in memory and are made again from the rows when the store is opened.
 * What must never happen here: a sum that differs from the rows, or a tenant that holds more than
 * its part while others share the store. */
#include "server/store/sqlite/sqlite.h"

#include "base/fair.h"

#include <errno.h>
#include <stdio.h>

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
    TRY(read_number(w, SQL_PAGES, &pages));
    TRY(read_number(w, SQL_FREE_PAGES, &unused));
    TRY(read_number(w, SQL_PAGE_SIZE, &size));
    w->is.bytes = (pages - unused) * size;
    return 0;
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
    /* However small the limits are, one job at a time may run. */
    return left_for(w, t, reply_max) >= reply_max || (!t->is.running && left_for(w, t, 0) > 0);
}
