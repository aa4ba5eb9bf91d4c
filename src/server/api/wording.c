/* SPDX-License-Identifier: Apache-2.0 */
/* Replies to programs, in JSON.
 *
 * Called by the handlers, and through api_wordings by the backlog and the
 * outbox, in the loop or in a thread.  What is told later is told in the same
 * bytes, because all of it stands in the verdict.
 * What must never happen here: a reply that a program could make malformed, or
 * one that depends on when it is asked for. */
#include "server/api/wording.h"

#include "base/json.h"

#include <string.h>

void wording_begin_reply(struct buf *out, int status, struct store_bytes client_id, const char *job_id)
{
    buf_addf(out, "{\"code\": %d, \"id\": ", status);
    if (client_id.p)
        json_add_string(out, client_id.p, client_id.n);
    else
        buf_adds(out, "null");
    buf_addf(out, ", \"job_id\": \"%s\", ", job_id);
}

void wording_add_figures(struct buf *out, const struct figures *f)
{
    buf_addf(out, "\"pid\": %lld, \"queue_id\": %lld, \"run_time\": ", (long long) f->pid, (long long) f->queue_id);
    json_add_seconds(out, f->run_us);
    buf_adds(out, ", \"queue_time\": ");
    json_add_seconds(out, f->queue_us);
    if (f->waited_for)
        buf_addf(out, ", \"waited_for\": \"%s\"", lack_word(f->waited_for));
    buf_adds(out, ", \"total_time\": ");
    json_add_seconds(out, f->total_us);
    buf_addf(out, ", \"queue_length\": %lld, \"build_number\": ", (long long) f->queue_length);
    json_add_cstring(out, f->build);
}

void wording_add_error(struct buf *out, const char *error)
{
    buf_adds(out, "\"response\": null, \"error\": ");
    json_add_cstring(out, error);
    buf_adds(out, ", \"message\": ");
    json_add_cstring(out, error);
}

static void add_stream(struct buf *out, const char *name, const struct stream *stream)
{
    buf_addf(out, ", \"%s\": ", name);
    json_add_string(out, stream->kept.data, stream->kept.len);
    if (stream->total > (int64_t) stream->kept.len)
        buf_addf(out, ", \"%s_truncated\": true", name);
}

static void add_success(struct buf *out, const struct outcome *outcome)
{
    buf_adds(out, "\"response\": {\"result\": ");
    if (outcome->result.len)
        buf_add(out, outcome->result.data, outcome->result.len);
    else
        buf_adds(out, "null");
    add_stream(out, "stdout", &outcome->out);
    add_stream(out, "stderr", &outcome->err);
    buf_adds(out, ", \"exit_code\": 0}, \"message\": \"success\"");
}

void wording_add_outcome(struct buf *out, const struct outcome *outcome)
{
    struct buf text;

    if (outcome->kind == OUTCOME_OK) {
        add_success(out, outcome);
        return;
    }
    buf_init(&text, SIZE_MAX / 2); /* what the box says is bounded */
    outcome_message(outcome, outcome->limits, &text);
    buf_adds(out, "\"response\": null, \"message\": ");
    json_add_string(out, text.data, text.len);
    buf_reset(&text);
    outcome_error(outcome, &text);
    buf_adds(out, ", \"error\": ");
    json_add_string(out, text.data, text.len);
    buf_addf(out, ", \"reason\": \"%s\"", outcome_reason(outcome));
    buf_reset(&text);
    outcome_hint(outcome, &text);
    if (text.len) {
        buf_adds(out, ", \"hint\": ");
        json_add_string(out, text.data, text.len);
    }
    add_stream(out, "stdout", &outcome->out);
    add_stream(out, "stderr", &outcome->err);
    buf_addf(out, ", \"exit_code\": %d", outcome->exit_code);
    buf_free(&text);
}

static void word_execute(const struct verdict *verdict, const char *id, struct store_bytes client_id, struct buf *out)
{
    wording_begin_reply(out, outcome_status(&verdict->outcome), client_id, id);
    wording_add_outcome(out, &verdict->outcome);
    buf_adds(out, ", ");
    wording_add_figures(out, &verdict->figures);
    buf_addc(out, '}');
}

const struct wording api_wordings[APIS] = {
    [API_EXECUTE] = { word_execute },
};
