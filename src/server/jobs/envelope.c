/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope of a reply.
 *
 * Called by the handlers for what is sent at once, and by the backlog for what
 * is stored: both must be the same to a reader. */
#include "server/jobs/envelope.h"

#include "base/json.h"

#include <string.h>
#include <unistd.h>

void envelope_begin(struct buf *out, int status, struct store_bytes client_id, const char *job_id)
{
    buf_addf(out, "{\"code\": %d, \"id\": ", status);
    if (client_id.p)
        json_add_string(out, client_id.p, client_id.n);
    else
        buf_adds(out, "null");
    buf_addf(out, ", \"job_id\": \"%s\", ", job_id);
}

void envelope_add(struct buf *out, const struct envelope *e, int64_t run_us, int64_t queue_us, const char *waited_for,
                  int64_t total_us, int64_t queue_length)
{
    static int pid; /* the process never forks, and getpid(2) is a system call */

    pid = pid ? pid : (int) getpid();
    buf_addf(out, "\"pid\": %d, \"queue_id\": %lld, \"run_time\": ", pid, (long long) e->queue_id);
    json_add_seconds(out, run_us);
    buf_adds(out, ", \"queue_time\": ");
    json_add_seconds(out, queue_us);
    if (*waited_for)
        buf_addf(out, ", \"waited_for\": \"%s\"", waited_for);
    buf_adds(out, ", \"total_time\": ");
    json_add_seconds(out, total_us);
    buf_addf(out, ", \"queue_length\": %lld, \"build_number\": \"%s\"", (long long) queue_length, e->build_number);
}

void envelope_add_error(struct buf *out, const char *error, const char *reason)
{
    buf_adds(out, "\"response\": null, \"error\": ");
    json_add_string(out, error, strlen(error));
    buf_adds(out, ", \"message\": ");
    json_add_string(out, error, strlen(error));
    if (reason)
        buf_addf(out, ", \"reason\": \"%s\"", reason);
}
