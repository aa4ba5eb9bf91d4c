/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one box, from the order to make it until nothing of it is left. */
#ifndef HATCHERY_SERVER_POOL_SLOT_H
#define HATCHERY_SERVER_POOL_SLOT_H

#include "server/pool/job.h"

#include <uv.h>

enum slot_state {
    SLOT_FREE,    /* there is no box */
    SLOT_ORDERED, /* the zygote was asked for one */
    SLOT_WARMING, /* the box exists and is entering its jail */
    SLOT_WAITING, /* the box waits for a program */
    SLOT_RUNNING,
    SLOT_CHECKING, /* the program is over; its long report is being checked */
    SLOT_ASKING,   /* the program failed; the supervisor is asked what its cgroup saw */
    SLOT_DYING,    /* the box was let go; the slot is free once the zygote says that all of it ended */
};

struct slot;
struct zygote;

/* How a slot tells its pool; all are called from the loop. */
struct slot_hooks {
    void (*on_ready)(struct slot *slot);                                      /* WARMING -> WAITING */
    void (*on_failed)(struct slot *slot, const struct wire_box_state *state); /* a layer was refused; now DYING */
    void (*on_outcome)(struct slot *slot); /* slot->outcome is complete; call slot_release() */
    void (*on_ask)(struct slot *slot);     /* send WIRE_USAGE_GET */
    /* The program has run for a while, or, with @maybe, for a moment: then only a crowd counts. */
    void (*on_long)(struct slot *slot, bool maybe);
    void (*on_free)(struct slot *slot); /* DYING -> FREE */
    void (*on_lost)(struct slot *slot); /* a waiting box died; now DYING */
};

/* The run's line in the log, which is written once the program is reaped. */
struct run_record {
    char job_id[UUID_SIZE]; /* empty: no job ran */
    struct trace_ids trace;
    const char *outcome;
    int exit_code;
    int64_t queue_us, run_us, stdout_bytes, stderr_bytes;
    enum lack waited_for;
};

struct slot {
    const struct slot_hooks *hooks;
    void *pool;
    struct zygote *zygote; /* the pool's: which one makes, or made, the box */
    const char *runtime;   /* the pool's, for the log: "" is the default */
    uv_loop_t *loop;
    const struct wire_limits *limits; /* of boxes to come */
    struct wire_limits own_limits;    /* of this one */
    uint32_t index, serial;
    int64_t ordered_us, released_us; /* now_us() */
    enum slot_state state;
    bool has_place; /* the pool's: its program counts among those that have just begun */

    int control_fd, life_fd;
    int output_fds[2];
    uv_poll_t control;
    uv_poll_t outputs[2];
    uv_timer_t timer, rest;
    bool resting[2]; /* the output is looked at again when rest fires */
    bool strange;    /* packets came that are not of our code: the socket is looked at again when rest fires */
    unsigned open_handles;
    bool exited, gone;       /* WIRE_EXITED, WIRE_GONE came */
    struct wire_exited used; /* the former */

    struct job *job;
    size_t sent; /* of the source */
    unsigned char token[16];
    struct wire_outcome head;
    struct buf body;
    bool has_head;
    struct checking *checking; /* SLOT_CHECKING */
    struct outcome outcome;
    struct run_record record;
};

/* Once for the process, before the first box.  0 or -errno. */
int slots_prepare(void);

/* An empty slot, the pool's @index-th. */
void slot_init(struct slot *slot, uint32_t index, uv_loop_t *loop, const struct wire_limits *limits,
               const struct slot_hooks *hooks, void *pool);

/* The box exists: take its four descriptors (control, stdout, stderr, life). ORDERED -> WARMING.
 * -EPROTO if they are not a socket and three pipes: descriptors and state are unchanged. */
int slot_open(struct slot *slot, const int fds[static 4]);

/* Hand @job over. WAITING -> RUNNING.  -errno if the box is dead: the slot stays WAITING and @job
 * is untouched. */
int slot_start(struct slot *slot, struct job *job);

/* The zygote has reaped the program (WIRE_EXITED), or all of the box (WIRE_GONE). */
void slot_exited(struct slot *slot, const struct wire_exited *exited);
void slot_gone(struct slot *slot);

/* The supervisor's answer to on_ask. */
void slot_usage(struct slot *slot, const struct wire_usage *usage);

/* The kernel killed a process of the box because the box, or the machine, was out of memory
 * (WIRE_OOM). The run is over, even if other processes of it still live. */
void slot_out_of_memory(struct slot *slot, bool of_machine);

/* The zygote died and all boxes with it. */
void slot_bereft(struct slot *slot);

/* Kill the box, whatever it does, and forget its job without a word. -> DYING. */
void slot_release(struct slot *slot);

/* As slot_release() while a job is in the box; the log calls it cancelled. */
void slot_cancel(struct slot *slot);

/* End the run in the box: on_outcome with OUTCOME_CANCELLED and the output so far. */
void slot_stop(struct slot *slot);

/* Log a run that has ended before the zygote told what it used: nobody will tell any more. */
void slot_log_last(struct slot *slot);

#endif
