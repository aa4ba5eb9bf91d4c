/* SPDX-License-Identifier: Apache-2.0 */
/* One operation of the store on its way: its arguments, copied, then its answer.
 *
 * The loop makes an operation and gives it to the engine; a thread of the engine answers it; the
 * loop hands the answer to the caller and frees the operation.  An operation has one owner at a
 * time and no lock of its own: lines are locked by their users.
 * What must never stand here: a word about an engine. */
#ifndef HATCHERY_SERVER_STORE_OP_H
#define HATCHERY_SERVER_STORE_OP_H

#include "server/store/store.h"

enum op_kind {
#define OP(NAME, name, side, durable, wakes, argument) OP_##NAME,
#include "server/store/ops.def"
    OP_KINDS
};

enum { STORE_IDEM_MAX = 64 };

/* A job by its id, if it is @tenant's. */
struct op_target {
    const char *tenant;
    unsigned char id[UUID_BYTES];
    bool is_id; /* false: what was given is no UUID, so no job has it */
};

/* The arguments of operations whose function in store.h takes several. */
struct op_finish {
    struct store_lease lease;
    struct store_end end;
};
struct op_release {
    struct store_lease lease;
    bool lost;
};
struct op_get {
    struct op_target target;
};
struct op_cancel {
    struct op_target target;
    struct store_end end;
};
struct op_requeue {
    struct op_target target;
    struct store_limits limits;
};
struct op_history {
    const struct store_record *records;
    unsigned n;
};
struct op_outbox_done {
    int64_t seq;
    struct store_attempt attempt;
};
struct op_redeliver {
    struct op_target target;
    int64_t now_us;
};
struct op_probe {
};

/* One operation: its arguments (copied), then its answer. All its memory is freed with it. */
struct op {
    struct op *next;
    enum op_kind kind;
    uint64_t tag; /* its place in the line of questions, where tenants take turns */
    struct chunk *chunks;
    struct held *held;
    store_done *done;
    void *data;
    union {
#define OP(NAME, name, side, durable, wakes, argument) argument name;
#include "server/store/ops.def"
    } args;
    const char *asker; /* of a READER operation: the tenant whose turn it takes */
    int64_t posted_us;
    unsigned batch; /* of the first operation in a transaction: how many operations were in it, and how long it took */
    int64_t commit_us;
    struct store_answer answer;
};

/* What every engine is.  Only calls.c calls it, on the loop. */
struct store_engine {
    /* Serve @op, which is the engine's until it hands it to op_over().  Never blocks. */
    void (*post)(struct store *store, struct op *op);
    /* store_close(). */
    void (*close)(struct store *store, void (*on_closed)(void *), void *data);
};

/* Is the operation's answer worth an fsync? */
bool op_is_durable(const struct op *op);

/* May a job or a delivery wait, now that @op is answered, that did not before? */
bool op_wakes(const struct op *op);

/* Does it only read (READER)? */
bool op_reads(const struct op *op);

/* Operations, the oldest first.  A line does not own its operations. */
struct line {
    struct op *first, **last;
};

/* A new operation, posted now; @done gets its answer (NULL: nobody does).  The caller frees it, or
 * op_over() does. */
struct op *op_new(enum op_kind kind, store_done *done, void *data);

/* Free @op and all its memory; give back its blobs. */
void op_free(struct op *op);

/* @n bytes of zeros that are freed with @op. */
void *op_alloc(struct op *op, size_t n);

/* Copies that are freed with @op; a NUL follows the bytes.  NULL stays NULL. */
struct store_bytes op_bytes(struct op *op, struct store_bytes bytes);
const char *op_string(struct op *op, const char *s);

/* A copy of @n bytes that may live longer than @op, which has a reference. */
struct blob *op_blob(struct op *op, const void *p, size_t n);

/* Answer @op with @err, a refusal.  Returns 0: the transaction around it goes on. */
int op_refuse(struct op *op, int err);

/* @op is answered: count it, pass the answer on to the caller, free it.  On the loop. */
void op_over(struct store *store, struct op *op);

/* An empty line; append @op; take out the first (the line is not empty). */
void line_init(struct line *line);
void line_add(struct line *line, struct op *op);
struct op *line_take(struct line *line);

#endif
