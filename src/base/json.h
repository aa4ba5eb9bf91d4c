/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text (RFC 8259): writing it, reading a flat object, and checking what came out of a box.
 *
 * jansson parses requests that are not a flat object.  A box's result is only checked and then
 * copied: a tree would lose the digits of 10**30. */
#ifndef HATCHERY_BASE_JSON_H
#define HATCHERY_BASE_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is @p[0..n) exactly one JSON value, valid UTF-8, nested at most @max_depth arrays and objects
 * deep?  White space around it is allowed.  Escapes of lone surrogates are allowed (RFC 8259
 * section 8.2), raw ones are not.  Uses only memory proportional to @max_depth / 8 and does not
 * recurse.  Returns 0, -EINVAL (no JSON) or -E2BIG (too deep). */
int json_check(const char *p, size_t n, unsigned max_depth);

/* An upper bound of the values and names in the JSON text @p[0..n); a parser makes no more of it,
 * even if it is not JSON.  Ask before making a tree of a stranger's text: a tree takes a hundred
 * times the memory of "[[],[],[]...". */
size_t json_count(const char *p, size_t n);

/* A member that an object may have, and the longest string that it may hold. */
struct json_field {
    const char *name;
    size_t max;
};

/* Such a member in an object. */
struct json_member {
    bool found, is_number;
    const char *string; /* decoded and NUL-terminated, and may hold NUL; NULL if it is not a
                         * string */
    size_t len;
    double number;
};

/* Where a reading stopped, in bytes from the beginning of the text. */
struct json_stop {
    size_t read;   /* behind the value of the last member that was read; 0: none was read */
    size_t string; /* behind the quote of the wrong string; 0: the error is not in a string's
                    * value */
    size_t at;     /* the wrong character or escape in that string; otherwise a byte at or behind
                    * the error */
};

/* Read the usual form of a request without a tree: one object whose values are strings and small
 * integers. It may have no member but @fields, each once, with its name without escapes.  @ret has
 * an entry for each of the @n_fields.  @room takes the strings; @n + 1 bytes suffice.  Decoding
 * stops at a string that is longer than it may be: then its entry in @ret has a len above its
 * field's max, and nothing after it was read. Returns 0; -E2BIG for such a string; -EINVAL for any
 * other text, good or bad.  A parser must judge that text, and needs to look only at what follows
 * @ret_stop.  @ret has the members before that, and no others. */
int json_read_flat(const char *p, size_t n, const struct json_field *fields, unsigned n_fields, struct json_member *ret,
                   char *room, struct json_stop *ret_stop);

/* Append @p[0..n) as a quoted JSON string.  Control characters are escaped.  Each maximal invalid
 * UTF-8 subpart becomes one U+FFFD (Unicode 3.9, W3C practice, the same as Python's
 * errors="replace").  Errors are in b->full. */
void json_add_string(struct buf *b, const char *p, size_t n);

/* How many bytes json_add_string() makes of @p[0..n), at most. */
size_t json_longest(const char *p, size_t n);

/* Append a NUL-terminated string, or null for NULL. */
void json_add_cstring(struct buf *b, const char *s);

/* Append @us microseconds as decimal seconds with six digits: 1.000250. */
void json_add_seconds(struct buf *b, int64_t us);

#endif
