/* SPDX-License-Identifier: Apache-2.0 */
/* What became of jobs: their states, replies and deliveries; cancelling; delivering again.
 *
 * Called by the route table.  Every answer comes from the store, later.  What
 * must never happen here: one key's job in another key's answer, an id or a
 * cursor that is passed on before it was checked, or a reply for a client that
 * has gone. */
#include "server/api/cursor.h"
#include "server/api/question.h"

#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIST_DEFAULT = 50, LIST_MAX = 1000 };
/* A page ends with the job that makes it longer than this. */
enum { PAGE_BYTES = 1 << 19 };

/* The key and the id of a request to /v1/jobs/{id}...; NULL: it was answered. */
static struct key *enter_job(struct request *req, struct api *api, char id[static UUID_SIZE + 1])
{
    struct key *key = api_enter_store(req, api);

    if (!key)
        return NULL;
    request_part(req, id, UUID_SIZE + 1);
    return question_check_id(req, id, strlen(id)) ? key : NULL;
}

/* Nothing is begun any more by a server that stops: true, and the request was answered. */
static bool refuse_late(struct request *req, const struct api *api)
{
    if (!pool_is_draining(api->pool))
        return false;
    reply_error(req, 503, "The server is shutting down: nothing was queued, try again", 1);
    return true;
}

/* --- how things are shown --- */

static void add_time(struct buf *out, const char *name, int64_t us)
{
    time_t s = (time_t) (us / 1000000);
    struct tm tm;
    char text[32];

    if (!us) {
        buf_addf(out, ", \"%s\": null", name);
        return;
    }
    gmtime_r(&s, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(out, ", \"%s\": \"%s.%03dZ\"", name, text, (int) (us / 1000 % 1000));
}

static void add_text(struct buf *out, const char *name, struct store_bytes text)
{
    buf_addf(out, ", \"%s\": ", name);
    if (text.p)
        json_add_string(out, text.p, text.n);
    else
        buf_adds(out, "null");
}

static const char *delivery_word(const struct store_record *r)
{
    static const char *const words[] = { "pending", "sending", "delivered", "given up" };
    return r->has_delivery ? words[r->delivery] : "waits for the job";
}

static void add_delivery(struct buf *out, const struct store_record *r)
{
    if (!r->webhook_url.p)
        return;
    add_text(out, "webhook_url", r->webhook_url);
    buf_addf(out, ", \"delivery\": \"%s\"", delivery_word(r));
}

/* How often it was given to a box: the claim that buried a dead one was none, and a run that its caller waited for
 * needed no claim. */
static int begun(const struct store_record *r)
{
    if (r->state == STORE_DEAD)
        return r->attempt - 1;
    return r->attempt ? r->attempt : r->started_us != 0;
}

static void add_job(struct buf *out, const struct store_record *r)
{
    buf_addf(out, "{\"job_id\": \"%s\", \"state\": \"%s\"", r->id, store_state_word(r->state));
    add_text(out, "id", r->client_id);
    add_text(out, "runtime", r->runtime.p ? r->runtime : (struct store_bytes){ "default", 7 });
    add_time(out, "created_at", r->created_us);
    add_time(out, "started_at", r->started_us);
    add_time(out, "finished_at", r->over_us);
    buf_addf(out, ", \"attempts\": %d, \"timeout\": %lld, \"code\": ", begun(r), (long long) r->timeout_ms / 1000);
    if (r->status)
        buf_addf(out, "%d", r->status);
    else
        buf_adds(out, "null");
}

/* --- GET /v1/jobs --- */

static void answer_list(struct question *q, const struct store_answer *answer)
{
    struct buf out;
    unsigned n = 0;

    buf_init(&out, SIZE_MAX / 2);
    buf_adds(&out, "{\"jobs\": [");
    for (unsigned i = 0; i < answer->n && out.len < PAGE_BYTES; i++, n++) {
        buf_adds(&out, i ? ", " : "");
        const struct store_record shown = question_as_shown(q, &answer->records[i]);
        add_job(&out, &shown);
        buf_addc(&out, '}');
    }
    buf_adds(&out, "], \"next_cursor\": ");
    if (answer->more || n < answer->n)
        cursor_add(&out, q->api, q->key->file.name, answer->records[n - 1].seq);
    else
        buf_adds(&out, "null");
    buf_addc(&out, '}');
    reply_json(q->req, 200, &out, 0);
    buf_free(&out);
}

/* What is wrong with the query, or NULL. */
static const char *take_query(const struct question *q, struct store_query *query)
{
    char text[CURSOR_TEXT];
    int err = request_query(q->req, "state", text, sizeof(text));

    if (err != -ENOENT) {
        int state = err ? -1 : store_state_of(text);
        if (state < 0)
            return "state: must be queued, running, done, failed, cancelled or dead";
        query->states = 1U << state;
    }
    err = request_query(q->req, "limit", text, sizeof(text));
    if (err != -ENOENT) {
        size_t digits = err ? 0 : strspn(text, "0123456789");
        long limit = digits && digits < 6 && !text[digits] ? strtol(text, NULL, 10) : 0;
        if (limit < 1 || limit > LIST_MAX)
            return "limit: must be an integer from 1 to 1000";
        query->limit = (unsigned) limit;
    }
    err = request_query(q->req, "cursor", text, sizeof(text));
    if (err != -ENOENT && (err || cursor_take(q->api, q->key->file.name, text, &query->before_seq) < 0))
        return "cursor: must be the next_cursor of an earlier reply to the same key";
    return NULL;
}

void api_jobs_list(struct request *req, void *data)
{
    struct api *api = data;
    struct key *key = api_enter_store(req, api);
    struct store_query query = { .limit = LIST_DEFAULT };

    if (!key)
        return;
    struct question *q = question_new(req, api, key, NULL, answer_list);
    query.tenant = key->file.name;
    const char *error = take_query(q, &query);
    if (error) {
        question_free(q);
        reply_error(req, 400, error, 0);
        return;
    }
    question_list(&query, q);
}

/* --- GET /v1/jobs/{id} --- */

static void reply_job(struct question *q, struct blob *reply)
{
    struct parts parts = { .before = q->before, .blob = blob_ref(reply) };

    buf_init(&q->before, 0);
    buf_init(&parts.after, 16);
    buf_adds(&parts.after, reply ? "}" : "null}");
    reply_parts(q->req, 200, &parts, 0);
}

static void answer_job(struct question *q, const struct store_answer *answer)
{
    const struct store_record *r = &answer->records[0], shown = question_as_shown(q, r);

    buf_init(&q->before, SIZE_MAX / 2);
    add_job(&q->before, &shown);
    add_delivery(&q->before, r);
    buf_adds(&q->before, ", \"reply\": ");
    q->reply = reply_job;
}

void api_job_get(struct request *req, void *data)
{
    char id[UUID_SIZE + 1];
    struct api *api = data;
    struct key *key = enter_job(req, api, id);

    if (key)
        store_get(api->store, key->file.name, id, question_on_answer, question_new(req, api, key, id, answer_job));
}

/* --- DELETE /v1/jobs/{id} --- */

static void on_cancelled(void *data, int err)
{
    struct question *q = data;
    struct buf out;

    if (q->req && err)
        question_refuse(q, err);
    else if (q->req) {
        buf_init(&out, 256);
        buf_addf(&out, "{\"code\": 200, \"job_id\": \"%s\", \"state\": \"cancelled\", \"message\": \"success\"}",
                 q->id);
        reply_json(q->req, 200, &out, 0);
        buf_free(&out);
    }
    question_free(q);
}

void api_job_delete(struct request *req, void *data)
{
    char id[UUID_SIZE + 1];
    struct api *api = data;
    struct key *key = enter_job(req, api, id);

    if (key)
        backlog_cancel(api->backlog, key->file.name, id, on_cancelled, question_new(req, api, key, id, NULL));
}

/* --- GET /v1/jobs/{id}/deliveries --- */

static void add_attempt(struct buf *out, const struct store_attempt *a)
{
    buf_adds(out, "{\"status\": ");
    if (a->status)
        buf_addf(out, "%d", a->status);
    else
        buf_adds(out, "null");
    add_time(out, "at", a->at_us);
    buf_adds(out, ", \"duration\": ");
    json_add_seconds(out, a->duration_us);
    add_text(out, "error", a->error);
    add_text(out, "address", a->address);
    buf_addc(out, '}');
}

static void answer_deliveries(struct question *q, const struct store_answer *answer)
{
    const struct store_record *r = &answer->records[0];
    struct buf out;

    buf_init(&out, SIZE_MAX / 2);
    buf_addf(&out, "{\"job_id\": \"%s\"", r->id);
    add_text(&out, "webhook_url", r->webhook_url);
    buf_addf(&out, ", \"state\": \"%s\"", r->webhook_url.p ? delivery_word(r) : "none");
    add_time(&out, "next_at", r->has_delivery && r->delivery == STORE_PENDING ? r->due_us : 0);
    buf_adds(&out, ", \"attempts\": [");
    for (unsigned i = 0; i < answer->n_attempts; i++) {
        buf_adds(&out, i ? ", " : "");
        add_attempt(&out, &answer->attempts[i]);
    }
    buf_adds(&out, "]}");
    reply_json(q->req, 200, &out, 0);
    buf_free(&out);
}

void api_deliveries(struct request *req, void *data)
{
    char id[UUID_SIZE + 1];
    struct api *api = data;
    struct key *key = enter_job(req, api, id);

    if (key)
        store_get(api->store, key->file.name, id, question_on_answer,
                  question_new(req, api, key, id, answer_deliveries));
}

/* --- POST /v1/jobs/{id}/redeliver --- */

static void answer_redeliver(struct question *q, const struct store_answer *answer)
{
    struct buf out;

    (void) answer;
    buf_init(&out, 256);
    buf_addf(&out, "{\"code\": 202, \"job_id\": \"%s\", \"message\": \"processing\"}", q->id);
    reply_json(q->req, 202, &out, 0);
    buf_free(&out);
}

void api_redeliver(struct request *req, void *data)
{
    char id[UUID_SIZE + 1];
    struct api *api = data;
    struct key *key = enter_job(req, api, id);

    if (key && !refuse_late(req, api))
        store_redeliver(api->store, key->file.name, id, wall_us(), question_on_answer,
                        question_new(req, api, key, id, answer_redeliver));
}

/* --- POST /v1/jobs/{id}/requeue --- */

static void answer_requeue(struct question *q, const struct store_answer *answer)
{
    struct buf out;

    (void) answer;
    buf_init(&out, 256);
    buf_addf(&out, "{\"code\": 202, \"job_id\": \"%s\", \"state\": \"queued\", \"message\": \"processing\"}", q->id);
    reply_json(q->req, 202, &out, 0);
    buf_free(&out);
}

void api_requeue(struct request *req, void *data)
{
    char id[UUID_SIZE + 1];
    struct api *api = data;
    struct key *key = enter_job(req, api, id);

    if (!key)
        return;
    if (!refuse_late(req, api))
        backlog_requeue(api->backlog, key->file.name, id, api->conf->queue_max, question_on_answer,
                        question_new(req, api, key, id, answer_requeue));
}
