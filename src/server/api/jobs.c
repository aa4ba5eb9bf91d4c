/* SPDX-License-Identifier: Apache-2.0 */
/* What became of jobs: their states, replies and deliveries; cancelling; delivering again.
 *
 * Called by the route table.  Every answer comes from the store, later.  What
 * must never happen here: one key's job in another key's answer, an id or a
 * cursor that is passed on before it was checked, or a reply for a client that
 * has gone. */
#include "server/api/api.h"

#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIST_DEFAULT = 50, LIST_MAX = 1000, SINCE_DEFAULT_S = 600, SINCE_MAX_S = 31536000, STATUS_MAX = 10000 };
/* A page ends with the job that makes it longer than this. */
enum { PAGE_BYTES = 1 << 19 };
enum { CURSOR_MAC = 16, CURSOR_BYTES = 8 + CURSOR_MAC, CURSOR_TEXT = 64 };

/* A request while the store is asked. */
struct question {
    struct api *api;
    struct request *req; /* NULL: its client has gone */
    struct key *key;
    struct charge charge;
    char id[UUID_SIZE];
    void (*answer)(struct question *q, const struct store_answer *answer);
};

static void on_gone(struct request *req, void *data)
{
    struct question *q = data;
    (void) req;
    q->req = NULL;
}

static struct question *ask(struct request *req, struct api *api, struct key *key, const char *id,
                            void (*answer)(struct question *, const struct store_answer *))
{
    struct question *q = xcalloc(1, sizeof(*q));

    q->api = api;
    q->req = req;
    q->key = key;
    q->answer = answer;
    snprintf(q->id, sizeof(q->id), "%.36s", id ? id : "");
    request_on_gone(req, on_gone, q);
    request_take_charge(req, &q->charge);
    return q;
}

static void question_free(struct question *q)
{
    charge_drop(&q->charge);
    free(q);
}

/* {"error": "Job not found", "job_id": ...} and its like. */
static void reply_job_error(struct request *req, int err, const char *id)
{
    struct buf body;
    int status;
    const char *error = api_store_error(err, &status);

    buf_init(&body, 1024);
    buf_addf(&body, "{\"code\": %d, \"error\": ", status);
    json_add_cstring(&body, error);
    buf_adds(&body, ", \"message\": ");
    json_add_cstring(&body, error);
    buf_adds(&body, ", \"job_id\": ");
    json_add_cstring(&body, id);
    buf_addc(&body, '}');
    reply_json(req, status, &body, status == 503 ? 10 : status == 429);
    buf_free(&body);
}

static void on_answer(void *data, const struct store_answer *answer)
{
    struct question *q = data;

    if (q->req && answer->err)
        reply_job_error(q->req, answer->err, q->id);
    else if (q->req)
        q->answer(q, answer);
    question_free(q);
}

static void list_jobs(struct store_query *query, struct question *q)
{
    struct store *store = q->api->store;
    int64_t *waiting;

    query->n_waiting = backlog_list_waiting(q->api->backlog, &waiting);
    query->waiting = waiting;
    store_list(store, query, on_answer, q);
    free(waiting);
}

static bool check_id(struct request *req, const char *id, size_t len)
{
    unsigned char bytes[UUID_BYTES];

    if (uuid_parse(id, len, bytes))
        return true;
    reply_error(req, 400, "job_id: must be a UUID in lower case, as the reply to the request had it", 0);
    return false;
}

/* The key and the id of a request to /v1/jobs/{id}...; NULL: it was answered. */
static struct key *enter_job(struct request *req, struct api *api, char id[static UUID_SIZE + 1])
{
    struct key *key = api_enter_store(req, api);

    if (!key)
        return NULL;
    request_part(req, id, UUID_SIZE + 1);
    return check_id(req, id, strlen(id)) ? key : NULL;
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

/* Leased, but not given to a box yet: to whoever asks it is queued. */
static struct store_record as_shown(const struct api *api, const struct store_record *r)
{
    struct store_record shown = *r;

    if (r->state == STORE_RUNNING && backlog_waits(api->backlog, r->id, &shown.started_us)) {
        shown.state = STORE_QUEUED;
        shown.attempt--;
    }
    return shown;
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

/* NCA's four words. */
static const char *nca_word(enum store_state state)
{
    return state <= STORE_DONE ? store_state_word(state) : "failed";
}

/* --- POST /v1/toolkit/job/status --- */

static void answer_status(struct question *q, const struct store_answer *answer)
{
    const struct store_record *r = &answer->records[0], shown = as_shown(q->api, r);
    struct buf out;

    buf_init(&out, SIZE_MAX / 2);
    buf_addf(&out,
             "{\"job_id\": \"%s\", \"job_status\": \"%s\", \"queue_id\": %lld, \"process_id\": %d, \"response\": ",
             r->id, nca_word(shown.state), (long long) q->api->envelope.queue_id, (int) getpid());
    api_reply_long(q->req, q->api, &out, r->blob);
    buf_free(&out);
}

/* The body as an object with no member but @name; NULL: it was answered. */
static json_t *parse_object(struct request *req, const char *name)
{
    json_error_t why;
    struct buf error;
    const char *key;
    json_t *value;
    size_t len;
    const char *text = request_body(req, &len);
    bool few = json_count(text, len) <= API_VALUES_MAX;
    json_t *body = few ? json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why) : NULL;

    buf_init(&error, 1024);
    if (!few)
        buf_addf(&error, "The body has more than %d JSON values, which no request needs", API_VALUES_MAX);
    else if (!body)
        api_add_json_error(&error, text, len, NULL, &why);
    else if (!json_is_object(body))
        buf_adds(&error, "The body must be a JSON object");
    else
        json_object_foreach (body, key, value)
            if (strcmp(key, name) != 0 && !error.len)
                buf_addf(&error, "%.64s: unknown member; allowed is %s", key, name);
    if (error.len) {
        json_decref(body);
        buf_addc(&error, '\0');
        reply_error(req, 400, error.data, 0);
        body = NULL;
    }
    buf_free(&error);
    return body;
}

void api_job_status(struct request *req, void *data)
{
    struct api *api = data;
    struct key *key = api_enter_store(req, api);
    json_t *body = key ? parse_object(req, "job_id") : NULL;

    if (!body)
        return;
    const json_t *id = json_object_get(body, "job_id");
    if (!json_is_string(id))
        reply_error(req, 400, "job_id: is required, as a string", 0);
    else if (check_id(req, json_string_value(id), json_string_length(id)))
        store_get(api->store, key->file.name, json_string_value(id), on_answer,
                  ask(req, api, key, json_string_value(id), answer_status));
    json_decref(body);
}

/* --- POST /v1/toolkit/jobs/status --- */

static void answer_statuses(struct question *q, const struct store_answer *answer)
{
    struct buf out;

    buf_init(&out, SIZE_MAX / 2);
    buf_addc(&out, '{');
    for (unsigned i = 0; i < answer->n; i++) { /* not with printf(3), which is ten times as long about it */
        buf_adds(&out, i ? ", \"" : "\"");
        buf_adds(&out, answer->records[i].id);
        buf_adds(&out, "\": \"");
        buf_adds(&out, nca_word(answer->records[i].state));
        buf_addc(&out, '"');
    }
    buf_addc(&out, '}');
    api_reply(q->req, q->api, &out);
    buf_free(&out);
}

void api_jobs_status(struct request *req, void *data)
{
    struct api *api = data;
    struct key *key = api_enter_store(req, api);
    json_t *body = key ? parse_object(req, "since_seconds") : NULL;

    if (!body)
        return;
    const json_t *since = json_object_get(body, "since_seconds");
    json_int_t seconds = since ? json_integer_value(since) : SINCE_DEFAULT_S;
    if ((since && !json_is_integer(since)) || seconds < 1 || seconds > SINCE_MAX_S)
        reply_error(req, 400, "since_seconds: must be an integer from 1 to 31536000", 0);
    else {
        struct store_query query = {
            .tenant = key->file.name, .since_us = wall_us() - seconds * 1000000LL, .limit = STATUS_MAX, .brief = true
        };
        list_jobs(&query, ask(req, api, key, NULL, answer_statuses));
    }
    json_decref(body);
}

/* --- GET /v1/jobs --- */

static void make_mac(const struct question *q, const unsigned char seq[8], unsigned char mac[CURSOR_MAC])
{
    crypto_generichash_state state;
    const char *tenant = q->key->file.name;

    crypto_generichash_init(&state, q->api->cursor_key, sizeof(q->api->cursor_key), CURSOR_MAC);
    crypto_generichash_update(&state, seq, 8);
    crypto_generichash_update(&state, (const unsigned char *) tenant, strlen(tenant));
    crypto_generichash_final(&state, mac, CURSOR_MAC);
}

static void add_cursor(const struct question *q, struct buf *out, int64_t seq)
{
    unsigned char bytes[CURSOR_BYTES];
    char text[CURSOR_TEXT];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char) ((uint64_t) seq >> (56 - 8 * i));
    make_mac(q, bytes, bytes + 8);
    sodium_bin2base64(text, sizeof(text), bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_addf(out, "\"%s\"", text);
}

static int take_cursor(const struct question *q, const char *text, int64_t *ret_seq)
{
    unsigned char bytes[CURSOR_BYTES], mac[CURSOR_MAC];
    size_t len;

    if (sodium_base642bin(bytes, sizeof(bytes), text, strlen(text), NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING)
            != 0
        || len != sizeof(bytes))
        return -EINVAL;
    make_mac(q, bytes, mac);
    if (sodium_memcmp(mac, bytes + 8, sizeof(mac)) != 0)
        return -EINVAL;
    uint64_t seq = 0;
    for (int i = 0; i < 8; i++)
        seq = seq << 8 | bytes[i];
    *ret_seq = (int64_t) seq;
    return 0;
}

static void answer_list(struct question *q, const struct store_answer *answer)
{
    struct buf out;
    unsigned n = 0;

    buf_init(&out, SIZE_MAX / 2);
    buf_adds(&out, "{\"jobs\": [");
    for (unsigned i = 0; i < answer->n && out.len < PAGE_BYTES; i++, n++) {
        buf_adds(&out, i ? ", " : "");
        const struct store_record shown = as_shown(q->api, &answer->records[i]);
        add_job(&out, &shown);
        buf_addc(&out, '}');
    }
    buf_adds(&out, "], \"next_cursor\": ");
    if (answer->more || n < answer->n)
        add_cursor(q, &out, answer->records[n - 1].seq);
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
    if (err != -ENOENT && (err || take_cursor(q, text, &query->before_seq) < 0))
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
    struct question *q = ask(req, api, key, NULL, answer_list);
    query.tenant = key->file.name;
    const char *error = take_query(q, &query);
    if (error) {
        question_free(q);
        reply_error(req, 400, error, 0);
        return;
    }
    list_jobs(&query, q);
}

/* --- GET /v1/jobs/{id} --- */

static void answer_job(struct question *q, const struct store_answer *answer)
{
    const struct store_record *r = &answer->records[0], shown = as_shown(q->api, r);
    struct buf out;

    buf_init(&out, SIZE_MAX / 2);
    add_job(&out, &shown);
    add_delivery(&out, r);
    buf_adds(&out, ", \"reply\": ");
    struct parts parts = { .before = out, .blob = blob_ref(r->blob) };
    buf_init(&parts.after, 16);
    buf_adds(&parts.after, r->blob ? "}" : "null}");
    reply_parts(q->req, 200, &parts, 0);
}

void api_job_get(struct request *req, void *data)
{
    char id[UUID_SIZE + 1];
    struct api *api = data;
    struct key *key = enter_job(req, api, id);

    if (key)
        store_get(api->store, key->file.name, id, on_answer, ask(req, api, key, id, answer_job));
}

/* --- DELETE /v1/jobs/{id} --- */

static void on_cancelled(void *data, int err)
{
    struct question *q = data;
    struct buf out;

    if (q->req && err)
        reply_job_error(q->req, err, q->id);
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
        backlog_cancel(api->backlog, key->file.name, id, on_cancelled, ask(req, api, key, id, NULL));
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
        store_get(api->store, key->file.name, id, on_answer, ask(req, api, key, id, answer_deliveries));
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
        store_redeliver(api->store, key->file.name, id, wall_us(), on_answer, ask(req, api, key, id, answer_redeliver));
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
        backlog_requeue(api->backlog, key->file.name, id, api->conf->queue_max, on_answer,
                        ask(req, api, key, id, answer_requeue));
}
