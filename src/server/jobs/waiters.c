/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that wait for a job to be over.
 *
 * The handlers begin and end a wait.  The end of a lease and a cancelled job
 * tell the waiters the reply, and a drain tells those whose job will not be
 * over in time.
 * What must never happen here: a waiter that is told twice, or that is called
 * after backlog_unwait(). */
#include "server/jobs/backlog_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct waiter {
    char id[UUID_SIZE];
    void (*on_over)(void *data, int status, struct blob *reply);
    void *data;
    LIST_ENTRY(waiter) link;
};

/* Will the job be over before a server that stops is gone? */
static bool runs_here(const struct backlog *b, const char *id)
{
    const struct lease *lease;

    LIST_FOREACH (lease, &b->leases, link)
        if (!lease->released && strcmp(lease->job.id, id) == 0)
            return true;
    return false;
}

struct waiter *backlog_wait(struct backlog *b, const char *id,
                            void (*on_over)(void *data, int status, struct blob *reply), void *data)
{
    struct waiter *w;

    if (b->draining && !runs_here(b, id))
        return NULL;
    w = xcalloc(1, sizeof(*w));
    snprintf(w->id, sizeof(w->id), "%s", id);
    w->on_over = on_over;
    w->data = data;
    LIST_INSERT_HEAD(&b->waiters, w, link);
    return w;
}

void backlog_unwait(struct backlog *b, struct waiter *w)
{
    (void) b;
    LIST_REMOVE(w, link);
    free(w);
}

bool backlog_is_awaited(const struct backlog *b, const char *id)
{
    const struct waiter *w;

    LIST_FOREACH (w, &b->waiters, link)
        if (strcmp(w->id, id) == 0)
            return true;
    return false;
}

/* @id NULL: all. */
void backlog_tell_waiters(struct backlog *b, const char *id, int status, struct blob *reply)
{
    struct waiter *next;

    for (struct waiter *w = LIST_FIRST(&b->waiters); w; w = next) {
        next = LIST_NEXT(w, link);
        if (id && strcmp(w->id, id) != 0)
            continue;
        LIST_REMOVE(w, link);
        w->on_over(w->data, status, reply);
        free(w);
    }
}

void backlog_dismiss_waiters(struct backlog *b)
{
    struct waiter *next;

    for (struct waiter *w = LIST_FIRST(&b->waiters); w; w = next) {
        next = LIST_NEXT(w, link);
        if (runs_here(b, w->id))
            continue;
        LIST_REMOVE(w, link);
        w->on_over(w->data, 503, NULL);
        free(w);
    }
}
