/* SPDX-License-Identifier: Apache-2.0 */
/* The members that every reply to a job has, whether it is sent, stored or delivered. */
#ifndef HATCHERY_SERVER_JOBS_ENVELOPE_H
#define HATCHERY_SERVER_JOBS_ENVELOPE_H

#include "server/store/store.h"

/* What is the same for all replies of this process. */
struct envelope {
    int64_t queue_id;         /* a number of this process's queue, as NCA's users log it */
    const char *build_number; /* the version; JSON needs no escape in it */
};

/* Append {"code", "id", "job_id" and a comma.  @client_id may be absent. */
void envelope_begin(struct buf *out, int status, struct store_bytes client_id, const char *job_id);

/* Append pid, queue_id, run_time, queue_time, waited_for unless "", total_time, queue_length, build_number: no braces, no
 * commas around. */
void envelope_add(struct buf *out, const struct envelope *e, int64_t run_us, int64_t queue_us, const char *waited_for,
                  int64_t total_us, int64_t queue_length);

/* Append "response": null, "error", "message", and "reason" unless NULL: no commas around. */
void envelope_add_error(struct buf *out, const char *error, const char *reason);

#endif
