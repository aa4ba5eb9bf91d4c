/* SPDX-License-Identifier: Apache-2.0 */
/* Health: does the server live, and would it run a program now?
 *
 * Called by the route tables, also without a key.  What must never happen
 * here: work or memory that grows with what a stranger sends, or a wait for
 * the disk. */
#include "server/api/api.h"

#include "box/layers.h"

void api_healthz(struct request *req, void *data)
{
    struct buf body;

    (void) data;
    buf_init(&body, 64);
    buf_adds(&body, "{\"status\": \"ok\"}");
    reply_json(req, 200, &body, 0);
    buf_free(&body);
}

const char *api_tier(uint32_t missing)
{
    return missing ? "reduced" : "full";
}

static void add_layers(struct buf *out, const char *name, uint32_t bits)
{
    const char *comma = "";

    buf_addf(out, "\"%s\": [", name);
    for (int i = 0; i < LAYERS; i++)
        if (bits & LAYER_BIT(i)) {
            buf_addf(out, "%s\"%s\"", comma, layers[i].word);
            comma = ", ";
        }
    buf_adds(out, "]");
}

static const char *store_word(const struct api *api)
{
    if (!api->conf->has_state)
        return "none";
    return api->store && !api->store->write_err ? "ok" : "failing";
}

const char *api_unready(const struct api *api, const struct pool_counts *counts)
{
    if (api->draining || pool_is_draining(api->pool))
        return "the server is stopping";
    if (!counts->zygote)
        return "no zygote is warm";
    return pool_is_ready(api->pool) ? NULL : "no box is warm";
}

void api_readyz(struct request *req, void *data)
{
    const struct api *api = data;
    struct pool_counts counts = pool_count(api->pool);
    const char *error = api_unready(api, &counts);
    uint32_t missing = api->conf->layers_missing;
    struct buf body;

    buf_init(&body, SIZE_MAX / 2); /* its parts are bounded */
    buf_addf(&body, "{\"status\": \"%s\", \"draining\": %s, \"store\": \"%s\", ", error ? "not ready" : "ready",
             api->draining ? "true" : "false", store_word(api));
    buf_addf(&body, "\"zygote\": \"%s\", \"boxes\": {\"waiting\": %u, \"running\": %u, \"warming\": %u}, ",
             counts.zygote ? "warm" : "none", counts.waiting, counts.running, counts.warming);
    buf_addf(&body, "\"isolation\": {\"tier\": \"%s\", ", api_tier(missing));
    add_layers(&body, "layers", ~missing);
    buf_adds(&body, ", ");
    add_layers(&body, "missing", missing);
    buf_adds(&body, "}, ");
    api_add_faults(api, &body);
    if (error)
        buf_addf(&body, ", \"error\": \"%s\"", error);
    buf_addc(&body, '}');
    reply_json(req, error ? 503 : 200, &body, error ? 1 : 0);
    buf_free(&body);
}
