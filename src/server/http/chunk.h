/* SPDX-License-Identifier: Apache-2.0 */
/* The strict check of a chunked body's framing (RFC 9112 section 7.1), byte by byte before llhttp
 * decodes it. Pure: no allocation, no I/O. */
#ifndef HATCHERY_SERVER_HTTP_CHUNK_H
#define HATCHERY_SERVER_HTTP_CHUNK_H

#include <stddef.h>
#include <stdint.h>

enum {
    CHUNK_DIGITS_MAX = 8,   /* of one chunk's size */
    CHUNK_EXTRA_MAX = 4096, /* bytes of extensions and trailers of one body */
};

struct chunks {
    unsigned state; /* enum in chunk.c; 0 at first */
    unsigned digits, extra;
    uint64_t size;  /* bytes left of the current chunk */
    uint64_t total; /* sum of the chunks' sizes so far */
    uint64_t max;   /* of total */
};

/* Look at @n more bytes.  @ret_used receives how many belong to the body, line feed of its end
 * included. All of @c but max is zero at first.  Returns 1 when the body ended, 0 when more is
 * needed, or a negated status: -400, or -413 as soon as a size passes the maximum. */
int chunks_scan(struct chunks *c, const char *p, size_t n, size_t *ret_used);

#endif
