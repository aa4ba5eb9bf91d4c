/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/code/execute/python: a request to a job, an outcome to a reply.
 *
 * Called by the route table with a complete body of a client that has the key.
 * Whatever is wrong with it is found before a job exists.  A request with a
 * webhook_url or an Idempotency-Key goes through the store; any other is
 * admitted in memory and waits for no disk.  A body that takes long to read is
 * read in a thread.  What must never happen here: a member that is not
 * understood being ignored, a 202 before the job is on disk, a reply for a
 * client that has gone, or other clients waiting while a long body is read. */
#include "server/api/api.h"

#include "base/beside.h"
#include "base/clock.h"
#include "base/json.h"
#include "server/jobs/wording.h"
#include "server/metrics/metrics.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An id is in each reply, on disk as long as its job, and in the list of a thousand of them. */
enum { ID_MAX = 16384 };

/* What a request has beside its strings: names, a number, signs, spaces. */
enum { FRAME_MAX = 4096 };

enum { ERROR_MAX = 1024 };
enum { IDEM_KEY_MAX = 255, IDEM_NAME = 33, IDEM_REMEMBERED_S = 86400 };

/* A request while its program runs. */
struct execution {
    struct job job;
    struct api *api;
    struct request *req; /* NULL: its client has gone */
    struct key *key;
    struct charge charge; /* for the two: */
    char *room;           /* the job's code, the caller's id and the URL point into it, */
    json_t *tree;         /* or into this */
    struct store_bytes client_id;
    const char *webhook_url;
    char host[GUARD_HOST_MAX + 1];
    const char *runtime;       /* its name; NULL: the default */
    char idem_name[IDEM_NAME]; /* of the request, as the store knows it; empty: none */
    unsigned char fingerprint[STORE_FINGERPRINT];
    struct waiter *waiter;
    int64_t start_us;
    int status; /* of a run that is over */
};

/* Checks one member, present in the body; says what is wrong in @error or takes it into @e. */
typedef int take_member(struct execution *e, const struct json_member *value, struct buf *error);

static int take_code(struct execution *e, const struct json_member *value, struct buf *error)
{
    size_t max = (size_t) e->api->conf->limits.code_bytes;

    if (!value->string)
        return buf_adds(error, "code: must be a string, the Python source"), -EINVAL;
    e->job.code = value->string;
    e->job.code_len = value->len;
    if (e->job.code_len > max)
        return buf_addf(error, "code: is longer than the %zu bytes that are allowed (limits.code)", max), -E2BIG;
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

static int take_timeout(struct execution *e, const struct json_member *value, struct buf *error)
{
    double max = (double) e->api->conf->limits.timeout_max_ms / 1000;
    double seconds = value->number;

    if (!value->is_number || seconds != floor(seconds) || seconds < 1 || seconds > max)
        return refuse_timeout(e, error);
    e->job.timeout_ms = (int64_t) seconds * 1000;
    return 0;
}

static int take_webhook_url(struct execution *e, const struct json_member *value, struct buf *error)
{
    struct guard_url url;

    if (!value->string || strlen(value->string) != value->len)
        return buf_adds(error, "webhook_url: must be an absolute http or https URL"), -EINVAL;
    buf_adds(error, "webhook_url: ");
    if (guard_url(e->api->allow, value->string, &url, error) < 0)
        return -EINVAL;
    buf_reset(error);
    e->webhook_url = value->string;
    snprintf(e->host, sizeof(e->host), "%s", url.host);
    guard_url_free(&url);
    return 0;
}

static int take_id(struct execution *e, const struct json_member *value, struct buf *error)
{
    if (!value->string)
        return buf_adds(error, "id: must be a string"), -EINVAL;
    if (value->len > ID_MAX)
        return buf_addf(error, "id: is longer than the %d bytes that are allowed", ID_MAX), -EINVAL;
    e->client_id = (struct store_bytes){ value->string, value->len };
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

static void add_fields(const struct wire_limits *limits, struct json_field ret[static N_MEMBERS])
{
    const size_t max[] = { (size_t) limits->code_bytes, 0, ID_MAX, GUARD_URL_MAX };

    static_assert(sizeof(max) / sizeof(*max) == N_MEMBERS, "one for each member");
    for (size_t i = 0; i < N_MEMBERS; i++)
        ret[i] = (struct json_field){ members[i].name, max[i] };
}

size_t api_body_max(const struct wire_server_conf *conf)
{
    struct json_field fields[N_MEMBERS];
    size_t needed = FRAME_MAX;

    add_fields(&conf->limits, fields);
    for (size_t i = 0; i < N_MEMBERS; i++)
        needed += 6 * fields[i].max; /* JSON may write each byte as six: \u0041 */
    return needed < (size_t) conf->max_body ? needed : (size_t) conf->max_body;
}

/* --- the text --- */

/* A body on its way to members.  read_text() touches nothing else: it may be run in a thread. */
struct reading {
    const char *text;
    size_t len;
    const char *runtime;
    bool signs; /* @fingerprint is wanted */
    struct json_field fields[N_MEMBERS];
    /* What comes of it: */
    int err; /* 0; -EINVAL, with a sentence in @error; -E2BIG: a member of @found is too long, and others may be
                       * missing; -ERANGE: a number of JSON's that no timeout is */
    struct buf error; /* its owner's */
    struct json_member found[N_MEMBERS];
    char *room;   /* what @found points into */
    json_t *tree; /* the same */
    unsigned char fingerprint[STORE_FINGERPRINT];
};

static bool is_blank(const char *text, size_t len)
{
    size_t i = 0;

    while (i < len && text[i] && strchr(" \t\r\n", text[i]))
        i++;
    return i == len;
}

/* What helps where jansson's text begins like this (its load.c, up to 2.14). */
static const struct {
    const char *text, *help;
} json_help[] = {
    { "unable to decode byte", ": send UTF-8" },
    { "unexpected newline", ": write it as \\n (in n8n: {{ JSON.stringify(...) }})" },
    { "control character 0xd", ": write it as \\r (in n8n: {{ JSON.stringify(...) }})" },
    { "control character 0x9", ": write it as \\t (in n8n: {{ JSON.stringify(...) }})" },
};

static const char *help_with(const char *text)
{
    for (size_t i = 0; i < sizeof(json_help) / sizeof(*json_help); i++)
        if (strncmp(text, json_help[i].text, strlen(json_help[i].text)) == 0)
            return json_help[i].help;
    return "";
}

void api_add_json_error(struct buf *error, const char *text, size_t len, const char *member, const json_error_t *why)
{
    if (is_blank(text, len))
        buf_addf(error, "The body is empty: it must be a JSON object%s%s", member ? " with the member " : "",
                 member ? member : "");
    else
        buf_addf(error, "The body is not valid JSON: %s (line %d, column %d)%s", why->text, why->line, why->column,
                 help_with(why->text));
}

/* Jansson could not read it.  A number beyond its types is good JSON all the same, and timeout the only number. */
static int refuse_text(struct reading *r, const json_error_t *why)
{
    if (json_error_code(why) == json_error_numeric_overflow)
        return -ERANGE;
    api_add_json_error(&r->error, r->text, r->len, "code", why);
    return -EINVAL;
}

static int take_from_tree(struct reading *r, const char *name, const json_t *value)
{
    for (size_t i = 0; i < N_MEMBERS; i++) {
        if (strcmp(members[i].name, name) != 0)
            continue;
        if (json_is_null(value)) /* so do many clients leave a member out */
            return 0;
        r->found[i] = (struct json_member){ .found = true,
                                            .is_number = json_is_number(value),
                                            .number = json_number_value(value),
                                            .string = json_string_value(value),
                                            .len = json_string_length(value) };
        return 0;
    }
    buf_addf(&r->error, "%.64s: unknown member; allowed are code, timeout, webhook_url, id", name);
    return -EINVAL;
}

/* What json_read_flat() does not read, and what is wrong with it. */
static int read_tree(struct reading *r)
{
    json_error_t why;
    const char *name;
    json_t *value;
    int err = 0;

    memset(r->found, 0, sizeof(r->found));
    if (json_count(r->text, r->len) > API_VALUES_MAX)
        return buf_addf(&r->error, "The body has more than %d JSON values, which no request needs", API_VALUES_MAX),
               -EINVAL;
    r->tree = json_loadb(r->text, r->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (!r->tree)
        return refuse_text(r, &why);
    if (!json_is_object(r->tree))
        return buf_adds(&r->error, "The body must be a JSON object with the member code"), -EINVAL;
    json_object_foreach (r->tree, name, value)
        if (!err)
            err = take_from_tree(r, name, value);
    return err;
}

/* Of all that makes two requests the same one.  No JSON has the byte between the two parts. */
static void take_fingerprint(struct reading *r)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, STORE_FINGERPRINT);
    crypto_generichash_update(&state, (const unsigned char *) r->text, r->len);
    if (r->runtime) {
        crypto_generichash_update(&state, (const unsigned char *) "", 1);
        crypto_generichash_update(&state, (const unsigned char *) r->runtime, strlen(r->runtime));
    }
    crypto_generichash_final(&state, r->fingerprint, STORE_FINGERPRINT);
}

/* Without a tree, which takes ten times as long for a program of a page, where that is possible. */
static void read_text(struct reading *r)
{
    r->room = xmalloc(r->len + 1);
    r->err = json_read_flat(r->text, r->len, r->fields, N_MEMBERS, r->found, r->room);
    if (r->err == -EINVAL)
        r->err = read_tree(r);
    if (!r->err && r->signs)
        take_fingerprint(r);
}

/* What was read into @e, which has its memory from here on.  0, or -errno with a sentence in r->error. */
static int take_members(struct execution *e, struct reading *r)
{
    int err = 0;

    e->room = r->room;
    e->tree = r->tree;
    memcpy(e->fingerprint, r->fingerprint, sizeof(e->fingerprint));
    if (r->err == -ERANGE)
        return refuse_timeout(e, &r->error);
    if (r->err == -EINVAL)
        return -EINVAL;
    if (!r->err && !r->found[0].found)
        return buf_adds(&r->error, "code: is required, the Python source as a string"), -EINVAL;
    for (size_t i = 0; i < N_MEMBERS && !err; i++)
        err = r->found[i].found ? members[i].take(e, &r->found[i], &r->error) : 0;
    return err;
}

/* The client went away while a thread is at work for it. */
static void on_gone_meanwhile(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    e->req = NULL;
}

/* --- replies --- */

static void execution_free(struct execution *e)
{
    charge_drop(&e->charge);
    json_decref(e->tree);
    free(e->room);
    free(e);
}

/* The store has a copy of the program: of ours the caller's id is left. */
static void forget_program(struct execution *e)
{
    char *id = e->client_id.p ? memcpy(xmalloc(e->client_id.n + 1), e->client_id.p, e->client_id.n) : NULL;

    json_decref(e->tree);
    free(e->room);
    e->tree = NULL;
    e->room = id;
    e->client_id.p = id;
    e->job.code = NULL;
}

static void begin_reply(const struct execution *e, int status, struct buf *out)
{
    /* Its parts are all bounded: result, two streams and an error, each escaped sixfold at worst. */
    buf_init(out, SIZE_MAX / 2);
    envelope_begin(out, status, e->client_id, e->job.id);
}

static void end_reply(struct execution *e, int status, struct buf *out, unsigned retry_after_s)
{
    const struct job *job = &e->job;

    buf_adds(out, ", ");
    api_add_envelope(e->api, out, job->ended_us - job->started_us, job->started_us - job->queued_us,
                     lack_word(job->waited_for), now_us() - e->start_us);
    buf_addc(out, '}');
    struct parts parts = { .before = *out };
    reply_parts(e->req, status, &parts, retry_after_s);
}

static void refuse_job(struct execution *e, int status, const char *text, unsigned retry_after_s)
{
    struct buf out;

    if (e->req) {
        api_on_refusal(e->api, e->req, status);
        begin_reply(e, status, &out);
        envelope_add_error(&out, text, NULL);
        end_reply(e, status, &out, retry_after_s);
    }
    execution_free(e);
}

static void count_rejected(unsigned mode, unsigned reason)
{
    metric_count(METRIC_QUEUE_REJECTED, reason);
    metric_add(METRIC_RUNS, 1, mode, METRIC_ENDED_REJECTED, 0);
}

/* Why a queue did not take it. */
static void refuse_full(struct execution *e, int err, unsigned mode)
{
    enum lack lack = pool_lack(e->api->pool);
    char text[256];

    count_rejected(mode, err == -EAGAIN ? METRIC_REJECTED_FULL : METRIC_REJECTED_KEY_FULL);
    if (err == -EAGAIN)
        snprintf(text, sizeof(text), "MAX_QUEUE_LENGTH (%lld) reached%s%s: nothing was run, try again",
                 (long long) e->api->conf->queue_max, lack ? ", and others wait because " : "", lack_why(lack));
    else
        snprintf(text, sizeof(text), "As many requests of the key %s wait as may (%u): nothing was run, try again",
                 e->key->file.name, e->key->share.max_waiting);
    refuse_job(e, 429, text, 1);
}

/* Its key holds as much of the store as it may. */
static void refuse_share(struct execution *e, enum store_limit limit)
{
    static const char *const limits[] = {
        [STORE_LIMIT_QUOTA] = "what --max-bytes allows it",
        [STORE_LIMIT_BYTES] = "its part of jobs.max_bytes",
        [STORE_LIMIT_DELIVERIES] = "its part of jobs.retention_count, in deliveries that are not made",
    };
    char text[400];

    count_rejected(METRIC_ASYNC, METRIC_REJECTED_KEY_FULL);
    snprintf(
        text, sizeof(text),
        "The jobs of the key %s that wait, run or are not delivered take up %s: nothing was run; have its webhooks "
        "answered or cancel jobs (GET /v1/jobs lists them), and try again",
        e->key->file.name, limits[limit]);
    refuse_job(e, 429, text, 30);
}

static const char shutting_down[] = "The server is shutting down: nothing was run, try again";

/* --- synchronous runs --- */

/* A row for the list of jobs, written when there is time. */
static void leave_history(const struct execution *e, enum store_state state, int status)
{
    int64_t now = now_us(), wall = wall_us();
    const struct job *job = &e->job;
    struct store_record record = { .tenant = e->key->file.name,
                                   .state = state,
                                   .created_us = wall - (now - e->start_us),
                                   .started_us = job->started_us ? wall - (now - job->started_us) : 0,
                                   .over_us = wall,
                                   .timeout_ms = job->timeout_ms,
                                   .status = status,
                                   .runtime = { e->runtime, 0 },
                                   .client_id = e->client_id };

    if (!e->api->backlog)
        return;
    memcpy(record.id, job->id, sizeof(record.id));
    backlog_history(e->api->backlog, &record);
}

/* All phases or none: of a program that said nothing of its time, or nothing that can be, only the whole is known. */
static void count_phases(const struct execution *e)
{
    const struct job *job = &e->job;
    const struct wire_stamps *s = &job->stamps;

    if (!s->over_us)
        return;
    metric_observe(METRIC_REQUEST_PHASE, job->queued_us - e->start_us, METRIC_PHASE_PARSE, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, job->started_us - job->queued_us, METRIC_PHASE_ADMISSION, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, s->received_us - job->started_us, METRIC_PHASE_HANDOVER, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, s->compiled_us - s->received_us, METRIC_PHASE_COMPILE, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, s->over_us - s->compiled_us, METRIC_PHASE_RUN, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, job->ended_us - s->over_us, METRIC_PHASE_OUTCOME, 0, 0);
    request_mark(e->req, job->ended_us);
}

static void on_reply_worded(void *data, struct buf *body)
{
    struct execution *e = data;

    if (e->req)
        end_reply(e, e->status, body, e->status == 503 ? 1 : 0);
    else
        buf_free(body);
    execution_free(e);
}

static void on_done(struct job *job, struct outcome *outcome)
{
    struct execution *e = job->owner;
    int status = outcome_status(outcome);
    struct buf out;

    count_phases(e);
    leave_history(e, status == 200 ? STORE_DONE : STORE_FAILED, status);
    e->status = status;
    begin_reply(e, status, &out);
    request_on_gone(e->req, on_gone_meanwhile, e);
    request_may_yield(e->req, NULL);
    wording_begin(e->api->loop, e->job.share, outcome, &out, on_reply_worded, e);
}

/* The client went away: nobody wants the rest. */
static void on_gone(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    if (!e->job.slot) /* the pool counts those that run */
        metric_add(METRIC_RUNS, 1, METRIC_SYNC, METRIC_ENDED_CANCELLED, 0);
    pool_cancel(e->api->pool, &e->job);
    leave_history(e, STORE_CANCELLED, 400);
    execution_free(e);
}

/* Its runtime does not start, and will not by itself. */
static void refuse_unable(struct execution *e, unsigned mode)
{
    char text[256];

    snprintf(text, sizeof(text), "The runtime '%s' does not start: %s. Nothing was run; the server's log says more",
             pool_runtime_name(e->api->pool, e->job.runtime), pool_fault_words(e->api->pool, e->job.runtime));
    count_rejected(mode, METRIC_REJECTED_NO_BOX);
    refuse_job(e, 503, text, 0);
}

/* Others need what it holds: its program, if it has not begun. */
static bool on_yield(struct request *req, void *data, const char *why)
{
    struct execution *e = data;

    (void) req;
    if (!why || e->job.slot)
        return !e->job.slot;
    pool_cancel(e->api->pool, &e->job);
    count_rejected(METRIC_SYNC, METRIC_REJECTED_KEY_FULL);
    refuse_job(e, 503, why, 1);
    return true;
}

/* No box came for it. */
static void on_refused(struct job *job)
{
    struct execution *e = job->owner;

    if (pool_fault_words(e->api->pool, job->runtime)) {
        refuse_unable(e, METRIC_SYNC);
        return;
    }
    count_rejected(METRIC_SYNC, METRIC_REJECTED_NO_BOX);
    refuse_job(job->owner, 503,
               "No box can be made at the moment (the server's log says why): nothing was run, try again", 10);
}

static void run_now(struct execution *e)
{
    if (e->charge.http) /* as a client that goes takes it along */
        charge_unpin(&e->charge);
    else
        request_take_charge(e->req, &e->charge);
    request_on_gone(e->req, on_gone, e);
    request_may_yield(e->req, on_yield);
    int err = pool_run(e->api->pool, &e->job);
    if (err == -ESHUTDOWN) {
        count_rejected(METRIC_SYNC, METRIC_REJECTED_DRAINING);
        refuse_job(e, 503, shutting_down, 1);
    } else if (err == -ENOEXEC)
        refuse_unable(e, METRIC_SYNC);
    else if (err)
        refuse_full(e, err, METRIC_SYNC);
}

/* --- runs through the store --- */

/* The job goes on without its client: it may come back with the same key. */
static void on_stored_gone(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    e->req = NULL;
    if (!e->waiter)
        return; /* the store's answer is still to come */
    backlog_unwait(e->api->backlog, e->waiter);
    execution_free(e);
}

/* Others need its connection; the job goes on. */
static bool on_stored_yield(struct request *req, void *data, const char *why)
{
    struct execution *e = data;

    (void) req;
    if (!why || !e->waiter)
        return e->waiter;
    backlog_unwait(e->api->backlog, e->waiter);
    refuse_job(e, 503,
               "Connections take all of server.max_connections, and this key has most of them; the run goes on: "
               "ask again with the same Idempotency-Key",
               1);
    return true;
}

static void reply_accepted(struct execution *e)
{
    int64_t max = e->api->conf->queue_max;
    struct buf out;

    begin_reply(e, 202, &out);
    buf_adds(&out, "\"response\": null, \"message\": \"processing\", \"max_queue_length\": ");
    if (max)
        buf_addf(&out, "%lld", (long long) max);
    else
        buf_adds(&out, "\"unlimited\"");
    end_reply(e, 202, &out, 0);
}

static void reply_stored(struct execution *e, int status, struct blob *reply)
{
    struct parts parts = { .blob = blob_ref(reply) };
    reply_parts(e->req, status, &parts, 0);
}

static void on_over(void *data, int status, struct blob *reply)
{
    struct execution *e = data;

    e->waiter = NULL;
    if (!reply) {
        refuse_job(e, 503, "The server is shutting down; the run is kept: ask again with the same Idempotency-Key", 1);
        return;
    }
    reply_stored(e, status, reply);
    execution_free(e);
}

static void on_accepted(void *data, const struct store_answer *answer)
{
    struct execution *e = data;
    int status;

    charge_drop(&e->charge);
    if (answer->err == -EAGAIN || answer->err == -EDQUOT)
        refuse_full(e, answer->err, METRIC_ASYNC);
    else if (answer->err == -ENOBUFS)
        refuse_share(e, answer->limit);
    else if (answer->err) {
        if (answer->err != -EBADMSG)
            count_rejected(METRIC_ASYNC, METRIC_REJECTED_STORE);
        const char *text = api_store_error(answer->err, &status);
        refuse_job(e, status, text, status == 503 ? 10 : 0);
    } else if (!e->req)
        execution_free(e);
    else {
        const struct store_record *r = &answer->records[0];
        memcpy(e->job.id, r->id, sizeof(e->job.id)); /* an earlier job's, where the key was known */
        if (e->webhook_url)
            reply_accepted(e);
        else if (r->blob)
            reply_stored(e, r->status, r->blob);
        else {
            e->waiter = backlog_wait(e->api->backlog, r->id, on_over, e);
            if (!e->waiter)
                on_over(e, 503, NULL);
            return;
        }
        execution_free(e);
    }
}

static void submit(struct execution *e)
{
    const struct api *api = e->api;
    int64_t now = wall_us();
    struct store_job job = { .tenant = e->key->file.name,
                             .code = { e->job.code, e->job.code_len },
                             .client_id = e->client_id,
                             .timeout_ms = e->job.timeout_ms,
                             .created_us = now,
                             .webhook_url = e->webhook_url,
                             .host = e->host,
                             .trace = e->job.trace[0] ? e->job.trace : NULL,
                             .runtime = e->runtime,
                             .idem_key = e->idem_name[0] ? e->idem_name : NULL,
                             .idem_expires_us = now + IDEM_REMEMBERED_S * 1000000LL };

    if (!api->backlog) {
        count_rejected(METRIC_ASYNC, METRIC_REJECTED_STORE);
        refuse_job(e, 503, api->no_store, 60);
        return;
    }
    if (pool_is_draining(api->pool)) {
        count_rejected(METRIC_ASYNC, METRIC_REJECTED_DRAINING);
        refuse_job(e, 503, shutting_down, 1);
        return;
    }
    if (pool_is_unable(api->pool, e->job.runtime)) {
        refuse_unable(e, METRIC_ASYNC);
        return;
    }
    if (!e->charge.http) {
        if (!request_pin(e->req)) {
            count_rejected(METRIC_ASYNC, METRIC_REJECTED_STORE);
            refuse_job(e, 503, api_slow_store, 1);
            return;
        }
        request_take_charge(e->req, &e->charge);
    }
    memcpy(job.id, e->job.id, sizeof(job.id));
    memcpy(job.fingerprint, e->fingerprint, sizeof(job.fingerprint));
    request_on_gone(e->req, on_stored_gone, e);
    request_may_yield(e->req, on_stored_yield);
    backlog_submit(api->backlog, &job, api->conf->queue_max, on_accepted, e);
    forget_program(e);
}

/* Of two, a proxy in front of us may have judged the other. */
static int refuse_second(const struct execution *e, const char *name, struct buf *error)
{
    if (!request_header(e->req, name) || request_only_header(e->req, name))
        return 0;
    buf_addf(error, "%s: it is there more than once", name);
    return -EINVAL;
}

/* --- Idempotency-Key --- */

static const char idem_header[] = "Idempotency-Key", runtime_header[] = "X-Runtime";

/* Names are bounded, and those of the two kinds never meet. */
static void name_idem(struct execution *e, char kind, const char *value, size_t len)
{
    unsigned char hash[(IDEM_NAME - 1) / 2];
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *) &kind, 1);
    crypto_generichash_update(&state, (const unsigned char *) value, len);
    crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(e->idem_name, sizeof(e->idem_name), hash, sizeof(hash));
}

/* A string in quotes (RFC 8941), or the same without them. */
static int take_idem(struct execution *e, struct buf *error)
{
    const char *value = request_header(e->req, idem_header);
    size_t len = value ? strlen(value) : 0;

    if (refuse_second(e, idem_header, error) < 0)
        return -EINVAL;
    if (!value) {
        if (e->api->conf->idempotency_by_id && e->client_id.p)
            name_idem(e, 'i', e->client_id.p, e->client_id.n);
        return 0;
    }
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value++;
        len -= 2;
    }
    bool ok = len > 0 && len <= IDEM_KEY_MAX;
    for (size_t i = 0; i < len && ok; i++)
        ok = value[i] > ' ' && value[i] < 0x7f && value[i] != '"' && value[i] != '\\';
    if (!ok)
        return buf_adds(error, "Idempotency-Key: must be 1 to 255 printable ASCII characters without spaces, quotes "
                               "and backslashes"),
               -EINVAL;
    name_idem(e, 'h', value, len);
    return 0;
}

/* --- X-Runtime --- */

static int refuse_runtime(const struct execution *e, const char *of, const char *name, struct buf *error)
{
    unsigned n = e->api->conf->n_runtimes;

    buf_addf(error, "%s: there is no runtime '%.64s' here; there %s", of, name, n == 1 ? "is only" : "are");
    for (unsigned i = 0; i < n; i++)
        buf_addf(error, "%s %s", i ? "," : "", pool_runtime_name(e->api->pool, i));
    if (strcmp(name, "data") == 0)
        buf_adds(error, "; for data: apt-get install python3-numpy, then restart the server");
    return -EINVAL;
}

/* The request's own word, or else its key's. */
static int take_runtime(struct execution *e, struct buf *error)
{
    const char *wanted = request_header(e->req, runtime_header);
    const char *name = wanted ? wanted : e->key->file.runtime;
    int runtime = *name || wanted ? pool_find_runtime(e->api->pool, name) : 0;

    if (refuse_second(e, runtime_header, error) < 0)
        return -EINVAL;
    if (runtime < 0)
        return refuse_runtime(e, wanted ? runtime_header : "The key's runtime", name, error);
    e->job.runtime = (unsigned) runtime;
    e->runtime = runtime ? pool_runtime_name(e->api->pool, (unsigned) runtime) : NULL;
    return 0;
}

/* --- the endpoint --- */

static void refuse_request(struct execution *e, int err, struct buf *error)
{
    buf_addc(error, '\0');
    reply_error(e->req, err == -E2BIG ? 413 : 400, error->data, 0);
    execution_free(e);
}

/* The body was read. */
static void go_on(struct execution *e, struct reading *r)
{
    int err = take_members(e, r);

    if (!err)
        err = take_idem(e, &r->error);
    if (err)
        refuse_request(e, err, &r->error);
    else {
        uuid_make(e->job.id);
        if (e->webhook_url || e->idem_name[0])
            submit(e);
        else
            run_now(e);
    }
}

static void begin_reading(const struct execution *e, struct reading *r)
{
    const struct wire_server_conf *conf = e->api->conf;

    add_fields(&conf->limits, r->fields);
    r->text = request_body(e->req, &r->len);
    r->runtime = e->runtime;
    r->signs = conf->idempotency_by_id || request_header(e->req, idem_header);
}

/* --- a long body --- */

/* It and its body live until the thread is done with them, whatever becomes of the client. */
struct aside {
    struct beside beside;
    struct execution *e;
    struct buf body;
    struct reading reading;
};

static void read_aside(void *data)
{
    struct aside *aside = data;

    read_text(&aside->reading);
    buf_free(&aside->body); /* megabytes: it takes as long as a short request */
}

static void on_read_aside(void *data)
{
    struct aside *aside = data;
    struct execution *e = aside->e;
    struct reading *r = &aside->reading;

    if (e->req) {
        request_on_gone(e->req, NULL, NULL);
        go_on(e, r);
    } else {
        e->room = r->room;
        e->tree = r->tree;
        execution_free(e);
    }
    buf_free(&r->error);
    free(aside);
}

static void go_aside(struct execution *e)
{
    struct aside *aside;

    if (!request_pin(e->req)) {
        refuse_job(e, 503,
                   "As many long requests of this key wait to be read as may (server.max_bodies): nothing was run, "
                   "try again",
                   1);
        return;
    }
    aside = xcalloc(1, sizeof(*aside));
    aside->e = e;
    begin_reading(e, &aside->reading);
    request_keep_body(e->req, &aside->body);
    request_take_charge(e->req, &e->charge);
    buf_init(&aside->reading.error, ERROR_MAX);
    request_on_gone(e->req, on_gone_meanwhile, e);
    beside_begin(e->api->loop, &aside->beside, e->job.share, read_aside, on_read_aside, aside);
}

/* --- the endpoint, begun --- */

static struct execution *begin(struct request *req, struct api *api, struct key *key)
{
    struct execution *e = xcalloc(1, sizeof(*e));

    e->api = api;
    e->req = req;
    e->key = key;
    e->start_us = (int64_t) request_start_us(req);
    e->job.timeout_ms = api->conf->limits.timeout_default_ms;
    e->job.on_done = on_done;
    e->job.on_refused = on_refused;
    e->job.owner = e;
    e->job.share = &key->share;
    return e;
}

void api_execute(struct request *req, void *data)
{
    struct reading reading = { 0 };
    struct execution *e;
    size_t len;
    struct key *key = api_enter(req);

    if (!key)
        return;
    e = begin(req, data, key);
    if (trace_begin(request_only_header(req, "traceparent"), e->job.trace))
        reply_header(req, "traceparent", e->job.trace);
    buf_init(&reading.error, ERROR_MAX);
    request_body(req, &len);
    int err = take_runtime(e, &reading.error);
    if (err)
        refuse_request(e, err, &reading.error);
    else if (len > BESIDE_MIN)
        go_aside(e);
    else {
        begin_reading(e, &reading);
        read_text(&reading);
        go_on(e, &reading);
    }
    buf_free(&reading.error);
}
