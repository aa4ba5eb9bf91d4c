/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ended, and that in plain words.
 *
 * Called by slot.c and report.c, which learn the ending, and by whoever writes a
 * reply.
 * What comes from a box is hostile: only lengths that were bounded and JSON
 * that was checked go on from here.  What must never happen: a reply that a
 * program could make malformed, or a limit that hides behind a bare 137. */
#include "server/pool/outcome.h"

#include "base/beside.h"
#include "base/json.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static const char result_failed[] = "Failed to parse execution result: ";

enum { RESULT_DEPTH = 512, ERROR_MAX = 131072, MESSAGE_MAX = 300 };

static const struct {
    int status;
    unsigned metric;
    const char *reason;
} kinds[] = {
    [OUTCOME_NONE] = { 500, METRIC_ENDED_INTERNAL, "internal" },
#define OUTCOME(name, status, reason, word) [OUTCOME_##name] = { status, METRIC_ENDED_##word, reason },
#include "base/outcome.def"
};

void outcome_init(struct outcome *outcome, const struct wire_limits *limits)
{
    memset(outcome, 0, sizeof(*outcome));
    outcome->limits = limits;
    buf_init(&outcome->result, (size_t) limits->result_bytes);
    buf_init(&outcome->error, ERROR_MAX);
    buf_init(&outcome->name, WIRE_NAME_MAX);
    buf_init(&outcome->value, WIRE_VALUE_MAX);
    buf_init(&outcome->hint, WIRE_HINT_MAX);
    buf_init(&outcome->out.kept, (size_t) limits->output_bytes);
    buf_init(&outcome->err.kept, (size_t) limits->output_bytes);
}

void outcome_free(struct outcome *outcome)
{
    buf_free(&outcome->result);
    buf_free(&outcome->error);
    buf_free(&outcome->name);
    buf_free(&outcome->value);
    buf_free(&outcome->hint);
    buf_free(&outcome->out.kept);
    buf_free(&outcome->err.kept);
}

static int broken_report(struct outcome *outcome)
{
    outcome->kind = OUTCOME_EXIT;
    outcome->exit_code = 1;
    buf_reset(&outcome->result);
    buf_reset(&outcome->error);
    buf_reset(&outcome->name);
    buf_reset(&outcome->value);
    buf_reset(&outcome->hint);
    outcome->line = 0;
    buf_adds(&outcome->error, "The program broke the report of its own result");
    return -EPROTO;
}

int64_t outcome_body_len(const struct wire_outcome *head)
{
    const int64_t lens[] = { head->result_len, head->error_len, head->name_len, head->value_len, head->hint_len };
    int64_t sum = 0;

    for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
        if (lens[i] < 0 || __builtin_add_overflow(sum, lens[i], &sum))
            return -EPROTO;
    return sum;
}

/* Move @len bytes from *body to @out. */
static int take_part(struct buf *out, const char **body, int64_t len)
{
    int err = buf_add(out, *body, (size_t) len);
    *body += len;
    return err;
}

int outcome_take(struct outcome *outcome, const struct wire_outcome *head, const char *body, size_t len)
{
    if (head->kind < OUTCOME_OK || head->kind > OUTCOME_RESULT || head->exit_code < 0 || head->exit_code > 255
        || outcome_body_len(head) != (int64_t) len || head->line < 0
        || (head->kind == OUTCOME_OK) != (head->exit_code == 0 && head->kind != OUTCOME_RESULT))
        return broken_report(outcome);
    outcome->kind = (enum outcome_kind) head->kind;
    outcome->exit_code = head->exit_code;
    outcome->line = head->line;
    if (take_part(&outcome->result, &body, head->result_len) < 0
        || take_part(&outcome->error, &body, head->error_len) < 0
        || take_part(&outcome->name, &body, head->name_len) < 0
        || take_part(&outcome->value, &body, head->value_len) < 0
        || take_part(&outcome->hint, &body, head->hint_len) < 0)
        return broken_report(outcome);
    if (outcome->result.len && json_check(outcome->result.data, outcome->result.len, RESULT_DEPTH) < 0)
        return broken_report(outcome);
    return 0;
}

void outcome_from_status(struct outcome *outcome, int status)
{
    if (WIFSIGNALED(status)) {
        outcome->kind = OUTCOME_SIGNAL;
        outcome->signal = WTERMSIG(status);
        outcome->exit_code = 128 + WTERMSIG(status);
        return;
    }
    outcome->exit_code = WEXITSTATUS(status);
    outcome->kind = outcome->exit_code ? OUTCOME_EXIT : OUTCOME_OK;
}

void outcome_kill(struct outcome *outcome, enum outcome_kind kind)
{
    outcome->kind = kind;
    outcome->exit_code = 128 + SIGKILL;
}

void outcome_add_usage(struct outcome *outcome, int64_t oom_kills, bool of_machine, int64_t pid_refusals)
{
    if (oom_kills > 0) {
        outcome_kill(outcome, of_machine ? OUTCOME_HOST_MEMORY : OUTCOME_MEMORY);
        outcome->signal = SIGKILL;
    } else if (pid_refusals > 0)
        outcome->kind = OUTCOME_PROCESSES;
}

int outcome_status(const struct outcome *outcome)
{
    return kinds[outcome->kind].status;
}

const char *outcome_reason(const struct outcome *outcome)
{
    return kinds[outcome->kind].reason;
}

bool outcome_is_long(const struct outcome *o)
{
    return o->result.len + o->error.len + o->value.len + o->out.kept.len + o->err.kept.len > BESIDE_MIN;
}

unsigned outcome_metric(const struct outcome *outcome)
{
    return kinds[outcome->kind].metric;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool blank(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (!is_space(b->data[i]))
            return false;
    return true;
}

/* At most @max of the bytes at @p, without the beginning of a UTF-8 sequence that goes on behind them. */
static size_t whole_characters(const char *p, size_t max)
{
    size_t n = max;

    while (n > max - 3 && ((unsigned char) p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static bool is_word(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

struct line {
    const char *text;
    size_t len;
};

/* The line at @at of @text, without blanks around it; @ret_next is where the next one begins. */
static struct line line_at(const struct buf *text, size_t at, size_t *ret_next)
{
    size_t end = at;

    while (end < text->len && text->data[end] != '\n' && text->data[end] != '\r')
        end++;
    *ret_next = end + 1;
    while (at < end && is_space(text->data[at]))
        at++;
    while (end > at && is_space(text->data[end - 1]))
        end--;
    return (struct line){ text->data + at, end - at };
}

/* The first line that has a word in it, and not only a rule; else the first with anything in it; else one of length 0. */
static struct line first_line(const struct buf *text)
{
    struct line best = { "", 0 };

    for (size_t at = 0, next; at < text->len; at = next) {
        struct line line = line_at(text, at, &next);
        for (size_t i = 0; i < line.len; i++)
            if (is_word((unsigned char) line.text[i]))
                return line;
        if (!best.len)
            best = line;
    }
    return best;
}

/* Cut to a length that fits into one line of a log. */
static void add_line(struct buf *out, struct line line, size_t max)
{
    bool cut = line.len > max;

    buf_add(out, line.text, cut ? whole_characters(line.text, max) : line.len);
    buf_adds(out, cut ? "..." : "");
}

/* As CPython begins the last line of a traceback. */
static void add_exception(struct buf *out, const struct outcome *outcome)
{
    struct line name = first_line(&outcome->name), value = first_line(&outcome->value);

    add_line(out, name, WIRE_NAME_MAX);
    buf_adds(out, value.len ? ": " : "");
    add_line(out, value, MESSAGE_MAX);
}

static void add_hint(struct buf *out, const struct outcome *outcome)
{
    struct line hint = first_line(&outcome->hint);

    if (!hint.len)
        return;
    buf_adds(out, " (hint: ");
    add_line(out, hint, WIRE_HINT_MAX);
    buf_addc(out, ')');
}

/* Whole seconds without a fraction, as they are asked for; a configured default may have one. */
static void add_seconds(struct buf *out, int64_t ms)
{
    buf_addf(out, "%lld", (long long) ms / 1000);
    if (ms % 1000) {
        buf_addf(out, ".%03lld", (long long) ms % 1000);
        while (out->data[out->len - 1] == '0')
            out->len--;
    }
}

static void add_bytes(struct buf *out, int64_t bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB" };
    int unit = 0;

    for (; unit < 3 && bytes % 1024 == 0; unit++)
        bytes /= 1024;
    buf_addf(out, "%lld %s", (long long) bytes, units[unit]);
}

/* What the server itself knows of a failure, or nothing. */
static void add_own_words(const struct outcome *outcome, const struct wire_limits *limits, struct buf *out)
{
    switch (outcome->kind) {
    case OUTCOME_TIMEOUT:
        buf_adds(out, "Execution timed out after ");
        add_seconds(out, outcome->timeout_ms);
        buf_adds(out, " seconds"); /* also "1 seconds", as NCA has it */
        break;
    case OUTCOME_MEMORY:
        buf_adds(out, "Memory limit exceeded (");
        add_bytes(out, limits->memory_bytes);
        buf_addc(out, ')');
        break;
    case OUTCOME_HOST_MEMORY:
        buf_adds(out, "The machine's memory was full, and of all programs this one was ended, which is not its fault: "
                      "its own limit (");
        add_bytes(out, limits->memory_bytes);
        buf_adds(out, ") was not reached; try again");
        break;
    case OUTCOME_PROCESSES: buf_addf(out, "Too many processes (%lld)", (long long) limits->processes); break;
    case OUTCOME_SIGNAL: {
        const char *name = sigabbrev_np(outcome->signal);
        buf_addf(out, "Killed by signal %d (SIG%s)", outcome->signal, name ? name : "?");
        break;
    }
    case OUTCOME_CANCELLED: buf_adds(out, "The run was cancelled"); break;
    case OUTCOME_INTERNAL:
        buf_adds(
            out,
            "The sandbox failed while the program was running, which may have run in part; this is not the program's "
            "fault");
        break;
    case OUTCOME_LOST:
        buf_adds(out, "The job was lost three times: the server, its sandbox or the machine ended while it ran");
        break;
    case OUTCOME_NO_RUNTIME:
        buf_addf(out, "The runtime %s, which the job was sent for, is not there any more", buf_text(&outcome->name));
        break;
    case OUTCOME_NONE:
    case OUTCOME_OK:
    case OUTCOME_RESULT:
    case OUTCOME_EXCEPTION:
    case OUTCOME_SYNTAX:
    case OUTCOME_EXIT: break;
    }
}

void outcome_message(const struct outcome *outcome, const struct wire_limits *limits, struct buf *out)
{
    size_t before = out->len;

    add_own_words(outcome, limits, out);
    if (out->len > before)
        return;
    if (outcome->kind == OUTCOME_RESULT)
        buf_adds(out, result_failed);
    if (outcome->kind == OUTCOME_OK)
        buf_adds(out, "success");
    else if (outcome->kind != OUTCOME_EXIT && outcome->name.len)
        add_exception(out, outcome);
    else if (!blank(&outcome->error))
        add_line(out, first_line(&outcome->error), MESSAGE_MAX);
    else if (outcome->kind != OUTCOME_RESULT)
        buf_addf(out, "Exited with code %d", outcome->exit_code);
    add_hint(out, outcome);
}

void outcome_error(const struct outcome *outcome, struct buf *out)
{
    const size_t before = out->len;
    bool box_says = !blank(&outcome->error);

    if (outcome->kind != OUTCOME_PROCESSES || !box_says) /* the traceback tells where; the message names the limit */
        add_own_words(outcome, outcome->limits, out);
    if (outcome->kind == OUTCOME_RESULT) {
        buf_adds(out, result_failed);
        buf_add(out, outcome->error.data, outcome->error.len);
    }
    if (out->len > before)
        return;
    if (box_says)
        buf_add(out, outcome->error.data, outcome->error.len);
    else if (!blank(&outcome->err.kept))
        buf_add(out, outcome->err.kept.data, outcome->err.kept.len);
    else
        buf_adds(out, "Execution failed");
}

void outcome_hint(const struct outcome *outcome, struct buf *out)
{
    const struct wire_limits *limits = outcome->limits;

    if (outcome->kind == OUTCOME_PROCESSES)
        buf_adds(out, "threads count too (limits.processes)");
    else if (outcome->kind == OUTCOME_MEMORY)
        buf_adds(out, "files that the program wrote count too (limits.memory)");
    else if (outcome->kind == OUTCOME_TIMEOUT && outcome->timeout_ms < limits->timeout_max_ms) {
        buf_adds(out, "a request may ask for a timeout of up to ");
        add_seconds(out, limits->timeout_max_ms);
        buf_adds(out, " seconds (limits.timeout_max)");
    } else
        buf_add(out, outcome->hint.data, outcome->hint.len);
}
