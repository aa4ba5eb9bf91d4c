/* SPDX-License-Identifier: Apache-2.0 */
/* What the store does now and then: it drops what is old or too much.
 *
 * A timer of the backlog calls it, and it starts that timer again until the
 * server drains.  After each sweep the backlog looks for jobs.
 * What must never happen here: a sweep beside another, or a timer that a
 * failed sweep leaves stopped. */
#include "server/jobs/backlog_parts.h"

#include "base/clock.h"

#include <stdlib.h>

enum { SWEEP_MS = 5000, SWEEP_ON_MS = 20 };

static void on_swept(void *data, const struct store_answer *answer)
{
    struct backlog *b = data;

    b->asked--;
    if (!answer->err)
        b->queued = answer->queued;
    if (!b->draining)
        uv_timer_start(&b->sweep, backlog_on_sweep, answer->more ? SWEEP_ON_MS : SWEEP_MS, 0);
    backlog_wake(b); /* whatever a lost wake-up would have cost; and the jobs of the server before this one */
    backlog_check_idle(b);
}

static unsigned list_quotas(const struct backlog *b, struct store_quota **ret)
{
    unsigned n = 0;

    *ret = NULL;
    for (struct key *key = keys_first(b->conf.keys); key; key = key->next) {
        if (!key->file.max_bytes)
            continue;
        *ret = xrealloc(*ret, (n + 1) * sizeof(**ret));
        (*ret)[n++] = (struct store_quota){ key->file.name, key->file.max_bytes };
    }
    return n;
}

void backlog_on_sweep(uv_timer_t *timer)
{
    struct backlog *b = timer->data;

    struct store_quota *quotas;
    struct store_sweep sweep = { .now_us = wall_us(), .n_quotas = list_quotas(b, &quotas) };

    sweep.quotas = quotas;
    b->asked++;
    store_sweep(b->conf.store, &sweep, on_swept, b);
    free(quotas);
}
