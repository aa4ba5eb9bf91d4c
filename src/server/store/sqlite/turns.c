/* SPDX-License-Identifier: Apache-2.0 */
/* Whose deliveries are next: tenants take turns, and so do the hosts of each.
 *
 * Called by the writer thread, inside of its transactions.  The table `turns` is in memory only. It
 * has a row for each tenant and host with deliveries that wait: when the first is due (or earlier:
 * a claim finds out), and when this host had its turn last.
 * What must never happen here: a delivery that waits without such a row, or a turn that takes
 * longer the more hosts wait for a time that has not come. */
#include "server/store/sqlite/sqlite.h"

#include "base/fair.h"

#include <errno.h>
#include <stdio.h>

int turns_fill(struct writer *w)
{
    int r = db_exec(&w->db, "CREATE TEMP TABLE IF NOT EXISTS turns(tenant TEXT NOT NULL, host TEXT NOT NULL, "
                            "due INTEGER NOT NULL, served INTEGER NOT NULL, PRIMARY KEY(tenant, host)) WITHOUT ROWID;"
                            "CREATE INDEX IF NOT EXISTS temp.turns_due ON turns(tenant, due);"
                            "CREATE INDEX IF NOT EXISTS temp.turns_served ON turns(tenant, served, due);"
                            "DELETE FROM turns;"
                            "INSERT INTO turns SELECT tenant, host, min(due), 0 FROM deliveries "
                            "WHERE state = 0 GROUP BY tenant, host");
    if (r < 0)
        return r;
    sqlite3_stmt *s = db_statement(&w->db, SQL_SENDERS);
    while ((r = s ? db_step(s) : -EIO) > 0)
        tenant_of(w, (const char *) sqlite3_column_text(s, 0))->sends = true;
    return r;
}

int turns_add(struct writer *w, int64_t seq)
{
    sqlite3_stmt *s = db_statement(&w->db, SQL_ADD_TURN);

    if (!s)
        return -EIO;
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, w->turn);
    int r = db_step(s);
    if (r > 0) {
        tenant_of(w, (const char *) sqlite3_column_text(s, 0))->sends = true;
        r = db_step(s);
    }
    return r;
}

/* When the first delivery of @t after @after_us is due; 0: none is. */
static int first_due(struct writer *w, const struct tenant *t, int64_t after_us, int64_t *ret)
{
    sqlite3_stmt *s = db_statement(&w->db, SQL_TURN_DUE);

    if (!s)
        return -EIO;
    db_bind_string(s, 1, t->name);
    sqlite3_bind_int64(s, 2, after_us);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : -EIO;
    *ret = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return 0;
}

/* The host of a tenant that has waited longest and had no turn in this claim.  1; 0: none; -errno. */
static int next_host(struct writer *w, struct tenant *t, int64_t now_us, struct turn *ret)
{
    int64_t due_us;
    int r = first_due(w, t, INT64_MIN, &due_us);

    if (r < 0)
        return r;
    t->sends = due_us != 0;
    if (!due_us || due_us > now_us)
        return 0;
    sqlite3_stmt *s = db_statement(&w->db, SQL_NEXT_TURN);
    if (!s)
        return -EIO;
    db_bind_string(s, 1, t->name);
    sqlite3_bind_int64(s, 2, w->turns_before);
    sqlite3_bind_int64(s, 3, now_us);
    r = db_step(s);
    if (r <= 0)
        return r;
    ret->tenant = t;
    snprintf(ret->host, sizeof(ret->host), "%s", (const char *) sqlite3_column_text(s, 0));
    ret->due_us = sqlite3_column_int64(s, 1);
    sqlite3_reset(s);
    return 1;
}

void turns_begin(struct writer *w, const struct store_outbox_claim *claim)
{
    w->flying = w->flying_bytes = 0;
    w->senders = 0;
    for (struct tenant *t = w->tenants; t; t = t->next) {
        t->flying = t->flying_bytes = 0;
        w->senders += t->is.jobs > 0;
    }
    for (unsigned i = 0; i < claim->n_busy; i++)
        turns_sent(w, tenant_of(w, claim->busy[i].tenant ? claim->busy[i].tenant : ""), claim->busy[i].n,
                   claim->busy[i].bytes);
    w->places = claim->max + w->flying;
    for (struct tenant *t = w->tenants; t; t = t->next)
        t->sent_all = !t->sends || turns_left(w, t, claim) < 1;
    w->turns_before = w->turn;
}

void turns_sent(struct writer *w, struct tenant *t, int64_t n, int64_t bytes)
{
    t->flying += n;
    t->flying_bytes += bytes;
    w->flying += n;
    w->flying_bytes += bytes;
}

int64_t turns_left(const struct writer *w, const struct tenant *t, const struct store_outbox_claim *claim)
{
    if (claim->max_bytes && t->flying && fair_left(claim->max_bytes, w->flying_bytes, t->flying_bytes) < 1)
        return 0;
    return w->senders > 1 ? fair_left(w->places, w->flying, t->flying) : w->places - w->flying;
}

int turns_next(struct writer *w, int64_t now_us, struct turn *ret)
{
    for (;;) {
        struct tenant *best = NULL;
        for (struct tenant *t = w->tenants; t; t = t->next)
            if (!t->sent_all && (!best || t->turn < best->turn))
                best = t;
        int r = best ? next_host(w, best, now_us, ret) : 0;
        if (r || !best)
            return r;
        best->sent_all = true;
    }
}

int turns_end(struct writer *w, const struct turn *turn, int64_t due_us, bool sent)
{
    sqlite3_stmt *s = db_statement(&w->db, due_us ? SQL_MOVE_TURN : SQL_DROP_TURN);

    if (!s)
        return -EIO;
    w->turn++;
    if (sent)
        turn->tenant->turn = w->turn;
    db_bind_string(s, 1, turn->tenant->name);
    db_bind_string(s, 2, turn->host);
    if (due_us) {
        sqlite3_bind_int64(s, 3, w->turn);
        sqlite3_bind_int64(s, 4, due_us);
    }
    return db_step(s);
}

int turns_next_due(struct writer *w, int64_t now_us, int64_t *ret)
{
    int64_t due_us;

    for (struct tenant *t = w->tenants; t; t = t->next) {
        if (!t->sends)
            continue;
        TRY(first_due(w, t, now_us, &due_us));
        if (t->sends && due_us && (!*ret || due_us < *ret))
            *ret = due_us;
    }
    return 0;
}
