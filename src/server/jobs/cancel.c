/* SPDX-License-Identifier: Apache-2.0 */
/* Ending a job because somebody asks for it.
 *
 * A handler calls backlog_cancel().  This server kills a job that runs here.
 * It gives a job that waits in the pool back, and then cancels that job in the
 * store, as it does with a job that nobody has leased.
 * What must never happen here: a caller that is not told, or a job that is
 * called cancelled and runs nevertheless. */
#include "server/jobs/backlog_parts.h"

#include "base/clock.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANCEL_TRIES = 3 };

struct cancel {
    struct backlog *backlog;
    char *tenant;
    char id[UUID_SIZE];
    unsigned tries;
    struct store_record record; /* what is told of it: id, client_id, api and */
    struct blob *packed;        /* what it ended with */
    void (*done)(void *data, int err);
    void *data;
};

static void try_cancel(struct cancel *c);

static void cancel_over(struct cancel *c, int err)
{
    struct backlog *b = c->backlog;

    c->done(c->data, err);
    blob_unref(c->packed);
    free_bytes(c->record.client_id);
    free(c->tenant);
    free(c);
    backlog_check_idle(b);
}

static void on_worded(void *data, struct blob *reply)
{
    struct cancel *c = data;
    struct backlog *b = c->backlog;

    b->asked--;
    backlog_tell_waiters(b, c->id, 400, reply);
    cancel_over(c, 0);
}

static void word_for_waiters(struct cancel *c)
{
    struct backlog *b = c->backlog;

    b->asked++;
    c->record.blob = c->packed;
    wording_begin(b->conf.loop, b->conf.wordings, b, &c->record, on_worded, c);
}

static void on_queued_cancelled(void *data, const struct store_answer *answer)
{
    struct cancel *c = data;
    struct backlog *b = c->backlog;

    b->asked--;
    if (answer->err == -EBUSY && c->tries < CANCEL_TRIES) { /* it was claimed in the meantime: by us, most likely */
        try_cancel(c);
        return;
    }
    if (!answer->err) {
        metric_add(METRIC_RUNS, 1, METRIC_ASYNC, METRIC_ENDED_CANCELLED, 0);
        b->queued = answer->queued;
        if (backlog_is_awaited(b, c->id)) {
            word_for_waiters(c);
            return;
        }
    }
    cancel_over(c, answer->err);
}

/* It ends without a run. */
static void pack(struct cancel *c, struct store_end *end, int64_t waited_us)
{
    const struct backlog *b = c->backlog;
    struct outcome outcome;
    struct verdict verdict;

    outcome_init(&outcome, b->conf.limits);
    outcome_kill(&outcome, OUTCOME_CANCELLED);
    end->status = outcome_status(&outcome);
    verdict_take(&verdict, &outcome);
    verdict.figures = *b->conf.self;
    verdict.figures.queue_us = verdict.figures.total_us = waited_us;
    verdict.figures.queue_length = b->queued;
    c->packed = blob_unref(c->packed);
    c->packed = backlog_pack(end, &verdict, c->record.client_id);
    c->record.form = end->form;
}

static void cancel_queued(struct cancel *c, int api, struct store_bytes client_id, int64_t created_us)
{
    struct backlog *b = c->backlog;
    int64_t now = wall_us();
    struct store_end end = { .state = STORE_CANCELLED, .over_us = now };

    free_bytes(c->record.client_id);
    c->record.client_id = copy_bytes(client_id);
    c->record.api = api;
    memcpy(c->record.id, c->id, sizeof(c->record.id));
    pack(c, &end, now > created_us ? now - created_us : 0);
    b->asked++;
    store_cancel(b->conf.store, c->tenant, c->id, &end, on_queued_cancelled, c);
}

static void on_found(void *data, const struct store_answer *answer)
{
    struct cancel *c = data;
    const struct store_record *r = answer->records;

    c->backlog->asked--;
    if (answer->err || r->state > STORE_RUNNING)
        cancel_over(c, answer->err ? answer->err : -EALREADY);
    else
        cancel_queued(c, r->api, r->client_id, r->created_us);
}

/* It is given back first: then it was never claimed.  Nothing comes between the two. */
static void cancel_unbegun(struct cancel *c, struct lease *lease)
{
    struct backlog *b = c->backlog;

    pool_cancel(b->conf.pool, &lease->job);
    lease->released = true;
    b->n_pooled--;
    lease_post_end(lease);
    cancel_queued(c, lease->api, lease->client_id, lease->created_us);
    backlog_wake(b);
}

static struct lease *find_lease(const struct backlog *b, const char *tenant, const char *id)
{
    struct lease *lease;

    LIST_FOREACH (lease, &b->leases, link)
        if (strcmp(lease->job.id, id) == 0 && strcmp(lease->key->file.name, tenant) == 0)
            return lease;
    return NULL;
}

static void on_lease_cancelled(void *data, int err)
{
    cancel_over(data, err);
}

static void try_cancel(struct cancel *c)
{
    struct backlog *b = c->backlog;
    struct lease *lease = find_lease(b, c->tenant, c->id);

    c->tries++;
    if (!lease || lease->released) {
        b->asked++;
        store_get(b->conf.store, c->tenant, c->id, on_found, c);
    } else if (lease->state != LEASE_POOLED)
        cancel_over(c, -EALREADY);
    else if (!lease->job.slot)
        cancel_unbegun(c, lease);
    else {
        lease->on_cancelled = on_lease_cancelled;
        lease->on_cancelled_data = c;
        pool_stop(b->conf.pool, &lease->job);
    }
}

void backlog_cancel(struct backlog *b, const char *tenant, const char *id, void (*done)(void *data, int err),
                    void *data)
{
    struct cancel *c = xcalloc(1, sizeof(*c));

    *c = (struct cancel){ .backlog = b, .tenant = xstrdup(tenant), .done = done, .data = data };
    snprintf(c->id, sizeof(c->id), "%s", id);
    try_cancel(c);
}
