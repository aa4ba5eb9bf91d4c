/* SPDX-License-Identifier: Apache-2.0 */
/* What is judged to be a line at a lock of the kernel, and whose; and who is held for it, in a world of the test's own: its
 * clock, its cgroups, its /proc. */
#include "supervisor/convoy.h"

#include "supervisor/cgroup.h"
#include "supervisor/convoy_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

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
        unsigned asked = judge_choose(j, slot, boxes[slot].tasks, n, places), waiting = 0;
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
            unsigned n = judge_choose(j, 0, cases[c].tasks, cases[c].boxes, places);
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
        unsigned n = judge_choose(j, 0, 64, 60, places);
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
        boxes[i] = (struct box){ 60, i == 17 ? 12 : 0, 5 }; /* a fifth of one */
    judge_forget_all(j);
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

/* --- the world --- */

enum { TASKS_MAX = 1000 };

static struct {
    int64_t now_us;
    unsigned running; /* on the whole machine */
    unsigned looked;  /* at so many tasks */
    struct {
        unsigned tasks, waiting; /* who is held waits for nothing */
        bool held;
        int64_t held_since_us, held_us;
    } boxes[SLOTS];
} world;

int64_t __wrap_now_us(void);
ssize_t __wrap_fd_read_file(int dir_fd, const char *name, char *buf, size_t size);

int64_t __wrap_now_us(void)
{
    return world.now_us;
}

/* Of each task its state.  Other files of a task may be locked: nobody may ask for them. */
ssize_t __wrap_fd_read_file(int dir_fd, const char *name, char *buf, size_t size)
{
    unsigned task, same;
    char file[16];

    (void) dir_fd;
    if (strcmp(name, "/proc/loadavg") == 0)
        return snprintf(buf, size, "0.20 0.18 0.12 %u/80 11206\n", world.running);
    assert_int_equal(sscanf(name, "/proc/%u/task/%u/%15s", &task, &same, file), 3);
    assert_string_equal(file, "status");
    unsigned slot = task / TASKS_MAX, place = task % TASKS_MAX;
    bool waits = place < world.boxes[slot].waiting && !world.boxes[slot].held;
    world.looked++;
    return snprintf(buf, size, "Name:\ta State: D\nUmask:\t0077\nState:\t%s\n",
                    waits ? "D (disk sleep)" : "R (running)");
}

enum cgroups_hold_by cgroups_hold_by(const struct cgroups *groups)
{
    (void) groups;
    return CGROUPS_HOLD_BY_FREEZER;
}

unsigned cgroups_count_tasks(const struct cgroups *groups, uint32_t slot)
{
    (void) groups;
    return world.boxes[slot].tasks;
}

ssize_t cgroups_list_tasks(const struct cgroups *groups, uint32_t slot, char *text, size_t size)
{
    size_t n = 0;

    (void) groups;
    text[0] = '\0';
    for (unsigned i = 0; i < world.boxes[slot].tasks; i++)
        n += (size_t) snprintf(text + n, size - n, "%u\n", slot * TASKS_MAX + i);
    return (ssize_t) n;
}

int cgroups_hold(struct cgroups *groups, uint32_t slot, bool held)
{
    (void) groups;
    if (held && !world.boxes[slot].held)
        world.boxes[slot].held_since_us = world.now_us;
    if (!held && world.boxes[slot].held)
        world.boxes[slot].held_us += world.now_us - world.boxes[slot].held_since_us;
    world.boxes[slot].held = held;
    return 0;
}

/* The loop of the supervisor, for so long. */
static void go_on(struct convoy *c, int64_t ms)
{
    int64_t end = world.now_us + ms * 1000;

    while (convoy_due_us(c) < end) {
        if (convoy_due_us(c) > world.now_us)
            world.now_us = convoy_due_us(c);
        convoy_look(c);
    }
    world.now_us = end;
}

static struct convoy *begin(unsigned boxes, unsigned tasks)
{
    memset(&world, 0, sizeof(world));
    world.now_us = 1000000;
    world.running = 3;
    struct convoy *c = convoy_new(NULL, SLOTS);
    for (uint32_t slot = 0; slot < boxes; slot++) {
        world.boxes[slot].tasks = tasks;
        convoy_watch(c, slot);
    }
    return c;
}

static unsigned held_now(void)
{
    unsigned n = 0;

    for (unsigned slot = 0; slot < SLOTS; slot++)
        n += world.boxes[slot].held;
    return n;
}

/* Who makes the line is held for nearly all of the time, and who has nothing to do with it never. */
static void test_is_held(void **state)
{
    struct convoy *c = begin(3, 60);

    (void) state;
    world.boxes[1].waiting = 60;
    go_on(c, 200);
    assert_int_equal(convoy_sums(c).boxes, 1);
    go_on(c, 20000);
    cgroups_hold(NULL, 1, false);
    assert_in_range(world.boxes[1].held_us, 16000000, 19000000);
    assert_int_equal(world.boxes[0].held_us + world.boxes[2].held_us, 0);
    assert_int_equal(convoy_sums(c).boxes, 1); /* it is told of once */
    convoy_free(c);
}

/* While boxes are in turns, however long, the line of another one is seen. */
static void test_others_meanwhile(void **state)
{
    struct convoy *c = begin(2, 60);

    (void) state;
    world.boxes[0].waiting = 60;
    go_on(c, 8200); /* half a second, one, two, and the turns of four have begun */
    world.boxes[1].waiting = 60;
    go_on(c, 150);
    assert_int_equal(convoy_sums(c).boxes, 2);
    go_on(c, 1000);
    world.boxes[1].held_us = 0;
    go_on(c, 1000);
    cgroups_hold(NULL, 1, false);
    assert_in_range(world.boxes[1].held_us, 850000, 1000000);
    convoy_free(c);
}

/* Whatever was seen, all go on in the end, and the time for which they were held is known. */
static void test_all_are_let_go(void **state)
{
    struct convoy *c = begin(10, 60);
    int64_t held_us = 0;

    (void) state;
    for (unsigned slot = 0; slot < 10; slot++)
        world.boxes[slot].waiting = 6 * slot;
    go_on(c, 30000);
    assert_true(held_now() > 0);
    for (unsigned slot = 0; slot < 10; slot++)
        world.boxes[slot].waiting = 0;
    go_on(c, 8100);
    assert_int_equal(held_now(), 0);
    for (unsigned slot = 0; slot < 10; slot++)
        held_us += world.boxes[slot].held_us;
    assert_int_equal(convoy_sums(c).held_us, held_us);
    convoy_free(c);
}

/* A box that is over while it is held lets its slot go; when the last one is over nothing is looked at any more. */
static void test_over_while_held(void **state)
{
    struct convoy *c = begin(2, 60);

    (void) state;
    world.boxes[0].waiting = world.boxes[1].waiting = 60;
    go_on(c, 300);
    assert_int_equal(convoy_sums(c).boxes, 2);
    world.boxes[0].tasks = 0;
    go_on(c, 60);
    assert_false(world.boxes[0].held);
    convoy_forget(c, 1); /* the next box joins */
    assert_false(world.boxes[1].held);
    world.boxes[1].tasks = 0;
    go_on(c, 200);
    assert_int_equal(convoy_due_us(c), INT64_MAX);
    convoy_free(c);
}

/* Few tasks are no line, and none of them is looked at; many that wait for nothing are looked at now and then. */
static void test_costs_nothing(void **state)
{
    struct convoy *c = begin(4, 1);

    (void) state;
    go_on(c, 10000);
    assert_int_equal(world.looked, 0);
    convoy_free(c);
    c = begin(1, 60);
    go_on(c, 10000);
    assert_in_range(world.looked, 1, 60 * 200);
    convoy_free(c);
}

/* Where nothing runs nobody hands a lock on.  That boxes are over is seen all the same. */
static void test_nothing_runs(void **state)
{
    struct convoy *c = begin(40, 60);

    (void) state;
    world.running = 1;
    for (unsigned slot = 0; slot < 40; slot++)
        world.boxes[slot].waiting = 60;
    go_on(c, 10000);
    assert_int_equal(world.looked, 0);
    assert_int_equal(held_now(), 0);
    for (unsigned slot = 0; slot < 40; slot++)
        world.boxes[slot].tasks = 0;
    go_on(c, 500);
    assert_int_equal(convoy_due_us(c), INT64_MAX);
    convoy_free(c);
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
        cmocka_unit_test(test_is_held),
        cmocka_unit_test(test_others_meanwhile),
        cmocka_unit_test(test_all_are_let_go),
        cmocka_unit_test(test_over_while_held),
        cmocka_unit_test(test_costs_nothing),
        cmocka_unit_test(test_nothing_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
