/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: what the checker takes and refuses, what the writers make of any bytes. */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DEPTH = 5 };

struct vector {
    const char *bytes;
    size_t len;
    int verdict;
};

#define V(verdict, bytes)                                                                                              \
    {                                                                                                                  \
        bytes, sizeof(bytes) - 1, verdict                                                                              \
    }
#define OK(bytes) V(0, bytes)
#define NO(bytes) V(-EINVAL, bytes)

static const struct vector vectors[] = {
    /* words, and nothing like them */
    OK("null"),
    OK("true"),
    OK("false"),
    OK(" \t\r\nnull\n "),
    NO(""),
    NO(" "),
    NO("nul"),
    NO("nulll"),
    NO("Null"),
    NO("None"),
    NO("True"),
    NO("NaN"),
    NO("Infinity"),
    NO("-Infinity"),
    NO("undefined"),
    NO("n"),
    NO("t"),
    NO("f"),
    NO("null null"),
    NO("null,"),
    NO("null\0"),
    NO("\0null"),
    NO("\0"),
    NO("null\v"),
    NO("null\f"),
    NO("\xc2\xa0null"),
    NO("\xef\xbb\xbfnull"), /* no byte order mark */
    NO("/**/null"),
    NO("null//"),
    NO("# null"),
    /* numbers */
    OK("0"),
    OK("-0"),
    OK("7"),
    OK("-7"),
    OK("10"),
    OK("0.0"),
    OK("-0.5"),
    OK("1e5"),
    OK("1E5"),
    OK("1e+5"),
    OK("1e-5"),
    OK("1.5e05"),
    OK("0e0"),
    OK("1e400"),
    OK("100000000000000000000000000000000000000000000000000"),
    NO("-"),
    NO("+1"),
    NO("01"),
    NO("-01"),
    NO("00"),
    NO("1."),
    NO(".5"),
    NO("-.5"),
    NO("1.e5"),
    NO("1e"),
    NO("1e+"),
    NO("1e5.0"),
    NO("1e+-5"),
    NO("0x10"),
    NO("1_000"),
    NO("1,0"),
    NO("1 0"),
    NO("--1"),
    NO("1-"),
    NO("1.2.3"),
    NO("1n"),
    NO("1a"),
    NO("e5"),
    NO("\xd9\xa1"), /* a digit, but no ASCII one */
    /* strings */
    OK("\"\""),
    OK("\"a b\""),
    OK("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    OK("\"\\u0000\\uffff\\uABCD\\uabcd\""),
    OK("\"\\ud83d\\ude00\""),
    OK("\"\\ud800\""),
    OK("\"\\udc00\""),
    OK("\"\\udc00\\ud800\""), /* RFC 8259, 8.2 */
    OK("\"\x7f\""),
    OK("\"\xc2\x80\""),
    NO("\""),
    NO("\"a"),
    NO("\"\\\""),
    NO("\"\\"),
    NO("'a'"),
    NO("\"a\"b"),
    NO("\"\n\""),
    NO("\"\t\""),
    NO("\"\0\""),
    NO("\"\x1f\""),
    NO("\"\\a\""),
    NO("\"\\v\""),
    NO("\"\\'\""),
    NO("\"\\0\""),
    NO("\"\\x41\""),
    NO("\"\\\0\""),
    NO("\"\\U0041\""),
    NO("\"\\u\""),
    NO("\"\\u1\""),
    NO("\"\\u12\""),
    NO("\"\\u123\""),
    NO("\"\\u123g\""),
    NO("\"\\u 123\""),
    NO("\"\\u-123\""),
    NO("\"\\u12"),
    NO("\"\\u1234"),
    NO("\"\\\n\""),
    /* UTF-8: the first and the last of each length, then what is next to them */
    OK("\"\xdf\xbf\""),
    OK("\"\xe0\xa0\x80\""),
    OK("\"\xed\x9f\xbf\""),
    OK("\"\xee\x80\x80\""),
    OK("\"\xef\xbf\xbf\""),
    OK("\"\xf0\x90\x80\x80\""),
    OK("\"\xf4\x8f\xbf\xbf\""),
    NO("\"\x80\""),
    NO("\"\xbf\""),
    NO("\"\xc0\x80\""),
    NO("\"\xc1\xbf\""),
    NO("\"\xe0\x80\x80\""),
    NO("\"\xe0\x9f\xbf\""),
    NO("\"\xf0\x80\x80\x80\""),
    NO("\"\xf0\x8f\xbf\xbf\""),
    NO("\"\xed\xa0\x80\""),
    NO("\"\xed\xbf\xbf\""),             /* surrogates */
    NO("\"\xed\xa0\xbd\xed\xb8\x80\""), /* CESU-8 */
    NO("\"\xf4\x90\x80\x80\""),
    NO("\"\xf5\x80\x80\x80\""),
    NO("\"\xf8\x88\x80\x80\x80\""),
    NO("\"\xfe\""),
    NO("\"\xff\""),
    NO("\"\xc2\""),
    NO("\"\xc2"),
    NO("\"\xe2\x82\""),
    NO("\"\xe2\x82"),
    NO("\"\xf0\x9f\x98\""),
    NO("\"\xf0\x9f\x98"),
    NO("\"\xc2\xc2\x80\""),
    NO("\"\xc2\x41\""),
    NO("\"\xe2\x82\x41\""),
    NO("\x80"),
    /* arrays and objects */
    OK("[]"),
    OK("[ ]"),
    OK("[1]"),
    OK("[1,2]"),
    OK(" [ 1 , [ ] , { } ] "),
    OK("{}"),
    OK("{ }"),
    OK("{\"a\":1}"),
    OK(" { \"a\" : 1 , \"b\" : [ 2 ] } "),
    OK("{\"\":\"\"}"),
    OK("{\"a\":1,\"a\":2}"),
    OK("[[[[[]]]]]"),
    OK("[{\"a\":[{\"b\":[]}]}]"),
    OK("[[],[[]],[[[]]]]"),
    NO("["),
    NO("]"),
    NO("{"),
    NO("}"),
    NO("[}"),
    NO("{]"),
    NO("[1,]"),
    NO("[,1]"),
    NO("[,]"),
    NO("[1,,2]"),
    NO("[1 2]"),
    NO("[1"),
    NO("[1,"),
    NO("[1}"),
    NO("[1]]"),
    NO("[1],"),
    NO("[][]"),
    NO("{1:2}"),
    NO("{a:1}"),
    NO("{'a':1}"),
    NO("{\"a\"}"),
    NO("{\"a\":}"),
    NO("{\"a\",1}"),
    NO("{\"a\":1,}"),
    NO("{,\"a\":1}"),
    NO("{\"a\":1,,\"b\":2}"),
    NO("{\"a\":1 \"b\":2}"),
    NO("{\"a\":1]"),
    NO("{\"a\"::1}"),
    NO("{\"a\":1:2}"),
    NO("{null:1}"),
    NO("{[]:1}"),
    NO("{\"a\":1"),
    NO("{\"a\":"),
    NO("{\"a\""),
    NO("{\"a"),
    NO("[\"a\":1]"),
    NO("[\"\\x\"]"),
    NO("{\"\xff\":1}"),
    NO("[01]"),
    NO("[1.]"),
    NO(":"),
    NO(","),
    /* depth: one too many, of each kind, first word wins */
    V(-E2BIG, "[[[[[["),
    V(-E2BIG, "[[[[[[]]]]]]"),
    V(-E2BIG, "[[[[[{}]]]]]"),
    V(-E2BIG, "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}"),
    V(-EINVAL, "[[[[x[["),
};

/* In memory of exactly its size, so that a sanitizer sees one byte read too many. */
static int check(const char *p, size_t n, unsigned depth)
{
    char *copy = malloc(n ? n : 1);

    memcpy(copy, p, n);
    int err = json_check(copy, n, depth);
    free(copy);
    return err;
}

static void test_check(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
        const struct vector *v = &vectors[i];
        int got = check(v->bytes, v->len, DEPTH);
        if (got != v->verdict)
            fail_msg("%.*s: %d instead of %d", (int) v->len, v->bytes, got, v->verdict);
    }
    assert_int_equal(json_check(NULL, 0, DEPTH), -EINVAL);
}

/* No text that ends with a bracket or a quote is complete before its last byte, and no byte may follow it. */
static void test_prefixes(void **state)
{
    static const char text[] = "{\"a\":[1,-2.5e+3,\"\\u00e9\xc3\xa9\",{},[]],\"b\":{\"c\":[null,true,false]}}";
    size_t len = sizeof(text) - 1;
    char more[sizeof(text)];

    (void) state;
    assert_int_equal(check(text, len, DEPTH), 0);
    for (size_t n = 0; n < len; n++)
        if (check(text, n, DEPTH) != -EINVAL)
            fail_msg("its first %zu bytes", n);
    memcpy(more, text, len);
    for (int c = 0; c < 256; c++) {
        more[len] = (char) c;
        bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        assert_int_equal(check(more, len + 1, DEPTH), space ? 0 : -EINVAL);
    }
}

static void test_depth(void **state)
{
    static char text[200000];

    (void) state;
    for (unsigned depth = 0; depth < 70; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(check(text, depth * 2, depth), depth ? 0 : -EINVAL);
        if (depth)
            assert_int_equal(check(text, depth * 2, depth - 1), -E2BIG);
    }
    assert_int_equal(check("1", 1, 0), 0);
    /* objects in arrays in objects: the kinds are remembered for each level */
    char *p = text;
    for (int i = 0; i < 100; i++)
        p = stpcpy(p, "[{\"\":");
    p = stpcpy(p, "0");
    for (int i = 0; i < 100; i++)
        p = stpcpy(p, "}]");
    size_t len = (size_t) (p - text);
    assert_int_equal(check(text, len, 200), 0);
    assert_int_equal(check(text, len, 199), -E2BIG);
    for (int i = 1; i <= 200; i++) {
        char *end = &text[len - (size_t) i];
        char right = *end;
        *end = right == ']' ? '}' : ']';
        assert_int_equal(check(text, len, 200), -EINVAL);
        *end = right;
    }
    /* as deep as it is long, and no stack for it */
    memset(text, '[', sizeof(text));
    assert_int_equal(check(text, sizeof(text), UINT32_MAX), -EINVAL);
    assert_int_equal(check(text, sizeof(text), 512), -E2BIG);
}

/* Any number as @len bytes of UTF-8's scheme, whether that is allowed or not. */
static void encode(unsigned char *p, uint32_t c, int len)
{
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    for (int i = len - 1; i > 0; i--, c >>= 6)
        p[i] = 0x80 | (c & 0x3f);
    p[0] = (unsigned char) (lead[len] | c);
}

/* Every code point in every length it can be written in. */
static void test_utf8(void **state)
{
    static const uint32_t first[] = { 0, 0, 0x80, 0x800, 0x10000 };

    (void) state;
    for (int len = 2; len <= 4; len++)
        for (uint32_t c = 0; c < (len == 2 ? 0x800u : len == 3 ? 0x10000u : 0x200000u); c++) {
            unsigned char text[8] = "\"";
            encode(text + 1, c, len);
            text[len + 1] = '"';
            bool valid = c >= first[len] && (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
            if (json_check((char *) text, (size_t) len + 2, 0) != (valid ? 0 : -EINVAL))
                fail_msg("%04x in %d bytes", c, len);
        }
}

static const struct {
    struct vector in;
    const char *out;
} strings[] = {
    { V(0, ""), "\"\"" },
    { V(0, "abc"), "\"abc\"" },
    { V(0, "a\"b\\c/"), "\"a\\\"b\\\\c/\"" },
    { V(0, "\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\"" },
    { V(0, "\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\\u007f\"" },
    { V(0, "\x1b[2J"), "\"\\u001b[2J\"" },
    { V(0, "\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"), "\"\\u0080\\u009b\\u009f\xc2\xa0\"" },
    { V(0, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
    { V(0, "\xef\xbb\xbf"), "\"\xef\xbb\xbf\"" },
/* One U+FFFD for each maximal subpart; the counts are those of bytes.decode("utf-8", "replace"). */
#define R "\xef\xbf\xbd"
    { V(0, "\xff"), "\"" R "\"" },
    { V(0, "a\x80z"), "\"a" R "z\"" },
    { V(0, "\x80\xbf"), "\"" R R "\"" },
    { V(0, "\xc0\xaf"), "\"" R R "\"" },
    { V(0, "\xc3"), "\"" R "\"" },
    { V(0, "\xc3\""), "\"" R "\\\"\"" },
    { V(0, "\xc3\xc3\xa9"), "\"" R "\xc3\xa9\"" },
    { V(0, "\xe2\x82"), "\"" R "\"" },
    { V(0, "\xe2\x82z"), "\"" R "z\"" },
    { V(0, "\xe2\xe2\x82\xac"), "\"" R "\xe2\x82\xac\"" },
    { V(0, "\xe0\x80\xaf"), "\"" R R R "\"" },
    { V(0, "\xed\xa0\x80"), "\"" R R R "\"" },
    { V(0, "\xf0\x80\x80\xaf"), "\"" R R R R "\"" },
    { V(0, "\xf0\x9f\x98"), "\"" R "\"" },
    { V(0, "\xf0\x9f\x98\n"), "\"" R "\\n\"" },
    { V(0, "\xf4\x90\x80\x80"), "\"" R R R R "\"" },
    { V(0, "\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64"), "\"a" R R R "b" R "c" R R "d\"" }, /* table 3-8 */
};

static void test_add_string(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 1000);
    for (unsigned i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        const struct vector *in = &strings[i].in;
        char *copy = malloc(in->len ? in->len : 1);
        memcpy(copy, in->bytes, in->len);
        buf_reset(&b);
        json_add_string(&b, copy, in->len);
        if (b.len != strlen(strings[i].out) || memcmp(b.data, strings[i].out, b.len) != 0)
            fail_msg("string %u: %.*s", i, (int) b.len, b.data);
        free(copy);
    }
    buf_reset(&b);
    json_add_string(&b, NULL, 0);
    json_add_cstring(&b, "a\n");
    json_add_cstring(&b, NULL);
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "\"\"\"a\\n\"null", 11);
    buf_free(&b);
}

/* What was valid comes back byte for byte, and whatever comes in, JSON goes out. */
static void test_round_trip(void **state)
{
    static char text[65536 * 3];
    uint32_t seed = 1;
    struct buf b;
    size_t len = 0;

    (void) state;
    buf_init(&b, sizeof(text) * 6);
    for (uint32_t c = 0; c < 0x10000; c++) {
        int n = c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
        if (n == 1)
            text[len++] = (char) c;
        else if (c < 0xd800 || c > 0xdfff) {
            encode((unsigned char *) text + len, c, n);
            len += (size_t) n;
        }
    }
    json_add_string(&b, text, len);
    json_t *back = json_loadb(b.data, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(back);
    assert_int_equal(json_string_length(back), len);
    assert_memory_equal(json_string_value(back), text, len);
    json_decref(back);
    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < 64; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = (char) (seed >> 24 | (seed & 0x100 ? 0x80 : 0));
        }
        buf_reset(&b);
        json_add_string(&b, text, 64);
        assert_int_equal(json_check(b.data, b.len, 0), 0);
        back = json_loadb(b.data, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(back);
        json_decref(back);
    }
    buf_free(&b);
}

/* A buffer that is too small says so, whatever the byte at which it ends. */
static void test_add_full(void **state)
{
    static const char text[] = "ab\"\n\x01\xc2\x80\xff\xe2\x82\xac";
    struct buf b;

    (void) state;
    buf_init(&b, 1000);
    json_add_string(&b, text, sizeof(text) - 1);
    size_t whole = b.len;
    buf_free(&b);
    for (size_t max = 0; max <= whole; max++) {
        buf_init(&b, max);
        json_add_string(&b, text, sizeof(text) - 1);
        assert_int_equal(b.full, max < whole);
        assert_true(b.len <= max);
        buf_free(&b);
    }
}

static void test_add_seconds(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        { 0, "0.000000" },
        { 1, "0.000001" },
        { 1000250, "1.000250" },
        { 999999, "0.999999" },
        { -1, "-0.000001" },
        { -1500000, "-1.500000" },
        { INT64_MAX, "9223372036854.775807" },
        { INT64_MIN, "-9223372036854.775808" },
    };
    struct buf b;

    (void) state;
    buf_init(&b, 100);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        buf_reset(&b);
        json_add_seconds(&b, cases[i].us);
        assert_int_equal(b.len, strlen(cases[i].text));
        assert_memory_equal(b.data, cases[i].text, b.len);
        assert_int_equal(json_check(b.data, b.len, 0), 0);
    }
    buf_free(&b);
}

static size_t count(const char *text)
{
    return json_count(text, strlen(text));
}

/* An object's names count too; what is in a string does not. */
static void test_count(void **state)
{
    (void) state;
    assert_int_equal(json_count(NULL, 0), 1);
    assert_int_equal(count("1"), 1);
    assert_int_equal(count("[[],[],{}]"), 7);
    assert_int_equal(count("{\"a\": 1, \"b\": \"x,[{:\\\"[[\"}"), 5);
    assert_int_equal(count("\"[,[,\\"), 1);
    assert_int_equal(count("\"\\\\\",,"), 3);
}

enum { N_FIELDS = 4 };

/* Read in blocks of exactly the size that is promised, for AddressSanitizer. */
static int read_flat(const char *text, size_t n, size_t max, struct json_member ret[N_FIELDS], char **ret_room)
{
    const struct json_field fields[N_FIELDS] = { { "a", max }, { "b", max }, { "code", max }, { "timeout", max } };
    char *copy = malloc(n ? n : 1);

    memcpy(copy, text, n);
    *ret_room = malloc(n + 1);
    struct json_stop stop;
    int err = json_read_flat(copy, n, fields, N_FIELDS, ret, *ret_room, &stop);
    free(copy);
    return err;
}

/* Beside jansson: what is read without a tree is the same, and what needs a tree is left to it. */
static void check_flat(const char *text, size_t n, bool flat)
{
    static const char *const names[N_FIELDS] = { "a", "b", "code", "timeout" };
    struct json_member members[N_FIELDS];
    size_t count = 0;
    char *room;
    int err = read_flat(text, n, n, members, &room);

    if (err != (flat ? 0 : -EINVAL))
        fail_msg("%.*s: %d", (int) n, text, err);
    json_t *tree = flat ? json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL) : NULL;
    assert_int_equal(flat, tree != NULL);
    for (int i = 0; flat && i < N_FIELDS; i++) {
        const struct json_member *m = &members[i];
        const json_t *value = json_object_get(tree, names[i]);
        assert_int_equal(m->found, value != NULL);
        assert_int_equal(m->is_number, json_is_number(value));
        assert_int_equal(m->string != NULL, json_is_string(value));
        count += m->found;
        if (m->string) {
            assert_int_equal(m->len, json_string_length(value));
            assert_memory_equal(m->string, json_string_value(value), m->len + 1);
        } else
            assert_true(m->number == json_number_value(value));
    }
    assert_int_equal(json_object_size(tree), count);
    json_decref(tree);
    free(room);
}

#define FLAT(text) check_flat(text, sizeof(text) - 1, true)
#define TREE(text) check_flat(text, sizeof(text) - 1, false)

static void test_read_flat(void **state)
{
    static const char whole[] =
        " {\"code\": \"p(\\\"\\u00e9\\u20ac\\uD83D\\uDc23\\n\\t\\/\\\\\\b\\f\\r\\\")\", \"timeout\":30 } ";

    (void) state;
    FLAT("{\"a\": \"\"}");
    FLAT("\t{ \"a\" : \"x\" ,\r\n\"b\":0 , \"timeout\": 999999999 }\n");
    FLAT("{\"a\": \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa3\", \"b\": \"\x7f\"}");
    FLAT("{\"a\": \"\\u0001\\u007F\\u0080\\u07ff\\u0800\\uFfFf\"}");
    FLAT("{\"a\": \"\\ud83d\\udc23x\\uD800\\uDC00\\udbff\\udfff\"}");
    FLAT("{\"a\": \"\\u0000\"}");
    FLAT("{\"b\":1,\"a\":2,\"timeout\":3,\"code\":4}");
    /* good JSON that needs a tree */
    TREE("{}");
    TREE("{\"a\": null}");
    TREE("{\"a\": [1]}");
    TREE("{\"a\": {}}");
    TREE("{\"a\": -1}");
    TREE("{\"a\": 1.0}");
    TREE("{\"a\": 1e3}");
    TREE("{\"a\": 1000000000}");
    TREE("{\"\\u0061\": 1}");
    TREE("{\"1\": 1}");
    TREE("{\"\": 1}");
    TREE("{\"cod\": 1}");
    TREE("{\"codes\": 1}");
    /* none */
    TREE("");
    TREE("{");
    TREE("[\"a\"]");
    TREE("{\"a\": 1, \"a\": 2}");
    TREE("{\"a\": 01}");
    TREE("{\"a\": 1 2}");
    TREE("{\"a\": 1,}");
    TREE("{\"a\": 1}}");
    TREE("{\"a\" 1}");
    TREE("{\"a\": \"\\x\"}");
    TREE("{\"a\": \"\\u12\"}");
    TREE("{\"a\": \"\\ud83d\"}");
    TREE("{\"a\": \"\\ud83dx\"}");
    TREE("{\"a\": \"\\ud83d\\n\"}");
    TREE("{\"a\": \"\\ud83d\\u0041\"}");
    TREE("{\"a\": \"\\ud83d\\ud83d\"}");
    TREE("{\"a\": \"\\ud83d\\udc2\"}");
    TREE("{\"a\": \"\\udc23\\ud83d\"}");
    TREE("{\"a\": \"\n\"}");
    TREE("{\"a\": \"\xc0\x80\"}");
    TREE("{\"a\": \"\xed\xa0\x80\"}");
    TREE("{\"a\": \"x\0y\"}");
    TREE("{\"a\": \"x\"}\0");
    for (size_t n = 0; n < sizeof(whole) - 1; n++)
        check_flat(whole, n, n >= sizeof(whole) - 2);
}

/* Where a string is too long the rest is not read, however much it is and whatever stands there. */
static void test_read_flat_stops(void **state)
{
    static const char *const texts[] = { "{\"a\": 1, \"code\": \"123456789", "{\"code\": \"12345678\\u0039\"}",
                                         "{\"code\": \"1234567\\ud83d\\udc23",
                                         "{\"code\": \"1234567\xc3\xa9 and so on" };
    struct json_member members[N_FIELDS];
    char *room;

    (void) state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(read_flat(texts[i], strlen(texts[i]), 8, members, &room), -E2BIG);
        assert_true(members[2].found && members[2].len > 8 && members[2].len < 8 + 4);
        free(room);
    }
    assert_int_equal(read_flat("{\"code\": \"1234567\\u0038\"}", 25, 8, members, &room), 0);
    assert_string_equal(members[2].string, "12345678");
    free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),     cmocka_unit_test(test_prefixes),        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_utf8),      cmocka_unit_test(test_add_string),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_add_full),  cmocka_unit_test(test_add_seconds),     cmocka_unit_test(test_count),
        cmocka_unit_test(test_read_flat), cmocka_unit_test(test_read_flat_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
