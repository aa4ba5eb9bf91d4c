/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes say to each other: one SOCK_SEQPACKET socketpair an edge,
 * one fixed-size struct a message, numbers and descriptors only.
 *
 * wire.def has a row for each message between supervisor, server and zygotes; the courier's are in
 * courier/courier.def.  Beside them, and not in a table, because a box has one socket for one run:
 *
 *   supervisor -> box   struct wire_joined, the answer to JOIN [if it was not born in its cgroup: the files to join by]
 *   server -> box       struct wire_run with the source, in pieces
 *   box -> server       struct wire_box_state once; then struct wire_outcome in pieces
 *
 * A runtime goes by its index in wire_server_conf.runtimes; 0 is the default.
 * Both ends are built together; nothing here is an ABI. */
#ifndef HATCHERY_BASE_WIRE_H
#define HATCHERY_BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum wire_peer { PEER_SUPERVISOR, PEER_SERVER, PEER_ZYGOTE, PEER_COURIER };

enum wire_type {
    WIRE_NONE,
#define MESSAGE(name, from, to, members, descriptors, times) WIRE_##name,
#include "base/wire.def"
    WIRE_TYPES
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
    bool has_metrics, has_state;        /* which descriptors come along */
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
    FAULTS
};

struct wire_zygote_conf {
    enum wire_type type;
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

/* The other messages.  Each struct of a table begins with its type. */

struct wire_plain {
    enum wire_type type;
};

struct wire_of_runtime {
    enum wire_type type;
    uint32_t runtime;
};

struct wire_of_box {
    enum wire_type type;
    uint32_t slot;
    uint32_t serial; /* counts the boxes of a server's life: slots are used again */
};

struct wire_fault {
    enum wire_type type;
    uint32_t runtime;
    uint32_t fault;      /* enum fault; FAULT_NONE where it may start */
    uint32_t n_left_out; /* imports that it does without */
};

struct wire_memory_file {
    enum wire_type type;
    uint32_t which; /* enum wire_memory */
};

struct wire_usage {
    enum wire_type type;
    uint32_t slot, serial;
    uint32_t of_machine; /* 1: it was not the box's own limit that it was killed for */
    int64_t oom_kills, pid_refusals;
};

struct wire_oom {
    enum wire_type type;
    uint32_t slot, serial;
    uint32_t of_machine; /* as above */
};

/* Since the last such message. */
struct wire_held {
    enum wire_type type;
    uint32_t boxes;   /* so many more are held for a queue */
    int64_t boxes_us; /* boxes were held for so long */
};

struct wire_refused {
    enum wire_type type;
    int32_t step;  /* enum box_step */
    int32_t error; /* errno */
};

struct wire_long {
    enum wire_type type;
    uint32_t slot, serial;
    uint32_t if_crowd; /* 1: it counts as long only if it is a crowd */
};

enum { WIRE_WHY_MAX = 200 };

struct wire_import {
    enum wire_type type;
    uint32_t import; /* its place in the list; WIRE_IMPORTS_MAX: none is going on */
    uint32_t fault;  /* enum fault; FAULT_NONE: the import begins */
    /* With FAULT_FAILED the exception: its type and the first useful line of its text.  Ends with a 0; has no characters
     * that control a terminal. */
    char why[WIRE_WHY_MAX];
};

struct wire_exited {
    enum wire_type type;
    uint32_t slot, serial;
    int32_t status; /* as waitpid(2) gives it */
    int64_t user_us, system_us, peak_bytes;
};

struct wire_gone {
    enum wire_type type;
    uint32_t slot, serial;
    int32_t error; /* errno where no box could be made, else 0 */
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

/* --- reading --- */

enum { WIRE_FDS_MAX = 8, WIRE_FDS_SOME = -1 };
enum wire_times { WIRE_ANY, WIRE_ONCE };

/* A row of a table; the place in the array is the type. */
struct wire_row {
    const char *name; /* NULL: there is no such message */
    enum wire_peer from, to;
    size_t size;
    int n_fds; /* WIRE_FDS_SOME: up to WIRE_FDS_MAX */
    enum wire_times times;
};

struct wire_table {
    const struct wire_row *rows;
    unsigned n; /* at most 64 */
};

/* Makes a wire_row from a row of a .def. */
#define WIRE_FDS_0 0
#define WIRE_FDS_1 1
#define WIRE_FDS_4 4
#define WIRE_ROW(name, from, to, members, descriptors, times)                                                          \
    {                                                                                                                  \
        name, PEER_##from, PEER_##to, sizeof(members), WIRE_FDS_##descriptors, WIRE_##times                            \
    }

extern const struct wire_table wire_table; /* wire.def */

/* What one process hears from another over one socket.  .heard is 0 for each new peer. */
struct wire_link {
    const struct wire_table *table;
    enum wire_peer from, to;
    uint64_t heard; /* bits of types: of a message that comes once */
};

/* A message with what came along. */
struct wire_in {
    void *msg; /* the caller's room, aligned for all structs of the edge */
    size_t size;
    int fds[WIRE_FDS_MAX]; /* the unused ones are -1 */
    struct ucred sender;   /* 0 where the socket has no SO_PASSCRED (unix(7)) */
};

/* May this message come now?  Returns NULL and notes it as heard; or why not, in a few words. */
const char *wire_check(struct wire_link *link, const void *msg, size_t size, unsigned n_fds);

/* in->msg is one that the table permits: of this type and size, with so many descriptors.  What is in it is the sender's
 * to choose.  The handler takes a descriptor with fd_steal(); those that it leaves are closed. */
typedef void wire_handler(void *data, struct wire_in *in);

/* Receive one message and give it to handlers[its type], if there is one.  Waits only where the socket does.
 * Returns 1: it was handled; 0: the peer is gone; -EAGAIN: there is none; other -errno: the peer must be ended.  A message
 * that the table does not permit is logged, its descriptors are closed, and the result is -EPROTO. */
int wire_hear(struct wire_link *link, int sock, struct wire_in *in, wire_handler *const *handlers, void *data);

#endif
