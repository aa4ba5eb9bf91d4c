/* SPDX-License-Identifier: Apache-2.0 */
/* A request about jobs while the store is asked: what jobs.c and nca.c share. */
#ifndef HATCHERY_SERVER_API_QUESTION_H
#define HATCHERY_SERVER_API_QUESTION_H

#include "server/api/api.h"

struct question {
    struct api *api;
    struct request *req; /* NULL: its client has gone */
    struct key *key;
    struct charge charge;
    char id[UUID_SIZE];
    void (*answer)(struct question *q, const struct store_answer *answer);
    /* NULL, or set by @answer: called then with the reply that the job has, or NULL.  The reply may be worded in between. */
    void (*reply)(struct question *q, struct blob *reply);
    struct buf before; /* what @answer has worded for that */
};

/* A question about job @id (NULL: about no single one).  question_on_answer() calls @answer, unless the store failed or the
 * client has gone, and frees the question.  It takes the request's charge. */
struct question *question_new(struct request *req, struct api *api, struct key *key, const char *id,
                              void (*answer)(struct question *, const struct store_answer *));
void question_free(struct question *q);

/* For the store, with the question as its data. */
void question_on_answer(void *data, const struct store_answer *answer);

/* Answer it with the error of the store: {"error": "Job not found", "job_id": ...} and its like. */
void question_refuse(struct question *q, int err);

/* Ask the store for the jobs of @query, whose list of waiting jobs is filled in here. */
void question_list(struct store_query *query, struct question *q);

/* False: @id is no UUID, and the request was answered. */
bool question_check_id(struct request *req, const char *id, size_t len);

/* The job as clients see it.  A job that is leased and not given to a box yet is queued for them. */
struct store_record question_as_shown(const struct question *q, const struct store_record *r);

#endif
