/* SPDX-License-Identifier: Apache-2.0 */
/* Admission of a program, whichever API it came by.
 *
 * Called by the handlers of those requests that run something.  A program with a
 * webhook or a name goes through the store; any other is admitted in memory and
 * waits for no disk.  What is refused is counted here, and so is the row of a run
 * that the store never had.
 * What must never happen here: a program that is told to be stored before it is
 * on disk, one that is told twice, or one that nobody is told of. */
#include "server/jobs/intake.h"

#include "base/clock.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum { REMEMBERED_S = 86400 }; /* a name, and what became of it */

static const unsigned reasons[] = {
    [REFUSED_FULL] = METRIC_REJECTED_FULL,      [REFUSED_KEY_FULL] = METRIC_REJECTED_KEY_FULL,
    [REFUSED_SHARE] = METRIC_REJECTED_KEY_FULL, [REFUSED_DRAINING] = METRIC_REJECTED_DRAINING,
    [REFUSED_RUNTIME] = METRIC_REJECTED_NO_BOX, [REFUSED_BOX] = METRIC_REJECTED_NO_BOX,
    [REFUSED_NO_STORE] = METRIC_REJECTED_STORE, [REFUSED_STORE] = METRIC_REJECTED_STORE,
};

static void count_rejected(unsigned mode, unsigned reason)
{
    metric_count(METRIC_QUEUE_REJECTED, reason);
    metric_add(METRIC_RUNS, 1, mode, METRIC_ENDED_REJECTED, 0);
}

static void refuse(struct program *p, struct refusal refusal, unsigned mode)
{
    if (refusal.err != -EBADMSG) /* the client's mistake, and nothing was to be run */
        count_rejected(mode, reasons[refusal.why]);
    p->calls->on_refused(p, &refusal);
}

void intake_name(struct program *p, char kind, const char *value, size_t len)
{
    unsigned char hash[(PROGRAM_NAME - 1) / 2];
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *) &kind, 1);
    crypto_generichash_update(&state, (const unsigned char *) value, len);
    crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(p->name, sizeof(p->name), hash, sizeof(hash));
}

bool intake_is_stored(const struct program *p)
{
    return p->webhook_url || p->name[0];
}

/* --- here and now --- */

/* A row for the list of jobs, written when there is time. */
static void leave_history(const struct program *p, enum store_state state, int status)
{
    int64_t now = now_us(), wall = wall_us();
    const struct job *job = &p->job;
    struct store_record record = { .tenant = p->key->file.name,
                                   .state = state,
                                   .created_us = wall - (now - p->start_us),
                                   .started_us = job->started_us ? wall - (now - job->started_us) : 0,
                                   .over_us = wall,
                                   .timeout_ms = job->timeout_ms,
                                   .status = status,
                                   .runtime = { p->runtime, 0 },
                                   .api = p->api,
                                   .client_id = p->client_id };

    if (!p->intake->backlog)
        return;
    memcpy(record.id, job->id, sizeof(record.id));
    backlog_history(p->intake->backlog, &record);
}

static void on_done(struct job *job, struct outcome *outcome)
{
    struct program *p = job->owner;
    int status = outcome_status(outcome);

    leave_history(p, status == 200 ? STORE_DONE : STORE_FAILED, status);
    p->calls->on_done(p, outcome);
}

/* No box came for it. */
static void on_no_box(struct job *job)
{
    struct program *p = job->owner;
    bool unable = pool_fault_words(p->intake->pool, job->runtime) != NULL;

    refuse(p, (struct refusal){ .why = unable ? REFUSED_RUNTIME : REFUSED_BOX }, METRIC_SYNC);
}

static enum refused reason_of(int err)
{
    switch (err) {
    case -ESHUTDOWN: return REFUSED_DRAINING;
    case -ENOEXEC: return REFUSED_RUNTIME;
    case -EAGAIN: return REFUSED_FULL;
    default: return REFUSED_KEY_FULL;
    }
}

void intake_run(const struct intake *intake, struct program *p)
{
    p->intake = intake;
    p->job.on_done = on_done;
    p->job.on_refused = on_no_box;
    p->job.owner = p;
    uuid_make(p->job.id);
    int err = pool_run(intake->pool, &p->job);
    if (err)
        refuse(p, (struct refusal){ .why = reason_of(err) }, METRIC_SYNC);
}

void intake_cancel(struct program *p)
{
    if (!p->job.slot) /* the pool counts those that run */
        metric_add(METRIC_RUNS, 1, METRIC_SYNC, METRIC_ENDED_CANCELLED, 0);
    pool_cancel(p->intake->pool, &p->job);
    leave_history(p, STORE_CANCELLED, 400);
}

bool intake_waits(const struct program *p)
{
    return !p->job.slot;
}

bool intake_give_way(struct program *p)
{
    if (p->job.slot)
        return false;
    pool_cancel(p->intake->pool, &p->job);
    count_rejected(METRIC_SYNC, METRIC_REJECTED_KEY_FULL);
    return true;
}

/* --- through the store --- */

static void on_accepted(void *data, const struct store_answer *answer)
{
    struct program *p = data;

    if (!answer->err) {
        memcpy(p->job.id, answer->records[0].id, sizeof(p->job.id)); /* an earlier job's, where the name was known */
        p->calls->on_stored(p, &answer->records[0]);
        return;
    }
    struct refusal refusal = { .why = REFUSED_STORE, .err = answer->err, .limit = answer->limit };
    if (answer->err == -EAGAIN || answer->err == -EDQUOT)
        refusal.why = reason_of(answer->err);
    else if (answer->err == -ENOBUFS)
        refusal.why = REFUSED_SHARE;
    refuse(p, refusal, METRIC_ASYNC);
}

static void post(struct program *p)
{
    int64_t now = wall_us();
    const struct job *job = &p->job;
    struct store_job stored = { .tenant = p->key->file.name,
                                .code = { job->code, job->code_len },
                                .client_id = p->client_id,
                                .timeout_ms = job->timeout_ms,
                                .created_us = now,
                                .webhook_url = p->webhook_url,
                                .host = p->host,
                                .trace = job->trace[0] ? job->trace : NULL,
                                .runtime = p->runtime,
                                .api = p->api,
                                .idem_key = p->name[0] ? p->name : NULL,
                                .idem_expires_us = now + REMEMBERED_S * 1000000LL };

    memcpy(stored.id, job->id, sizeof(stored.id));
    memcpy(stored.fingerprint, p->fingerprint, sizeof(stored.fingerprint));
    backlog_submit(p->intake->backlog, &stored, p->intake->conf->queue_max, on_accepted, p);
}

bool intake_store(const struct intake *intake, struct program *p)
{
    struct refusal refusal = { 0 };

    p->intake = intake;
    uuid_make(p->job.id);
    if (!intake->backlog)
        refusal.why = REFUSED_NO_STORE;
    else if (pool_is_draining(intake->pool))
        refusal.why = REFUSED_DRAINING;
    else if (pool_is_unable(intake->pool, p->job.runtime))
        refusal.why = REFUSED_RUNTIME;
    else {
        post(p);
        return true;
    }
    refuse(p, refusal, METRIC_ASYNC);
    return false;
}

void intake_count_unasked(void)
{
    count_rejected(METRIC_ASYNC, METRIC_REJECTED_STORE);
}

static void on_over(void *data, int status, struct blob *reply)
{
    struct program *p = data;

    p->waiter = NULL;
    p->calls->on_over(p, status, reply);
}

void intake_wait(struct program *p)
{
    p->waiter = backlog_wait(p->intake->backlog, p->job.id, on_over, p);
    if (!p->waiter)
        on_over(p, 503, NULL);
}

void intake_unwait(struct program *p)
{
    backlog_unwait(p->intake->backlog, p->waiter);
    p->waiter = NULL;
}
