/* SPDX-License-Identifier: Apache-2.0 */
/* The states of jobs in the words of NCA's toolkit (docs/nca.md): POST /v1/toolkit/job/status and jobs/status.
 *
 * Called by the route table.  What must never happen here: one key's job in
 * another key's answer, or an id that is passed on before it was checked. */
#include "server/api/question.h"

#include "base/clock.h"
#include "base/json.h"

#include <jansson.h>
#include <string.h>

enum { SINCE_DEFAULT_S = 600, SINCE_MAX_S = 31536000, STATUS_MAX = 10000 };

/* NCA's four words. */
static const char *nca_word(enum store_state state)
{
    return state <= STORE_DONE ? store_state_word(state) : "failed";
}

/* --- POST /v1/toolkit/job/status --- */

static void reply_status(struct question *q, struct blob *reply)
{
    api_reply_long(q->req, q->api, &q->before, reply);
}

static void answer_status(struct question *q, const struct store_answer *answer)
{
    const struct store_record *r = &answer->records[0], shown = question_as_shown(q, r);

    buf_init(&q->before, SIZE_MAX / 2);
    buf_addf(&q->before,
             "{\"job_id\": \"%s\", \"job_status\": \"%s\", \"queue_id\": %lld, \"process_id\": %d, \"response\": ",
             r->id, nca_word(shown.state), (long long) q->api->self.queue_id, (int) q->api->self.pid);
    q->reply = reply_status;
}

/* Append to @error what is wrong with @body, if anything is.  @name is the only member that it may have. */
static void check_object(struct buf *error, json_t *body, const char *name)
{
    const char *key;
    json_t *value;

    if (!json_is_object(body)) {
        buf_adds(error, "The body must be a JSON object");
        return;
    }
    json_object_foreach (body, key, value)
        if (strcmp(key, name) != 0) {
            buf_addf(error, "%.64s: unknown member; allowed is %s", key, name);
            return;
        }
}

/* The body as JSON; NULL: @error says what is wrong. */
static json_t *read_json(struct buf *error, const char *text, size_t len)
{
    json_error_t why;

    if (json_count(text, len) > API_VALUES_MAX) {
        buf_addf(error, "The body has more than %d JSON values, which no request needs", API_VALUES_MAX);
        return NULL;
    }
    json_t *body = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (!body)
        api_add_json_error(error, text, len, NULL, &why);
    return body;
}

/* The body as an object with no member but @name; NULL: it was answered. */
static json_t *parse_object(struct request *req, const char *name)
{
    struct buf error;
    size_t len;
    const char *text = request_body(req, &len);

    buf_init(&error, 1024);
    json_t *body = read_json(&error, text, len);
    if (body)
        check_object(&error, body, name);
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
    else if (question_check_id(req, json_string_value(id), json_string_length(id)))
        store_get(api->store, key->file.name, json_string_value(id), question_on_answer,
                  question_new(req, api, key, json_string_value(id), answer_status));
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
        question_list(&query, question_new(req, api, key, NULL, answer_statuses));
    }
    json_decref(body);
}
