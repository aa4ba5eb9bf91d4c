/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints: what each path of the API does with a request. */
#ifndef HATCHERY_SERVER_API_API_H
#define HATCHERY_SERVER_API_API_H

#include "base/guard.h"
#include "base/wire.h"
#include "server/http/http.h"
#include "server/jobs/intake.h"
#include "server/metrics/metrics.h"

/* Names and values of a body: jansson takes time and memory for each, and nobody else has a turn meanwhile. */
enum { API_CURSOR_KEY = 32, API_VALUES_MAX = 4096 };

/* The one for clients, and metrics.listen's. */
enum { API_LISTENERS = 2 };

/* What handlers know of the server; the data of every route. */
struct api {
    uv_loop_t *loop;
    const struct wire_server_conf *conf;
    struct pool *pool;
    struct keys *keys;
    struct figures self; /* what is the same in all replies of this process; the others are 0 */
    /* What needs a store; NULL where there is none, and then why. */
    struct store *store;
    struct backlog *backlog;
    const char *no_store;
    struct intake intake;
    struct guard_allow *allow; /* webhooks.allow and webhooks.ports */
    unsigned char cursor_key[API_CURSOR_KEY];
    struct http *https[API_LISTENERS];
    bool draining; /* it will stop soon: /readyz says so before anything is refused */
    struct buf metrics_text, openapi;
    struct buf left_out[WIRE_RUNTIMES_MAX]; /* JSON arrays: imports that each does without */
    unsigned n_left_out[WIRE_RUNTIMES_MAX];
    struct buf packages[WIRE_RUNTIMES_MAX]; /* members of each runtime's object, from the supervisor */
};

/* Every path (routes.def): route.path_id, and the label of the metrics. */
enum api_path {
#define PATH(name, path) PATH_##name,
#include "server/api/routes.def"
    PATH_OTHER, /* there is no such path */
    PATHS
};

/* For http_new(): everything, and what metrics.listen serves, without a key. */
extern const struct route api_routes[], api_metrics_routes[];

/* For struct http_conf: compares hashes, so that time tells nothing of the key. @data is the struct api. */
struct holder *api_find_key(void *data, const char *key, size_t len);

/* For struct http_conf: counts the request against its key's rate, whose headers are added to the reply. */
bool api_on_enter(void *data, struct request *req);

/* Whose request this is.  NULL: it was answered. */
struct key *api_enter(struct request *req);

/* A parameter that the route does not know: false, and the request was answered. */
bool api_check_query(struct request *req);

/* The same for what needs the store: NULL also where there is none, or it has much of the key's to answer yet (503).
 * Whoever asks the store takes the request's charge. */
struct key *api_enter_store(struct request *req, const struct api *api);

/* For struct http_conf: they count. */
void api_on_reply(void *data, const struct request *req, int status);
void api_on_sent(void *data, const struct request *req);
void api_on_shed(void *data);

/* For struct http_conf: tells the log who was refused a key, at most one line a second for each address, and at the level
 * debug of every other refusal.  @req's words are not in it. */
void api_on_refusal(void *data, const struct request *req, int status);

/* metrics.c */

/* Sets the metrics that stay as they are; opens files that cannot be opened after the server has confined itself. */
void api_metrics_init(struct api *api);

/* The format that a request's header Accept asks for (NULL: no header).  OpenMetrics is for clients that name it, with
 * version 1.0.0 or none, and do not give plain text a higher weight (RFC 9110 section 12.4.2). */
enum metrics_format api_metrics_format(const char *accept);

void api_metrics(struct request *req, void *data); /* GET /metrics */

/* Write the description of the API, which stays as it is. */
void api_openapi_init(struct api *api);

/* packages.c */

/* WIRE_PACKAGES; takes @fd. */
void api_take_packages(struct api *api, unsigned runtime, int fd);

/* WIRE_FAULT: a JSON array of @n imports that the runtime does without; the file is ours. */
void api_take_left_out(struct api *api, unsigned runtime, int fd, unsigned n);

/* Append "runtimes": the runtimes with which something is wrong, as /v1/packages has it. */
void api_add_faults(const struct api *api, struct buf *out);

void api_packages(struct request *req, void *data); /* GET /v1/packages */

/* docs.c */
void api_openapi(struct request *req, void *data);     /* GET /openapi.json */
void api_root(struct request *req, void *data);        /* GET / */
void api_docs(struct request *req, void *data);        /* GET /docs */
void api_docs_script(struct request *req, void *data); /* GET /docs/docs.js */
void api_docs_style(struct request *req, void *data);  /* GET /docs/docs.css */

/* The longest body that a request may need: a program of limits.code, an id and a URL, however they are written in JSON;
 * and no more than server.max_body. */
size_t api_body_max(const struct wire_server_conf *conf);

/* Append why the body @text, in which there must be @member (NULL: none), is no JSON, and what helps; @why is jansson's json_error_t. */
struct json_error_t;
void api_add_json_error(struct buf *error, const char *text, size_t len, const char *member,
                        const struct json_error_t *why);

/* POST /v1/code/execute/python. */
void api_execute(struct request *req, void *data);

void api_authenticate(struct request *req, void *data); /* GET /v1/toolkit/authenticate */

/* health.c */
void api_healthz(struct request *req, void *data); /* GET /healthz, /livez, /health */
void api_readyz(struct request *req, void *data);  /* GET /readyz */

/* "full", or "reduced": the operator asked for less, or the kernel is too old for a layer. */
const char *api_tier(uint32_t layers_missing);

/* Why no program would run now, or NULL. */
const char *api_unready(const struct api *api, const struct pool_counts *counts);

/* nca.c */
void api_job_status(struct request *req, void *data);  /* POST /v1/toolkit/job/status */
void api_jobs_status(struct request *req, void *data); /* POST /v1/toolkit/jobs/status */

/* jobs.c */
void api_jobs_list(struct request *req, void *data);  /* GET /v1/jobs */
void api_job_get(struct request *req, void *data);    /* GET /v1/jobs/{id} */
void api_job_delete(struct request *req, void *data); /* DELETE /v1/jobs/{id} */
void api_requeue(struct request *req, void *data);    /* POST /v1/jobs/{id}/requeue */
void api_deliveries(struct request *req, void *data); /* GET /v1/jobs/{id}/deliveries */
void api_redeliver(struct request *req, void *data);  /* POST /v1/jobs/{id}/redeliver */

/* words.c */

/* Told to a key of whose requests the disk has yet to take as much as may be (503). */
extern const char api_slow_store[];

/* What an operation of the store failed with, in words; the status to send in @ret_status. */
const char *api_store_error(int err, int *ret_status);

/* Why a program was not run, as a client is told it. */
struct api_refusal {
    int status;
    unsigned retry_after_s;
    char text[400];
};

void api_word_refusal(const struct api *api, const struct program *program, const struct refusal *refusal,
                      struct api_refusal *ret);

/* Jobs that wait, on disk and in memory. */
int64_t api_queue_length(const struct api *api);

/* Append the members that end every reply to a job:
 * pid, queue_id, run_time, queue_time, total_time, queue_length, build_number. */
void api_add_envelope(const struct api *api, struct buf *out, int64_t run_us, int64_t queue_us, enum lack waited_for,
                      int64_t total_us);

/* Reply with the envelope of a request that runs nothing, with @response (JSON) in it. */
void api_reply(struct request *req, const struct api *api, const struct buf *response);

/* The same where @response goes on with a long text and one } behind it, which is @reply or null. */
void api_reply_long(struct request *req, const struct api *api, const struct buf *response, struct blob *reply);

#endif
