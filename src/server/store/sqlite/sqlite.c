/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite engine, the loop's side: operations go to a thread, answers come back.
 *
 * Called by the server through `struct store_ops`.  What a call says is copied
 * into an operation, which stands in the line of the writer or of the reader
 * (threads.c) and comes back with its answer; the loop then calls the caller.
 * What must never happen here: an operation without an answer, the loop waiting
 * for the disk (but at its end), or a tenant that waits for all that others ask. */
#include "server/store/sqlite/threads.h"

#include "base/clock.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Answers are passed on for so long; then the loop has other turns. */
enum { TURN_NS = 1000000 };

/* Who asks the reader.  What a tenant asks stands behind what it has asked before, not behind all that others have
 * (start-time fair queueing). */
struct asker {
    struct asker *next;
    uint64_t tag; /* of its last question */
    char name[STORE_TENANT_MAX + 1];
};

/* --- lines --- */

static void post(struct worker *worker, struct op *op)
{
    uv_mutex_lock(&worker->lock);
    line_add(&worker->line, op);
    uv_cond_signal(&worker->cond);
    uv_mutex_unlock(&worker->lock);
}

static struct asker *asker_of(struct sqlite *sqlite, const char *tenant)
{
    struct asker **p = &sqlite->askers;

    while (*p && strcmp((*p)->name, tenant) != 0)
        p = &(*p)->next;
    if (!*p) {
        *p = xcalloc(1, sizeof(**p));
        snprintf((*p)->name, sizeof((*p)->name), "%s", tenant);
    }
    return *p;
}

static void post_question(struct sqlite *sqlite, struct op *op, const char *tenant)
{
    struct asker *asker = asker_of(sqlite, tenant);
    struct worker *worker = &sqlite->reader;
    struct op **p = &worker->line.first;

    uv_mutex_lock(&worker->lock);
    asker->tag = (asker->tag > worker->tag ? asker->tag : worker->tag) + 1;
    op->tag = asker->tag;
    while (*p && (*p)->tag <= op->tag)
        p = &(*p)->next;
    op->next = *p;
    *p = op;
    if (!op->next)
        worker->line.last = &op->next;
    uv_cond_signal(&worker->cond);
    uv_mutex_unlock(&worker->lock);
}

/* --- answers --- */

/* May something wait now that did not before? */
static bool wakes(const struct op *op)
{
    if (op->answer.err)
        return false;
    return op->kind == OP_ENQUEUE || op->kind == OP_FINISH || op->kind == OP_RELEASE || op->kind == OP_CANCEL
           || op->kind == OP_REQUEUE || op->kind == OP_REDELIVER;
}

static const unsigned op_words[] = {
    [OP_ENQUEUE] = METRIC_STORE_ENQUEUE,
    [OP_CLAIM] = METRIC_STORE_CLAIM,
    [OP_FINISH] = METRIC_STORE_FINISH,
    [OP_RELEASE] = METRIC_STORE_RELEASE,
    [OP_GET] = METRIC_STORE_GET,
    [OP_CANCEL] = METRIC_STORE_CANCEL,
    [OP_LIST] = METRIC_STORE_LIST,
    [OP_HISTORY] = METRIC_STORE_HISTORY,
    [OP_OUTBOX_CLAIM] = METRIC_STORE_OUTBOX_CLAIM,
    [OP_OUTBOX_DONE] = METRIC_STORE_OUTBOX_DONE,
    [OP_REDELIVER] = METRIC_STORE_REDELIVER,
    [OP_REQUEUE] = METRIC_STORE_REQUEUE,
    [OP_SWEEP] = METRIC_STORE_SWEEP,
    [OP_PROBE] = METRIC_STORE_SWEEP,
};

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

static void observe(struct sqlite *sqlite, const struct op *op)
{
    struct store *store = &sqlite->store;

    metric_observe(METRIC_STORE_DURATION, now_us() - op->posted_us, op_words[op->kind], 0, 0);
    if (op->batch) {
        metric_observe(METRIC_STORE_BATCH, op->batch, 0, 0, 0);
        metric_observe(METRIC_STORE_DURATION, op->commit_us, METRIC_STORE_COMMIT, 0, 0);
    }
    if (has_failed(op)) {
        metric_count(METRIC_STORE_ERRORS, op_words[op->kind]);
        return;
    }
    if (op->kind == OP_GET || op->kind == OP_LIST)
        return;
    store->deliveries = op->answer.deliveries;
    if (op->kind == OP_SWEEP)
        store->oldest_us = op->answer.oldest_us;
}

static struct op *next_answer(struct sqlite *sqlite)
{
    uv_mutex_lock(&sqlite->lock);
    struct op *op = sqlite->over.first ? line_take(&sqlite->over) : NULL;
    uv_mutex_unlock(&sqlite->lock);
    return op;
}

static void pass_on(struct sqlite *sqlite, struct op *op)
{
    observe(sqlite, op);
    if (op->done)
        op->done(op->data, &op->answer);
    op_free(op);
}

static void on_wake(uv_async_t *handle)
{
    struct sqlite *sqlite = handle->data;
    uint64_t begin_ns = uv_hrtime();
    bool wake = false;
    struct op *op;

    while ((op = next_answer(sqlite))) {
        wake = wake || wakes(op);
        pass_on(sqlite, op);
        if (uv_hrtime() > begin_ns + TURN_NS) {
            uv_async_send(handle);
            break;
        }
    }
    if (wake && sqlite->conf.on_wake)
        sqlite->conf.on_wake(sqlite->conf.data);
}

/* --- the operations --- */

static struct sqlite *of(struct store *store)
{
    return (struct sqlite *) store;
}

static void enqueue(struct store *store, const struct store_job *job, store_done *done, void *data)
{
    struct op *op = op_new(OP_ENQUEUE, done, data);

    op->job = *job;
    op->job.tenant = op_string(op, job->tenant);
    op->job.code = op_bytes(op, job->code);
    op->job.client_id = op_bytes(op, job->client_id);
    op->job.webhook_url = op_string(op, job->webhook_url);
    op->job.host = op_string(op, job->host);
    op->job.trace = op_string(op, job->trace);
    op->job.runtime = op_string(op, job->runtime);
    op->job.idem_key = op_string(op, job->idem_key);
    op_take_id(op, job->tenant, job->id);
    post(&of(store)->writer, op);
}

static void claim(struct store *store, const struct store_claim *claim, store_done *done, void *data)
{
    struct op *op = op_new(OP_CLAIM, done, data);
    struct store_share *shares = op_alloc(op, claim->n_shares * sizeof(*shares));

    op->claim = *claim;
    op->claim.shares = shares;
    for (unsigned i = 0; i < claim->n_shares; i++) {
        shares[i] = claim->shares[i];
        shares[i].tenant = op_string(op, claim->shares[i].tenant);
    }
    post(&of(store)->writer, op);
}

static void finish(struct store *store, const struct store_lease *lease, const struct store_end *end, store_done *done,
                   void *data)
{
    struct op *op = op_new(OP_FINISH, done, data);

    op->lease = *lease;
    op_take_end(op, end);
    post(&of(store)->writer, op);
}

static void release(struct store *store, const struct store_lease *lease, bool lost, store_done *done, void *data)
{
    struct op *op = op_new(OP_RELEASE, done, data);

    op->lease = *lease;
    op->lost = lost;
    post(&of(store)->writer, op);
}

static void get(struct store *store, const char *tenant, const char *id, store_done *done, void *data)
{
    struct op *op = op_new(OP_GET, done, data);

    op_take_id(op, tenant, id);
    post_question(of(store), op, tenant);
}

static void cancel(struct store *store, const char *tenant, const char *id, const struct store_end *end,
                   store_done *done, void *data)
{
    struct op *op = op_new(OP_CANCEL, done, data);

    op_take_id(op, tenant, id);
    op_take_end(op, end);
    post(&of(store)->writer, op);
}

static void requeue(struct store *store, const char *tenant, const char *id, const struct store_limits *limits,
                    store_done *done, void *data)
{
    struct op *op = op_new(OP_REQUEUE, done, data);

    op_take_id(op, tenant, id);
    op->limits = *limits;
    post(&of(store)->writer, op);
}

static void list(struct store *store, const struct store_query *query, store_done *done, void *data)
{
    struct op *op = op_new(OP_LIST, done, data);

    op->query = *query;
    op->query.tenant = op_string(op, query->tenant);
    int64_t *waiting = op_alloc(op, query->n_waiting * sizeof(*waiting));
    if (query->n_waiting)
        memcpy(waiting, query->waiting, query->n_waiting * sizeof(*waiting));
    op->query.waiting = waiting;
    post_question(of(store), op, query->tenant);
}

static void history(struct store *store, const struct store_record *records, unsigned n, store_done *done, void *data)
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
    op->history = copies;
    op->n_history = n;
    post(&of(store)->writer, op);
}

static void outbox_claim(struct store *store, const struct store_outbox_claim *claim, store_done *done, void *data)
{
    struct op *op = op_new(OP_OUTBOX_CLAIM, done, data);
    struct store_busy *busy = op_alloc(op, claim->n_busy * sizeof(*busy));

    op->outbox = *claim;
    op->outbox.busy = busy;
    for (unsigned i = 0; i < claim->n_busy; i++)
        busy[i] = (struct store_busy){ op_string(op, claim->busy[i].host), claim->busy[i].n,
                                       op_string(op, claim->busy[i].tenant), claim->busy[i].bytes };
    post(&of(store)->writer, op);
}

static void outbox_done(struct store *store, int64_t seq, const struct store_attempt *attempt, store_done *done,
                        void *data)
{
    struct op *op = op_new(OP_OUTBOX_DONE, done, data);

    op->seq = seq;
    op->attempt = *attempt;
    op->attempt.error = op_bytes(op, attempt->error);
    op->attempt.address = op_bytes(op, attempt->address);
    post(&of(store)->writer, op);
}

static void redeliver(struct store *store, const char *tenant, const char *id, int64_t now_us, store_done *done,
                      void *data)
{
    struct op *op = op_new(OP_REDELIVER, done, data);

    op_take_id(op, tenant, id);
    op->now_us = now_us;
    post(&of(store)->writer, op);
}

static void sweep(struct store *store, const struct store_sweep *sweep, store_done *done, void *data)
{
    struct op *op = op_new(OP_SWEEP, done, data);
    struct store_quota *quotas = op_alloc(op, sweep->n_quotas * sizeof(*quotas));

    op->sweep = *sweep;
    op->sweep.quotas = quotas;
    for (unsigned i = 0; i < sweep->n_quotas; i++)
        quotas[i] = (struct store_quota){ op_string(op, sweep->quotas[i].tenant), sweep->quotas[i].max_bytes };
    post(&of(store)->writer, op);
    if (store->write_err)
        post(of(store)->damaged ? &of(store)->reader : &of(store)->writer, op_new(OP_PROBE, NULL, NULL));
}

/* --- opening and closing --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sqlite *sqlite = handle->data;
    void (*on_closed)(void *) = sqlite->on_closed;
    void *data = sqlite->on_closed_data;

    for (struct asker *asker = sqlite->askers, *next; asker; asker = next) {
        next = asker->next;
        free(asker);
    }
    uv_mutex_destroy(&sqlite->lock);
    free(sqlite);
    if (on_closed)
        on_closed(data);
}

/* Waits for the disk: what was asked for before is committed and answered. */
static void close_store(struct store *store, void (*on_closed)(void *), void *data)
{
    struct sqlite *sqlite = of(store);

    sqlite->on_closed = on_closed;
    sqlite->on_closed_data = data;
    sqlite->conf.on_wake = NULL;
    threads_stop(sqlite);
    for (struct op *op; (op = next_answer(sqlite));)
        pass_on(sqlite, op);
    threads_truncate_log(sqlite);
    db_close(&sqlite->read);
    writer_free(&sqlite->write);
    uv_close((uv_handle_t *) &sqlite->wake, on_handle_closed);
}

static const struct store_ops ops = {
    .enqueue = enqueue,
    .claim = claim,
    .finish = finish,
    .release = release,
    .get = get,
    .cancel = cancel,
    .requeue = requeue,
    .list = list,
    .history = history,
    .outbox_claim = outbox_claim,
    .outbox_done = outbox_done,
    .redeliver = redeliver,
    .sweep = sweep,
    .close = close_store,
};

static int prepare(struct sqlite *sqlite, struct buf *error)
{
    struct writer *w = &sqlite->write;
    int err = db_open(&w->db, sqlite->conf.path, true, error);

    if (err)
        return err;
    err = writer_recover(w);
    if (!err)
        err = tenants_count(w);
    if (!err)
        err = turns_fill(w);
    if (err)
        buf_addf(error, "the store %s cannot be used: %s (%s)", sqlite->conf.path, db_hint(err),
                 sqlite3_errmsg(w->db.handle));
    return err ? err : db_open(&sqlite->read, sqlite->conf.path, false, error);
}

int store_sqlite_open(struct store **ret, const struct store_conf *conf, uv_loop_t *loop, struct buf *error)
{
    struct sqlite *sqlite = xcalloc(1, sizeof(*sqlite));

    sqlite->store.ops = &ops;
    sqlite->conf = *conf;
    sqlite->write.conf = &sqlite->conf;
    randombytes_buf(sqlite->write.owner, sizeof(sqlite->write.owner));
    int err = prepare(sqlite, error);
    if (err) {
        writer_free(&sqlite->write);
        free(sqlite);
        return err;
    }
    sqlite->store.deliveries = sqlite->write.is.deliveries;
    metric_add(METRIC_JOB_RETRIES, sqlite->write.recovered, METRIC_RETRY_SERVER, 0, 0);
    line_init(&sqlite->over);
    uv_mutex_init(&sqlite->lock);
    uv_async_init(loop, &sqlite->wake, on_wake);
    sqlite->wake.data = sqlite;
    threads_start(sqlite);
    *ret = &sqlite->store;
    return 0;
}
