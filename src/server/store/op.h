/* SPDX-License-Identifier: Apache-2.0 */
/* One operation of the store on its way: its arguments, copied, then its answer.
 *
 * The loop makes an operation and puts it into a line; whoever serves that
 * line answers it; the loop hands the answer to the caller and frees the operation.
 * All memory of an operation is freed with it.  An operation has one owner at a
 * time and no lock of its own: lines are locked by those who share them.
 * What must never stand here: a word about an engine. */
#ifndef HATCHERY_SERVER_STORE_OP_H
#define HATCHERY_SERVER_STORE_OP_H

#include "server/store/store.h"

enum op_kind {
    OP_ENQUEUE,
    OP_CLAIM,
    OP_FINISH,
    OP_RELEASE,
    OP_GET,
    OP_CANCEL,
    OP_REQUEUE,
    OP_LIST,
    OP_HISTORY,
    OP_OUTBOX_CLAIM,
    OP_OUTBOX_DONE,
    OP_REDELIVER,
    OP_SWEEP,
    OP_PROBE, /* no operation of the interface: does the disk take writes again? */
};

enum { STORE_IDEM_MAX = 64 };

/* One operation: its arguments (copied), then its answer. All its memory is freed with it. */
struct op {
    struct op *next;
    enum op_kind kind;
    uint64_t tag; /* its place in the line of questions, where tenants take turns */
    struct chunk *chunks;
    struct held *held;
    store_done *done;
    void *data;
    struct store_job job;
    struct store_claim claim;
    struct store_lease lease;
    struct store_end end;
    struct store_query query;
    struct store_outbox_claim outbox;
    struct store_limits limits;
    struct store_sweep sweep;
    struct store_attempt attempt;
    bool lost;
    const char *tenant;
    unsigned char id[UUID_BYTES];
    bool id_ok;
    int64_t seq, now_us;
    int64_t posted_us;
    unsigned batch; /* of the first operation in a transaction: how many were in it, and what it took */
    int64_t commit_us;
    unsigned n_history;
    const struct store_record *history;
    struct store_answer answer;
};

/* Operations, oldest first.  A line does not own what stands in it. */
struct line {
    struct op *first, **last;
};

/* A new operation, posted now; @done gets its answer, NULL: nobody does.  The caller frees it. */
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

/* Which job, and whose: op->tenant, op->id; op->id_ok is false where @id is no UUID, and so no job's. */
void op_take_id(struct op *op, const char *tenant, const char *id);

/* How the job ends.  The body is not copied: it stays the caller's until the answer. */
void op_take_end(struct op *op, const struct store_end *end);

/* The operation is refused with @err, which is its answer.  Returns 0: what it stands in may go on. */
int op_refuse(struct op *op, int err);

/* A line without operations; @op becomes its last; its first is taken out (the line is not empty). */
void line_init(struct line *line);
void line_add(struct line *line, struct op *op);
struct op *line_take(struct line *line);

#endif
