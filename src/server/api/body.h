/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /v1/code/execute/python: its text to members, and members to a program. */
#ifndef HATCHERY_SERVER_API_BODY_H
#define HATCHERY_SERVER_API_BODY_H

#include "base/json.h"
#include "base/wire.h"
#include "server/jobs/intake.h"

struct json_t;

/* code, timeout, id, webhook_url */
enum { BODY_MEMBERS = 4 };

/* A body on its way to members. */
struct body {
    const char *text; /* the caller's, valid until body_read() returns */
    size_t len;
    const char *runtime; /* a part of @fingerprint; NULL: none */
    bool signs;          /* @fingerprint is wanted */
    struct json_field fields[BODY_MEMBERS];
    /* What comes of it: */
    int err; /* 0; -EINVAL, with a sentence in @error; -E2BIG: a member of @found is too long, and others may be
                       * missing; -ERANGE: a number of JSON's that no timeout is */
    struct buf error; /* for the sentence that refuses it */
    struct json_member found[BODY_MEMBERS];
    char *room;          /* what @found points into */
    struct json_t *tree; /* the same */
    unsigned char fingerprint[STORE_FINGERPRINT];
};

/* Nothing is read yet.  The caller sets what stands first. */
void body_init(struct body *body, const struct wire_limits *limits);

/* Read the text.  Touches nothing but @body: it may be called in a thread. */
void body_read(struct body *body);

/* Check the members and have them in @program, which points into @body's memory from then on.
 * 0, or -EINVAL or -E2BIG with a sentence in body->error. */
int body_take(struct body *body, const struct wire_limits *limits, const struct guard_allow *allow,
              struct program *program);

/* Free all of it, and so what a program points into. */
void body_free(struct body *body);

#endif
