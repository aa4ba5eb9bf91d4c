/* SPDX-License-Identifier: Apache-2.0 */
/* The strict head check and the chunk check, vector by vector: each whole, one
 * byte at a time and cut in two at every place, always with the same verdict. */
#include "server/http/chunk.h"
#include "server/http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define H "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H

struct vector {
    const char *bytes;
    size_t len;
    int verdict;
};

#define V(verdict, bytes)                                                                                              \
    {                                                                                                                  \
        bytes, sizeof(bytes) - 1, verdict                                                                              \
    }

static const struct vector heads[] = {
    /* what must pass */
    V(1, GET H "\r\n"), V(1, "GET /a?b=c%20d HTTP/1.1\r\n" H "\r\n"), V(1, "\r\n" GET H "\r\n"),
    V(1, GET "host:a:80\r\n\r\n"), V(1, GET "Host: [::1]:80\r\n\r\n"), V(1, GET "Host:\r\n\r\n"),
    V(1, GET "Host: \t a \t \r\n\r\n"), V(1, "GET / HTTP/1.0\r\n\r\n"), V(1, GET H "X: \x80\xff\r\n\r\n"),
    V(1, GET H "X: a\tb\r\n\r\n"), V(1, GET H "X:\r\n\r\n"), V(1, POST "Content-Length: 0\r\n\r\n"),
    V(1, POST "Content-Length: 000000000000000005\r\n\r\n"), V(1, POST "Content-Length: 999999999999999999\r\n\r\n"),
    V(1, POST "Transfer-Encoding: chunked\r\n\r\n"), V(1, POST "TRANSFER-ENCODING:Chunked\r\n\r\n"),
    V(1, POST "Expect: 100-Continue\r\n\r\n"), V(1, "M-SEARCH / HTTP/1.1\r\n" H "\r\n"),
    V(1, GET H "\r\nGET / HTTP/1.1\n"), /* what follows the head is not looked at */
    /* not complete yet */
    V(0, ""), V(0, "\r\n"), V(0, "GET / HTTP/1.1\r\nHost: a\r\n\r"), V(0, "GET / HTTP/1.1\r\nHost: a\r\nX: \r"),
    /* line ends */
    V(-400, "GET / HTTP/1.1\n" H "\r\n"), V(-400, GET "Host: a\n\r\n"), V(-400, GET H "\n"), V(-400, "\n" GET H "\r\n"),
    V(-400, "\r\n\r\n" GET H "\r\n"), V(-400, "\r" GET H "\r\n"), V(-400, GET H "X: a\rb\r\n\r\n"),
    V(-400, GET H "X: a\r\r\n\r\n"), V(-400, GET H "X\r: a\r\n\r\n"), V(-400, GET H "\r\r\n"),
    V(-400, "GET /\rHTTP/1.1 HTTP/1.1\r\n" H "\r\n"), V(-400, GET H "X: a\0b\r\n\r\n"), V(-400, GET H "X\0: a\r\n\r\n"),
    V(-400, "GET /\0 HTTP/1.1\r\n" H "\r\n"), V(-400, GET "Host: a\0\r\n\r\n"), V(-400, GET H "X: \x7f\r\n\r\n"),
    V(-400, GET H "X: \x1b[2J\r\n\r\n"),
    /* folded lines, names, colons */
    V(-400, GET H "X: a\r\n b\r\n\r\n"), V(-400, GET H "X: a\r\n\tb\r\n\r\n"), V(-400, GET " " H "\r\n"),
    V(-400, POST "Transfer-Encoding:\r\n chunked\r\n\r\n"), V(-400, GET "Host : a\r\n\r\n"),
    V(-400, POST "Content-Length : 5\r\n\r\n"), V(-400, POST "Transfer-Encoding\t: chunked\r\n\r\n"),
    V(-400, GET H "no colon\r\n\r\n"), V(-400, GET H "nocolon\r\n\r\n"), V(-400, GET H ": empty name\r\n\r\n"),
    V(-400, GET H "X\x80: a\r\n\r\n"), V(-400, GET H "X(: a\r\n\r\n"), V(-400, GET H "\"X\": a\r\n\r\n"),
    /* Host */
    V(-400, GET "\r\n"), V(-400, GET H H "\r\n"), V(-400, GET H "host: b\r\n\r\n"),
    V(-400, "GET / HTTP/1.0\r\n" H "HOST: b\r\n\r\n"), V(-400, GET "Host: a b\r\n\r\n"),
    V(-400, GET "Host: a, b\r\n\r\n"), V(-400, GET "Host: a/b\r\n\r\n"), V(-400, GET "Host: u@a\r\n\r\n"),
    V(-400, GET "Host: a\x80\r\n\r\n"),
    /* Content-Length */
    V(-400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    V(-400, POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n"), V(-400, POST "Content-Length: 5, 5\r\n\r\n"),
    V(-400, POST "Content-Length: +5\r\n\r\n"), V(-400, POST "Content-Length: -5\r\n\r\n"),
    V(-400, POST "Content-Length: 0x5\r\n\r\n"), V(-400, POST "Content-Length: 5 5\r\n\r\n"),
    V(-400, POST "Content-Length: 5.0\r\n\r\n"), V(-400, POST "Content-Length:\r\n\r\n"),
    V(-400, POST "Content-Length: 1000000000000000000\r\n\r\n"),
    V(-400, POST "Content-Length: 18446744073709551621\r\n\r\n"),
    /* Transfer-Encoding */
    V(-400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    V(-400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    V(-400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    V(-400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    V(-400, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), V(-400, POST "Transfer-Encoding: identity\r\n\r\n"),
    V(-400, POST "Transfer-Encoding: xchunked\r\n\r\n"), V(-400, POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
    V(-400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), V(-400, POST "Transfer-Encoding: chunked,\r\n\r\n"),
    V(-400, POST "Transfer-Encoding: \x0b"
                 "chunked\r\n\r\n"),
    V(-400, POST "Transfer-Encoding:\r\n\r\n"), V(-400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    /* others that may come once */
    V(-400, POST "Content-Type: a\r\nContent-Type: b\r\n\r\n"),
    V(-400, POST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n"),
    /* request line */
    V(-400, "GET  / HTTP/1.1\r\n" H "\r\n"), V(-400, "GET /  HTTP/1.1\r\n" H "\r\n"),
    V(-400, "GET\t/ HTTP/1.1\r\n" H "\r\n"), V(-400, " GET / HTTP/1.1\r\n" H "\r\n"),
    V(-400, "GET / HTTP/1.1 \r\n" H "\r\n"), V(-400, "GET / HTTP/1.1 x\r\n" H "\r\n"), V(-400, "GET /\r\n" H "\r\n"),
    V(-400, "GET / \r\n" H "\r\n"), V(-400, "GET\r\n" H "\r\n"), V(-400, "GET / a HTTP/1.1\r\n" H "\r\n"),
    V(-400, "GET /\x80 HTTP/1.1\r\n" H "\r\n"), V(-400, "GET /#a HTTP/1.1\r\n" H "\r\n"),
    V(-400, "GET http://a/ HTTP/1.1\r\n" H "\r\n"), V(-400, "CONNECT a:80 HTTP/1.1\r\n" H "\r\n"),
    V(-400, "CONNECT /a HTTP/1.1\r\n" H "\r\n"), V(1, "CONNECTS /a HTTP/1.1\r\n" H "\r\n"),
    V(-400, "OPTIONS * HTTP/1.1\r\n" H "\r\n"), V(-400, "G(T / HTTP/1.1\r\n" H "\r\n"),
    V(-400, "GET / http/1.1\r\n" H "\r\n"), V(-400, "GET / HTTP/1.10\r\n" H "\r\n"),
    V(-400, "GET / HTTP/11\r\n" H "\r\n"), V(-400, "GET / HTTP/1,1\r\n" H "\r\n"),
    V(-400, "GET / ICY/1.1\r\n" H "\r\n"), V(-505, "GET / HTTP/0.9\r\n" H "\r\n"),
    V(-505, "GET / HTTP/1.2\r\n" H "\r\n"), V(-400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    V(-505, "GET / HTTP/2.0\r\n" H "\r\n"),
    V(-400, "\x16\x03\x01"), /* TLS spoken to a plain port is refused by its first byte */
};

static int scan_in_steps(const char *p, size_t len, size_t first, size_t step, struct head *head)
{
    int verdict = 0;

    *head = (struct head){ 0 };
    for (size_t have = first; verdict == 0; have += step) {
        verdict = head_scan(head, p, have < len ? have : len);
        if (have >= len)
            break;
    }
    return verdict;
}

static void check_head(const char *p, size_t len, int verdict, unsigned n)
{
    struct head whole, cut;

    /* A copy of the exact size, so that a sanitizer sees one byte read too many. */
    char *copy = malloc(len + 1);
    memcpy(copy, p, len);
    copy = realloc(copy, len ? len : 1);
    int got = scan_in_steps(copy, len, len, 1, &whole);
    if (got != verdict)
        fail_msg("head %u: %d instead of %d", n, got, verdict);
    for (size_t first = 1; first <= len; first += 1 + len / 512) {
        got = scan_in_steps(copy, len, first, len, &cut);
        if (got != verdict || (got == 1 && cut.pos != whole.pos))
            fail_msg("head %u cut at %zu: %d", n, first, got);
    }
    if (scan_in_steps(copy, len, 1, 1, &cut) != verdict)
        fail_msg("head %u byte by byte", n);
    free(copy);
}

static void test_heads(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(heads) / sizeof(*heads); i++)
        check_head(heads[i].bytes, heads[i].len, heads[i].verdict, i);
}

static void test_result(void **state)
{
    static const char text[] =
        "\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length:  12 \r\nExpect: 100-continue\r\n\r\nX";
    struct head head = { 0 };

    (void) state;
    assert_int_equal(head_scan(&head, text, sizeof(text) - 1), 1);
    assert_int_equal(head.pos, sizeof(text) - 2);
    assert_memory_equal(text + head.method, "POST", head.method_len);
    assert_memory_equal(text + head.target, "/a?b", head.target_len);
    assert_int_equal(head.target_len, 4);
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.n_fields, 3);
    assert_int_equal(head.length, 12);
    assert_true(head.has_length && !head.chunked);
    assert_int_equal(head.expect, EXPECT_CONTINUE);
}

/* An expectation means nothing in HTTP/1.0. */
static void test_expect(void **state)
{
    static const char old[] = "GET / HTTP/1.0\r\nExpect: x\r\n\r\n", other[] = GET H "Expect: x\r\n\r\n";
    struct head head = { 0 };

    (void) state;
    assert_int_equal(head_scan(&head, old, sizeof(old) - 1), 1);
    assert_int_equal(head.expect, EXPECT_NOTHING);
    head = (struct head){ 0 };
    assert_int_equal(head_scan(&head, other, sizeof(other) - 1), 1);
    assert_int_equal(head.expect, EXPECT_OTHER);
}

/* @before, @n times @fill, @after. */
static void check_long(const char *before, size_t n, const char *fill, const char *after, int verdict)
{
    size_t len = strlen(before) + n * strlen(fill) + strlen(after);
    char *text = malloc(len + 1), *p = stpcpy(text, before);

    for (size_t i = 0; i < n; i++)
        p = stpcpy(p, fill);
    stpcpy(p, after);
    check_head(text, len, verdict, (unsigned) n);
    free(text);
}

static void test_bounds(void **state)
{
    const size_t overhead = sizeof(GET H "X: \r\n\r\n") - 1;

    (void) state;
    check_long("GET /", HEAD_TARGET_MAX - 1, "a", " HTTP/1.1\r\n" H "\r\n", 1);
    check_long("GET /", HEAD_TARGET_MAX, "a", " HTTP/1.1\r\n" H "\r\n", -414);
    check_long("GET /", HEAD_MAX, "a", "", -414);
    check_long("", HEAD_MAX, "G", "", -414);
    check_long(GET H, HEAD_FIELDS_MAX - 1, "X: a\r\n", "\r\n", 1);
    check_long(GET H, HEAD_FIELDS_MAX, "X: a\r\n", "\r\n", -431);
    check_long(GET H "X: ", HEAD_MAX - overhead, "a", "\r\n\r\n", 1);
    check_long(GET H "X: ", HEAD_MAX - overhead + 1, "a", "\r\n\r\n", -431);
    check_long(GET H "X: ", HEAD_MAX * 2, "a", "", -431);
    check_long(GET H, HEAD_MAX, "a", "", -431);
}

static const struct vector bodies[] = {
    V(1, "0\r\n\r\n"),
    V(1, "5\r\nhello\r\n0\r\n\r\n"),
    V(1, "5\r\nhello\r\n5\r\nhello\r\n00\r\n\r\n"),
    V(1, "a\r\n\r\n0\r\n\r\nabc\r\n0\r\n\r\n"),
    V(1, "A;x\r\n0123456789\r\n0;y=\"z\"\r\n\r\n"),
    V(1, "5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n"),
    V(1, "0\r\n\r\nGET / HTTP/1.1\r\n"),
    V(0, ""),
    V(0, "5\r\nhel"),
    V(0, "0\r\n\r"),
    V(-400, "5\nhello\r\n0\r\n\r\n"),
    V(-400, "5\rXhello\r\n0\r\n\r\n"), /* llhttp 8.1 skips the X */
    V(-400, "5\r\nhelloXX0\r\n\r\n"),  /* and these */
    V(-400, "5\r\nhello\n0\r\n\r\n"),
    V(-400, "5\r\nhello\r0\r\n\r\n"),
    V(-400, "5\r\nhello0\r\n\r\n"),
    V(-400, "5\r\nhello!\r\n0\r\n\r\n"),
    V(-400, "5 \r\nhello\r\n0\r\n\r\n"),
    V(-400, " 5\r\nhello\r\n0\r\n\r\n"),
    V(-400, "5 ;x\r\nhello\r\n0\r\n\r\n"),
    V(-400, "\r\n"),
    V(-400, ";x\r\n"),
    V(-400, "0x5\r\nhello\r\n0\r\n\r\n"),
    V(-400, "+5\r\nhello\r\n0\r\n\r\n"),
    V(-400, "-5\r\nhello\r\n0\r\n\r\n"),
    V(-400, "5h\r\nhello\r\n0\r\n\r\n"),
    V(-400, "000000005\r\nhello\r\n0\r\n\r\n"),
    V(-400, "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    V(-400, "5;a\nhello\r\n0\r\n\r\n"),
    V(-400, "5;a\0b\r\nhello\r\n0\r\n\r\n"),
    V(-400, "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    V(-400, "0\r\n\n"),
    V(-400, "0\r\n\rX"),
    V(-400, "0\r\nA: b\n\r\n"),
    V(-400, "0\r\nA: b\r\n c\r\n\r\n"),
    V(-400, "0\r\nA : b\r\n\r\n"),
    V(-400, "0\r\nA\r\n\r\n"),
    V(-400, "0\r\n: b\r\n\r\n"),
    V(-400, "0\r\nA: \0\r\n\r\n"),
    V(-413, "ffffffff\r\n"),
    V(-413, "10\r\n0123456789abcdef\r\n10\r\n0123456789abcdef\r\n1\r\n"),
};

static int scan_chunks(const char *p, size_t len, size_t first, size_t step, size_t *ret_used)
{
    struct chunks chunks = { .max = 32 };
    int verdict = 0;
    size_t used;

    *ret_used = 0;
    for (size_t n = first; verdict == 0 && *ret_used < len; n = step) {
        n = n < len - *ret_used ? n : len - *ret_used;
        verdict = chunks_scan(&chunks, p + *ret_used, n, &used);
        assert_true(used <= n);
        *ret_used += used;
    }
    return verdict;
}

static void check_chunks(const struct vector *v, unsigned n)
{
    size_t end, used;
    char *copy = malloc(v->len + 1);

    memcpy(copy, v->bytes, v->len);
    copy = realloc(copy, v->len ? v->len : 1);
    int got = scan_chunks(copy, v->len, v->len, 1, &end);
    if (got != v->verdict)
        fail_msg("body %u: %d instead of %d", n, got, v->verdict);
    for (size_t first = 1; first <= v->len; first++)
        if (scan_chunks(copy, v->len, first, v->len, &used) != got || used != end)
            fail_msg("body %u cut at %zu", n, first);
    if (scan_chunks(copy, v->len, 1, 1, &used) != got || used != end)
        fail_msg("body %u byte by byte", n);
    free(copy);
}

static void test_chunks(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
        check_chunks(&bodies[i], i);
}

/* Extensions and trailers share one bound. */
static void test_chunk_extras(void **state)
{
    static char text[CHUNK_EXTRA_MAX + 64];
    struct vector v = { text, 0, 1 };

    (void) state;
    v.len = (size_t) sprintf(text, "1;%0*d\r\nx\r\n0\r\n\r\n", CHUNK_EXTRA_MAX, 0);
    check_chunks(&v, 1000);
    v.verdict = -400;
    v.len = (size_t) sprintf(text, "1;%0*d\r\nx\r\n0;x\r\n\r\n", CHUNK_EXTRA_MAX, 0);
    check_chunks(&v, 1001);
    v.len = (size_t) sprintf(text, "0\r\nx:%0*d\r\n\r\n", CHUNK_EXTRA_MAX, 0);
    check_chunks(&v, 1002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),  cmocka_unit_test(test_result), cmocka_unit_test(test_expect),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_chunks), cmocka_unit_test(test_chunk_extras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
