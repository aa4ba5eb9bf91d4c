/* SPDX-License-Identifier: Apache-2.0 */
/* One operation of the store: its memory, what the table says of its kind, and lines of operations.
 *
 * The loop makes and frees operations (calls.c); an engine answers them, in any thread. Small
 * copies share chunks, as an operation has a dozen.
 * What must never happen here: a wait, or two threads in one operation at once. */
#include "server/store/op.h"

#include "base/clock.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_MIN = 2048, ALIGN = _Alignof(max_align_t) };

/* An operation's memory; each is filled before the next is made. */
struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(max_align_t) char bytes[];
};

/* A blob that is given back with its operation. */
struct held {
    struct held *next;
    struct blob *blob;
};

/* --- memory --- */

static void *take_room(struct op *op, size_t n)
{
    struct chunk *chunk = op->chunks;

    if (!chunk || n > chunk->size - chunk->used) {
        size_t size = n > CHUNK_MIN ? n : CHUNK_MIN;
        chunk = xmalloc(sizeof(*chunk) + size);
        chunk->next = op->chunks;
        chunk->used = 0;
        chunk->size = size;
        op->chunks = chunk;
    }
    void *p = chunk->bytes + chunk->used;
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    chunk->used = n < chunk->size - chunk->used ? chunk->used + n : chunk->size;
    return p;
}

void *op_alloc(struct op *op, size_t n)
{
    return memset(take_room(op, n), 0, n);
}

struct store_bytes op_bytes(struct op *op, struct store_bytes bytes)
{
    if (!bytes.p)
        return bytes;
    char *copy = take_room(op, bytes.n + 1); /* so that a text ends with NUL */
    memcpy(copy, bytes.p, bytes.n);
    copy[bytes.n] = '\0';
    return (struct store_bytes){ copy, bytes.n };
}

const char *op_string(struct op *op, const char *s)
{
    return s ? op_bytes(op, (struct store_bytes){ s, strlen(s) }).p : NULL;
}

struct blob *op_blob(struct op *op, const void *p, size_t n)
{
    struct held *held = op_alloc(op, sizeof(*held));
    struct buf bytes;

    buf_init(&bytes, n);
    buf_add(&bytes, p, n);
    held->blob = blob_new(&bytes);
    held->next = op->held;
    op->held = held;
    return held->blob;
}

struct op *op_new(enum op_kind kind, store_done *done, void *data)
{
    struct op *op = xcalloc(1, sizeof(*op));
    op->kind = kind;
    op->posted_us = now_us();
    op->done = done;
    op->data = data;
    return op;
}

void op_free(struct op *op)
{
    for (struct held *held = op->held; held; held = held->next)
        blob_unref(held->blob);
    for (struct chunk *chunk = op->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(op);
}

/* --- what the table says of an operation --- */

enum { WRITER, READER };
enum { LAZY, DURABLE };
enum { QUIET, WAKES };

static const struct {
    bool reads, is_durable, wakes;
} kinds[] = {
#define OP(NAME, name, side, durable, wakes, argument) [OP_##NAME] = { side, durable, wakes },
#include "server/store/ops.def"
};

bool op_is_durable(const struct op *op)
{
    return kinds[op->kind].is_durable;
}

bool op_wakes(const struct op *op)
{
    return !op->answer.err && kinds[op->kind].wakes;
}

bool op_reads(const struct op *op)
{
    return kinds[op->kind].reads;
}

/* --- answers --- */

int op_refuse(struct op *op, int err)
{
    op->answer.err = err;
    return 0;
}

/* --- lines --- */

void line_init(struct line *line)
{
    line->first = NULL;
    line->last = &line->first;
}

void line_add(struct line *line, struct op *op)
{
    op->next = NULL;
    *line->last = op;
    line->last = &op->next;
}

struct op *line_take(struct line *line)
{
    struct op *op = line->first;

    line->first = op->next;
    if (!line->first)
        line->last = &line->first;
    return op;
}
