/* SPDX-License-Identifier: Apache-2.0 */
/* A request about jobs while the store is asked.
 *
 * Called by the handlers that ask the store, and by the store with its answer.
 * What must never happen here: a reply for a client that has gone, or an id
 * that is passed on before it was checked. */
#include "server/api/question.h"

#include "base/json.h"
#include "server/api/wording.h"

#include <stdio.h>
#include <stdlib.h>

static void on_gone(struct request *req, void *data)
{
    struct question *q = data;
    (void) req;
    q->req = NULL;
}

struct question *question_new(struct request *req, struct api *api, struct key *key, const char *id,
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

void question_free(struct question *q)
{
    buf_free(&q->before);
    charge_drop(&q->charge);
    free(q);
}

void question_refuse(struct question *q, int err)
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
    json_add_cstring(&body, q->id);
    buf_addc(&body, '}');
    reply_json(q->req, status, &body, status == 503 ? 10 : status == 429);
    buf_free(&body);
}

static void on_worded(void *data, struct blob *reply)
{
    struct question *q = data;

    if (q->req)
        q->reply(q, reply);
    question_free(q);
}

void question_on_answer(void *data, const struct store_answer *answer)
{
    struct question *q = data;

    if (q->req && answer->err)
        question_refuse(q, answer->err);
    else if (q->req) {
        q->answer(q, answer);
        if (q->reply) {
            wording_begin(q->api->loop, api_wordings, &q->key->share, &answer->records[0], on_worded, q);
            return;
        }
    }
    question_free(q);
}

void question_list(struct store_query *query, struct question *q)
{
    int64_t *waiting;

    query->n_waiting = backlog_list_waiting(q->api->backlog, &waiting);
    query->waiting = waiting;
    store_list(q->api->store, query, question_on_answer, q);
    free(waiting);
}

bool question_check_id(struct request *req, const char *id, size_t len)
{
    unsigned char bytes[UUID_BYTES];

    if (uuid_parse(id, len, bytes))
        return true;
    reply_error(req, 400, "job_id: must be a UUID in lower case, as the reply to the request had it", 0);
    return false;
}

struct store_record question_as_shown(const struct question *q, const struct store_record *r)
{
    struct store_record shown = *r;

    if (r->state == STORE_RUNNING && backlog_waits(q->api->backlog, r->id, &shown.started_us)) {
        shown.state = STORE_QUEUED;
        shown.attempt--;
    }
    return shown;
}
