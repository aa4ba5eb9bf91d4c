/* SPDX-License-Identifier: Apache-2.0 */
/* The table of endpoints, the keys and their rates, and the frame of replies that run nothing.
 *
 * Called by the HTTP room through the table.  What must never happen here:
 * work that a request without a key can ask for. */
#include "server/api/api.h"

#include "server/api/wording.h"

#include "base/clock.h"
#include "base/json.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct holder *api_find_key(void *data, const char *key, size_t len)
{
    const struct api *api = data;
    struct key *found = keys_find(api->keys, key ? key : "", key ? len : 0);

    return found ? &found->holder : NULL;
}

/* draft-ietf-httpapi-ratelimit-headers. */
static void add_rate(struct request *req, const struct key *key, unsigned left, unsigned wait_s)
{
    char text[64];

    snprintf(text, sizeof(text), "\"default\";q=%u;w=60", key->file.rate);
    reply_header(req, "RateLimit-Policy", text);
    snprintf(text, sizeof(text), "\"default\";r=%u;t=%u", left, wait_s);
    reply_header(req, "RateLimit", text);
}

/* As with members of a body, what is not understood is not ignored. */
bool api_check_query(struct request *req)
{
    const struct route *route = request_route(req);
    const char *known = route->flags & ROUTE_QUERY ? route->query : NULL;
    char name[65], error[256];

    if (!request_unknown_query(req, name, sizeof(name)))
        return true;
    snprintf(error, sizeof(error), "%s: unknown parameter in the query; %s%s", name,
             known ? "allowed are: " : "this path takes none", known ? known : "");
    reply_error(req, 400, error, 0);
    return false;
}

/* Before the body is read: a request too many costs no more than its head. */
bool api_on_enter(void *data, struct request *req)
{
    struct key *key = keys_of_holder(request_holder(req));
    unsigned left, wait_s;
    char error[128];

    (void) data;
    if (!key->file.rate || (request_route(req)->flags & ROUTE_UNRATED))
        return true;
    bool ok = key_take(key, now_us(), &left, &wait_s);
    add_rate(req, key, left, wait_s);
    if (ok)
        return true;
    metric_count(METRIC_QUEUE_REJECTED, METRIC_REJECTED_RATE);
    snprintf(error, sizeof(error), "Rate limit reached (%u requests a minute): nothing was run, try again",
             key->file.rate);
    reply_error(req, 429, error, wait_s ? wait_s : 1);
    return false;
}

struct key *api_enter(struct request *req)
{
    struct key *key = keys_of_holder(request_holder(req));

    if (!key->valid) { /* revoked while its request was arriving */
        reply_error(req, 401, "Unauthorized", 0);
        return NULL;
    }
    return api_check_query(req) ? key : NULL;
}

struct key *api_enter_store(struct request *req, const struct api *api)
{
    struct key *key = api_enter(req);

    if (!key)
        return NULL;
    if (api->backlog && request_pin(req))
        return key;
    reply_error(req, 503, api->backlog ? api_slow_store : api->no_store, api->backlog ? 1 : 60);
    return NULL;
}

int64_t api_queue_length(const struct api *api)
{
    return pool_queue_length(api->pool) + (api->backlog ? backlog_queued(api->backlog) : 0);
}

void api_add_envelope(const struct api *api, struct buf *out, int64_t run_us, int64_t queue_us, enum lack waited_for,
                      int64_t total_us)
{
    struct figures figures = api->self;

    figures.run_us = run_us;
    figures.queue_us = queue_us;
    figures.total_us = total_us;
    figures.waited_for = waited_for;
    figures.queue_length = api_queue_length(api);
    wording_add_figures(out, &figures);
}

static void begin_response(struct buf *out, const struct buf *response)
{
    char job_id[UUID_SIZE];

    buf_init(out, SIZE_MAX / 2);
    uuid_make(job_id);
    wording_begin_reply(out, 200, (struct store_bytes){ 0 }, job_id);
    buf_adds(out, "\"response\": ");
    buf_add(out, response->data, response->len);
}

static void end_response(struct request *req, const struct api *api, struct buf *out)
{
    buf_adds(out, ", \"message\": \"success\", ");
    api_add_envelope(api, out, 0, 0, LACK_NONE, now_us() - (int64_t) request_start_us(req));
    buf_addc(out, '}');
}

void api_reply(struct request *req, const struct api *api, const struct buf *response)
{
    struct buf body;

    begin_response(&body, response);
    end_response(req, api, &body);
    reply_json(req, 200, &body, 0);
    buf_free(&body);
}

void api_reply_long(struct request *req, const struct api *api, const struct buf *response, struct blob *reply)
{
    struct parts parts = { .blob = blob_ref(reply) };

    begin_response(&parts.before, response);
    buf_init(&parts.after, SIZE_MAX / 2);
    buf_adds(&parts.after, reply ? "}" : "null}");
    end_response(req, api, &parts.after);
    reply_parts(req, 200, &parts, 0);
}

void api_authenticate(struct request *req, void *data)
{
    const struct api *api = data;
    struct buf text;

    if (!api_enter(req))
        return;
    buf_init(&text, 64);
    buf_adds(&text, "\"Authorized\"");
    api_reply(req, api, &text);
    buf_free(&text);
}

#define PATH(name, path) static const char path_##name[] = path;
#include "server/api/routes.def"

const struct route api_routes[] = {
#define ROUTE(method, path, flags, handler, id, summary, parameters, request, replies)                                 \
    { method, path_##path, flags, handler, PATH_##path, (flags) &ROUTE_QUERY ? (parameters) : NULL },
#include "server/api/routes.def"
    { 0 },
};
