/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one box, from the order to make it until nothing of it is left. */
#ifndef HATCHERY_SERVER_POOL_SLOT_H
#define HATCHERY_SERVER_POOL_SLOT_H

#include "server/pool/job.h"

#include <uv.h>

enum run_state {
    RUN_FREE,    /* the slot has no box */
    RUN_ORDERED, /* the zygote was asked for one */
    RUN_WARMING, /* it exists and is entering its jail */
    RUN_WAITING, /* it waits for a program */
    RUN_RUNNING,
    RUN_CHECKING, /* the program is over; its long report is being checked */
    RUN_ASKING,   /* it failed; the supervisor is asked what its cgroup saw */
    RUN_DYING,    /* let go; the slot is free once the zygote has said so */
};

struct run;
struct zygote;

/* How a run tells its pool; all are called from the loop. */
struct run_hooks {
    void (*on_ready)(struct run *run);                                      /* WARMING -> WAITING */
    void (*on_failed)(struct run *run, const struct wire_box_state *state); /* a layer was refused; now DYING */
    void (*on_outcome)(struct run *run);          /* run->outcome is complete; call run_release() */
    void (*on_ask)(struct run *run);              /* send WIRE_USAGE_GET */
    void (*on_long)(struct run *run, bool maybe); /* the program is none of the short ones; @maybe: if it is a crowd */
    void (*on_free)(struct run *run);             /* DYING -> FREE */
    void (*on_lost)(struct run *run);             /* a waiting box died; now DYING */
};

/* What the log line says, which is written once the program is reaped. */
struct run_record {
    char job_id[UUID_SIZE]; /* empty: no job ran */
    struct trace_ids trace;
    const char *outcome;
    int exit_code;
    int64_t queue_us, run_us, stdout_bytes, stderr_bytes;
    enum lack waited_for;
};

struct run {
    const struct run_hooks *hooks;
    void *pool;
    struct zygote *zygote; /* the pool's: which one makes, or made, the box */
    const char *runtime;   /* the pool's, for the log: "" is the default */
    uv_loop_t *loop;
    const struct wire_limits *limits; /* of boxes to come */
    struct wire_limits own_limits;    /* of this one */
    uint32_t slot, serial;
    int64_t ordered_us, released_us; /* now_us() */
    enum run_state state;
    bool has_place; /* the pool's: its program counts among those that have just begun */

    int control_fd, life_fd;
    int output_fds[2];
    uv_poll_t control;
    uv_poll_t outputs[2];
    uv_timer_t timer, rest;
    bool resting[2]; /* the output is looked at again when rest fires */
    unsigned open_handles;
    bool exited, gone;    /* WIRE_EXITED, WIRE_GONE came */
    struct wire_msg used; /* the former */

    struct job *job;
    size_t sent; /* of the source */
    unsigned char token[16];
    struct wire_outcome head;
    struct buf body;
    bool has_head;
    struct checking *checking; /* RUN_CHECKING */
    struct outcome outcome;
    struct run_record record;
};

/* Once for the process, before the first run.  0 or -errno. */
int run_prepare(void);

/* Once for each slot. */
void run_init(struct run *run, uint32_t slot, uv_loop_t *loop, const struct wire_limits *limits,
              const struct run_hooks *hooks, void *pool);

/* The box exists: take its four descriptors (control, stdout, stderr, life). ORDERED -> WARMING.
 * -EPROTO where they are not a socket and three pipes: they are untouched, and so is the state. */
int run_open(struct run *run, const int fds[static 4]);

/* Hand @job over. WAITING -> RUNNING.  -errno when the box is dead: it stays WAITING and @job is untouched. */
int run_start(struct run *run, struct job *job);

/* The zygote has reaped the program (WIRE_EXITED), or all of the box (WIRE_GONE). */
void run_exited(struct run *run, const struct wire_msg *msg);
void run_gone(struct run *run);

/* The supervisor's answer to on_ask. */
void run_usage(struct run *run, const struct wire_msg *msg);

/* The kernel killed a process of the box for its memory, or for the machine's (WIRE_OOM): the run is over, whatever lives
 * on. */
void run_out_of_memory(struct run *run, bool of_machine);

/* The zygote died and all boxes with it. */
void run_bereft(struct run *run);

/* Kill the box, whatever it does, and forget its job without a word. -> DYING. */
void run_release(struct run *run);

/* As run_release() while a job is in it, which the log will call cancelled. */
void run_cancel(struct run *run);

/* End the run that is in it now: on_outcome with OUTCOME_CANCELLED and what was printed so far. */
void run_stop(struct run *run);

/* Log a run that has ended and whose usage nobody will tell any more. */
void run_log_last(struct run *run);

#endif
