/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text (RFC 8259): writing it, reading a flat object, and checking what came out of a box.
 *
 * Requests that are no flat object are parsed with jansson.  What a box returns
 * is only checked and then copied: a tree would lose the digits of 10**30. */
#ifndef HATCHERY_BASE_JSON_H
#define HATCHERY_BASE_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is @p[0..n) exactly one JSON value, valid UTF-8, nested at most @max_depth
 * arrays and objects deep?  White space around it is allowed; escapes of lone
 * surrogates are (RFC 8259 section 8.2), raw ones are not.  Uses memory
 * proportional to @max_depth / 8 only and does not recurse.
 * Returns 0, -EINVAL (no JSON) or -E2BIG (too deep). */
int json_check(const char *p, size_t n, unsigned max_depth);

/* How many values and names are in the JSON text @p[0..n), at most: a parser makes no more of it, were it no JSON.
 * Asked before a tree is made of what a stranger sent, which takes a hundred times the memory of "[[],[],[]...". */
size_t json_count(const char *p, size_t n);

/* A member that an object may have, and how long its value may be where that is a string. */
struct json_field {
    const char *name;
    size_t max;
};

/* Such a member as an object has it. */
struct json_member {
    bool found, is_number;
    const char *string; /* decoded and NUL-terminated, and may hold NUL; NULL where it is none */
    size_t len;
    double number;
};

/* Where a reading stopped, in bytes from the beginning of the text. */
struct json_stop {
    size_t read;   /* behind the value of the last member that was read; 0: none was */
    size_t string; /* behind the quote of the string that is wrong; 0: it is no string's value that is wrong */
    size_t at;     /* in that string: the character or escape that is wrong; else a byte at or behind what is */
};

/* Read what nearly all requests are, without a tree: one object whose values are strings and small integers, with no
 * member but @fields, each once, its name without escapes.  @ret has an entry for each of the @n_fields; @room takes the
 * strings, @n + 1 bytes of it suffice.  Decoding stops where a string is longer than it may be: then it is the one in
 * @ret whose len is more than its field's max, and of what follows nothing is looked at.
 * Returns 0; -E2BIG: such a string; -EINVAL: any other text, good or bad: a parser has to say, and needs to look at no
 * more than what follows @ret_stop.  The members before that are in @ret, and no others. */
int json_read_flat(const char *p, size_t n, const struct json_field *fields, unsigned n_fields, struct json_member *ret,
                   char *room, struct json_stop *ret_stop);

/* Append @p[0..n) as a quoted JSON string.  Control characters are escaped,
 * each maximal invalid UTF-8 subpart becomes one U+FFFD (Unicode 3.9, W3C
 * practice, the same as Python's errors="replace").  Errors are in b->full. */
void json_add_string(struct buf *b, const char *p, size_t n);

/* Append a NUL-terminated string, or null for NULL. */
void json_add_cstring(struct buf *b, const char *s);

/* Append @us microseconds as decimal seconds with six digits: 1.000250. */
void json_add_seconds(struct buf *b, int64_t us);

#endif
