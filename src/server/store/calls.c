/* SPDX-License-Identifier: Apache-2.0 */
/* The store's functions: each copies its arguments into an operation and gives that to the engine.
 *
 * Called by the loop only, by whoever has a store.  The engine serves the operation and hands it to
 * op_over(), which counts it and calls the caller.  All engines share this file.
 * What must never happen here: an operation whose caller is not called exactly once, or an argument
 * that points into the caller's memory after the call (but for the body of an end). */
#include "server/store/op.h"

#include "base/clock.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <string.h>

/* --- what is counted --- */

/* The values of the label "op": the operations, and what a transaction is called. */
enum { COMMIT = OP_KINDS };

static const char *const words[] = {
#define OP(NAME, name, side, durable, wakes, argument) [OP_##NAME] = #name,
#include "server/store/ops.def"
    [COMMIT] = "commit",
};

void store_name_operations(void)
{
    metrics_name(LABEL_OP, words, COMMIT + 1);
}

/* Did the disk or the database fail it?  Other errors are refusals. */
static bool has_failed(const struct op *op)
{
    switch (op->answer.err) {
    case -ENOSPC:
    case -EROFS:
    case -EUCLEAN:
    case -EACCES:
    case -EIO:
    case -EIDRM:
    case -ENOMEM: return true;
    default: return false;
    }
}

static void observe(struct store *store, const struct op *op)
{
    metric_observe(METRIC_STORE_DURATION, now_us() - op->posted_us, op->kind, 0, 0);
    if (op->batch) {
        metric_observe(METRIC_STORE_BATCH, op->batch, 0, 0, 0);
        metric_observe(METRIC_STORE_DURATION, op->commit_us, COMMIT, 0, 0);
    }
    if (has_failed(op)) {
        metric_count(METRIC_STORE_ERRORS, op->kind);
        return;
    }
    if (op_reads(op))
        return;
    store->deliveries = op->answer.deliveries;
    if (op->kind == OP_SWEEP)
        store->oldest_us = op->answer.oldest_us;
}

void op_over(struct store *store, struct op *op)
{
    observe(store, op);
    if (op->done)
        op->done(op->data, &op->answer);
    op_free(op);
}

/* --- the operations --- */

static void post(struct store *store, struct op *op)
{
    store->engine->post(store, op);
}

static struct op_target target(struct op *op, const char *tenant, const char *id)
{
    struct op_target it = { .tenant = op_string(op, tenant) };

    it.is_id = uuid_parse(id, strlen(id), it.id);
    return it;
}

void store_enqueue(struct store *store, const struct store_job *job, store_done *done, void *data)
{
    struct op *op = op_new(OP_ENQUEUE, done, data);
    struct store_job *copy = &op->args.enqueue;

    *copy = *job;
    copy->tenant = op_string(op, job->tenant);
    copy->code = op_bytes(op, job->code);
    copy->client_id = op_bytes(op, job->client_id);
    copy->webhook_url = op_string(op, job->webhook_url);
    copy->host = op_string(op, job->host);
    copy->trace = op_string(op, job->trace);
    copy->runtime = op_string(op, job->runtime);
    copy->idem_key = op_string(op, job->idem_key);
    post(store, op);
}

void store_claim(struct store *store, const struct store_claim *claim, store_done *done, void *data)
{
    struct op *op = op_new(OP_CLAIM, done, data);
    struct store_share *shares = op_alloc(op, claim->n_shares * sizeof(*shares));

    op->args.claim = *claim;
    op->args.claim.shares = shares;
    for (unsigned i = 0; i < claim->n_shares; i++) {
        shares[i] = claim->shares[i];
        shares[i].tenant = op_string(op, claim->shares[i].tenant);
    }
    post(store, op);
}

void store_finish(struct store *store, const struct store_lease *lease, const struct store_end *end, store_done *done,
                  void *data)
{
    struct op *op = op_new(OP_FINISH, done, data);

    op->args.finish = (struct op_finish){ *lease, *end };
    post(store, op);
}

void store_release(struct store *store, const struct store_lease *lease, bool lost, store_done *done, void *data)
{
    struct op *op = op_new(OP_RELEASE, done, data);

    op->args.release = (struct op_release){ *lease, lost };
    post(store, op);
}

void store_get(struct store *store, const char *tenant, const char *id, store_done *done, void *data)
{
    struct op *op = op_new(OP_GET, done, data);

    op->args.get.target = target(op, tenant, id);
    op->asker = op->args.get.target.tenant;
    post(store, op);
}

void store_cancel(struct store *store, const char *tenant, const char *id, const struct store_end *end,
                  store_done *done, void *data)
{
    struct op *op = op_new(OP_CANCEL, done, data);

    op->args.cancel = (struct op_cancel){ target(op, tenant, id), *end };
    post(store, op);
}

void store_requeue(struct store *store, const char *tenant, const char *id, const struct store_limits *limits,
                   store_done *done, void *data)
{
    struct op *op = op_new(OP_REQUEUE, done, data);

    op->args.requeue = (struct op_requeue){ target(op, tenant, id), *limits };
    post(store, op);
}

void store_list(struct store *store, const struct store_query *query, store_done *done, void *data)
{
    struct op *op = op_new(OP_LIST, done, data);
    int64_t *waiting = op_alloc(op, query->n_waiting * sizeof(*waiting));

    if (query->n_waiting)
        memcpy(waiting, query->waiting, query->n_waiting * sizeof(*waiting));
    op->args.list = *query;
    op->args.list.waiting = waiting;
    op->args.list.tenant = op_string(op, query->tenant);
    op->asker = op->args.list.tenant;
    post(store, op);
}

void store_history(struct store *store, const struct store_record *records, unsigned n, store_done *done, void *data)
{
    struct op *op = op_new(OP_HISTORY, done, data);
    struct store_record *copies = op_alloc(op, n * sizeof(*copies));

    for (unsigned i = 0; i < n; i++) {
        copies[i] = records[i];
        copies[i].tenant = op_string(op, records[i].tenant);
        copies[i].client_id = op_bytes(op, records[i].client_id);
        copies[i].webhook_url = copies[i].host = copies[i].trace = (struct store_bytes){ 0 };
        copies[i].runtime = (struct store_bytes){ op_string(op, copies[i].runtime.p), 0 };
    }
    op->args.history = (struct op_history){ copies, n };
    post(store, op);
}

void store_outbox_claim(struct store *store, const struct store_outbox_claim *claim, store_done *done, void *data)
{
    struct op *op = op_new(OP_OUTBOX_CLAIM, done, data);
    struct store_busy *busy = op_alloc(op, claim->n_busy * sizeof(*busy));

    op->args.outbox_claim = *claim;
    op->args.outbox_claim.busy = busy;
    for (unsigned i = 0; i < claim->n_busy; i++)
        busy[i] = (struct store_busy){ op_string(op, claim->busy[i].host), claim->busy[i].n,
                                       op_string(op, claim->busy[i].tenant), claim->busy[i].bytes };
    post(store, op);
}

void store_outbox_done(struct store *store, int64_t seq, const struct store_attempt *attempt, store_done *done,
                       void *data)
{
    struct op *op = op_new(OP_OUTBOX_DONE, done, data);

    op->args.outbox_done = (struct op_outbox_done){ seq, *attempt };
    op->args.outbox_done.attempt.error = op_bytes(op, attempt->error);
    op->args.outbox_done.attempt.address = op_bytes(op, attempt->address);
    post(store, op);
}

void store_redeliver(struct store *store, const char *tenant, const char *id, int64_t now_us, store_done *done,
                     void *data)
{
    struct op *op = op_new(OP_REDELIVER, done, data);

    op->args.redeliver = (struct op_redeliver){ target(op, tenant, id), now_us };
    post(store, op);
}

void store_sweep(struct store *store, const struct store_sweep *sweep, store_done *done, void *data)
{
    struct op *op = op_new(OP_SWEEP, done, data);
    struct store_quota *quotas = op_alloc(op, sweep->n_quotas * sizeof(*quotas));

    op->args.sweep = *sweep;
    op->args.sweep.quotas = quotas;
    for (unsigned i = 0; i < sweep->n_quotas; i++)
        quotas[i] = (struct store_quota){ op_string(op, sweep->quotas[i].tenant), sweep->quotas[i].max_bytes };
    post(store, op);
}

void store_close(struct store *store, void (*on_closed)(void *), void *data)
{
    store->engine->close(store, on_closed, data);
}
