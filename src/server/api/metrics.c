/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics, and what the API counts: requests by path and status.
 *
 * Called by the HTTP room for each request, and by the route tables, also
 * without a key.  What must never happen here: work or memory that grows with
 * what a stranger sends, or a wait for the disk. */
#include "server/api/api.h"

#include "base/clock.h"
#include "box/layers.h"

#include "revision.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const path_words[] = {
#define PATH(name, path) path,
#include "server/api/routes.def"
    "other"
};
_Static_assert((int) PATHS <= (int) METRIC_N_ROUTE, "the label route has too few values");

/* Every status that is sent. */
enum code {
#define STATUS(code, reason, sentence) CODE_##code,
#include "server/http/status.def"
    CODE_OTHER,
    CODES
};
static const char *const code_words[] = {
#define STATUS(code, reason, sentence) #code,
#include "server/http/status.def"
    "other"
};
_Static_assert((int) CODES <= (int) METRIC_N_CODE, "the label code has too few values");

static enum code code_of(int status)
{
    static const int codes[] = {
#define STATUS(code, reason, sentence) code,
#include "server/http/status.def"
    };
    unsigned i = 0;

    while (i < CODE_OTHER && codes[i] != status)
        i++;
    return (enum code) i;
}

void api_metrics_init(struct api *api)
{
    const struct wire_server_conf *conf = api->conf;
    static const char *const cgroup_words[] = { "none", "v1", "v2" };
    uint32_t missing = conf->layers_missing;
    char text[200];

    metrics_name(LABEL_ROUTE, path_words, PATHS);
    metrics_name(LABEL_CODE, code_words, CODES);
    store_name_operations();
    buf_init(&api->metrics_text, METRICS_TEXT_MAX);
    metrics_process_init();
    metric_info(METRIC_BUILD, "version=\"" VERSION "\",revision=\"" REVISION "\",python=\"" PYTHON "\"");
    snprintf(text, sizeof(text), "tier=\"%s\",userns=\"%s\",cgroup=\"%s\",landlock_abi=\"%d\",seccomp=\"%s\"",
             api_tier(missing), missing & LAYER_BIT(LAYER_NAMESPACES) ? "no" : "yes",
             cgroup_words[conf->cgroup_version], missing & LAYER_BIT(LAYER_LANDLOCK) ? 0 : conf->landlock_abi,
             missing & LAYER_BIT(LAYER_SECCOMP) ? "no" : "yes");
    metric_info(METRIC_SANDBOX, text);
}

static unsigned method_of(const struct request *req)
{
    static const struct {
        const char *name;
        unsigned word;
    } methods[] = {
        { "GET", METRIC_GET }, { "HEAD", METRIC_HEAD }, { "POST", METRIC_POST }, { "DELETE", METRIC_DELETE }
    };

    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (request_is(req, methods[i].name))
            return methods[i].word;
    return METRIC_METHOD_OTHER;
}

void api_on_reply(void *data, const struct request *req, int status)
{
    const struct route *route = request_route(req);
    unsigned path = route ? (unsigned) route->path_id : PATH_OTHER;

    (void) data;
    metric_add(METRIC_HTTP_REQUESTS, 1, path, method_of(req), code_of(status));
    metric_observe(METRIC_HTTP_DURATION, now_us() - (int64_t) request_start_us(req), path, 0, 0);
}

/* The last of a request's phases; the others were counted with its outcome (execute.c). */
void api_on_sent(void *data, const struct request *req)
{
    int64_t since_us = request_marked_us(req);

    (void) data;
    if (since_us)
        metric_observe(METRIC_REQUEST_PHASE, now_us() - since_us, METRIC_PHASE_REPLY, 0, 0);
}

void api_on_shed(void *data)
{
    (void) data;
    metric_count(METRIC_HTTP_SHED, 0);
}

/* The job that waits longest: in memory by the monotonic clock, on disk by the wall's. */
static int64_t oldest_age_us(const struct api *api, const struct pool_counts *counts)
{
    int64_t age = counts->oldest_queued_us ? now_us() - counts->oldest_queued_us : 0;
    bool on_disk = api->backlog && backlog_queued(api->backlog) && api->store->oldest_us;
    int64_t stored = on_disk ? wall_us() - api->store->oldest_us : 0;

    return stored > age ? stored : age;
}

static unsigned count_left_out(const struct api *api)
{
    unsigned n = 0;

    for (unsigned i = 0; i < api->conf->n_runtimes; i++)
        n += api->n_left_out[i];
    return n;
}

/* What is a state of something, and not an event. */
static void set_gauges(const struct api *api)
{
    struct pool_counts counts = pool_count(api->pool);
    unsigned n_open = 0, n_in_hand = 0;

    for (int i = 0; i < API_LISTENERS; i++) {
        unsigned some_open = 0, some_in_hand = 0;
        if (api->https[i])
            http_counts(api->https[i], &some_open, &some_in_hand);
        n_open += some_open;
        n_in_hand += some_in_hand;
    }
    metric_set(METRIC_HTTP_CONNECTIONS, n_open, 0, 0, 0);
    metric_set(METRIC_HTTP_INFLIGHT, n_in_hand, 0, 0, 0);
    metric_set(METRIC_SLOTS, counts.waiting, METRIC_IDLE, 0, 0);
    metric_set(METRIC_SLOTS, counts.running, METRIC_BUSY, 0, 0);
    metric_set(METRIC_SLOTS, counts.warming, METRIC_WARMING, 0, 0);
    metric_set(METRIC_SLOTS_MAX, api->conf->max_runs, 0, 0, 0);
    metric_set(METRIC_RUNTIMES, counts.runtimes, 0, 0, 0);
    metric_set(METRIC_RUNTIMES_FAILING, counts.failing, 0, 0, 0);
    metric_set(METRIC_IMPORTS_LEFT_OUT, count_left_out(api), 0, 0, 0);
    metric_set(METRIC_QUEUE_JOBS, pool_queue_length(api->pool), METRIC_QUEUE_WAITING, 0, 0);
    metric_set(METRIC_QUEUE_JOBS, counts.running, METRIC_QUEUE_RUNNING, 0, 0);
    metric_set(METRIC_QUEUE_JOBS, api->backlog ? backlog_queued(api->backlog) : 0, METRIC_QUEUE_STORED, 0, 0);
    metric_set(METRIC_QUEUE_AGE, oldest_age_us(api, &counts), 0, 0, 0);
    metric_set(METRIC_DELIVERIES_PENDING, api->store ? api->store->deliveries : 0, 0, 0, 0);
    metric_set(METRIC_STORE_UP, api->conf->has_state ? api->store && !api->store->write_err : -1, 0, 0, 0);
    metric_set(METRIC_READY, !api_unready(api, &counts), 0, 0, 0);
    metrics_process_read();
}

/* --- which format --- */

/* The value of @name among the parameters at @p, which end at @end, or NULL. */
static const char *parameter(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);

    while ((p = memchr(p, ';', (size_t) (end - p)))) {
        p++;
        p += strspn(p, " \t");
        if (p + n < end && strncasecmp(p, name, n) == 0 && p[n] == '=')
            return p + n + 1;
    }
    return NULL;
}

/* The weight of one entry of Accept, in thousandths (RFC 9110 section 12.4.2). */
static int weight(const char *p, const char *end)
{
    const char *q = parameter(p, end, "q");
    int thousandths = 0, unit = 100;

    if (!q)
        return 1000;
    if (*q == '1')
        return 1000;
    if (q[0] == '0' && q[1] == '.')
        for (q += 2; q < end && *q >= '0' && *q <= '9' && unit; q++, unit /= 10)
            thousandths += (*q - '0') * unit;
    return thousandths;
}

static bool is_type(const char *p, const char *end, const char *type)
{
    size_t n = strlen(type);
    return (size_t) (end - p) >= n && strncasecmp(p, type, n) == 0 && (p + n == end || strchr(" \t;,", p[n]));
}

enum metrics_format api_metrics_format(const char *accept)
{
    int open = 0, text = 0;

    for (const char *p = accept ? accept : "", *end; *p; p = *end ? end + 1 : end) {
        p += strspn(p, " \t");
        end = p + strcspn(p, ",");
        const char *version = parameter(p, end, "version");
        bool ours = !version || strncmp(version, "1.0.0", 5) == 0 || strncmp(version, "\"1.0.0\"", 7) == 0;
        int w = weight(p, end);
        if (is_type(p, end, "application/openmetrics-text") && ours && w > open)
            open = w;
        else if (is_type(p, end, "text/plain") && w > text)
            text = w;
    }
    return open && open >= text ? METRICS_OPEN : METRICS_TEXT;
}

/* --- showing --- */

/* One buffer for all who ask, so that a thousand scrapers take no more memory than what their sockets hold. */
static void reply_metrics(struct request *req, struct api *api)
{
    enum metrics_format format = api_metrics_format(request_header(req, "accept"));

    set_gauges(api);
    buf_reset(&api->metrics_text);
    metrics_write(&api->metrics_text, format);
    reply_typed(req, 200, metrics_type(format), &api->metrics_text);
}

void api_metrics(struct request *req, void *data)
{
    struct api *api = data;

    if (!api_check_query(req))
        return;
    if (api->conf->metrics_here)
        reply_metrics(req, api);
    else
        reply_error(req, 404, "The metrics are not here (metrics.listen)", 0);
}

static void watch_metrics(struct request *req, void *data)
{
    reply_metrics(req, data);
}

const struct route api_metrics_routes[] = {
    { "GET", "/metrics", 0, watch_metrics, PATH_METRICS }, { "GET", "/healthz", 0, api_healthz, PATH_HEALTHZ },
    { "GET", "/livez", 0, api_healthz, PATH_LIVEZ },       { "GET", "/health", 0, api_healthz, PATH_HEALTH },
    { "GET", "/readyz", 0, api_readyz, PATH_READYZ },      { NULL, NULL, 0, NULL, 0 },
};
