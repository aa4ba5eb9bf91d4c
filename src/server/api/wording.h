/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where replies to programs are worded: for whoever asks at once, later, or again, and for webhooks. */
#ifndef HATCHERY_SERVER_API_WORDING_H
#define HATCHERY_SERVER_API_WORDING_H

#include "server/jobs/wording.h"

/* What the layers below word stored jobs with, by enum job_api. */
extern const struct wording api_wordings[APIS];

/* A reply of POST /v1/code/execute/python from its parts, in this order, with a comma and a space between them and } at the
 * end.  All append to @out and may be called in any thread. */

/* {"code", "id", "job_id" and the comma.  @client_id may be absent. */
void wording_begin_reply(struct buf *out, int status, struct store_bytes client_id, const char *job_id);

/* "response", "message" and, for failures, "error", "reason", "hint" if there is one, "stdout", "stderr", "exit_code". */
void wording_add_outcome(struct buf *out, const struct outcome *outcome);

/* Of what was not run: "response": null, "error", "message". */
void wording_add_error(struct buf *out, const char *error);

/* pid, queue_id, run_time, queue_time, waited_for if it lacked something, total_time, queue_length, build_number. */
void wording_add_figures(struct buf *out, const struct figures *figures);

#endif
