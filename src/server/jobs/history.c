/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of runs that never waited for the store.
 *
 * A handler calls backlog_history() when such a run is over.  This file keeps
 * the rows for up to a second, so that one transaction writes many.
 * What must never happen here: a run whose reply waits for its row, or rows
 * without a bound where the disk is slow: then the rows of some runs are
 * dropped. */
#include "server/jobs/backlog_parts.h"

#include <stdlib.h>

enum { HISTORY_MS = 1000, HISTORY_FLUSHES_MAX = 16 };

static void on_flushed(void *data, const struct store_answer *answer)
{
    struct backlog *b = data;

    (void) answer; /* the store has said in the log what it thinks of its disk */
    b->n_flushes--;
    backlog_check_idle(b);
}

void backlog_flush_history(struct backlog *b)
{
    uv_timer_stop(&b->flush);
    if (b->n_history && b->n_flushes < HISTORY_FLUSHES_MAX) {
        b->n_flushes++;
        store_history(b->conf.store, b->history, b->n_history, on_flushed, b);
    }
    for (unsigned i = 0; i < b->n_history; i++)
        free_bytes(b->history[i].client_id);
    b->n_history = 0;
}

static void on_flush(uv_timer_t *timer)
{
    backlog_flush_history(timer->data);
}

void backlog_history(struct backlog *b, const struct store_record *record)
{
    struct store_record *r = &b->history[b->n_history++];

    *r = *record; /* the tenant's name is its key's, which stays */
    r->client_id = copy_bytes(record->client_id);
    if (b->n_history == HISTORY_MAX || b->draining)
        backlog_flush_history(b);
    else if (b->n_history == 1)
        uv_timer_start(&b->flush, on_flush, HISTORY_MS, 0);
}
