/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs that bench-load sends, and what a right reply to each says. The six of the bench are W1 to W6; the others
 * are what a soak mixes in: programs whose reply is a failure, and clients that do not wait for one.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>

struct workload {
    const char *name;
    char *code;
    char *stdout_json;    /* the whole of stdout as a JSON string, quotes included; NULL: not looked at */
    const char *contains; /* what the body must hold besides; NULL: nothing */
    int status;           /* of a right reply */
    long timeout_s;       /* asked for; 0: the server's default */
    bool numpy;           /* goes to the runtime that has it, where one is named */
    bool hangs_up;        /* the client leaves before the reply */
};

/* The workload @name with its texts made, which are never freed. Returns false where there is none of that name. */
bool workload_make(const char *name, struct workload *ret);

/* @text as a JSON string, malloc()ed; nothing but ASCII comes in. */
char *workload_json(const char *text);

/* Whether @body, a NUL-terminated JSON object of @len bytes, says of stdout exactly @stdout_json. */
bool workload_stdout_is(const char *body, size_t len, const char *stdout_json);

#endif
