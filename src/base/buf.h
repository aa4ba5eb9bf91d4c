/* SPDX-License-Identifier: Apache-2.0 */
/* A byte buffer that grows up to a maximum set when it is made.
 *
 * Every buffer that a stranger can fill is one of these, so none can take more memory than its
 * owner said. An append past the maximum changes nothing but sets @full; the owner looks once, at
 * the end.  Out of memory aborts the process: the maxima are small compared with the machine's
 * memory. */
#ifndef HATCHERY_BASE_BUF_H
#define HATCHERY_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NULL until the first append; not NUL-terminated */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* bytes it may ever hold */
    bool full;  /* an append was refused */
};

/* An empty buffer for at most @max bytes.  Allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Release the memory; the buffer is empty and usable again. NULL is fine. */
void buf_free(struct buf *b);

/* Declares a struct buf that is freed at the end of its scope.  It needs buf_init() before any
 * return. */
#define _cleanup_buf_ __attribute__((cleanup(buf_free)))

/* Forget the content, keep the memory, clear @full. */
void buf_reset(struct buf *b);

/* Make room for @n more bytes and return where to write them; commit with b->len += written.  NULL,
 * with @full set, if @n would pass the maximum. */
char *buf_room(struct buf *b, size_t n);

/* Append.  Return 0, or -ENOBUFS with the content unchanged and @full set. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The content as text that ends with NUL; "" if nothing was appended.  Valid until the next append.
 * Never fails, because a block has one byte more than @cap says. */
const char *buf_text(const struct buf *b);

/* Append the sentence to @error (NULL: nobody reads it) and return @err: "say it and return it". */
int fail(struct buf *error, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Drop the first @n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* malloc and friends that abort instead of failing. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);

/* From now on, blocks of 128 KiB and more are mapped and go back to the system when they are freed.
 * Otherwise glibc raises that bound with the first large block that is freed (mallopt(3),
 * M_MMAP_THRESHOLD), and the memory of a burst of large replies stays with the process. Call it
 * first in main(). */
void large_blocks_go_back(void);

#endif
