/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/code/execute/python: a request to a program, what became of it to a reply.
 *
 * Called by the route table with a complete body of a client that has the key.
 * Whatever is wrong with it is found before a job exists (body.c).  Whether the
 * program runs here and now or through the store is intake's (server/jobs).  A
 * body that takes long to read is read in a thread.  What must never happen
 * here: a 202 before the job is on disk, a reply for a client that has gone, or
 * other clients waiting while a long body is read. */
#include "server/api/body.h"

#include "server/api/api.h"
#include "server/api/wording.h"

#include "base/beside.h"
#include "base/clock.h"
#include "base/json.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDEM_KEY_MAX = 255 };

/* A request while its program runs. */
struct execution {
    struct program program;
    struct api *api;
    struct request *req;  /* NULL: its client has gone */
    struct charge charge; /* for the two: */
    struct body body;     /* the program points into it, or */
    char *id;             /* the caller's id into this */
    struct beside beside; /* while a thread reads the body, or writes the reply, which it has here: */
    struct buf text;
    struct verdict verdict; /* what the reply is written of */
    int status;             /* of a run that is over */
};

static struct execution *of(struct program *program)
{
    return (struct execution *) ((char *) program - offsetof(struct execution, program));
}

/* The client went away while a thread is at work for it. */
static void on_gone_meanwhile(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    e->req = NULL;
}

static void execution_free(struct execution *e)
{
    charge_drop(&e->charge);
    body_free(&e->body);
    free(e->id);
    free(e);
}

/* The store has a copy of the program: of ours the caller's id is left. */
static void forget_program(struct execution *e)
{
    struct store_bytes *id = &e->program.client_id;

    if (id->p)
        id->p = e->id = memcpy(xmalloc(id->n + 1), id->p, id->n);
    body_free(&e->body);
    e->body = (struct body){ 0 };
    e->program.job.code = NULL;
}

/* --- replies --- */

static void begin_reply(const struct execution *e, int status, struct buf *out)
{
    /* Its parts are all bounded: result, two streams and an error, each escaped sixfold at worst. */
    buf_init(out, SIZE_MAX / 2);
    wording_begin_reply(out, status, e->program.client_id, e->program.job.id);
}

static void end_reply(struct execution *e, int status, struct buf *out, unsigned retry_after_s)
{
    const struct job *job = &e->program.job;

    buf_adds(out, ", ");
    api_add_envelope(e->api, out, job->ended_us - job->started_us, job->started_us - job->queued_us, job->waited_for,
                     now_us() - e->program.start_us);
    buf_addc(out, '}');
    struct parts parts = { .before = *out };
    reply_parts(e->req, status, &parts, retry_after_s);
}

static void refuse_program(struct execution *e, int status, const char *text, unsigned retry_after_s)
{
    struct buf out;

    if (e->req) {
        api_on_refusal(e->api, e->req, status);
        begin_reply(e, status, &out);
        wording_add_error(&out, text);
        end_reply(e, status, &out, retry_after_s);
    }
    execution_free(e);
}

static void on_refused(struct program *program, const struct refusal *refusal)
{
    struct execution *e = of(program);
    struct api_refusal words;

    api_word_refusal(e->api, program, refusal, &words);
    refuse_program(e, words.status, words.text, words.retry_after_s);
}

/* --- runs here and now --- */

/* All phases or none: of a program that said nothing of its time, or nothing that can be, only the whole is known. */
static void count_phases(const struct execution *e)
{
    const struct job *job = &e->program.job;
    const struct wire_stamps *s = &job->stamps;

    if (!s->over_us)
        return;
    metric_observe(METRIC_REQUEST_PHASE, job->queued_us - e->program.start_us, METRIC_PHASE_PARSE, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, job->started_us - job->queued_us, METRIC_PHASE_ADMISSION, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, s->received_us - job->started_us, METRIC_PHASE_HANDOVER, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, s->compiled_us - s->received_us, METRIC_PHASE_COMPILE, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, s->over_us - s->compiled_us, METRIC_PHASE_RUN, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, job->ended_us - s->over_us, METRIC_PHASE_OUTCOME, 0, 0);
    request_mark(e->req, job->ended_us);
}

static void on_reply_worded(struct execution *e)
{
    if (e->req)
        end_reply(e, e->status, &e->text, e->status == 503 ? 1 : 0);
    else
        buf_free(&e->text);
    execution_free(e);
}

static void word_aside(void *data)
{
    struct execution *e = data;

    wording_add_outcome(&e->text, &e->verdict.outcome);
    verdict_free(&e->verdict);
}

static void on_word_aside(void *data)
{
    on_reply_worded(data);
}

static void on_done(struct program *program, struct outcome *outcome)
{
    struct execution *e = of(program);

    count_phases(e);
    e->status = outcome_status(outcome);
    begin_reply(e, e->status, &e->text);
    request_on_gone(e->req, on_gone_meanwhile, e);
    request_may_yield(e->req, NULL);
    if (outcome_is_long(outcome)) {
        verdict_take(&e->verdict, outcome);
        beside_begin(e->api->loop, &e->beside, program->job.share, word_aside, on_word_aside, e);
        return;
    }
    wording_add_outcome(&e->text, outcome);
    on_reply_worded(e);
}

/* The client went away: nobody wants the rest. */
static void on_gone(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    intake_cancel(&e->program);
    execution_free(e);
}

/* Others need what it holds: its program, if it has not begun. */
static bool on_yield(struct request *req, void *data, const char *why)
{
    struct execution *e = data;

    (void) req;
    if (!why)
        return intake_waits(&e->program);
    if (!intake_give_way(&e->program))
        return false;
    refuse_program(e, 503, why, 1);
    return true;
}

static void run_now(struct execution *e)
{
    if (e->charge.http) /* as a client that goes takes it along */
        charge_unpin(&e->charge);
    else
        request_take_charge(e->req, &e->charge);
    request_on_gone(e->req, on_gone, e);
    request_may_yield(e->req, on_yield);
    intake_run(&e->api->intake, &e->program);
}

/* --- runs through the store --- */

/* The job goes on without its client: it may come back with the same key. */
static void on_stored_gone(struct request *req, void *data)
{
    struct execution *e = data;

    (void) req;
    e->req = NULL;
    if (!e->program.waiter)
        return; /* the store's answer is still to come */
    intake_unwait(&e->program);
    execution_free(e);
}

/* Others need its connection; the job goes on. */
static bool on_stored_yield(struct request *req, void *data, const char *why)
{
    struct execution *e = data;

    (void) req;
    if (!why || !e->program.waiter)
        return e->program.waiter;
    intake_unwait(&e->program);
    refuse_program(e, 503,
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

static void on_over(struct program *program, int status, struct blob *reply)
{
    struct execution *e = of(program);

    if (!reply) {
        refuse_program(e, 503, "The server is shutting down; the run is kept: ask again with the same Idempotency-Key",
                       1);
        return;
    }
    reply_stored(e, status, reply);
    execution_free(e);
}

static void on_stored_worded(void *data, struct blob *reply)
{
    struct execution *e = data;

    if (e->req)
        reply_stored(e, e->status, reply);
    execution_free(e);
}

static void on_stored(struct program *program, const struct store_record *r)
{
    struct execution *e = of(program);

    charge_drop(&e->charge);
    if (!e->req)
        execution_free(e);
    else if (program->webhook_url) {
        reply_accepted(e);
        execution_free(e);
    } else if (r->blob) {
        e->status = r->status;
        wording_begin(e->api->loop, api_wordings, program->job.share, r, on_stored_worded, e);
    } else
        intake_wait(program);
}

static void submit(struct execution *e)
{
    if (e->api->backlog && !e->charge.http) {
        if (!request_pin(e->req)) {
            intake_count_unasked();
            refuse_program(e, 503, api_slow_store, 1);
            return;
        }
        request_take_charge(e->req, &e->charge);
    }
    request_on_gone(e->req, on_stored_gone, e);
    request_may_yield(e->req, on_stored_yield);
    if (intake_store(&e->api->intake, &e->program))
        forget_program(e);
}

static const struct program_calls calls = {
    .on_done = on_done,
    .on_refused = on_refused,
    .on_stored = on_stored,
    .on_over = on_over,
};

/* --- headers --- */

static const char idem_header[] = "Idempotency-Key", runtime_header[] = "X-Runtime";

/* Of two, a proxy in front of us may have judged the other. */
static int refuse_second(const struct execution *e, const char *name, struct buf *error)
{
    if (!request_header(e->req, name) || request_only_header(e->req, name))
        return 0;
    return fail(error, -EINVAL, "%s: it is there more than once", name);
}

/* A string in quotes (RFC 8941), or the same without them. */
static int take_idem(struct execution *e, struct buf *error)
{
    const char *value = request_header(e->req, idem_header);
    const struct store_bytes *id = &e->program.client_id;
    size_t len = value ? strlen(value) : 0;

    if (refuse_second(e, idem_header, error) < 0)
        return -EINVAL;
    if (!value) {
        if (e->api->conf->idempotency_by_id && id->p)
            intake_name(&e->program, 'i', id->p, id->n);
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
        return fail(error, -EINVAL,
                    "Idempotency-Key: must be 1 to 255 printable ASCII characters without spaces, quotes "
                    "and backslashes");
    intake_name(&e->program, 'h', value, len);
    return 0;
}

static int refuse_runtime(const struct execution *e, const char *of_what, const char *name, struct buf *error)
{
    unsigned n = e->api->conf->n_runtimes;

    buf_addf(error, "%s: there is no runtime '%.64s' here; there %s", of_what, name, n == 1 ? "is only" : "are");
    for (unsigned i = 0; i < n; i++)
        buf_addf(error, "%s %s", i ? "," : "", pool_runtime_name(e->api->pool, i));
    if (strcmp(name, "data") == 0)
        buf_adds(error, "; for data: apt-get install python3-numpy, then restart the server");
    else
        buf_adds(error, "; after hatchery env add, restart the server");
    return -EINVAL;
}

/* The request's own word, or else its key's. */
static int take_runtime(struct execution *e, struct buf *error)
{
    const char *wanted = request_header(e->req, runtime_header);
    const char *name = wanted ? wanted : e->program.key->file.runtime;
    int runtime = *name || wanted ? pool_find_runtime(e->api->pool, name) : 0;

    if (refuse_second(e, runtime_header, error) < 0)
        return -EINVAL;
    if (runtime < 0)
        return refuse_runtime(e, wanted ? runtime_header : "The key's runtime", name, error);
    e->program.job.runtime = (unsigned) runtime;
    e->program.runtime = runtime ? pool_runtime_name(e->api->pool, (unsigned) runtime) : NULL;
    return 0;
}

/* --- the endpoint --- */

static void refuse_request(struct execution *e, int err)
{
    reply_error(e->req, err == -E2BIG ? 413 : 400, buf_text(&e->body.error), 0);
    execution_free(e);
}

/* The body was read. */
static void go_on(struct execution *e)
{
    int err = body_take(&e->body, &e->api->conf->limits, e->api->allow, &e->program);

    if (!err)
        err = take_idem(e, &e->body.error);
    if (err)
        refuse_request(e, err);
    else if (intake_is_stored(&e->program))
        submit(e);
    else
        run_now(e);
}

static void read_aside(void *data)
{
    struct execution *e = data;

    body_read(&e->body);
    buf_free(&e->text); /* megabytes: it takes as long as a short request */
}

static void on_read_aside(void *data)
{
    struct execution *e = data;

    if (!e->req) {
        execution_free(e);
        return;
    }
    request_on_gone(e->req, NULL, NULL);
    go_on(e);
}

/* A long body: it and @e live until the thread is done with them, whatever becomes of the client. */
static void go_aside(struct execution *e)
{
    if (!request_pin(e->req)) {
        refuse_program(e, 503,
                       "As many long requests of this key wait to be read as may (server.max_bodies): nothing was run, "
                       "try again",
                       1);
        return;
    }
    request_keep_body(e->req, &e->text);
    request_take_charge(e->req, &e->charge);
    request_on_gone(e->req, on_gone_meanwhile, e);
    beside_begin(e->api->loop, &e->beside, e->program.job.share, read_aside, on_read_aside, e);
}

static struct execution *begin(struct request *req, struct api *api, struct key *key)
{
    struct execution *e = xcalloc(1, sizeof(*e));

    e->api = api;
    e->req = req;
    e->program.calls = &calls;
    e->program.key = key;
    e->program.api = API_EXECUTE;
    e->program.start_us = (int64_t) request_start_us(req);
    e->program.job.timeout_ms = api->conf->limits.timeout_default_ms;
    e->program.job.share = &key->share;
    body_init(&e->body, &api->conf->limits);
    return e;
}

void api_execute(struct request *req, void *data)
{
    struct api *api = data;
    struct key *key = api_enter(req);

    if (!key)
        return;
    struct execution *e = begin(req, api, key);
    struct body *body = &e->body;
    if (trace_begin(request_only_header(req, "traceparent"), e->program.job.trace))
        reply_header(req, "traceparent", e->program.job.trace);
    int err = take_runtime(e, &body->error);
    if (err) {
        refuse_request(e, err);
        return;
    }
    body->text = request_body(req, &body->len);
    body->runtime = e->program.runtime;
    body->signs = api->conf->idempotency_by_id || request_header(req, idem_header);
    if (body->len > BESIDE_MIN)
        go_aside(e);
    else {
        body_read(body);
        go_on(e);
    }
}
