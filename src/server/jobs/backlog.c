/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs of the store that run here: their leases, from the claim to the end.
 *
 * The handlers and the main loop call it.  The backlog leases a few more jobs
 * than can run at once, so that no box waits for the disk; they take their turn
 * in the pool beside the synchronous ones.  A job that was lost before runs
 * while this server holds no other lease, so that a job that kills servers
 * takes no innocent one with it.
 * What must never happen here: a lease without an end (the backlog posts an end
 * that the disk refuses until the disk takes it), or a job that runs twice
 * because of what it did itself. */
#include "server/jobs/backlog_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSSES_MAX = 3, RETRY_MS = 1000, STALLED_MAX = 64 };

static void claim_more(struct backlog *b);

/* --- the end of a lease --- */

void backlog_check_idle(struct backlog *b)
{
    void (*on_idle)(void *) = b->on_idle;

    if (!b->draining || !on_idle || b->n_leases || b->asked || b->n_flushes)
        return;
    b->on_idle = NULL;
    on_idle(b->on_idle_data);
}

static void lease_free(struct lease *lease)
{
    struct backlog *b = lease->backlog;

    LIST_REMOVE(lease, link);
    b->n_leases--;
    blob_unref(lease->packed);
    free_bytes(lease->client_id);
    blob_unref(lease->code);
    free(lease);
    if (!b->n_leases && b->suspects == SUSPECTS_RUNNING)
        b->suspects = SUSPECTS_NONE;
    claim_more(b);
    backlog_check_idle(b);
}

static void on_retry(uv_timer_t *timer)
{
    struct backlog *b = timer->data;
    struct lease *lease;

    LIST_FOREACH (lease, &b->leases, link)
        if (lease->state == LEASE_REFUSED)
            lease_post_end(lease);
}

static void tell_canceller(struct lease *lease, int err)
{
    if (lease->on_cancelled)
        lease->on_cancelled(lease->on_cancelled_data, err);
    lease->on_cancelled = NULL;
}

static void on_worded(void *data, struct blob *reply)
{
    struct lease *lease = data;

    backlog_tell_waiters(lease->backlog, lease->job.id, lease->end.status, reply);
    lease_free(lease);
}

/* Once for all of them. */
static void word_for_waiters(struct lease *lease)
{
    const struct backlog_conf *conf = &lease->backlog->conf;
    struct store_record record = {
        .api = lease->api, .form = lease->end.form, .client_id = lease->client_id, .blob = lease->packed
    };

    memcpy(record.id, lease->job.id, sizeof(record.id));
    lease->state = LEASE_TOLD;
    wording_begin(conf->loop, conf->wordings, lease->job.share, &record, on_worded, lease);
}

static void on_end_stored(void *data, const struct store_answer *answer)
{
    struct lease *lease = data;
    struct backlog *b = lease->backlog;

    b->queued = answer->queued;
    if (answer->err && answer->err != -ESTALE) { /* the result is kept here until there is room for it there */
        lease->state = LEASE_REFUSED;
        tell_canceller(lease, answer->err); /* it is killed, and will be called cancelled when the disk is well */
        uv_timer_start(&b->retry, on_retry, RETRY_MS, 0);
        return;
    }
    if (answer->err) {
        log_warn("a lease was lost: its result changes nothing", LOG_S("job_id", lease->job.id));
        metric_count(METRIC_LEASES_LOST, 0);
    }
    tell_canceller(lease, answer->err ? -EALREADY : 0);
    if (!answer->err && !lease->released && backlog_is_awaited(b, lease->job.id))
        word_for_waiters(lease);
    else
        lease_free(lease);
}

void lease_post_end(struct lease *lease)
{
    struct backlog *b = lease->backlog;

    lease->state = LEASE_ENDING;
    if (lease->released)
        store_release(b->conf.store, &lease->fence, lease->lost, on_end_stored, lease);
    else
        store_finish(b->conf.store, &lease->fence, &lease->end, on_end_stored, lease);
}

/* It is not the pool's any more. */
static void leave_pool(struct lease *lease)
{
    lease->backlog->n_pooled--;
    lease_post_end(lease);
    claim_more(lease->backlog);
}

static void give_back(struct lease *lease, bool lost)
{
    lease->released = true;
    lease->lost = lost;
    leave_pool(lease);
}

/* The figures of what ends now with @outcome, which it takes. */
static void take_verdict(struct lease *lease, enum store_state state, struct outcome *outcome)
{
    int64_t now = now_us(), wall = wall_us();
    const struct backlog *b = lease->backlog;
    const struct job *job = &lease->job;
    struct figures *f = &lease->verdict.figures;

    lease->end = (struct store_end){ .state = state,
                                     .status = outcome_status(outcome),
                                     .started_us = job->started_us ? wall - (now - job->started_us) : 0,
                                     .over_us = wall };
    verdict_take(&lease->verdict, outcome);
    *f = *b->conf.self;
    f->run_us = job->started_us ? job->ended_us - job->started_us : 0;
    f->total_us = wall > lease->created_us ? wall - lease->created_us : 0;
    f->queue_us = lease->end.started_us ? lease->end.started_us - lease->created_us : f->total_us;
    f->queue_us = f->queue_us > 0 ? f->queue_us : 0;
    f->waited_for = job->waited_for;
    f->queue_length = b->queued + pool_queue_length(b->conf.pool);
}

struct blob *backlog_pack(struct store_end *end, struct verdict *verdict, struct store_bytes client_id)
{
    struct buf bytes;

    buf_init(&bytes, SIZE_MAX / 2); /* its parts are bounded */
    verdict_encode(verdict, &bytes);
    end->form = FORM_VERDICT;
    end->longest = wording_longest(verdict, client_id);
    verdict_free(verdict);
    struct blob *packed = blob_new(&bytes);
    end->body = (struct store_bytes){ blob_bytes(packed), blob_len(packed) };
    return packed;
}

static void pack(void *data)
{
    struct lease *lease = data;

    lease->packed = backlog_pack(&lease->end, &lease->verdict, lease->client_id);
}

static void on_packed(void *data)
{
    leave_pool(data);
}

/* No box had it: it ends as the server says. */
static void end_without_run(struct lease *lease, enum store_state state, enum outcome_kind kind)
{
    struct outcome outcome;

    outcome_init(&outcome, lease->backlog->conf.limits);
    outcome_kill(&outcome, kind);
    buf_adds(&outcome.name, lease->runtime);
    metric_add(METRIC_RUNS, 1, METRIC_ASYNC, outcome_metric(&outcome), 0);
    take_verdict(lease, state, &outcome);
    pack(lease);
    leave_pool(lease);
}

/* It ended by no fault of its own: it runs again. */
static void run_again(struct lease *lease, unsigned why)
{
    if (why == METRIC_RETRY_BOX)
        log_warn("a job was lost with its box and will run again",
                 LOG_S("job_id", lease->job.id) LOG_I("attempt", lease->fence.attempt));
    else
        log_warn("a job was ended for the machine's memory and will run again",
                 LOG_S("job_id", lease->job.id) LOG_I("attempt", lease->fence.attempt));
    metric_count(METRIC_JOB_RETRIES, why);
    give_back(lease, true);
}

/* What the program did is a result.  That its box was lost is not. */
static void on_job_done(struct job *job, struct outcome *outcome)
{
    struct lease *lease = job->owner;
    int status = outcome_status(outcome);

    if (outcome->kind == OUTCOME_INTERNAL || outcome->kind == OUTCOME_HOST_MEMORY) {
        run_again(lease, outcome->kind == OUTCOME_INTERNAL ? METRIC_RETRY_BOX : METRIC_RETRY_MEMORY);
        return;
    }
    bool is_long = outcome_is_long(outcome);
    take_verdict(lease,
                 outcome->kind == OUTCOME_CANCELLED ? STORE_CANCELLED
                 : status == 200                    ? STORE_DONE
                                                    : STORE_FAILED,
                 outcome);
    lease->state = LEASE_PACKED;
    if (is_long)
        beside_begin(lease->backlog->conf.loop, &lease->beside, lease->job.share, pack, on_packed, lease);
    else {
        pack(lease);
        leave_pool(lease);
    }
}

/* No box came for it: it waits on disk again. */
static void on_job_refused(struct job *job)
{
    give_back(job->owner, false);
}

/* --- claiming --- */

static void bury(struct lease *lease)
{
    log_error("a job was lost too often and is dead",
              LOG_S("job_id", lease->job.id) LOG_I("losses", lease->fence.attempt - 1));
    metric_count(METRIC_JOBS_DEAD, 0);
    end_without_run(lease, STORE_DEAD, OUTCOME_LOST);
}

static void start(struct backlog *b, const struct store_record *r)
{
    struct lease *lease = xcalloc(1, sizeof(*lease));

    lease->backlog = b;
    lease->key = keys_named(b->conf.keys, r->tenant);
    lease->fence = (struct store_lease){ r->seq, r->attempt };
    lease->created_us = r->created_us;
    lease->api = r->api;
    lease->client_id = copy_bytes(r->client_id);
    lease->code = blob_ref(r->blob);
    lease->job = (struct job){ .code = r->code.p,
                               .code_len = r->code.n,
                               .timeout_ms = r->timeout_ms,
                               .share = &lease->key->share,
                               .leased = true,
                               .on_done = on_job_done,
                               .on_refused = on_job_refused,
                               .owner = lease };
    memcpy(lease->job.id, r->id, sizeof(lease->job.id));
    snprintf(lease->runtime, sizeof(lease->runtime), "%.*s", (int) r->runtime.n, r->runtime.p ? r->runtime.p : "");
    snprintf(lease->job.trace, sizeof(lease->job.trace), "%s", r->trace.p ? r->trace.p : "");
    LIST_INSERT_HEAD(&b->leases, lease, link);
    b->n_leases++;
    b->n_pooled++;
    if (r->attempt > 1)
        b->suspects = SUSPECTS_RUNNING;
    int runtime = r->runtime.p ? pool_find_runtime(b->conf.pool, lease->runtime) : 0;
    lease->job.runtime = runtime < 0 ? 0 : (unsigned) runtime;
    if (r->attempt > LOSSES_MAX * (1 + r->requeues))
        bury(lease);
    else if (runtime < 0)
        end_without_run(lease, STORE_FAILED, OUTCOME_NO_RUNTIME); /* it was there when the job was accepted */
    else if (pool_run(b->conf.pool, &lease->job) < 0)
        give_back(lease, false);
}

/* When the last of our leases will be over, at the latest. */
static int64_t last_end_us(const struct backlog *b)
{
    const struct lease *lease;
    int64_t now = now_us(), last = now;

    LIST_FOREACH (lease, &b->leases, link) {
        const struct job *job = &lease->job;
        int64_t end = (job->started_us ? job->started_us : now) + job->timeout_ms * 1000;
        last = end > last ? end : last;
    }
    return last;
}

static void on_claimed(void *data, const struct store_answer *answer)
{
    struct backlog *b = data;

    bool new_suspects = !answer->err && answer->suspects && b->suspects == SUSPECTS_NONE;

    b->asked--;
    b->claiming = false;
    if (new_suspects)
        b->quiet_by_us = last_end_us(b);
    if (!answer->err) {
        b->queued = answer->queued;
        b->suspects = answer->suspects ? SUSPECTS_WAIT : SUSPECTS_NONE;
    }
    for (unsigned i = 0; i < answer->n; i++)
        start(b, &answer->records[i]);
    if (b->again || ((answer->n || new_suspects) && b->queued))
        claim_more(b);
    backlog_check_idle(b);
}

/* Jobs of @key that are leased and wait for a box. */
static unsigned leased_waiting(const struct backlog *b, const struct key *key)
{
    const struct lease *lease;
    unsigned n = 0;

    LIST_FOREACH (lease, &b->leases, link)
        n += lease->key == key && lease->state == LEASE_POOLED && !lease->job.slot;
    return n;
}

static unsigned list_shares(const struct backlog *b, struct store_share **ret)
{
    unsigned n = 0, cap = 0;

    *ret = NULL;
    for (struct key *key = keys_first(b->conf.keys); key; key = key->next) {
        const struct share *share = &key->share;
        if (share->weight == 1 && !share->max_runs)
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 16;
            *ret = xrealloc(*ret, cap * sizeof(**ret));
        }
        unsigned used = share->running + leased_waiting(b, key);
        (*ret)[n++] = (struct store_share){ .tenant = key->file.name,
                                            .weight = share->weight,
                                            .room = !share->max_runs         ? UINT32_MAX
                                                    : share->max_runs > used ? share->max_runs - used
                                                                             : 0 };
    }
    return n;
}

/* Those whose runtime has no interpreter yet hold up no others, to a bound. */
static unsigned stalled(const struct backlog *b)
{
    const struct lease *lease;
    unsigned n = 0;

    LIST_FOREACH (lease, &b->leases, link)
        n += lease->state == LEASE_POOLED && !pool_is_warm(b->conf.pool, lease->job.runtime);
    return n < STALLED_MAX ? n : STALLED_MAX;
}

static unsigned not_begun(const struct backlog *b)
{
    const struct lease *lease;
    unsigned n = 0;

    LIST_FOREACH (lease, &b->leases, link)
        n += lease->state == LEASE_POOLED && !lease->job.slot;
    return n;
}

/* As many as can begin at once, and those that come after them: a claim takes about as long as a short run.  How many may
 * run does not count: those that run for long need no job behind them. */
static unsigned wanted(const struct backlog *b)
{
    unsigned most = 2 * b->conf.places + pool_free_boxes(b->conf.pool) + stalled(b), waiting = not_begun(b);
    return waiting < most ? most - waiting : 0;
}

static void claim_now(struct backlog *b)
{
    struct store_share *shares;
    struct store_claim claim = { .max = wanted(b),
                                 .alone = b->n_leases == 0,
                                 .reply_max = verdict_max(b->conf.limits) };

    b->again = b->claiming;
    if (b->claiming || b->draining || b->suspects == SUSPECTS_RUNNING || !claim.max || !pool_is_ready(b->conf.pool))
        return;
    if (b->suspects == SUSPECTS_WAIT && !claim.alone) {
        claim.within_ms = (b->quiet_by_us - now_us()) / 1000;
        if (claim.within_ms < 1000) /* the shortest timeout */
            return;
    }
    claim.n_shares = list_shares(b, &shares);
    claim.shares = shares;
    b->claiming = true;
    b->again = false;
    b->asked++;
    store_claim(b->conf.store, &claim, on_claimed, b);
    free(shares);
}

static void claim_more(struct backlog *b)
{
    if (b->queued > 0)
        claim_now(b);
}

void backlog_wake(struct backlog *b)
{
    claim_more(b);
}

/* --- for the handlers --- */

struct submission {
    struct backlog *backlog;
    store_done *done;
    void *data;
};

static void on_submitted(void *data, const struct store_answer *answer)
{
    struct submission *s = data;
    struct backlog *b = s->backlog;

    b->asked--;
    if (!answer->err)
        b->queued = answer->queued;
    s->done(s->data, answer);
    free(s);
    backlog_check_idle(b);
}

/* Those that wait in the pool wait as well. */
static struct store_limits limits_of(const struct backlog *b, const char *tenant, int64_t max_queued)
{
    const struct share *share = &keys_named(b->conf.keys, tenant)->share;

    return (struct store_limits){ .max_queued = max_queued,
                                  .max_tenant_queued = share->max_waiting,
                                  .waiting = pool_queue_length(b->conf.pool),
                                  .tenant_waiting = share->waiting,
                                  .tenants_waiting = pool_sharers(b->conf.pool, share) };
}

void backlog_submit(struct backlog *b, const struct store_job *job, int64_t max_queued, store_done *done, void *data)
{
    struct submission *s = xcalloc(1, sizeof(*s));
    struct store_job limited = *job;

    limited.limits = limits_of(b, job->tenant, max_queued);
    *s = (struct submission){ b, done, data };
    b->asked++;
    store_enqueue(b->conf.store, &limited, on_submitted, s);
    claim_now(b);
}

void backlog_requeue(struct backlog *b, const char *tenant, const char *id, int64_t max_queued, store_done *done,
                     void *data)
{
    const struct store_limits limits = limits_of(b, tenant, max_queued);
    struct submission *s = xcalloc(1, sizeof(*s));

    *s = (struct submission){ b, done, data };
    b->asked++;
    store_requeue(b->conf.store, tenant, id, &limits, on_submitted, s);
}

int64_t backlog_queued(const struct backlog *b)
{
    return b->queued;
}

/* No box has had it under this lease, and none will any more where it is being given back. */
static bool has_not_begun(const struct lease *lease)
{
    return lease->state == LEASE_POOLED ? !lease->job.slot : lease->released && !lease->job.started_us;
}

bool backlog_waits(const struct backlog *b, const char *id, int64_t *ret_started_us)
{
    const struct lease *lease;

    *ret_started_us = 0;
    LIST_FOREACH (lease, &b->leases, link) {
        if (strcmp(lease->job.id, id) != 0)
            continue;
        if (has_not_begun(lease))
            return true;
        *ret_started_us = lease->job.started_us ? wall_us() - (now_us() - lease->job.started_us) : 0;
    }
    return false;
}

unsigned backlog_list_waiting(const struct backlog *b, int64_t **ret_seqs)
{
    const struct lease *lease;
    unsigned n = 0;

    *ret_seqs = xcalloc(b->n_leases + 1, sizeof(**ret_seqs));
    LIST_FOREACH (lease, &b->leases, link)
        if (has_not_begun(lease))
            (*ret_seqs)[n++] = lease->fence.seq;
    return n;
}

/* --- begin and end --- */

void backlog_drain(struct backlog *b, void (*on_idle)(void *data), void *data)
{
    struct lease *next;

    b->draining = true;
    b->on_idle = on_idle;
    b->on_idle_data = data;
    uv_timer_stop(&b->sweep);
    backlog_flush_history(b);
    for (struct lease *lease = LIST_FIRST(&b->leases); lease; lease = next) {
        next = LIST_NEXT(lease, link);
        if (lease->state != LEASE_POOLED || lease->job.slot)
            continue;
        pool_cancel(b->conf.pool, &lease->job);
        give_back(lease, false);
    }
    backlog_dismiss_waiters(b);
    backlog_check_idle(b);
}

struct backlog *backlog_new(const struct backlog_conf *conf)
{
    struct backlog *b = xcalloc(1, sizeof(*b));

    b->conf = *conf;
    LIST_INIT(&b->leases);
    LIST_INIT(&b->waiters);
    b->history = xcalloc(HISTORY_MAX, sizeof(*b->history));
    uv_timer_init(conf->loop, &b->retry);
    uv_timer_init(conf->loop, &b->sweep);
    uv_timer_init(conf->loop, &b->flush);
    b->retry.data = b->sweep.data = b->flush.data = b;
    uv_timer_start(&b->sweep, backlog_on_sweep, 0, 0);
    return b;
}
