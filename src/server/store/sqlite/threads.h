/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop's side of the engine and its two threads share.
 *
 * Included by sqlite.c (the loop) and threads.c (the threads) only: the rooms of the writer see
 * `struct writer`, and know of no thread. */
#ifndef HATCHERY_SERVER_STORE_SQLITE_THREADS_H
#define HATCHERY_SERVER_STORE_SQLITE_THREADS_H

#include "server/store/sqlite/sqlite.h"

#include <sys/stat.h>

/* A thread and the line that it serves. */
struct worker {
    struct sqlite *sqlite;
    uv_thread_t thread;
    uv_mutex_t lock; /* of @line, @tag and @stop */
    uv_cond_t cond;
    struct line line;
    uint64_t tag; /* of the question that was taken last */
    bool stop;
};

struct sqlite {
    struct store store;
    struct store_conf conf;
    struct worker writer, reader;
    struct writer write;
    struct db read;
    struct asker *askers; /* the loop's; see sqlite.c */
    uv_async_t wake;
    uv_mutex_t lock; /* of @over */
    struct line over;
    bool is_normal; /* PRAGMA synchronous; FULL at first */
    /* A thread has found a corrupt page: nothing is written, and so no job accepted, until the
     * reader finds the file sound. */
    _Atomic bool damaged;
    bool distrusted;       /* the writer's: its counts and cached pages may be of a damaged file */
    struct stat file, log; /* the writer's: the files that it writes to; st_ino 0: not looked at yet */
    char why[256];         /* the writer's: SQLite's words for what failed last */
    void (*on_closed)(void *);
    void *on_closed_data;
};

/* Start both threads; @sqlite->over, its lock and its handle are ready.  Aborts if no thread can be
 * made. */
void threads_start(struct sqlite *sqlite);

/* End both threads, after they have answered all operations in their lines.  Blocks, for as long as
 * the disk takes. */
void threads_stop(struct sqlite *sqlite);

/* Move an idle store's log into the database, so that the log does not stay large.  Blocks.  Called
 * by the writer thread, or after threads_stop(). */
void threads_truncate_log(struct sqlite *sqlite);

#endif
