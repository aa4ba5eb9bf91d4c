/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite engine, the loop's side: operations go to a thread, answers come back.
 *
 * Called by calls.c through `struct store_engine`.  An operation stands in the line of the writer
 * or of the reader (threads.c) and comes back with its answer; the loop then hands it to op_over().
 * What must never happen here: an operation without an answer, the loop waiting for the disk (but
 * at its end), or a tenant that waits for all that others ask. */
#include "server/store/sqlite/threads.h"

#include "server/metrics/metrics.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The loop passes on answers for so long, then takes its other turns. */
enum { TURN_NS = 1000000 };

/* A tenant that asks the reader.  Its questions stand behind those it has asked before, not behind
 * all that others asked (start-time fair queueing). */
struct asker {
    struct asker *next;
    uint64_t tag; /* of its last question */
    char name[STORE_TENANT_MAX + 1];
};

/* --- lines --- */

static struct sqlite *sqlite_of(struct store *store)
{
    return (struct sqlite *) store;
}

static void give(struct worker *worker, struct op *op)
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

static void give_question(struct sqlite *sqlite, struct op *op)
{
    struct asker *asker = asker_of(sqlite, op->asker);
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

/* A store that can't write is asked with each sweep whether it can again; a damaged file is read
 * for that. */
static void post(struct store *store, struct op *op)
{
    struct sqlite *sqlite = sqlite_of(store);
    bool probe = op->kind == OP_SWEEP && store->write_err;

    if (op_reads(op))
        give_question(sqlite, op);
    else
        give(&sqlite->writer, op);
    if (probe)
        give(sqlite->damaged ? &sqlite->reader : &sqlite->writer, op_new(OP_PROBE, NULL, NULL));
}

/* --- answers --- */

static struct op *next_answer(struct sqlite *sqlite)
{
    uv_mutex_lock(&sqlite->lock);
    struct op *op = sqlite->over.first ? line_take(&sqlite->over) : NULL;
    uv_mutex_unlock(&sqlite->lock);
    return op;
}

static void on_wake(uv_async_t *handle)
{
    struct sqlite *sqlite = handle->data;
    uint64_t begin_ns = uv_hrtime();
    bool wake = false;
    struct op *op;

    while ((op = next_answer(sqlite))) {
        wake = wake || op_wakes(op);
        op_over(&sqlite->store, op);
        if (uv_hrtime() > begin_ns + TURN_NS) {
            uv_async_send(handle);
            break;
        }
    }
    if (wake && sqlite->conf.on_wake)
        sqlite->conf.on_wake(sqlite->conf.data);
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

/* Waits for the disk: operations that were asked for before are committed and answered. */
static void close_store(struct store *store, void (*on_closed)(void *), void *data)
{
    struct sqlite *sqlite = sqlite_of(store);

    sqlite->on_closed = on_closed;
    sqlite->on_closed_data = data;
    sqlite->conf.on_wake = NULL;
    threads_stop(sqlite);
    for (struct op *op; (op = next_answer(sqlite));)
        op_over(store, op);
    threads_truncate_log(sqlite);
    db_close(&sqlite->read);
    writer_free(&sqlite->write);
    uv_close((uv_handle_t *) &sqlite->wake, on_handle_closed);
}

static const struct store_engine engine = { .post = post, .close = close_store };

static int take_up(struct writer *w)
{
    TRY(writer_recover(w));
    TRY(tenants_count(w));
    return turns_fill(w);
}

static int prepare(struct sqlite *sqlite, struct buf *error)
{
    struct writer *w = &sqlite->write;

    TRY(db_open(&w->db, sqlite->conf.path, true, error));
    int err = take_up(w);
    if (err)
        return fail(error, err, "the store %s cannot be used: %s (%s)", sqlite->conf.path, db_hint(err),
                    sqlite3_errmsg(w->db.handle));
    return db_open(&sqlite->read, sqlite->conf.path, false, error);
}

int store_sqlite_open(struct store **ret, const struct store_conf *conf, uv_loop_t *loop, struct buf *error)
{
    struct sqlite *sqlite = xcalloc(1, sizeof(*sqlite));

    sqlite->store.engine = &engine;
    sqlite->conf = *conf;
    sqlite->write.conf = &sqlite->conf;
    store_name_operations();
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
