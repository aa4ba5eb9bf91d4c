/* SPDX-License-Identifier: Apache-2.0 */
/* Work beside the loop: whoever brings much of it delays others by what is being worked on and one piece more. */
#include "base/beside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { MANY = 8 };

struct piece {
    struct beside beside;
    char whose;
};

static char order[2 * MANY + 1], whose_a, whose_b;
static unsigned n_begun, n_over;

/* One thread: beside_prepare() was not called. */
static void work(void *data)
{
    struct piece *piece = data;
    order[n_begun++] = piece->whose;
}

static void over(void *data)
{
    (void) data;
    n_over++;
}

static void begin(uv_loop_t *loop, struct piece *piece, char whose)
{
    piece->whose = whose;
    beside_begin(loop, &piece->beside, whose == 'a' ? &whose_a : &whose_b, work, over, piece);
}

static void run_all(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(n_over, n_begun);
    order[n_begun] = '\0';
    n_begun = n_over = 0;
}

static void test_turns(void **state)
{
    struct piece a[MANY], b[MANY];
    uv_loop_t loop;

    (void) state;
    uv_loop_init(&loop);
    for (int i = 0; i < MANY; i++)
        begin(&loop, &a[i], 'a');
    for (int i = 0; i < 3; i++)
        begin(&loop, &b[i], 'b');
    run_all(&loop);
    assert_string_equal(order, "aababab"
                               "aaaa");

    /* who comes when the others have done much has no turns to wait for */
    for (int i = 0; i < 3; i++)
        begin(&loop, &b[i], 'b');
    begin(&loop, &a[0], 'a');
    run_all(&loop);
    assert_string_equal(order, "bbab");
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_turns) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
