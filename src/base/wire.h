/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes say to each other: one SOCK_SEQPACKET socketpair an edge,
 * one fixed-size struct a message, numbers and descriptors only.
 *
 * A runtime goes by its index in wire_server_conf.runtimes; 0 is the default.
 *
 *   supervisor -> server   WIRE_SERVER_CONF [listeners, metrics.listen's, state directory, its lock], WIRE_ZYGOTE [socket],
 *                          WIRE_COURIER [socket], WIRE_PACKAGES [file], WIRE_FAULT [file], WIRE_MEMORY [file], WIRE_USAGE, WIRE_OOM, WIRE_HELD, WIRE_DRAIN, WIRE_KEPT, WIRE_ALIVE;
 *                          WIRE_SERVER_CONF again, without descriptors, when the configuration was read again
 *   server -> supervisor   WIRE_READY, WIRE_REFUSED, WIRE_USAGE_GET, WIRE_ZYGOTE_GET, WIRE_LONG, WIRE_ALIVE
 *   supervisor -> zygote   struct wire_zygote_conf, once, as its first message
 *   zygote -> supervisor   struct wire_import, while it imports
 *   server -> zygote       WIRE_SPAWN
 *   zygote -> server       WIRE_WARM, WIRE_BOX [control, stdout, stderr, life], WIRE_EXITED, WIRE_GONE
 *   box -> supervisor      struct wire_join [socket], before anything of the program exists
 *   supervisor -> box      struct wire_joined [if it was not born in its cgroup: the files to join by], on that socket
 *   server -> box          struct wire_run with the source, in pieces
 *   box -> server          WIRE_BOX_READY or WIRE_BOX_FAILED once; then the outcome in pieces
 *
 * Both ends are built together; nothing here is an ABI. */
#ifndef HATCHERY_BASE_WIRE_H
#define HATCHERY_BASE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

enum wire_type {
    WIRE_SERVER_CONF = 1,
    WIRE_ZYGOTE, /* of the runtime @slot */
    WIRE_COURIER,
    WIRE_MEMORY,   /* a file that tells of the memory: which, enum wire_memory, is @slot */
    WIRE_PACKAGES, /* of the runtime @slot: the file has members of a JSON object */
    WIRE_DRAIN,
    WIRE_KEPT,  /* the configuration was to be read again, is wrong, and stays as it was */
    WIRE_ALIVE, /* asked by the supervisor and answered by the server's loop */
    WIRE_READY,
    WIRE_REFUSED, /* the first box could not take step @slot of the jail, @status = -errno */
    WIRE_USAGE_GET,
    WIRE_USAGE,
    WIRE_ZYGOTE_GET, /* the runtime @slot needs one, or a fresh one */
    WIRE_LONG,       /* this box's program is none of the short ones; @status 1: it may be, unless it is a crowd */
    WIRE_FAULT, /* the runtime @slot: @status is an enum fault, FAULT_NONE where it may start; the file is a JSON array of
                      * what it leaves out, @serial of them */
    WIRE_IMPORT, /* of the import @slot: @status is an enum fault; FAULT_NONE: it begins.  WIRE_IMPORTS_MAX: none is going on */
    WIRE_OOM, /* the kernel killed a process of this box for its memory limit */
    WIRE_HELD, /* since the last such message, @serial boxes more are held for a queue, and boxes were held for @user_us */
    WIRE_WARM,
    WIRE_SPAWN,
    WIRE_BOX,
    WIRE_EXITED,
    WIRE_GONE,
};

/* proc_meminfo(5); and of the cgroup around the service whose limit is the smallest, if there is one: what it uses, and
 * memory.stat. */
enum wire_memory { WIRE_MEMORY_HOST, WIRE_MEMORY_USAGE, WIRE_MEMORY_STAT, WIRE_MEMORY_FILES };

/* How many boxes may exist at once, whatever is configured. */
enum { WIRE_SLOTS_MAX = 4096 };

enum { WIRE_LISTENERS_MAX = 4 };

enum { WIRE_RETRIES_MAX = 32, WIRE_ALLOW_MAX = 4096, WIRE_PORTS_MAX = 512 };

struct wire_limits {
    int64_t timeout_default_ms, timeout_max_ms;
    int64_t memory_bytes, scratch_bytes, output_bytes, code_bytes, result_bytes;
    int64_t processes, cpu_percent, scratch_files, open_files;
};

enum { WIRE_RUNTIMES_MAX = 16, WIRE_RUNTIME_NAME_MAX = 32 };

/* An interpreter with what it has imported, and its boxes. */
struct wire_runtime {
    char name[WIRE_RUNTIME_NAME_MAX + 1];
    unsigned pool_size;
    bool at_start;   /* its zygote is started with the server, and not when the first job comes */
    int64_t idle_ms; /* without a job for so long it lets go of its zygote; 0: never */
};

/* The server's slice of the configuration. */
struct wire_server_conf {
    enum wire_type type;
    bool has_key;
    unsigned char key_hash[32];      /* BLAKE2b-256 of the key: the key itself stays with the supervisor */
    bool one_run;                    /* `hatchery run`: no listener; descriptors 0, 1, 2 are the run's */
    unsigned n_slots, n_first_slots; /* how many there may be, and how many there are from the start */
    unsigned max_runs;               /* programs at once, */
    unsigned places;                 /* and of these so many that have just begun */
    unsigned n_runtimes;             /* at least one */
    struct wire_runtime runtimes[WIRE_RUNTIMES_MAX];
    int64_t memory_bytes;               /* the limit of a cgroup around the service; 0: there is none */
    uint32_t layers_missing;            /* of the jail: bits of enum layer (box/layers.h) */
    int cgroup_version, landlock_abi;   /* 0: none */
    bool metrics_here;                  /* with the key, on the clients' listener */
    unsigned n_listeners;               /* for clients */
    bool inherited;                     /* somebody else keeps them open when we end, and starts the next one on them */
    bool has_watch, has_state;          /* which descriptors come along */
    int64_t queue_max;                  /* 0: unlimited */
    int64_t rotate_runs, rotate_age_ms; /* of a zygote; 0: unlimited */
    unsigned max_connections, max_connections_per_address;
    unsigned head_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms, drain_delay_ms;
    int64_t max_body, max_bodies;
    int64_t retention_age_us, retention_count, store_bytes; /* 0: unlimited */
    bool idempotency_by_id;
    unsigned webhooks_per_host, webhooks_in_all;
    unsigned n_retries;
    int64_t retry_ms[WIRE_RETRIES_MAX];
    char allow[WIRE_ALLOW_MAX]; /* webhooks.allow, as configured */
    char ports[WIRE_PORTS_MAX]; /* webhooks.ports, as configured */
    int log_format, log_level;
    struct wire_limits limits;
};

/* How a zygote exits that can make no boxes; with the latter and an enum fault it was found in what it was importing. */
enum { WIRE_ZYGOTE_CANNOT = 3, WIRE_ZYGOTE_FAULT = 16 };

/* Of a list of imports these can be left out. */
enum { WIRE_IMPORTS_MAX = 256 };

enum fault {
    FAULT_NONE,
#define FAULT(name, words) FAULT_##name,
#include "base/fault.def"
#undef FAULT
    FAULTS
};

struct wire_zygote_conf {
    struct wire_limits limits;
    unsigned n_slots, n_first_slots;
    bool ids;     /* slots have ids of their own (started by root) */
    bool cgroups; /* boxes join one; else the supervisor watches them and each has the resource limits that stand in */
    bool landlock, mdwe;
    bool callbacks; /* programs can make C callbacks (memfd_create) */
    bool epoll;     /* programs have epoll, as the kernel has it */
    int log_format, log_level;
    int64_t warm_ms; /* for its imports; after it the zygote exits with FAULT_LATE */
    char imports[8192];
    bool left_out[WIRE_IMPORTS_MAX]; /* by their places in the list */
};

/* Any message between supervisor, server and zygote but the two above. */
struct wire_msg {
    enum wire_type type;
    uint32_t slot;
    uint32_t serial; /* counts the boxes of a server's life: slots are used again */
    /* WIRE_OOM, WIRE_USAGE: 1 where it was not the box's own limit that it was killed for. */
    int32_t status; /* WIRE_EXITED: as waitpid(2) gives it; WIRE_GONE: -errno where no box could be made, else 0 */
    int64_t user_us, system_us, peak_bytes; /* WIRE_EXITED; WIRE_HELD */
    int64_t oom_kills, pid_refusals;        /* WIRE_USAGE, the answer for slot and serial of WIRE_USAGE_GET */
};

enum { WIRE_WHY_MAX = 200 };

/* A message WIRE_IMPORT: with FAULT_FAILED @why is the exception, its type and the first useful line of its text.  Ends
 * with a 0; has no characters that control a terminal. */
struct wire_import {
    struct wire_msg msg;
    char why[WIRE_WHY_MAX];
};

struct wire_join {
    uint32_t slot, serial;
};

/* The box is in its cgroup, or will be when it has written "0" to each file that came along. */
struct wire_joined {
    int32_t error; /* errno */
};

enum { WIRE_TASKS_MAX = 3 };

/* To a box: what to run.  The first piece of the source is in the same packet; the others follow
 * in packets of at most WIRE_PIECE bytes. */
struct wire_run {
    unsigned char token[16]; /* every packet of the outcome begins with it */
    int64_t code_len;
    int64_t timeout_ms;
};

enum { WIRE_PIECE = 65536 };

enum { WIRE_STEPS_MAX = 16 };

/* From a box before its run: which step of the jail failed, or none, and what making it took, in nanoseconds. */
struct wire_box_state {
    int32_t step;                       /* enum box_step; 0: ready */
    int32_t error;                      /* errno */
    int32_t init_ns, fork_ns, hooks_ns; /* hatchery-init; fork(2) up to the child; CPython's hooks after a fork */
    int32_t step_ns[WIRE_STEPS_MAX];    /* by enum box_step */
    int32_t renewal_ns;
};

enum outcome_kind {
    OUTCOME_NONE,
#define OUTCOME(name, status, reason, word) OUTCOME_##name,
#include "base/outcome.def"
#undef OUTCOME
};

/* now_us() in the box when it had the source, had compiled it, and when the program was over; and how long it rehearsed
 * before (0: it did not).  A program can say what it likes here: report.c has bounds for it. */
struct wire_stamps {
    int64_t rehearsal_us;
    int64_t received_us, compiled_us, over_us;
};

/* From a box, once: the first packet carries this after the token, then every packet carries more of what the lengths
 * are for, in their order. */
struct wire_outcome {
    int32_t kind;
    int32_t exit_code;
    int64_t result_len, error_len;
    struct wire_stamps stamps;
    int64_t name_len, value_len, hint_len; /* of an exception: its type, its text; what may help its author */
    int32_t line;                          /* of main.py, where it came from; 0: nowhere */
};

/* What the box keeps of each. */
enum { WIRE_NAME_MAX = 256, WIRE_VALUE_MAX = 8192, WIRE_HINT_MAX = 512 };

#endif
