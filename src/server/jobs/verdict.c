/* SPDX-License-Identifier: Apache-2.0 */
/* What a job ended with, to bytes and back.
 *
 * The backlog encodes it when a job is over, and whoever words a reply decodes
 * it, each perhaps in a thread.  The bytes lie in stores: what is listed here
 * never changes its place; another list is another form.
 * What must never happen here: a length that is believed. */
#include "server/jobs/verdict.h"

#include <errno.h>
#include <string.h>

/* Fields of a struct verdict, in the order of the bytes. */
#define NUMBERS(X)                                                                                                     \
    X(outcome.kind)                                                                                                    \
    X(outcome.exit_code)                                                                                               \
    X(outcome.signal)                                                                                                  \
    X(outcome.timeout_ms)                                                                                              \
    X(outcome.line)                                                                                                    \
    X(outcome.out.total)                                                                                               \
    X(outcome.err.total)                                                                                               \
    X(limits.memory_bytes)                                                                                             \
    X(limits.processes)                                                                                                \
    X(limits.timeout_max_ms)                                                                                           \
    X(figures.pid)                                                                                                     \
    X(figures.queue_id)                                                                                                \
    X(figures.run_us)                                                                                                  \
    X(figures.queue_us)                                                                                                \
    X(figures.total_us)                                                                                                \
    X(figures.queue_length)                                                                                            \
    X(figures.waited_for)
#define TEXTS(X)                                                                                                       \
    X(outcome.result)                                                                                                  \
    X(outcome.error)                                                                                                   \
    X(outcome.name)                                                                                                    \
    X(outcome.value)                                                                                                   \
    X(outcome.hint)                                                                                                    \
    X(outcome.out.kept)                                                                                                \
    X(outcome.err.kept)

#define ONE(field) +1
enum { N_NUMBERS = 0 NUMBERS(ONE), N_TEXTS = 0 TEXTS(ONE), BUILD = sizeof(((struct figures *) 0)->build) };
enum { HEAD = 8 * (N_NUMBERS + N_TEXTS) + BUILD };

enum {
    LACKS = 1
#define LACK(name, word, why) +1
#include "base/lack.def"
#undef LACK
};

enum {
    KINDS = 1
#define OUTCOME(name, status, reason, word) +1
#include "base/outcome.def"
#undef OUTCOME
};

static void put(struct buf *out, int64_t value)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char) ((uint64_t) value >> 8 * i);
    buf_add(out, bytes, sizeof(bytes));
}

static int64_t take(const unsigned char **p)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | (*p)[i];
    *p += 8;
    return (int64_t) value;
}

void verdict_take(struct verdict *ret, struct outcome *outcome)
{
    const struct wire_limits *limits = outcome->limits;

    memset(ret, 0, sizeof(*ret));
    ret->limits.memory_bytes = limits->memory_bytes;
    ret->limits.processes = limits->processes;
    ret->limits.timeout_max_ms = limits->timeout_max_ms;
    ret->outcome = *outcome;
    ret->outcome.limits = &ret->limits;
    outcome_init(outcome, limits);
}

void verdict_encode(const struct verdict *e, struct buf *out)
{
    size_t len = HEAD;

#define ADD_LENGTH(field) len += e->field.len;
    TEXTS(ADD_LENGTH)
    buf_room(out, len);
#define PUT_NUMBER(field) put(out, (int64_t) e->field);
    NUMBERS(PUT_NUMBER)
    buf_add(out, e->figures.build, BUILD);
#define PUT_LENGTH(field) put(out, (int64_t) e->field.len);
    TEXTS(PUT_LENGTH)
#define PUT_TEXT(field) buf_add(out, e->field.data, e->field.len);
    TEXTS(PUT_TEXT)
}

/* The head.  False: what it says can't be. */
static bool take_head(const unsigned char **p, struct verdict *e)
{
    int64_t value;
    bool ok = true;

#define TAKE_NUMBER(field)                                                                                             \
    value = take(p);                                                                                                   \
    e->field = (typeof(e->field)) value;                                                                               \
    ok = ok && (int64_t) e->field == value && value >= 0;
    NUMBERS(TAKE_NUMBER)
    memcpy(e->figures.build, *p, BUILD);
    *p += BUILD;
    return ok && (int64_t) e->outcome.kind < KINDS && (int64_t) e->figures.waited_for < LACKS && e->outcome.signal < 128
           && memchr(e->figures.build, '\0', BUILD);
}

/* The texts behind the head, @left bytes, of which nothing may be left. */
static bool take_texts(const unsigned char *p, size_t left, struct verdict *e)
{
    const unsigned char *text = p + 8 * N_TEXTS;
    int64_t len;

#define TAKE_TEXT(field)                                                                                               \
    len = take(&p);                                                                                                    \
    if (len < 0 || (uint64_t) len > left)                                                                              \
        return false;                                                                                                  \
    buf_init(&e->field, (size_t) len);                                                                                 \
    buf_add(&e->field, text, (size_t) len);                                                                            \
    text += len;                                                                                                       \
    left -= (size_t) len;
    TEXTS(TAKE_TEXT)
    return left == 0;
}

int verdict_decode(const void *bytes, size_t n, struct verdict *ret)
{
    static const char unreadable[] = "The store's record of how this job ended is damaged and can't be read";
    const unsigned char *p = bytes;

    memset(ret, 0, sizeof(*ret));
    ret->outcome.limits = &ret->limits;
    if (n >= HEAD && take_head(&p, ret) && take_texts(p, n - HEAD, ret))
        return 0;
    verdict_free(ret);
    memset(ret, 0, sizeof(*ret));
    ret->outcome.limits = &ret->limits;
    outcome_kill(&ret->outcome, OUTCOME_NONE);
    buf_init(&ret->outcome.error, sizeof(unreadable));
    buf_adds(&ret->outcome.error, unreadable);
    return -EBADMSG;
}

void verdict_free(struct verdict *e)
{
    outcome_free(&e->outcome);
}

int64_t verdict_max(const struct wire_limits *limits)
{
    struct outcome outcome;
    int64_t max = HEAD;

    outcome_init(&outcome, limits);
#define ADD_MAX(name) max += (int64_t) outcome.name.max;
    ADD_MAX(result)
    ADD_MAX(error)
    ADD_MAX(name)
    ADD_MAX(value)
    ADD_MAX(hint)
    ADD_MAX(out.kept)
    ADD_MAX(err.kept)
    return max;
}
