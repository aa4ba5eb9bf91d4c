/* SPDX-License-Identifier: Apache-2.0 */
/* Why something was not done, in words that several endpoints use.
 *
 * What must never stand here: a sentence that does not say what to do next. */
#include "server/api/api.h"

#include <errno.h>
#include <stdio.h>

const char api_slow_store[] =
    "The disk is slow, and has yet to take as much of this key as may be (server.max_bodies): "
    "nothing was accepted, try again";

const char *api_store_error(int err, int *ret_status)
{
    *ret_status = 503;
    switch (err) {
    case -ENOENT: *ret_status = 404; return "Job not found";
    case -EALREADY: *ret_status = 409; return "The job is over already";
    case -ENOTRECOVERABLE: *ret_status = 409; return "Only a dead job can be queued again";
    case -ENODATA: *ret_status = 409; return "The job's program is no longer kept: send it again";
    case -EAGAIN: *ret_status = 429; return "MAX_QUEUE_LENGTH reached: nothing was queued, try again";
    case -EDQUOT: *ret_status = 429; return "As many requests of the key wait as may: nothing was queued, try again";
    case -ENOBUFS:
        *ret_status = 429;
        return "The key holds as much of the store as it may, with jobs that wait, run or are not delivered: try again "
               "when some are over";
    case -EBUSY: *ret_status = 409; return "The job is being worked on: try again";
    case -ENOMSG: *ret_status = 409; return "The job is not over yet, or was sent without webhook_url";
    case -EBADMSG: *ret_status = 422; return "Idempotency-Key: it was used with another request before";
    case -EFBIG: return "The store has reached jobs.max_bytes: the job was not accepted, try again later";
    case -ENOSPC: return "The store is full: the job was not accepted, try again later";
    case -EUCLEAN: return "The store is damaged (the server's log says more): nothing was accepted, try again later";
    case -EROFS: return "The store is read-only: the job was not accepted, try again later";
    default: return "The store cannot be used at the moment: nothing was accepted, try again later";
    }
}

/* Its key holds as much of the store as it may. */
static void word_share(struct api_refusal *ret, const char *name, enum store_limit limit)
{
    static const char *const limits[] = {
        [STORE_LIMIT_QUOTA] = "what --max-bytes allows it",
        [STORE_LIMIT_BYTES] = "its part of jobs.max_bytes",
        [STORE_LIMIT_DELIVERIES] = "its part of jobs.retention_count, in deliveries that are not made",
    };

    snprintf(
        ret->text, sizeof(ret->text),
        "The jobs of the key %s that wait, run or are not delivered take up %s: nothing was run; have its webhooks "
        "answered or cancel jobs (GET /v1/jobs lists them), and try again",
        name, limits[limit]);
}

static void word_full(struct api_refusal *ret, const struct api *api)
{
    enum lack lack = pool_lack(api->pool);

    snprintf(ret->text, sizeof(ret->text), "MAX_QUEUE_LENGTH (%lld) reached%s%s: nothing was run, try again",
             (long long) api->conf->queue_max, lack ? ", and others wait because " : "", lack_why(lack));
}

/* Its runtime does not start, and will not by itself. */
static void word_runtime(struct api_refusal *ret, const struct pool *pool, unsigned runtime)
{
    snprintf(ret->text, sizeof(ret->text),
             "The runtime '%s' does not start: %s. Nothing was run; the server's log says more",
             pool_runtime_name(pool, runtime), pool_fault_words(pool, runtime));
}

static const struct {
    int status;
    unsigned retry_after_s;
    const char *text; /* NULL: it is made */
} refusals[] = {
    [REFUSED_FULL] = { 429, 1, NULL },
    [REFUSED_KEY_FULL] = { 429, 1, NULL },
    [REFUSED_SHARE] = { 429, 30, NULL },
    [REFUSED_DRAINING] = { 503, 1, "The server is shutting down: nothing was run, try again" },
    [REFUSED_RUNTIME] = { 503, 0, NULL },
    [REFUSED_BOX] = { 503, 10,
                      "No box can be made at the moment (the server's log says why): nothing was run, try again" },
    [REFUSED_NO_STORE] = { 503, 60, NULL },
    [REFUSED_STORE] = { 503, 10, NULL },
};

void api_word_refusal(const struct api *api, const struct program *program, const struct refusal *refusal,
                      struct api_refusal *ret)
{
    const char *text = refusals[refusal->why].text;

    ret->status = refusals[refusal->why].status;
    ret->retry_after_s = refusals[refusal->why].retry_after_s;
    switch (refusal->why) {
    case REFUSED_FULL: word_full(ret, api); return;
    case REFUSED_KEY_FULL:
        snprintf(ret->text, sizeof(ret->text),
                 "As many requests of the key %s wait as may (%u): nothing was run, try again", program->key->file.name,
                 program->key->share.max_waiting);
        return;
    case REFUSED_SHARE: word_share(ret, program->key->file.name, refusal->limit); return;
    case REFUSED_RUNTIME: word_runtime(ret, api->pool, program->job.runtime); return;
    case REFUSED_NO_STORE: text = api->no_store; break;
    case REFUSED_STORE:
        text = api_store_error(refusal->err, &ret->status);
        ret->retry_after_s = ret->status == 503 ? 10 : 0;
        break;
    case REFUSED_DRAINING:
    case REFUSED_BOX: break;
    }
    snprintf(ret->text, sizeof(ret->text), "%s", text);
}
