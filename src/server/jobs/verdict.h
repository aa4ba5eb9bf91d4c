/* SPDX-License-Identifier: Apache-2.0 */
/* What a job ended with, as the store keeps it: for any API, and for whoever asks whenever it is.
 *
 * All that a reply shows is in it, so that the same job is told in the same bytes each time. */
#ifndef HATCHERY_SERVER_JOBS_VERDICT_H
#define HATCHERY_SERVER_JOBS_VERDICT_H

#include "server/pool/job.h"

/* What a reply shows beside the outcome. */
struct figures {
    int64_t pid, queue_id; /* of the server: a number of its queue, as NCA's users log it */
    char build[32];        /* its version */
    int64_t run_us, queue_us, total_us;
    int64_t queue_length; /* jobs that wait, when it ended */
    enum lack waited_for;
};

struct verdict {
    struct outcome outcome;
    struct wire_limits limits; /* of those that it ran under, the ones that an outcome's words name; the others are 0 */
    struct figures figures;
};

/* What a result of the store is (struct store_end's form). */
enum verdict_form {
    FORM_REPLY,   /* a finished reply, as stores before version 0.2.0 have it */
    FORM_VERDICT, /* verdict_encode() */
};

/* Take @outcome along, which is empty afterwards, and the limits that it names. */
void verdict_take(struct verdict *ret, struct outcome *outcome);

/* Append the bytes that the store keeps: numbers of eight bytes, little-endian, then lengths of texts, then texts. */
void verdict_encode(const struct verdict *verdict, struct buf *out);

/* Back from these bytes; the texts are copies.  0, or -EBADMSG where the bytes are none of verdict_encode(): then @ret says
 * that they can't be read.  verdict_free() either way. */
int verdict_decode(const void *bytes, size_t n, struct verdict *ret);

void verdict_free(struct verdict *verdict);

/* How many bytes verdict_encode() makes at most of what runs under @limits. */
int64_t verdict_max(const struct wire_limits *limits);

#endif
