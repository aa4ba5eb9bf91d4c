/* SPDX-License-Identifier: Apache-2.0 */
/* What the store keeps of a job that is over, to a reply.
 *
 * Called by whoever tells of such a job: handlers, the backlog for those who
 * wait, the outbox.  What must never happen here: the loop standing still because
 * a program has printed much, or a thread that touches what the loop may change
 * meanwhile. */
#include "server/jobs/wording.h"

#include "base/beside.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names, signs and figures of a reply. */
enum { FRAME_MAX = 4096 };

void kept_take(struct kept *ret, const struct store_record *record)
{
    const struct store_bytes *id = &record->client_id;

    *ret = (struct kept){ .api = record->api, .form = record->form, .blob = blob_ref(record->blob) };
    snprintf(ret->id, sizeof(ret->id), "%s", record->id);
    if (!id->p)
        return;
    ret->client_id = memcpy(xmalloc(id->n + 1), id->p, id->n);
    ret->client_id_len = id->n;
}

void kept_free(struct kept *kept)
{
    free(kept->client_id);
    kept->client_id = NULL;
    kept->blob = blob_unref(kept->blob);
}

bool kept_is_long(const struct kept *kept)
{
    return kept->blob && blob_len(kept->blob) > BESIDE_MIN;
}

struct blob *kept_word(const struct kept *kept, const struct wording *wordings)
{
    const int api = kept->api >= 0 && kept->api < APIS ? kept->api : API_EXECUTE;
    struct verdict verdict;
    struct buf out;

    if (!kept->blob || kept->form == FORM_REPLY)
        return blob_ref(kept->blob);
    verdict_decode(blob_bytes(kept->blob), kept->form == FORM_VERDICT ? blob_len(kept->blob) : 0, &verdict);
    buf_init(&out, SIZE_MAX / 2); /* its parts are bounded */
    wordings[api].word(&verdict, kept->id, (struct store_bytes){ kept->client_id, kept->client_id_len }, &out);
    verdict_free(&verdict);
    return blob_new(&out);
}

/* --- beside the loop --- */

struct work {
    struct beside beside;
    const struct wording *wordings;
    struct kept kept;
    struct blob *reply;
    void (*done)(void *data, struct blob *reply);
    void *data;
};

static void word(void *data)
{
    struct work *w = data;

    w->reply = kept_word(&w->kept, w->wordings);
}

static void on_word(void *data)
{
    struct work *w = data;

    w->done(w->data, w->reply);
    blob_unref(w->reply);
    kept_free(&w->kept);
    free(w);
}

void wording_begin(uv_loop_t *loop, const struct wording *wordings, const void *whose,
                   const struct store_record *record, void (*done)(void *data, struct blob *reply), void *data)
{
    struct work *w = xcalloc(1, sizeof(*w));

    w->wordings = wordings;
    w->done = done;
    w->data = data;
    kept_take(&w->kept, record);
    if (kept_is_long(&w->kept) && w->kept.form != FORM_REPLY) {
        beside_begin(loop, &w->beside, whose, word, on_word, w);
        return;
    }
    word(w);
    on_word(w);
}

/* --- how long --- */

static int64_t longest_of(const struct buf *text)
{
    return (int64_t) json_longest(text->data, text->len);
}

/* Standard error may be told twice, as may an exception; the result is JSON already. */
int64_t wording_longest(const struct verdict *e, struct store_bytes client_id)
{
    const struct outcome *o = &e->outcome;

    return FRAME_MAX + (int64_t) json_longest(client_id.p, client_id.n) + (int64_t) o->result.len
           + longest_of(&o->error) + longest_of(&o->out.kept)
           + 2 * (longest_of(&o->err.kept) + longest_of(&o->name) + longest_of(&o->value) + longest_of(&o->hint));
}
