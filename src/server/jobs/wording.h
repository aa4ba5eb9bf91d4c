/* SPDX-License-Identifier: Apache-2.0 */
/* What the store keeps of a job that is over, to the reply of the API that took the job.
 *
 * The APIs hand in how they word; who asks for a reply need not know which API it is.  Where there is much to write, it
 * is written beside the loop. */
#ifndef HATCHERY_SERVER_JOBS_WORDING_H
#define HATCHERY_SERVER_JOBS_WORDING_H

#include "server/jobs/verdict.h"
#include "server/store/store.h"

#include <uv.h>

/* Which API took a job: the number in its row.  A new one comes last. */
enum job_api {
    API_EXECUTE, /* POST /v1/code/execute/python */
    APIS,
};

/* Handed in at the start; one for each API. */
struct wording {
    /* Append the whole reply to the job @id.  In any thread: it touches nothing but its arguments. */
    void (*word)(const struct verdict *verdict, const char *id, struct store_bytes client_id, struct buf *out);
};

/* What a reply is made of, taken from a record of the store. */
struct kept {
    int api, form;
    char id[UUID_SIZE];
    char *client_id; /* NULL: none */
    size_t client_id_len;
    struct blob *blob; /* NULL: it is not over */
};

/* Take what is needed of @record, which the caller keeps.  kept_free() gives it back. */
void kept_take(struct kept *ret, const struct store_record *record);
void kept_free(struct kept *kept);

/* Is that more than the loop should write? */
bool kept_is_long(const struct kept *kept);

/* The reply, by the wording of its API out of @wordings[APIS]; NULL: the job is not over.  In any thread. */
struct blob *kept_word(const struct kept *kept, const struct wording *wordings);

/* Have @done called with the reply that @record's job has (NULL: it is not over): at once, or later from @loop where there
 * is much to write; then it takes its turn by @whose (base/beside.h).  @reply is the caller's of this: @done may take a
 * reference. */
void wording_begin(uv_loop_t *loop, const struct wording *wordings, const void *whose,
                   const struct store_record *record, void (*done)(void *data, struct blob *reply), void *data);

/* How long a reply to what ended so may be, in bytes, at most. */
int64_t wording_longest(const struct verdict *verdict, struct store_bytes client_id);

#endif
