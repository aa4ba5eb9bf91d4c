/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /v1/code/execute/python: any bytes get one reply that is JSON. */
#include "server/api/api.h"

#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* The HTTP room, played: one request whose body is the fuzzer's. */
struct request {
    const char *body;
    size_t len;
    int replies;
};

static struct request *current;

const char *request_body(const struct request *req, size_t *ret_len)
{
    *ret_len = req->len;
    return req->body;
}

/* Half of the requests have an Idempotency-Key. */
const char *request_header(const struct request *req, const char *name)
{
    if (strcmp(name, "x-api-key") == 0)
        return "key";
    return strcmp(name, "idempotency-key") == 0 && req->len % 2 ? "\"name\"" : NULL;
}

/* A third have a traceparent, which is what the body begins with. */
const char *request_only_header(const struct request *req, const char *name)
{
    static char trace[80];

    assert(strcmp(name, "traceparent") == 0);
    if (req->len % 3)
        return NULL;
    size_t n = req->len < sizeof(trace) ? req->len : sizeof(trace) - 1;
    memcpy(trace, req->body, n);
    trace[n] = '\0';
    return trace;
}

const struct route *request_route(const struct request *req)
{
    static const struct route route = { .method = "POST", .path = "/v1/code/execute/python" };

    (void) req;
    return &route;
}

bool request_is(const struct request *req, const char *name)
{
    (void) req;
    (void) name;
    return false;
}

/* What it is charged for is the HTTP room's to count. */
static struct holder *holder;

struct holder *request_holder(const struct request *req)
{
    (void) req;
    return holder;
}

void request_address(const struct request *req, char *ret, size_t size)
{
    (void) req;
    snprintf(ret, size, "?");
}

bool request_pin(struct request *req)
{
    return req->len % 5;
}

void request_take_charge(struct request *req, struct charge *ret)
{
    (void) req;
    *ret = (struct charge){ 0 };
}

void charge_drop(struct charge *charge)
{
    (void) charge;
}

void charge_unpin(struct charge *charge)
{
    (void) charge;
}

void request_may_yield(struct request *req, bool (*on_yield)(struct request *, void *, const char *))
{
    (void) req;
    (void) on_yield;
}

void http_counts(const struct http *http, unsigned *ret_open, unsigned *ret_in_hand)
{
    (void) http;
    *ret_open = *ret_in_hand = 0;
}

void request_part(const struct request *req, char *ret, size_t size)
{
    (void) req;
    (void) size;
    *ret = '\0';
}

bool request_unknown_query(const struct request *req, char *ret, size_t size)
{
    (void) req, (void) ret, (void) size;
    return false;
}

int request_query(const struct request *req, const char *name, char *ret, size_t size)
{
    (void) req;
    (void) name;
    (void) ret;
    (void) size;
    return -ENOENT;
}

void reply_header(struct request *req, const char *name, const char *value)
{
    (void) req;
    assert(strcmp(name, "traceparent") != 0 || strspn(value, "0123456789abcdef-") == 55);
}

uint64_t request_start_us(const struct request *req)
{
    (void) req;
    return 0;
}

void request_keep_body(struct request *req, struct buf *ret)
{
    (void) req, (void) ret;
    assert(!"no body of a fuzzer is long enough");
}

void request_on_gone(struct request *req, void (*on_gone)(struct request *, void *), void *data)
{
    (void) req;
    (void) on_gone;
    (void) data;
}

void reply_json(struct request *req, int status, const struct buf *body, unsigned retry_after_s)
{
    (void) retry_after_s;
    assert(status >= 200 && status < 600 && !body->full);
    assert(json_check(body->data, body->len, 64) == 0);
    req->replies++;
}

void reply_parts(struct request *req, int status, struct parts *parts, unsigned retry_after_s)
{
    reply_json(req, status, &parts->before, retry_after_s);
    buf_free(&parts->before);
}

void reply_typed(struct request *req, int status, const char *type, const struct buf *body)
{
    (void) type;
    assert(status == 200 && !body->full);
    req->replies++;
}

void reply_error(struct request *req, int status, const char *error, unsigned retry_after_s)
{
    (void) retry_after_s;
    assert(status >= 400 && *error);
    req->replies++;
}

void request_mark(struct request *req, int64_t us)
{
    (void) req;
    (void) us;
}

int64_t request_marked_us(const struct request *req)
{
    (void) req;
    return 0;
}

/* The pool, played: half of the jobs are refused, the others end at once. */
int pool_run(struct pool *pool, struct job *job)
{
    struct wire_limits limits = { .output_bytes = 10, .result_bytes = 10 };
    struct outcome outcome;

    (void) pool;
    assert(job->code && !memchr(job->code, '\0', job->code_len));
    assert(job->timeout_ms >= 1000 && job->timeout_ms <= 300000);
    if (job->code_len % 2)
        return -EAGAIN;
    if (job->code_len % 3 == 0) {
        job->on_refused(job);
        return 0;
    }
    outcome_init(&outcome, &limits);
    outcome.kind = OUTCOME_OK;
    job->on_done(job, &outcome);
    outcome_free(&outcome);
    return 0;
}

void pool_cancel(struct pool *pool, struct job *job)
{
    (void) pool;
    (void) job;
}

unsigned pool_queue_length(const struct pool *pool)
{
    (void) pool;
    return 0;
}

struct pool_counts pool_count(const struct pool *pool)
{
    (void) pool;
    return (struct pool_counts){ 0 };
}

bool pool_is_draining(const struct pool *pool)
{
    (void) pool;
    return false;
}

void pool_stop(struct pool *pool, struct job *job)
{
    (void) pool;
    (void) job;
}

int pool_find_runtime(const struct pool *pool, const char *name)
{
    (void) pool;
    return strcmp(name, "default") == 0 ? 0 : -1;
}

const char *pool_runtime_name(const struct pool *pool, unsigned runtime)
{
    (void) pool;
    return runtime == 0 ? "default" : NULL;
}

bool pool_is_warm(const struct pool *pool, unsigned runtime)
{
    (void) pool;
    return runtime == 0;
}

bool pool_is_unable(struct pool *pool, unsigned runtime)
{
    (void) pool;
    (void) runtime;
    return false;
}

const char *pool_fault_words(const struct pool *pool, unsigned runtime)
{
    (void) pool;
    (void) runtime;
    return NULL;
}

unsigned pool_sharers(const struct pool *pool, const struct share *share)
{
    (void) pool;
    (void) share;
    return 1;
}

unsigned pool_free_boxes(const struct pool *pool)
{
    (void) pool;
    return 1;
}

enum lack pool_lack(const struct pool *pool)
{
    (void) pool;
    return LACK_NONE;
}

bool pool_is_ready(const struct pool *pool)
{
    (void) pool;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wire_server_conf conf = {
        .limits = { .timeout_default_ms = 30000, .timeout_max_ms = 300000, .code_bytes = 1000 }
    };
    static struct keys *keys;
    static struct guard_allow *allow; /* nothing: private targets are refused */
    unsigned char hash[KEYFILE_HASH];
    struct api api = { .conf = &conf, .no_store = "there is no store", .intake = { .conf = &conf } };
    struct request req = { .body = (const char *) data, .len = size };

    crypto_generichash(hash, sizeof(hash), (const unsigned char *) "key", 3, NULL, 0);
    if (!keys)
        keys = keys_new(hash);
    if (!allow) {
        struct buf error;
        buf_init(&error, 512);
        assert(guard_allow_parse("", &allow, &error) == 0);
        buf_free(&error);
    }
    api.keys = keys;
    holder = &keys_find(keys, "key", 3)->holder;
    api.allow = allow;
    current = &req;
    api_execute(current, &api);
    assert(req.replies == 1);
    return 0;
}
