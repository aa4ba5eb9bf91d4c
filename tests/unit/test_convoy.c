/* SPDX-License-Identifier: Apache-2.0 */
/* What is judged to be a line at a lock of the kernel, and whose. */
#include "supervisor/convoy_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SLOTS = 64, SEED = 7, LOOKS = 4, LOOKS_AGAIN = 2 };

/* A box of a test: @waiting of its @tasks stand in a line, one in @every from its first on. */
struct box {
    unsigned tasks, waiting, every;
};

static unsigned waits(const struct box *box, unsigned place)
{
    return place % box->every == 0 && place / box->every < box->waiting;
}

/* One look at the boxes, as convoy.c has it. */
static enum judge_verdict look(struct judge *j, const struct box *boxes, unsigned n, bool again)
{
    unsigned places[JUDGE_ASKED_MAX];

    for (uint32_t slot = 0; slot < n; slot++) {
        unsigned asked = judge_choose(j, boxes[slot].tasks, n, places), waiting = 0;
        for (unsigned i = 0; i < asked; i++)
            waiting += waits(&boxes[slot], places[i]);
        judge_see(j, slot, boxes[slot].tasks, asked, waiting);
    }
    return judge_end_look(j, again);
}

/* How many looks it takes until there is a line; 0: not within @most. */
static unsigned looks_until_line(struct judge *j, const struct box *boxes, unsigned n, unsigned most)
{
    for (unsigned i = 1; i <= most; i++)
        if (look(j, boxes, n, false) == JUDGE_LINE)
            return i;
    return 0;
}

static bool is_of(const struct judge *j, uint32_t slot)
{
    unsigned waiting;

    return judge_is_of(j, slot, &waiting);
}

static void test_choose(void **state)
{
    static const struct {
        unsigned tasks, boxes, asked;
    } cases[] = { { 0, 1, 0 },     { 1, 1, 1 },   { 64, 1, 64 }, { 65, 1, 64 },
                  { 5000, 1, 64 }, { 64, 2, 32 }, { 64, 60, 4 }, { 3, 60, 3 } };
    unsigned places[JUDGE_ASKED_MAX];
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    for (unsigned c = 0; c < sizeof(cases) / sizeof(*cases); c++)
        for (int times = 0; times < 100; times++) {
            unsigned n = judge_choose(j, cases[c].tasks, cases[c].boxes, places);
            assert_int_equal(n, cases[c].asked);
            for (unsigned i = 0; i < n; i++) {
                assert_true(places[i] < cases[c].tasks);
                assert_true(i == 0 || places[i] > places[i - 1]);
            }
        }
    judge_free(j);
}

/* Nobody is asked always, and nobody never. */
static void test_others_each_time(void **state)
{
    unsigned places[JUDGE_ASKED_MAX], times[64] = { 0 };
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    for (int look = 0; look < 1000; look++) {
        unsigned n = judge_choose(j, 64, 60, places);
        for (unsigned i = 0; i < n; i++)
            times[places[i]]++;
    }
    for (unsigned i = 0; i < 64; i++)
        assert_in_range(times[i], 20, 120); /* 62 on average */
    judge_free(j);
}

/* As many looks in a row as it takes, and one without a line begins anew. */
static void test_in_a_row(void **state)
{
    const struct box line = { 60, 60, 1 }, none = { 60, 0, 1 };
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    for (int times = 0; times < 3; times++) {
        for (int i = 1; i < LOOKS; i++)
            assert_int_equal(look(j, &line, 1, false), JUDGE_PERHAPS);
        assert_int_equal(look(j, &none, 1, false), JUDGE_NONE);
        assert_false(is_of(j, 0));
    }
    assert_int_equal(looks_until_line(j, &line, 1, LOOKS), LOOKS);
    assert_true(is_of(j, 0));
    assert_int_equal(looks_until_line(j, &line, 1, LOOKS), LOOKS); /* and not at the next look */
    judge_free(j);
}

/* Where there was a line a moment ago, a shorter one is enough, and fewer looks. */
static void test_again(void **state)
{
    const struct box few = { 3, 3, 1 };
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    assert_int_equal(looks_until_line(j, &few, 1, 20), 0);
    for (int i = 1; i < LOOKS_AGAIN; i++)
        assert_int_equal(look(j, &few, 1, true), JUDGE_PERHAPS);
    assert_int_equal(look(j, &few, 1, true), JUDGE_LINE);
    judge_free(j);
}

/* Many threads that do nothing, in the same box and in many others, hide no line. */
static void test_idle_threads_hide_nothing(void **state)
{
    struct box boxes[60];
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    for (unsigned i = 0; i < 60; i++)
        boxes[i] = (struct box){ 60, i == 17 ? 55 : 0, 1 };
    assert_in_range(looks_until_line(j, boxes, 60, 20), LOOKS, 20);
    assert_true(is_of(j, 17));
    for (unsigned i = 0; i < 60; i++)
        boxes[i] = (struct box){ 60, 20, 3 }; /* a third of each */
    judge_forget_all(j);
    assert_in_range(looks_until_line(j, boxes, 60, 20), LOOKS, 20);
    judge_free(j);
}

/* One task that happens to wait is no line, however many others its box has. */
static void test_one_stands_for_itself(void **state)
{
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    for (int times = 0; times < 200; times++) {
        for (unsigned i = 0; i < 4; i++)
            judge_see(j, i, 3000, 16, 1);
        assert_int_equal(judge_end_look(j, false), JUDGE_NONE);
    }
    judge_free(j);
}

/* Yet many boxes with one each are one. */
static void test_many_boxes_of_one(void **state)
{
    struct box boxes[60];
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    for (unsigned i = 0; i < 60; i++)
        boxes[i] = (struct box){ 1, 1, 1 };
    assert_int_equal(looks_until_line(j, boxes, 60, LOOKS), LOOKS);
    for (unsigned i = 0; i < 60; i++)
        assert_true(is_of(j, i));
    judge_free(j);
}

/* Who only waits in the line of others is not caught with them; nor is the next box of their slot. */
static void test_whose(void **state)
{
    const struct box boxes[] = { { 60, 60, 1 }, { 4, 1, 1 }, { 60, 55, 1 }, { 8, 0, 1 } };
    unsigned waiting;
    struct judge *j = judge_new(SLOTS, SEED);

    (void) state;
    assert_int_equal(looks_until_line(j, boxes, 4, LOOKS), LOOKS);
    assert_true(judge_is_of(j, 0, &waiting));
    assert_int_equal(waiting, 60);
    assert_false(is_of(j, 1));
    assert_true(is_of(j, 2));
    assert_false(is_of(j, 3));
    judge_forget(j, 0);
    assert_false(is_of(j, 0));
    judge_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_others_each_time),
        cmocka_unit_test(test_in_a_row),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_idle_threads_hide_nothing),
        cmocka_unit_test(test_one_stands_for_itself),
        cmocka_unit_test(test_many_boxes_of_one),
        cmocka_unit_test(test_whose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
