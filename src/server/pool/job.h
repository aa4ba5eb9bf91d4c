/* SPDX-License-Identifier: Apache-2.0 */
/* One program to run: what the pool needs to know of it. */
#ifndef HATCHERY_SERVER_POOL_JOB_H
#define HATCHERY_SERVER_POOL_JOB_H

#include "server/pool/outcome.h"
#include "server/pool/share.h"

#include "base/trace.h"
#include "base/uuid.h"

struct slot;

/* What a job waits for. */
enum lack {
    LACK_NONE,
#define LACK(name, word, why) LACK_##name,
#include "base/lack.def"
};

/* "" for LACK_NONE. */
const char *lack_word(enum lack lack);
const char *lack_why(enum lack lack);

struct job {
    char id[UUID_SIZE];
    char trace[TRACE_SIZE]; /* the span that it is (traceparent); empty: of no trace */
    const char *code;       /* UTF-8, the owner's, valid until then */
    size_t code_len;
    int64_t timeout_ms;
    unsigned runtime;    /* the runtime whose box it needs: an index of wire_server_conf.runtimes */
    struct share *share; /* the share whose turn it takes; NULL: the pool's own */
    bool leased;         /* the store has it: it was admitted before, so no limit of the queue applies */
    int64_t queued_us, started_us, ended_us; /* now_us(); set by the pool */
    enum lack waited_for;                    /* the last thing that it lacked; set by the pool */
    struct wire_stamps stamps;               /* how the box divides the time between the last two, or all 0 */

    /* One of these two is called exactly once, unless the owner cancels first; then the job is the
     * owner's again.  @outcome is valid during the call only, and may be left empty.  on_refused
     * says that no box came and nothing was run. */
    void (*on_done)(struct job *job, struct outcome *outcome);
    void (*on_refused)(struct job *job);
    /* NULL, or called with every piece of output as it comes; the output is then not kept. */
    void (*on_output)(struct job *job, int fd, const char *p, size_t n);
    void *owner;

    /* The pool's. */
    struct job *next, *previous;
    struct slot *slot;
};

#endif
