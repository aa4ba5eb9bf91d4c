/* SPDX-License-Identifier: Apache-2.0 */
/* The strict check of a head, before llhttp sees a byte of it.
 *
 * Pure functions over bytes: no allocation, no I/O, no clock.  The verdict on a head depends on its
 * bytes only, never on how they were cut into packets.  Rests on RFC 9110 and RFC 9112. */
#ifndef HATCHERY_SERVER_HTTP_HEAD_H
#define HATCHERY_SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEAD_MAX = 16384,       /* bytes of request line and fields: 431 */
    HEAD_TARGET_MAX = 8192, /* bytes of request target: 414 */
    HEAD_FIELDS_MAX = 100,  /* header fields: 431 */
};

enum head_expect { EXPECT_NOTHING, EXPECT_CONTINUE, EXPECT_OTHER };

struct head {
    size_t pos;        /* every line before this offset has passed */
    size_t scanned;    /* no line feed between pos and here */
    size_t method;     /* offset of the request line: 2 after a stray CRLF */
    size_t method_len; /* 0 until the request line has passed */
    size_t target, target_len;
    unsigned minor; /* HTTP/1.minor */
    unsigned n_fields;
    unsigned seen; /* fields that may come only once and have come, as bits */
    bool chunked, has_length;
    uint64_t length; /* Content-Length, at most 18 digits */
    enum head_expect expect;
};

/* Go on with the head that begins at @p, of which @len bytes have arrived; all of @h is zero at
 * first, and each call passes the same bytes and more.  Returns 1 when the head is complete and
 * ends at h->pos, 0 when more is needed, or a negated status: -400, -414, -431, -505.  Looks at
 * HEAD_MAX bytes at most. */
int head_scan(struct head *h, const char *p, size_t len);

/* May @c be in a token: a method, a field's name (RFC 9110 section 5.6.2)? */
bool head_is_token(unsigned char c);

/* May @c be in a field's value: no control but the tab (RFC 9110 section 5.5)? */
bool head_is_value(unsigned char c);

#endif
