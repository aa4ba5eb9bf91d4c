/* SPDX-License-Identifier: Apache-2.0 */
/* The byte buffer with a maximum, and the allocators that never fail.
 *
 * Every process uses it for all that a stranger can size: requests, output, replies, log lines.
 * What must never happen here: more than the maximum in memory, whatever lengths are asked for (so
 * no sum is formed before it is known not to wrap), or a caller that must handle an allocation's
 * failure. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_free(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->full = false;
}

/* Doubling keeps a long series of small appends linear.  The block has one byte more than @cap
 * says: vsnprintf(3) ends its text with a NUL that is not part of the content. */
static void grow(struct buf *b, size_t need)
{
    size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;

    if (cap < FIRST_CAP && FIRST_CAP <= b->max)
        cap = FIRST_CAP;
    if (cap < need)
        cap = need;
    if (cap == SIZE_MAX)
        cap--; /* keeps the sum below from wrapping; malloc(3) refuses it */
    b->data = xrealloc(b->data, cap + 1);
    b->cap = cap;
}

char *buf_room(struct buf *b, size_t n)
{
    if (n > b->max - b->len) {
        b->full = true;
        return NULL;
    }
    if (!b->data || n > b->cap - b->len)
        grow(b, b->len + n);
    return b->data + b->len;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    char *to = buf_room(b, n);
    if (!to)
        return -ENOBUFS;
    memcpy(to, p, n);
    b->len += n;
    return 0;
}

int buf_adds(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_addc(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

__attribute__((format(printf, 2, 0))) static int add_formatted(struct buf *b, const char *fmt, va_list args)
{
    size_t room = b->data ? b->cap - b->len : 0;
    va_list ap;

    /* Usually there is room, and this is enough. */
    va_copy(ap, args);
    int n = vsnprintf(b->data ? b->data + b->len : NULL, b->data ? room + 1 : 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && b->data && (size_t) n <= room) {
        b->len += (size_t) n;
        return 0;
    }
    char *to = n < 0 ? NULL : buf_room(b, (size_t) n);
    if (!to) {
        b->full = true;
        return -ENOBUFS;
    }
    vsnprintf(to, (size_t) n + 1, fmt, args);
    b->len += (size_t) n;
    return 0;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int err = add_formatted(b, fmt, ap);
    va_end(ap);
    return err;
}

const char *buf_text(const struct buf *b)
{
    if (!b->data)
        return "";
    b->data[b->len] = '\0';
    return b->data;
}

int fail(struct buf *error, int err, const char *fmt, ...)
{
    va_list ap;

    if (error) {
        va_start(ap, fmt);
        add_formatted(error, fmt, ap);
        va_end(ap);
    }
    return err;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->len -= n;
    if (n && b->len)
        memmove(b->data, b->data + n, b->len);
}

/* No message: formatting one may need the memory that is missing. */
static void *or_abort(void *p)
{
    if (!p)
        abort();
    return p;
}

void *xmalloc(size_t n)
{
    return or_abort(malloc(n ? n : 1));
}

void *xcalloc(size_t n, size_t size)
{
    return or_abort(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t n)
{
    return or_abort(realloc(p, n ? n : 1));
}

char *xstrdup(const char *s)
{
    return or_abort(strdup(s));
}

void large_blocks_go_back(void)
{
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}
