/* SPDX-License-Identifier: Apache-2.0 */
/* What a body says, beside what jansson makes of the whole of it: the same members, the same words for what is wrong,
 * at the same place, and without jansson's work on what was read before. */
#include "server/api/body.h"

#include "server/api/api.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LONG = 1 << 20, ALLOWED = 16384 };

static const struct wire_limits limits = { .code_bytes = 2 * LONG, .timeout_max_ms = 300000 };

/* Read in a block of exactly its size, for AddressSanitizer. */
static void read_body(struct body *b, const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);

    memcpy(copy, text, len);
    body_init(b, &limits);
    b->text = copy;
    b->len = len;
    body_read(b);
    b->text = NULL;
    free(copy);
}

/* The sentence for @text where jansson can't read it; false where it can. */
static bool word_of_jansson(const char *text, size_t len, struct buf *ret)
{
    json_error_t why;
    json_t *tree = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);

    if (!tree)
        api_add_json_error(ret, text, len, "code", &why);
    json_decref(tree);
    return !tree;
}

static void check_members(const struct body *b, const char *text, size_t len)
{
    static const char *const names[] = { "code", "timeout", "id", "webhook_url" };
    json_t *tree = json_loadb(text, len, JSON_ALLOW_NUL, NULL);

    for (int i = 0; i < BODY_MEMBERS; i++) {
        const json_t *value = json_object_get(tree, names[i]);
        const struct json_member *m = &b->found[i];
        assert_int_equal(m->found, value && !json_is_null(value));
        if (!m->found)
            continue;
        assert_int_equal(m->is_number, json_is_number(value));
        assert_int_equal(!m->string, !json_is_string(value));
        if (m->string)
            assert_int_equal(m->len, json_string_length(value));
        if (m->string)
            assert_memory_equal(m->string, json_string_value(value), m->len);
    }
    json_decref(tree);
}

static void check(const char *text, size_t len)
{
    struct buf wanted;
    struct body b;

    buf_init(&wanted, 1024);
    read_body(&b, text, len);
    bool wrong = word_of_jansson(text, len, &wanted);
    if (wrong && b.err != -ERANGE && b.err != -E2BIG) { /* these have their own words */
        assert_int_equal(b.err, -EINVAL);
        assert_string_equal(buf_text(&b.error), buf_text(&wanted));
    } else if (!b.err)
        check_members(&b, text, len);
    body_free(&b);
    buf_free(&wanted);
}

static const char *const bodies[] = {
    "",
    " \n ",
    "{\"code\": \"print(1)\", \"timeout\": 5}",
    "{\"code\": \"print(1)\", \"timeout\": 5.0, \"id\": null}",
    "\n {\n  \"id\": \"\\u00e9t\xc3\xa9 \\ud83d\\ude00\",\n  \"code\": \"a = 'one long string, longer than what "
    "jansson shows'\\n\",\n"
    "\t\"timeout\": 30, \"webhook_url\": \"http://example.org/a/path/of/some/length\" }\n",
    "{\"code\": "
    "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
    " \\\\\\\"\\/ \\t\"\n,\n\"co\\u0064e\": \"\"}",
    "{\"timeout\": 1, \"code\": \"\", \"timeout\": 2}",
    "{\"timeout\": 1, \"code\": {\"a\": [1, true, \"x\"]}, \"id\": 12345678901234567890123}",
    "[\"code\"]",
};

/* Each body; without its end; and with each byte in the place of each other. */
static void test_any_fault(void **state)
{
    static const char bytes[] = "\"\\{}[]:, \n\tu0x\x01\xc3\xa9\xff";

    (void) state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        size_t len = strlen(bodies[i]);
        char *text = strdup(bodies[i]);
        for (size_t at = 0; at <= len; at++) {
            check(text, at);
            for (size_t k = 0; k < sizeof(bytes) && at < len; k++) {
                text[at] = bytes[k];
                check(text, len);
            }
            text[at] = bodies[i][at];
        }
        free(text);
    }
}

static size_t allocated;

static void *count_malloc(size_t n)
{
    allocated += n;
    return malloc(n);
}

/* Characters of all kinds, and what follows them. */
static char *long_body(const char *before, const char *after)
{
    static const char piece[] = "x = 1\\n\\u00e9\xc3\xa9\\\"";
    char *text = malloc(LONG + 1024), *end = stpcpy(text, before);

    for (size_t n = 0; n < LONG / sizeof(piece); n++)
        end = stpcpy(end, piece);
    strcpy(end, after);
    return text;
}

/* A long program is read once: what is wrong behind it, or at its end, costs no more than a short body. */
static void test_read_once(void **state)
{
    static const char *const ends[] = {
        "\", \"timeout\" 1}", "\", \"id\": null}", "\"} x", "\n\"}", "\xff\"}", "\\q\"}", ""
    };

    (void) state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        char *text = long_body("{ \"timeout\": 3,\n \"code\": \"", ends[i]);
        struct body b;
        json_set_alloc_funcs(count_malloc, free);
        allocated = 0;
        read_body(&b, text, strlen(text));
        json_set_alloc_funcs(malloc, free);
        assert_true(allocated < ALLOWED);
        body_free(&b);
        check(text, strlen(text));
        free(text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_any_fault), cmocka_unit_test(test_read_once) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
