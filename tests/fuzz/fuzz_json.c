/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: the checker beside jansson, and the writer of strings, over the same bytes.
 *
 * What is copied into a reply must be what every other parser takes for the same JSON; where jansson is known to be
 * stricter (numbers it cannot hold, lone surrogates) or to stop elsewhere (depth), the difference is named. */
#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 512 };

static const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL;

static void check_check(const char *p, size_t n)
{
    int verdict = json_check(p, n, DEPTH);
    json_error_t why;

    assert(verdict == 0 || verdict == -EINVAL || verdict == -E2BIG);
    json_t *tree = json_loadb(p, n, flags, &why);
    if (verdict == 0 && !tree)
        assert(json_error_code(&why) == json_error_numeric_overflow || memmem(p, n, "\\u", 2));
    if (verdict == -EINVAL) /* jansson passes over a NUL behind a number or a word */
        assert(!tree || memchr(p, '\0', n));
    if (verdict == -E2BIG) /* one level more or less */
        assert(json_check(p, n, (unsigned) n) != -E2BIG && json_check(p, n, DEPTH - 1) == -E2BIG);
    if (verdict == 0)
        assert(json_check(p, n, DEPTH + 1) == 0 && json_check(p, n, (unsigned) n) == 0);
    json_decref(tree);
}

/* Any bytes become a string that both parsers take; valid UTF-8 comes back as it was. */
static void check_string(const char *p, size_t n)
{
    struct buf b, small;

    buf_init(&b, n * 6 + 2);
    json_add_string(&b, p, n);
    assert(!b.full);
    assert(json_check(b.data, b.len, 0) == 0);
    for (size_t i = 0; i < b.len; i++)
        assert((unsigned char) b.data[i] >= 0x20 && b.data[i] != 0x7f);
    json_t *back = json_loadb(b.data, b.len, flags, NULL);
    assert(back);
    json_t *valid = json_stringn(p, n); /* NULL where it is no UTF-8 */
    if (valid)
        assert(json_string_length(back) == n && memcmp(json_string_value(back), p, n) == 0);
    else
        assert(memmem(b.data, b.len, "\xef\xbf\xbd", 3));
    json_decref(valid);
    json_decref(back);
    buf_init(&small, b.len - 1);
    json_add_string(&small, p, n);
    assert(small.full && small.len <= small.max);
    buf_free(&small);
    buf_free(&b);
}

/* What is read without a tree is what jansson reads. */
static void check_flat(const char *p, size_t n)
{
    const struct json_field fields[] = { { "code", n }, { "timeout", n }, { "id", 8 }, { "", n } };
    struct json_member members[4];
    char *room = xmalloc(n + 1);
    struct json_stop stop;
    int err = json_read_flat(p, n, fields, 4, members, room, &stop);
    size_t count = 0;

    assert(stop.read <= stop.at && stop.string <= stop.at && stop.at <= n);
    assert(err == 0 || err == -EINVAL || err == -E2BIG);
    json_t *tree = err ? NULL : json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    for (int i = 0; i < 4 && !err; i++) {
        const struct json_member *m = &members[i];
        const json_t *value = json_object_get(tree, fields[i].name);
        assert(m->found == (value != NULL) && m->len <= fields[i].max);
        assert(m->is_number == json_is_integer(value) && !m->string == !json_is_string(value));
        count += m->found;
        if (m->string)
            assert(m->len == json_string_length(value) && memcmp(m->string, json_string_value(value), m->len + 1) == 0);
        else
            assert(json_number_value(value) == m->number);
    }
    assert(err || json_object_size(tree) == count);
    if (err == -E2BIG)
        assert(members[2].found && members[2].len > 8 && members[2].len <= 8 + 4);
    json_decref(tree);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_check((const char *) data, size);
    check_string((const char *) data, size);
    check_flat((const char *) data, size);
    return 0;
}
