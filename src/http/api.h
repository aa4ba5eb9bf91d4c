/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints: what each path of the API does with a request. */
#ifndef HATCHERY_HTTP_API_H
#define HATCHERY_HTTP_API_H

#include "http.h"

#include "../base/wire.h"
#include "../jobs/pool.h"

/* What handlers know of the server; the data of every route. */
struct api {
    const struct wire_server_conf *conf;
    struct pool *pool;
    int64_t queue_id; /* a number of this process's queue, as NCA's users log it */
};

/* For http_new(). */
extern const struct route api_routes[];

/* For struct http_conf: compares hashes, so that time tells nothing of the key. @data is the struct api. */
bool api_key_ok(void *data, const char *key, size_t len);

/* POST /v1/code/execute/python. */
void api_execute(struct request *req, void *data);

/* Append the members that end every reply to a job:
 * pid, queue_id, run_time, queue_time, total_time, queue_length, build_number. */
void api_add_envelope(const struct api *api, struct buf *out, int64_t run_us, int64_t queue_us, int64_t total_us);

#endif
