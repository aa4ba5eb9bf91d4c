/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/code/execute/python: a request to a job, an outcome to a reply.
 *
 * Called by the route table with a complete body of a client that has the key.
 * Whatever is wrong with it is found before a job exists.  What must never
 * happen here: a member that is not understood being ignored, or a reply for
 * a client that has gone. */
#include "api.h"

#include "../base/fd.h"
#include "../base/json.h"

#include <jansson.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A request while its program runs. */
struct execution {
    struct job job;
    struct api *api;
    struct request *req;
    json_t *body; /* the job's code and the caller's id point into it */
    const json_t *client_id;
    int64_t start_us;
};

/* Checks one member, present in the body; says what is wrong in @error or takes it into @e. */
typedef int take_member(struct execution *e, const json_t *value, struct buf *error);

static int take_code(struct execution *e, const json_t *value, struct buf *error)
{
    size_t max = (size_t) e->api->conf->limits.code_bytes;

    if (!json_is_string(value))
        return buf_adds(error, "code: must be a string, the Python source"), -EINVAL;
    e->job.code = json_string_value(value);
    e->job.code_len = json_string_length(value);
    if (e->job.code_len > max)
        return buf_addf(error, "code: is %zu bytes long, and at most %zu are allowed", e->job.code_len, max), -E2BIG;
    const char *nul = memchr(e->job.code, '\0', e->job.code_len);
    if (nul)
        return buf_addf(error, "code: must not contain NUL (at byte %zu): Python source can't",
                        (size_t) (nul - e->job.code)),
               -EINVAL;
    return 0;
}

static int refuse_timeout(const struct execution *e, struct buf *error)
{
    long long max = e->api->conf->limits.timeout_max_ms / 1000;
    buf_addf(error, "timeout: must be an integer from 1 to %lld (seconds)", max);
    return -EINVAL;
}

static int take_timeout(struct execution *e, const json_t *value, struct buf *error)
{
    double max = (double) e->api->conf->limits.timeout_max_ms / 1000;
    double seconds = json_number_value(value);

    if (!json_is_number(value) || seconds != floor(seconds) || seconds < 1 || seconds > max)
        return refuse_timeout(e, error);
    e->job.timeout_ms = (int64_t) seconds * 1000;
    return 0;
}

static int take_webhook_url(struct execution *e, const json_t *value, struct buf *error)
{
    const char *url = json_string_value(value);
    const char *host = url && strncasecmp(url, "http://", 7) == 0    ? url + 7
                       : url && strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                                     : NULL;
    (void) e;
    if (!host || !*host || strchr("/?#", *host) || strpbrk(url, " \t\r\n"))
        return buf_adds(error, "webhook_url: must be an absolute http or https URL"), -EINVAL;
    return buf_adds(error,
                    "webhook_url: asynchronous runs are not part of this version; leave it out to wait for the reply"),
           -ENOSYS;
}

static int take_id(struct execution *e, const json_t *value, struct buf *error)
{
    if (!json_is_string(value))
        return buf_adds(error, "id: must be a string"), -EINVAL;
    e->client_id = value;
    return 0;
}

static const struct {
    const char *name;
    take_member *take;
} members[] = {
    { "code", take_code },
    { "timeout", take_timeout },
    { "id", take_id },
    { "webhook_url", take_webhook_url },
};

enum { N_MEMBERS = sizeof(members) / sizeof(*members) };

static int refuse_unknown(const json_t *body, struct buf *error)
{
    const char *key;
    const json_t *value;

    json_object_foreach ((json_t *) (uintptr_t) body, key, value) {
        bool known = false;
        for (size_t i = 0; i < N_MEMBERS; i++)
            known = known || strcmp(key, members[i].name) == 0;
        if (!known)
            return buf_addf(error, "%.64s: unknown member; allowed are code, timeout, webhook_url, id", key), -EINVAL;
    }
    return 0;
}

/* Jansson could not read the body.  A number beyond its types is good JSON all the same, and timeout the only number. */
static int refuse_text(const struct execution *e, const json_error_t *why, struct buf *error)
{
    if (json_error_code(why) == json_error_numeric_overflow)
        return refuse_timeout(e, error);
    buf_addf(error, "The body is not valid JSON: %s (line %d, column %d)", why->text, why->line, why->column);
    return -EINVAL;
}

/* The request's JSON into @e. 0, or -errno with a sentence in @error. */
static int parse(struct execution *e, struct buf *error)
{
    json_error_t why;
    size_t len;
    const char *text = request_body(e->req, &len);

    e->body = json_loadb(text ? text : "", len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (!e->body)
        return refuse_text(e, &why, error);
    if (!json_is_object(e->body))
        return buf_adds(error, "The body must be a JSON object with the member code"), -EINVAL;
    int err = refuse_unknown(e->body, error);
    if (!err && !json_object_get(e->body, "code"))
        return buf_adds(error, "code: is required, the Python source as a string"), -EINVAL;
    for (size_t i = 0; i < N_MEMBERS && !err; i++) {
        const json_t *value = json_object_get(e->body, members[i].name);
        err = value ? members[i].take(e, value, error) : 0;
    }
    return err;
}

static void execution_free(struct execution *e)
{
    json_decref(e->body);
    free(e);
}

static void add_client_id(const struct execution *e, struct buf *out)
{
    if (e->client_id)
        json_add_string(out, json_string_value(e->client_id), json_string_length(e->client_id));
    else
        buf_adds(out, "null");
}

static void begin_reply(const struct execution *e, int status, struct buf *out)
{
    /* Its parts are all bounded: result, two streams and an error, each escaped sixfold at worst. */
    buf_init(out, SIZE_MAX / 2);
    buf_addf(out, "{\"code\": %d, \"id\": ", status);
    add_client_id(e, out);
    buf_addf(out, ", \"job_id\": \"%s\", ", e->job.id);
}

static void end_reply(struct execution *e, int status, struct buf *out, unsigned retry_after_s)
{
    const struct job *job = &e->job;

    buf_adds(out, ", ");
    api_add_envelope(e->api, out, job->ended_us - job->started_us, job->started_us - job->queued_us,
                     now_us() - e->start_us);
    buf_addc(out, '}');
    reply_json(e->req, status, out, retry_after_s);
    buf_free(out);
}

static void on_done(struct job *job, const struct outcome *outcome)
{
    struct execution *e = job->owner;
    int status = outcome_status(outcome);
    struct buf out;

    begin_reply(e, status, &out);
    outcome_add_json(outcome, &e->api->conf->limits, &out);
    end_reply(e, status, &out, 0);
    execution_free(e);
}

/* The client went away: nobody wants the rest. */
static void on_gone(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    pool_cancel(e->api->pool, &e->job);
    execution_free(e);
}

static void refuse_job(struct execution *e, int err)
{
    int status = err == -EAGAIN ? 429 : 503;
    struct buf out, text;

    buf_init(&text, 128);
    if (err == -EAGAIN)
        buf_addf(&text, "MAX_QUEUE_LENGTH (%lld) reached: nothing was run, try again",
                 (long long) e->api->conf->queue_max);
    else
        buf_adds(&text, "The server is shutting down: nothing was run, try again");
    begin_reply(e, status, &out);
    buf_adds(&out, "\"response\": null, \"error\": ");
    json_add_string(&out, text.data, text.len);
    buf_adds(&out, ", \"message\": ");
    json_add_string(&out, text.data, text.len);
    end_reply(e, status, &out, 1);
    buf_free(&text);
    execution_free(e);
}

static void refuse_request(struct execution *e, int err, struct buf *error)
{
    buf_addc(error, '\0');
    reply_error(e->req, err == -E2BIG ? 413 : err == -ENOSYS ? 501 : 400, error->data, 0);
    execution_free(e);
}

void api_execute(struct request *req, void *data)
{
    struct execution *e = xcalloc(1, sizeof(*e));
    struct buf error;

    e->api = data;
    e->req = req;
    e->start_us = (int64_t) request_start_us(req);
    e->job.timeout_ms = e->api->conf->limits.timeout_default_ms;
    e->job.on_done = on_done;
    e->job.owner = e;
    buf_init(&error, 1024);
    int err = parse(e, &error);
    if (err)
        refuse_request(e, err, &error);
    else {
        uuid_make(e->job.id);
        request_on_gone(req, on_gone, e);
        err = pool_run(e->api->pool, &e->job);
        if (err)
            refuse_job(e, err);
    }
    buf_free(&error);
}
