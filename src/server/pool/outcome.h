/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ended, and how that is told to a client. */
#ifndef HATCHERY_SERVER_POOL_OUTCOME_H
#define HATCHERY_SERVER_POOL_OUTCOME_H

#include "base/buf.h"
#include "base/wire.h"

/* What a program wrote to one of its descriptors: its beginning. */
struct stream {
    struct buf kept;
    int64_t total; /* bytes written, kept or not */
};

struct outcome {
    enum outcome_kind kind;
    int exit_code;
    int signal;                   /* OUTCOME_SIGNAL and OUTCOME_MEMORY */
    int64_t timeout_ms;           /* OUTCOME_TIMEOUT */
    struct buf result;            /* checked JSON; empty: null */
    struct buf error;             /* the box's words, any bytes */
    struct buf name, value, hint; /* of an exception, any bytes: its type, its text, what may help; or empty.
                                   * OUTCOME_NO_RUNTIME: @name is the runtime's */
    int line;                     /* of main.py, where it came from; 0: not known */
    struct stream out, err;
    const struct wire_limits *limits; /* that it ran under */
};

/* Empty, with the bounds of @limits, which must live as long.  outcome_free() releases the buffers. */
void outcome_init(struct outcome *outcome, const struct wire_limits *limits);
void outcome_free(struct outcome *outcome);

/* How many bytes come behind @head, or -EPROTO when its lengths are none. */
int64_t outcome_body_len(const struct wire_outcome *head);

/* Take a box's whole report (its head, then what the head has lengths for) into @outcome.  The report is
 * the program's: lengths, kind and JSON are checked.  0, or -EPROTO and @outcome is that of a
 * program that has broken its report. */
int outcome_take(struct outcome *outcome, const struct wire_outcome *head, const char *body, size_t len);

/* The outcome of a box that ended without a report, from its wait status (waitpid(2)). */
void outcome_from_status(struct outcome *outcome, int status);

/* The server has ended it, or never let it begin: the exit code is that of SIGKILL. */
void outcome_kill(struct outcome *outcome, enum outcome_kind kind);

/* What the cgroup says about a run that failed.  @of_machine: it was killed, but not for its own limit. */
void outcome_add_usage(struct outcome *outcome, int64_t oom_kills, bool of_machine, int64_t pid_refusals);

/* The HTTP status, the word for "reason" ("" for success). */
int outcome_status(const struct outcome *outcome);
const char *outcome_reason(const struct outcome *outcome);

/* How it is counted: the index of METRIC_RUNS' outcome. */
unsigned outcome_metric(const struct outcome *outcome);

/* One line saying what happened ("success" for OUTCOME_OK), appended to @out as plain text: of an exception its type and
 * the first line of its text, then the hint if there is one. */
void outcome_message(const struct outcome *outcome, const struct wire_limits *limits, struct buf *out);

/* Is that more than the loop should write, or copy? */
bool outcome_is_long(const struct outcome *outcome);

/* The text of a failure, appended to @out: the server's own words, else the box's, else what the program said last. */
void outcome_error(const struct outcome *outcome, struct buf *out);

/* What helps where the server itself has ended the run, or what the box says; nothing where nobody says anything. */
void outcome_hint(const struct outcome *outcome, struct buf *out);

#endif
