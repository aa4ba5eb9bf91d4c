/* SPDX-License-Identifier: Apache-2.0 */
/* How a box and its run show in the metrics and in the log.
 *
 * slot.c calls it when a box is ready, when a run has ended, and when the zygote has told what the
 * program used.
 * What must never happen here: a run that is counted or logged twice, or not at all, or anything of
 * the program's output in the log. */
#include "server/pool/slot_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "box/box.h"
#include "server/metrics/metrics.h"

#include <signal.h>
#include <string.h>

/* A step's time as a metric, at most the time that the server waited for the whole box. */
static void count_step(enum metric_label_BOX_PHASE phase, int32_t ns, int64_t most_us)
{
    int64_t us = ns > 0 ? (ns + 500) / 1000 : 0;
    metric_observe(METRIC_SANDBOX_PHASE, us < most_us ? us : most_us, phase, 0, 0);
}

void slot_count_steps(const struct slot *slot, const struct wire_box_state *state)
{
    int64_t most_us = now_us() - slot->ordered_us;

    count_step(METRIC_BOX_INIT, state->init_ns, most_us);
    count_step(METRIC_BOX_FORK, state->fork_ns, most_us);
    count_step(METRIC_BOX_HOOKS, state->hooks_ns, most_us);
    count_step(METRIC_BOX_RENEWAL, state->renewal_ns, most_us);
#define STEP(name, word, hint) count_step(METRIC_BOX_##name, state->step_ns[BOX_##name], most_us);
#include "box/box.def"
}

static void count_violation(const struct outcome *outcome)
{
    if (outcome->kind == OUTCOME_MEMORY)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_MEMORY);
    if (outcome->kind == OUTCOME_PROCESSES)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_PROCESSES);
    if (outcome->kind == OUTCOME_SIGNAL && outcome->signal == SIGSYS)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_SYSCALL);
}

static void count(const struct slot *slot, unsigned word)
{
    const struct job *job = slot->job;
    unsigned mode = job->leased ? METRIC_ASYNC : METRIC_SYNC;

    metric_add(METRIC_RUNS, 1, mode, word, 0);
    metric_observe(METRIC_RUN_DURATION, job->ended_us - job->started_us, mode, 0, 0);
    metric_observe(METRIC_QUEUE_WAIT, job->started_us - job->queued_us, 0, 0, 0);
    if (job->waited_for)
        metric_add(METRIC_WAITED, job->started_us - job->queued_us, job->waited_for - 1, 0, 0);
    metric_add(METRIC_RUN_OUTPUT, slot->outcome.out.total, METRIC_STDOUT, 0, 0);
    metric_add(METRIC_RUN_OUTPUT, slot->outcome.err.total, METRIC_STDERR, 0, 0);
}

static void record(struct slot *slot, const char *outcome)
{
    const struct job *job = slot->job;

    slot->record = (struct run_record){ .trace = trace_ids(job->trace),
                                        .outcome = outcome,
                                        .exit_code = slot->outcome.exit_code,
                                        .queue_us = job->started_us - job->queued_us,
                                        .waited_for = job->waited_for,
                                        .run_us = job->ended_us - job->started_us,
                                        .stdout_bytes = slot->outcome.out.total,
                                        .stderr_bytes = slot->outcome.err.total };
    memcpy(slot->record.job_id, job->id, sizeof(job->id));
}

void slot_note_end(struct slot *slot)
{
    record(slot, slot->outcome.kind == OUTCOME_OK ? "success" : outcome_reason(&slot->outcome));
    count(slot, outcome_metric(&slot->outcome));
    count_violation(&slot->outcome);
}

void slot_note_cancelled(struct slot *slot)
{
    record(slot, "cancelled");
    count(slot, METRIC_ENDED_CANCELLED);
}

/* Once two things are known: how the run ended, and what it used. */
void slot_log(struct slot *slot)
{
    const struct run_record *r = &slot->record;
    const struct wire_exited *used = &slot->used;

    if (!r->job_id[0] || !slot->exited)
        return;
    metric_add(METRIC_RUN_CPU, used->user_us + used->system_us, 0, 0, 0);
    if (used->peak_bytes > 0)
        metric_observe(METRIC_RUN_MEMORY, used->peak_bytes, 0, 0, 0);
    log_info("run finished",
             LOG_S("job_id", r->job_id) LOG_S("outcome", r->outcome) LOG_I("exit_code", r->exit_code)
                 LOG_US("queue_time", r->queue_us) LOG_US("run_time", r->run_us) LOG_US("cpu_user", used->user_us)
                     LOG_US("cpu_system", used->system_us) LOG_I("peak_memory_bytes", used->peak_bytes)
                         LOG_I("stdout_bytes", r->stdout_bytes) LOG_I("stderr_bytes", r->stderr_bytes)
                             LOG_I("slot", slot->index) LOG_SOME("runtime", slot->runtime)
                                 LOG_SOME("waited_for", lack_word(r->waited_for)) LOG_SOME("trace_id", r->trace.trace)
                                     LOG_SOME("span_id", r->trace.span));
    slot->record.job_id[0] = '\0';
}

void slot_log_last(struct slot *slot)
{
    if (slot->exited)
        return;
    slot->used = (struct wire_exited){ 0 };
    slot->exited = true;
    slot_log(slot);
}
