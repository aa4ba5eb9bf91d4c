/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's two threads: one writes, one reads.
 *
 * sqlite.c puts operations into their lines and takes answers out of `sqlite->over`.  All
 * operations that gathered while the writer was busy are its next transaction, with one fsync
 * (group commit). A batch that fails is tried again operation by operation: if one reply does not
 * fit on the disk, the other operations still succeed.
 * What must never happen here: an answer before its commit, an operation without an answer, or a
 * write to a file that is damaged or was taken away. */
#include "server/store/sqlite/threads.h"

#include "base/beside.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 512, IDLE_NS = 1000000000 };

/* --- lines --- */

/* Wait for work, at most @max operations; NULL: stop.  @ret_idle: nothing came for a while. */
static struct op *take_batch(struct worker *worker, unsigned max, bool *ret_idle)
{
    struct op *batch = NULL, *op;
    unsigned n = 0;

    *ret_idle = false;
    uv_mutex_lock(&worker->lock);
    while (!worker->line.first && !worker->stop && !*ret_idle)
        *ret_idle = uv_cond_timedwait(&worker->cond, &worker->lock, IDLE_NS) == UV_ETIMEDOUT;
    for (struct op **tail = &batch; worker->line.first && n < max; n++) {
        op = line_take(&worker->line);
        worker->tag = op->tag > worker->tag ? op->tag : worker->tag;
        op->next = NULL;
        *tail = op;
        tail = &op->next;
    }
    uv_mutex_unlock(&worker->lock);
    return batch;
}

static void give_back(struct sqlite *sqlite, struct op *batch)
{
    uv_mutex_lock(&sqlite->lock);
    for (struct op *op = batch, *next; op; op = next) {
        next = op->next;
        line_add(&sqlite->over, op);
    }
    uv_mutex_unlock(&sqlite->lock);
    uv_async_send(&sqlite->wake);
}

/* --- the writer --- */

/* Does the next commit wait for the disk? */
static int set_durable(struct sqlite *sqlite, bool durable)
{
    if (sqlite->is_normal == !durable)
        return 0;
    TRY(db_exec(&sqlite->write.db, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
    sqlite->is_normal = !durable;
    return 0;
}

/* Is @name the file that is open?  SQLite does not notice if the file was removed or replaced: it
 * would go on writing to a file that the next start does not find. */
static bool is_open_file(const char *name, struct stat *known)
{
    struct stat now;

    if (stat(name, &now) < 0)
        return errno != ENOENT || !known->st_ino;
    if (!known->st_ino)
        *known = now;
    return now.st_ino == known->st_ino && now.st_dev == known->st_dev;
}

static bool files_are_in_place(struct sqlite *sqlite)
{
    char log[PATH_MAX];

    snprintf(log, sizeof(log), "%s-wal", sqlite->conf.path);
    return is_open_file(sqlite->conf.path, &sqlite->file) && is_open_file(log, &sqlite->log);
}

/* May the file be written to?  If it was damaged and has been restored, count everything anew. */
static int prepare_to_write(struct sqlite *sqlite)
{
    if (sqlite->damaged) {
        sqlite->distrusted = true;
        snprintf(sqlite->why, sizeof(sqlite->why), "%s", sqlite3_errstr(SQLITE_CORRUPT));
        return -EUCLEAN;
    }
    if (!files_are_in_place(sqlite)) {
        snprintf(sqlite->why, sizeof(sqlite->why), "its file or its log was removed or replaced");
        return -EIDRM;
    }
    if (!sqlite->distrusted)
        return 0;
    sqlite3_db_release_memory(sqlite->write.db.handle);
    TRY(tenants_count(&sqlite->write));
    TRY(turns_fill(&sqlite->write));
    sqlite->distrusted = false;
    return 0;
}

static int apply_all(struct sqlite *sqlite, struct op *first, unsigned n, bool durable)
{
    struct writer *w = &sqlite->write;
    struct op *op = first;

    TRY(set_durable(sqlite, durable));
    TRY(db_exec(&w->db, "BEGIN IMMEDIATE"));
    for (unsigned i = 0; i < n; i++, op = op->next)
        TRY(writer_apply(w, op));
    return db_exec(&w->db, "COMMIT");
}

/* One transaction over @op and the @n - 1 after it. */
static int commit(struct sqlite *sqlite, struct op *first, unsigned n)
{
    struct writer *w = &sqlite->write;
    bool durable = false;
    struct op *op = first;

    for (unsigned i = 0; i < n; i++, op = op->next)
        durable = durable || op_is_durable(op);
    TRY(prepare_to_write(sqlite));
    tenants_mark(w);
    int err = apply_all(sqlite, first, n, durable);
    if (!err)
        return 0;
    snprintf(sqlite->why, sizeof(sqlite->why), "%s", sqlite3_errmsg(w->db.handle));
    sqlite->damaged = sqlite->damaged || err == -EUCLEAN;
    for (int i = 0; i < N_STATEMENTS; i++)
        sqlite3_reset(w->db.statements[i]);
    if (!sqlite3_get_autocommit(w->db.handle))
        db_exec(&w->db, "ROLLBACK");
    tenants_undo(w);
    return err;
}

static void answer_error(struct op *op, int err)
{
    op->answer = (struct store_answer){ .err = err };
}

/* Log a write error once when it begins and once when it ends.  A batch that wrote nothing proves
 * nothing. */
static void note_error(struct sqlite *sqlite, int err, int64_t changes_before)
{
    if (err == sqlite->store.write_err || (!err && sqlite3_total_changes64(sqlite->write.db.handle) == changes_before))
        return;
    if (err)
        log_error("the store refuses to write: asynchronous requests get 503 until it can",
                  LOG_S("errno", strerrorname_np(-err)) LOG_S("sqlite", sqlite->why) LOG_S("hint", db_hint(err)));
    else
        log_info("the store writes again");
    sqlite->store.write_err = err;
}

static void write_batch(struct sqlite *sqlite, struct op *batch)
{
    unsigned n = 0;

    for (struct op *op = batch; op; op = op->next)
        n++;
    int64_t changes = sqlite3_total_changes64(sqlite->write.db.handle);
    int64_t start_us = now_us();
    int err = commit(sqlite, batch, n);
    batch->batch = n;
    batch->commit_us = now_us() - start_us;
    for (struct op *op = batch; op && err; op = op->next) {
        changes = sqlite3_total_changes64(sqlite->write.db.handle);
        int alone = n > 1 ? commit(sqlite, op, 1) : err;
        if (alone)
            answer_error(op, alone);
        note_error(sqlite, alone, changes);
    }
    if (!err)
        note_error(sqlite, 0, changes);
}

void threads_truncate_log(struct sqlite *sqlite)
{
    if (!sqlite->damaged) /* otherwise the log is the only part that is known to be sound */
        sqlite3_wal_checkpoint_v2(sqlite->write.db.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

static void run_writer(void *data)
{
    struct worker *worker = data;
    bool idle, written = false;

    beside_yield(BESIDE_STORE);
    for (;;) {
        struct op *batch = take_batch(worker, BATCH_MAX, &idle);
        if (batch) {
            write_batch(worker->sqlite, batch);
            give_back(worker->sqlite, batch);
            written = true;
        } else if (!idle)
            return;
        else if (written) {
            threads_truncate_log(worker->sqlite);
            written = false;
        }
    }
}

/* --- the reader --- */

static void read_one(struct sqlite *sqlite, struct op *op)
{
    reader_apply(&sqlite->read, op);
    if (op->kind == OP_PROBE && !op->answer.err)
        sqlite->damaged = false;
    if (op->answer.err != -EUCLEAN || sqlite->damaged)
        return;
    sqlite->damaged = true;
    sqlite->store.write_err = -EUCLEAN;
    log_error("the store is damaged: asynchronous requests get 503 until its file is restored",
              LOG_S("sqlite", sqlite3_errmsg(sqlite->read.handle)) LOG_S("hint", db_hint(-EUCLEAN)));
}

static void run_reader(void *data)
{
    struct worker *worker = data;
    bool idle;

    beside_yield(BESIDE_STORE);
    for (;;) {
        struct op *op = take_batch(worker, 1, &idle);
        if (op) {
            read_one(worker->sqlite, op);
            give_back(worker->sqlite, op);
        } else if (!idle)
            return;
    }
}

/* --- both --- */

static void start_worker(struct sqlite *sqlite, struct worker *worker, void (*run)(void *))
{
    worker->sqlite = sqlite;
    line_init(&worker->line);
    uv_mutex_init(&worker->lock);
    uv_cond_init(&worker->cond);
    if (uv_thread_create(&worker->thread, run, worker) != 0)
        abort();
}

void threads_start(struct sqlite *sqlite)
{
    start_worker(sqlite, &sqlite->writer, run_writer);
    start_worker(sqlite, &sqlite->reader, run_reader);
}

static void stop_worker(struct worker *worker)
{
    uv_mutex_lock(&worker->lock);
    worker->stop = true;
    uv_cond_signal(&worker->cond);
    uv_mutex_unlock(&worker->lock);
    uv_thread_join(&worker->thread);
    uv_mutex_destroy(&worker->lock);
    uv_cond_destroy(&worker->cond);
}

void threads_stop(struct sqlite *sqlite)
{
    stop_worker(&sqlite->writer);
    stop_worker(&sqlite->reader);
}
