/* SPDX-License-Identifier: Apache-2.0 */
/* The byte buffer: what it holds, what it refuses, and that a refusal changes nothing but @full. */
#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const char *__asan_default_options(void);

/* The sanitizer's malloc(3) fails as the real one does. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void expect(const struct buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    if (b->len)
        assert_memory_equal(b->data, text, b->len);
    assert_true(b->len <= b->cap && b->cap <= b->max);
}

static void test_empty(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 100);
    assert_null(b.data);
    assert_int_equal(buf_add(&b, NULL, 0), 0);
    assert_int_equal(buf_adds(&b, ""), 0);
    assert_null(b.data); /* nothing was appended */
    buf_consume(&b, 0);
    buf_reset(&b);
    expect(&b, "");
    buf_free(&b);
    buf_free(NULL);
}

static void test_append(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 1000);
    assert_int_equal(buf_add(&b, "a\0b", 3), 0);
    assert_memory_equal(b.data, "a\0b", 3);
    buf_reset(&b);
    assert_int_equal(buf_adds(&b, "one"), 0);
    assert_int_equal(buf_addc(&b, ' '), 0);
    assert_int_equal(buf_addf(&b, "%d-%s", 2, "three"), 0);
    assert_int_equal(buf_addf(&b, "%s", ""), 0);
    expect(&b, "one 2-three");
    char *data = b.data;
    buf_reset(&b);
    assert_ptr_equal(b.data, data); /* the memory is kept */
    buf_adds(&b, "x");
    expect(&b, "x");
    buf_free(&b);
    assert_null(b.data);
    assert_int_equal(b.max, 1000);
    assert_int_equal(buf_adds(&b, "again"), 0); /* usable again */
    expect(&b, "again");
    buf_free(&b);
}

/* Each way to append, exactly to the maximum and one byte past it. */
static void test_maximum(void **state)
{
    struct buf b;

    (void) state;
    for (size_t max = 1; max < 200; max++) {
        char text[256];
        memset(text, 'x', sizeof(text));
        text[max] = '\0';
        for (int way = 0; way < 3; way++) {
            buf_init(&b, max);
            int err = way == 0 ? buf_add(&b, text, max) : way == 1 ? buf_adds(&b, text) : buf_addf(&b, "%s", text);
            assert_int_equal(err, 0);
            assert_false(b.full);
            expect(&b, text);
            err = way == 0 ? buf_add(&b, "y", 1) : way == 1 ? buf_addc(&b, 'y') : buf_addf(&b, "%c", 'y');
            assert_int_equal(err, -ENOBUFS);
            assert_true(b.full);
            expect(&b, text);
            buf_free(&b);
        }
    }
}

static void test_full(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 4);
    assert_int_equal(buf_adds(&b, "abc"), 0);
    assert_int_equal(buf_adds(&b, "de"), -ENOBUFS);
    expect(&b, "abc");
    assert_int_equal(buf_adds(&b, "d"), 0); /* what fits still does, */
    assert_true(b.full);                    /* and the refusal is remembered */
    expect(&b, "abcd");
    assert_int_equal(buf_add(&b, NULL, 0), 0);
    buf_reset(&b);
    assert_false(b.full);
    buf_adds(&b, "abcde");
    buf_free(&b);
    assert_false(b.full);
    buf_init(&b, 0);
    assert_int_equal(buf_addc(&b, 'a'), -ENOBUFS);
    assert_int_equal(buf_addf(&b, "%s", ""), 0);
    expect(&b, "");
    buf_free(&b);
}

/* Lengths whose sum with what is there would wrap. */
static void test_room(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 1000);
    char *room = buf_room(&b, 1000);
    assert_non_null(room);
    assert_int_equal(b.len, 0); /* not before it is committed */
    memset(room, 'x', 1000);
    b.len = 1000;
    assert_null(buf_room(&b, 1));
    assert_true(b.full);
    b.full = false;
    assert_null(buf_room(&b, SIZE_MAX));
    assert_null(buf_room(&b, SIZE_MAX - 999));
    assert_true(b.full);
    assert_non_null(buf_room(&b, 0));
    buf_free(&b);
    buf_init(&b, SIZE_MAX);
    buf_adds(&b, "abc");
    assert_null(buf_room(&b, SIZE_MAX - 2));
    assert_int_equal(buf_add(&b, "abc", SIZE_MAX), -ENOBUFS);
    expect(&b, "abc");
    buf_free(&b);
}

/* A million bytes one by one: the memory doubles, and never passes the maximum. */
static void test_growth(void **state)
{
    enum { N = 1000000 };
    unsigned moves = 0;
    size_t cap = 0;
    struct buf b;

    (void) state;
    buf_init(&b, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(buf_addc(&b, (char) i), 0);
        moves += b.cap != cap;
        cap = b.cap;
        assert_true(cap <= N);
    }
    assert_true(moves < 20);
    for (unsigned i = 0; i < N; i++)
        if (b.data[i] != (char) i)
            fail_msg("byte %u", i);
    assert_int_equal(buf_addc(&b, 'x'), -ENOBUFS);
    buf_free(&b);
}

static void test_consume(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 8);
    buf_adds(&b, "abcdefgh");
    buf_consume(&b, 0);
    expect(&b, "abcdefgh");
    buf_consume(&b, 3);
    expect(&b, "defgh");
    assert_int_equal(buf_adds(&b, "abc"), 0); /* the room is there again */
    expect(&b, "defghabc");
    buf_consume(&b, 8);
    expect(&b, "");
    assert_int_equal(buf_adds(&b, "abcdefgh"), 0);
    buf_free(&b);
}

static void test_text(void **state)
{
    struct buf b;

    (void) state;
    buf_init(&b, 4);
    assert_string_equal(buf_text(&b), "");
    buf_adds(&b, "full");
    assert_string_equal(buf_text(&b), "full");
    expect(&b, "full");
    assert_false(b.full);
    buf_consume(&b, 2);
    assert_string_equal(buf_text(&b), "ll");
    buf_reset(&b);
    assert_string_equal(buf_text(&b), "");
    buf_free(&b);
    assert_string_equal(buf_text(&b), "");
}

static int say_and_leave(char **ret)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 100);
    int err = (fail) (&error, -EINVAL, "%s: %d", "no", 3);
    *ret = xstrdup(buf_text(&error));
    return err;
}

static void test_fail(void **state)
{
    char *said;

    (void) state;
    assert_int_equal(say_and_leave(&said), -EINVAL);
    assert_string_equal(said, "no: 3");
    free(said);
    assert_int_equal((fail) (NULL, -EIO, "unheard"), -EIO);
}

static void test_allocators(void **state)
{
    static volatile size_t too_much = SIZE_MAX / 4;
    int status;

    (void) state;
    free(xmalloc(0));
    char *zeros = xcalloc(3, 5);
    for (int i = 0; i < 15; i++)
        assert_int_equal(zeros[i], 0);
    zeros = xrealloc(zeros, 100);
    zeros = xrealloc(zeros, 0);
    assert_non_null(zeros);
    free(zeros);
    char *copy = xstrdup("text");
    assert_string_equal(copy, "text");
    free(copy);
    for (int way = 0; way < 3; way++) {
        pid_t pid = fork();
        if (pid == 0) {
            close(STDERR_FILENO); /* the sanitizer's word about it */
            signal(SIGABRT, SIG_DFL);
            void *p = way == 0 ? xmalloc(too_much) : way == 1 ? xcalloc(too_much, 8) : xrealloc(NULL, too_much);
            _exit(p ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_append), cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_full),       cmocka_unit_test(test_room),   cmocka_unit_test(test_growth),
        cmocka_unit_test(test_consume),    cmocka_unit_test(test_text),   cmocka_unit_test(test_fail),
        cmocka_unit_test(test_allocators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
