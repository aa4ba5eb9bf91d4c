/* SPDX-License-Identifier: Apache-2.0 */
/* Admission of a program, whichever API it came by: it runs here and now, or the store keeps it first.
 *
 * One loop, one thread; nothing here blocks.  Intake knows no request and words no reply: its caller hands in a program
 * and calls, and keeps the memory that the program points into. */
#ifndef HATCHERY_SERVER_JOBS_INTAKE_H
#define HATCHERY_SERVER_JOBS_INTAKE_H

#include "server/jobs/backlog.h"
#include "server/jobs/wording.h"

#include "base/guard.h"
#include "base/wire.h"

/* Of the server; the same for all programs. */
struct intake {
    struct pool *pool;
    struct backlog *backlog; /* NULL: there is no store */
    const struct wire_server_conf *conf;
};

/* Why nothing was run. */
enum refused {
    REFUSED_FULL,     /* as many wait as may, in all */
    REFUSED_KEY_FULL, /* as many of this key wait as may */
    REFUSED_SHARE,    /* the key has as much of the store as it may: refusal.limit */
    REFUSED_DRAINING, /* the server stops */
    REFUSED_RUNTIME,  /* its runtime does not start */
    REFUSED_BOX,      /* no box can be made */
    REFUSED_NO_STORE, /* it would have to be stored, and there is no store */
    REFUSED_STORE,    /* the store says no: refusal.err */
};

struct refusal {
    enum refused why;
    int err;                /* of REFUSED_STORE: as store_ops.enqueue has it */
    enum store_limit limit; /* of REFUSED_SHARE */
};

struct program;

/* Whoever hands in a program is told by these. */
struct program_calls {
    /* It ran here and now; as job.on_done.  The program is the caller's again. */
    void (*on_done)(struct program *program, struct outcome *outcome);
    /* Nothing was run.  The program is the caller's again.  May be called from within intake_run() and intake_store(). */
    void (*on_refused)(struct program *program, const struct refusal *refusal);
    /* The store has it, or had it before under the same name: @record is that job, with its reply if it is over.  The
     * program is the caller's, who may go on with intake_wait(). */
    void (*on_stored)(struct program *program, const struct store_record *record);
    /* intake_wait(): the job is over.  NULL: the server stops before, and the job is kept. */
    void (*on_over)(struct program *program, int status, struct blob *reply);
};

enum { PROGRAM_NAME = 33 };

/* A program that somebody wants to have run: the caller fills in what stands first. */
struct program {
    struct job job; /* code, timeout_ms, runtime, share, trace */
    const struct program_calls *calls;
    struct key *key;
    int api;             /* enum job_api: whose it is, and who will word its reply */
    const char *runtime; /* its name; NULL: the default */
    struct store_bytes client_id;
    int64_t start_us;        /* now_us(), when its request came */
    const char *webhook_url; /* NULL: nobody is told */
    char host[GUARD_HOST_MAX + 1];
    char name[PROGRAM_NAME];                      /* intake_name(); "": none */
    unsigned char fingerprint[STORE_FINGERPRINT]; /* of all that makes two of one name the same */
    /* Intake's. */
    const struct intake *intake;
    struct waiter *waiter;
};

/* Name it: of those of a key that have the same name one is run.  @kind: names of different kinds never meet. */
void intake_name(struct program *program, char kind, const char *value, size_t len);

/* Is it for the store?  Else it runs here and now. */
bool intake_is_stored(const struct program *program);

/* Run it as soon as it is its turn; it is given an id.  One of its calls on_done and on_refused comes, unless
 * intake_cancel() or intake_give_way() come first. */
void intake_run(const struct intake *intake, struct program *program);

/* Nobody wants it any more. */
void intake_cancel(struct program *program);

/* Others need what it holds.  False: it has begun, and nothing was done; else it was taken back. */
bool intake_give_way(struct program *program);

/* Has it not begun? */
bool intake_waits(const struct program *program);

/* Store it; it is given an id.  True: one of its calls on_stored and on_refused comes later, and what it pointed to was
 * copied but for client_id.  False: on_refused was called. */
bool intake_store(const struct intake *intake, struct program *program);

/* The program was for the store, which could not be asked. */
void intake_count_unasked(void);

/* Have on_over called once the stored job job.id is over: perhaps at once.  intake_unwait(): or not at all. */
void intake_wait(struct program *program);
void intake_unwait(struct program *program);

#endif
