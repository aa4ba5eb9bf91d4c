/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer knows of each tenant: how much waits, runs and is owed, and who is next.
 *
 * Called by the writer thread.  The counts are in memory, so that a claim needs no query over all
 * jobs; tenants_count() makes them from the rows, each operation keeps them up to date, and
 * tenants_undo() takes back what a transaction that came to nothing has counted.
 * What must never happen here: a count that differs from the rows, or a tenant that is freed while
 * the store is open. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* --- counts --- */

/* A tenant that was idle does not catch up on the time that it did not need. */
void tenant_add(struct writer *w, struct tenant *t)
{
    if (t->is.queued++ == 0)
        t->vt = fmax(t->vt, w->vt);
    w->is.queued++;
}

void count_run(struct writer *w, struct tenant *t, int n)
{
    t->is.running += n;
    w->is.running += n;
}

void count_delivery(struct writer *w, struct tenant *t, int n)
{
    t->is.deliveries += n;
    w->is.deliveries += n;
}

void count_lost(struct writer *w, struct tenant *t, int n)
{
    t->is.lost += n;
    w->is.lost += n;
}

static void add_counts(struct counts *to, const struct counts *from)
{
    to->queued += from->queued;
    to->lost += from->lost;
    to->running += from->running;
    to->jobs += from->jobs;
    to->history += from->history;
    to->deliveries += from->deliveries;
    to->bytes += from->bytes;
    to->held += from->held;
}

static int count_jobs(struct writer *w)
{
    PREPARE(s, COUNT);
    int r;

    while ((r = db_step(s)) > 0)
        tenant_of(w, (const char *) sqlite3_column_text(s, 0))->is =
            (struct counts){ .jobs = sqlite3_column_int64(s, 1),
                             .queued = sqlite3_column_int64(s, 2),
                             .lost = sqlite3_column_int64(s, 3),
                             .running = sqlite3_column_int64(s, 4),
                             .bytes = sqlite3_column_int64(s, 5),
                             .held = sqlite3_column_int64(s, 6),
                             .history = sqlite3_column_int64(s, 7) };
    return r;
}

static int count_owed(struct writer *w)
{
    PREPARE(s, COUNT_OWED);
    int r;

    while ((r = db_step(s)) > 0) {
        struct tenant *t = tenant_of(w, (const char *) sqlite3_column_text(s, 0));
        t->is.deliveries = sqlite3_column_int64(s, 1);
        t->is.held += sqlite3_column_int64(s, 2);
    }
    return r;
}

int tenants_count(struct writer *w)
{
    w->is = (struct counts){ 0 };
    for (struct tenant *t = w->tenants; t; t = t->next) {
        t->is = (struct counts){ 0 };
        t->sends = true;
        t->old_from = t->history_from = 0;
    }
    TRY(count_jobs(w));
    TRY(count_owed(w));
    for (const struct tenant *t = w->tenants; t; t = t->next)
        add_counts(&w->is, &t->is);
    return room_measure(w);
}

void tenants_mark(struct writer *w)
{
    w->was = w->is;
    for (struct tenant *t = w->tenants; t; t = t->next)
        t->was = t->is;
}

void tenants_undo(struct writer *w)
{
    w->is = w->was;
    for (struct tenant *t = w->tenants; t; t = t->next) {
        t->is = t->was;
        t->sends = true; /* turns were rolled back */
    }
}

/* --- who is next --- */

void tenants_take_shares(struct writer *w, const struct store_claim *claim)
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

struct tenant *tenants_next(struct writer *w, int64_t reply_max)
{
    struct tenant *best = NULL;

    for (struct tenant *t = w->tenants; t; t = t->next)
        if (t->is.queued && t->room && (!best || t->vt < best->vt) && room_for_reply(w, t, reply_max))
            best = t;
    return best;
}

void tenant_take(struct writer *w, struct tenant *t)
{
    w->vt = fmax(w->vt, t->vt);
    t->vt += 1.0 / t->weight;
    t->is.queued--;
    w->is.queued--;
    count_run(w, t, 1);
}
