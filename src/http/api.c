/* SPDX-License-Identifier: Apache-2.0 */
/* The table of endpoints, the key, and the endpoints that run nothing.
 *
 * Called by the HTTP room through the table.  What must never happen here:
 * work that a request without a key can ask for. */
#include "api.h"

#include "../base/fd.h"
#include "../base/json.h"
#include "../jobs/uuid.h"

#include <sodium.h>
#include <unistd.h>

bool api_key_ok(void *data, const char *key, size_t len)
{
    const struct api *api = data;
    unsigned char hash[sizeof(api->conf->key_hash)];

    crypto_generichash(hash, sizeof(hash), (const unsigned char *) key, key ? len : 0, NULL, 0);
    return sodium_memcmp(hash, api->conf->key_hash, sizeof(hash)) == 0;
}

void api_add_envelope(const struct api *api, struct buf *out, int64_t run_us, int64_t queue_us, int64_t total_us)
{
    buf_addf(out, "\"pid\": %d, \"queue_id\": %lld, \"run_time\": ", (int) getpid(), (long long) api->queue_id);
    json_add_seconds(out, run_us);
    buf_adds(out, ", \"queue_time\": ");
    json_add_seconds(out, queue_us);
    buf_adds(out, ", \"total_time\": ");
    json_add_seconds(out, total_us);
    buf_addf(out, ", \"queue_length\": %u, \"build_number\": %d", pool_queue_length(api->pool), BUILD_NUMBER);
}

static void authenticate(struct request *req, void *data)
{
    const struct api *api = data;
    char job_id[UUID_SIZE];
    struct buf body;

    buf_init(&body, 1024);
    uuid_make(job_id);
    buf_addf(
        &body,
        "{\"code\": 200, \"id\": null, \"job_id\": \"%s\", \"response\": \"Authorized\", \"message\": \"success\", ",
        job_id);
    api_add_envelope(api, &body, 0, 0, now_us() - (int64_t) request_start_us(req));
    buf_addc(&body, '}');
    reply_json(req, 200, &body, 0);
    buf_free(&body);
}

static void reply_text(struct request *req, int status, const char *text, unsigned retry_after_s)
{
    struct buf body;

    buf_init(&body, 256);
    buf_adds(&body, text);
    reply_json(req, status, &body, retry_after_s);
    buf_free(&body);
}

static void healthz(struct request *req, void *data)
{
    (void) data;
    reply_text(req, 200, "{\"status\": \"ok\"}", 0);
}

static void readyz(struct request *req, void *data)
{
    const struct api *api = data;

    if (pool_is_ready(api->pool))
        reply_text(req, 200, "{\"status\": \"ready\"}", 0);
    else
        reply_text(req, 503, "{\"status\": \"not ready\", \"error\": \"no box is warm, or the server is stopping\"}",
                   1);
}

const struct route api_routes[] = {
    { "POST", "/v1/code/execute/python", ROUTE_KEY | ROUTE_JSON, api_execute },
    { "GET", "/v1/toolkit/authenticate", ROUTE_KEY, authenticate },
    { "GET", "/healthz", 0, healthz },
    { "GET", "/readyz", 0, readyz },
    { NULL, NULL, 0, NULL },
};
