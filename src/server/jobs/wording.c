/* SPDX-License-Identifier: Apache-2.0 */
/* An outcome to the text of its reply.
 *
 * Called when a run is over, by whoever sends or stores its reply.  What must
 * never happen here: the loop standing still because a program has printed
 * much, or a thread that touches what the loop may change meanwhile. */
#include "server/jobs/wording.h"

#include "base/beside.h"

#include <stdlib.h>

struct wording {
    struct beside beside;
    struct outcome outcome;
    struct wire_limits limits;
    struct buf body;
    on_worded *done;
    void *data;
};

static size_t length_of(const struct outcome *o)
{
    return o->result.len + o->error.len + o->value.len + o->out.kept.len + o->err.kept.len;
}

static void word(void *data)
{
    struct wording *w = data;

    outcome_add_json(&w->outcome, &w->limits, &w->body);
    outcome_free(&w->outcome);
}

static void on_word(void *data)
{
    struct wording *w = data;

    w->done(w->data, &w->body);
    free(w);
}

/* The limits are its run's, which ends. */
static void take(struct wording *w, struct outcome *outcome)
{
    w->limits = *outcome->limits;
    w->outcome = *outcome;
    w->outcome.limits = &w->limits;
    outcome_init(outcome, outcome->limits);
}

void wording_begin(uv_loop_t *loop, const void *whose, struct outcome *outcome, struct buf *body, on_worded *done,
                   void *data)
{
    if (length_of(outcome) <= BESIDE_MIN) {
        outcome_add_json(outcome, outcome->limits, body);
        done(data, body);
        return;
    }
    struct wording *w = xcalloc(1, sizeof(*w));
    take(w, outcome);
    w->body = *body;
    w->done = done;
    w->data = data;
    *body = (struct buf){ 0 };
    beside_begin(loop, &w->beside, whose, word, on_word, w);
}
