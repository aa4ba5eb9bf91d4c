/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what: the queue, places, memory, shares, cancelled jobs, the drain. */
#include "scene.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The box that has got a job and not taken it; those that are ordered come meanwhile. */
static struct box_end *wait_handed(struct scene *s)
{
    struct wire_of_box order;

    for (;;) {
        for (unsigned i = 0; i < SLOTS; i++)
            if (s->boxes[i].open && recv(s->boxes[i].control, &order, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
                return &s->boxes[i];
        if (get_order(s, &order))
            say_state(s, send_box(s, &order), BOX_READY, 0);
        else
            uv_run(&s->loop, UV_RUN_ONCE);
    }
}

static void test_queue(void **state)
{
    static const char *const codes[] = { "a", "b", "c", "d", "e" };
    struct scene *s = start(SLOTS, 2, 1, 3);
    struct told t[5];

    (void) state;
    for (int i = 0; i < 5; i++) {
        make_job(&t[i], s);
        t[i].job.code = codes[i];
        t[i].job.code_len = 1;
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    assert_int_equal(pool_queue_length(s->pool), 3);
    assert_int_equal(pool_run(s->pool, &t[3].job), -EAGAIN);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *first = wait_box(s), *second = wait_box(s);
    assert_ptr_equal(wait_handed(s), first);
    assert_int_equal(pool_queue_length(s->pool), 2); /* two boxes, but one run at a time */
    assert_int_equal(recv(second->control, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_int_equal(pool_run(s->pool, &t[3].job), 0);
    assert_int_equal(pool_run(s->pool, &t[4].job), -EAGAIN);
    for (int i = 0; i < 4; i++) {
        struct box_end *box = wait_handed(s);
        take_order(box, codes[i]);
        assert_int_equal(pool_queue_length(s->pool), 3 - i);
        assert_int_equal(t[i].n_done, 0);
        report(s, box, OUTCOME_OK, 0, "", "");
        assert_int_equal(t[i].n_done, 1);
        bury(s, box);
    }
    assert_int_equal(t[4].n_done, 0);
    stop(s);
    for (int i = 0; i < 5; i++)
        free_job(&t[i]);
}

static void run_until_long(struct scene *s, unsigned n)
{
    while (s->n_long < n)
        uv_run(&s->loop, UV_RUN_ONCE);
}

/* What runs for long gives its place to the next, and still counts among those that run. */
static void test_places(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 2, .max_runs = 2, .places = 1 });
    struct told t[3];

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    begin(s, &t[0], wait_box(s)); /* the last that came */
    for (int i = 1; i < 3; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    assert_int_equal(pool_free_boxes(s->pool), 1);
    assert_int_equal(pool_queue_length(s->pool), 2);
    run_until_long(s, 1);
    assert_int_equal(s->n_maybe, 0); /* somebody waits for its place: so it has that for a shorter time */
    assert_int_equal(pool_queue_length(s->pool), 1);
    wait_box(s); /* others need one while it runs */
    run_until_long(s, 2);
    wait_box(s);
    assert_int_equal(pool_free_boxes(s->pool), 2);
    assert_int_equal(pool_queue_length(s->pool), 1); /* the place is free, but two run */
    pool_cancel(s->pool, &t[0].job);
    assert_int_equal(pool_queue_length(s->pool), 0);
    pool_cancel(s->pool, &t[1].job);
    pool_cancel(s->pool, &t[2].job);
    wait_box(s);
    for (int i = 0; i < 2; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    assert_int_equal(pool_queue_length(s->pool), 1); /* the places of the long ones were not given back twice */
    assert_int_not_equal(pool_free_boxes(s->pool), 0);
    pool_cancel(s->pool, &t[1].job);
    stop(s);
    for (int i = 0; i < 3; i++)
        free_job(&t[i]);
}

/* Who begins, by what: a box waits for each. */
static enum lack try_job(struct scene *s, struct told *t, struct share *share)
{
    make_job(t, s);
    t->job.share = share;
    assert_int_equal(pool_run(s->pool, &t->job), 0);
    return t->job.slot ? LACK_NONE : t->job.waited_for;
}

/* One program more has just begun than there are places, if it is of a key of which nothing runs. */
static void test_place_for_newcomer(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 4, .max_runs = 9, .places = 1 });
    struct share one, other, third;
    struct told t[4];

    (void) state;
    share_init(&one);
    share_init(&other);
    share_init(&third);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 4; i++)
        wait_box(s);
    assert_int_equal(try_job(s, &t[0], &one), LACK_NONE);
    assert_int_equal(try_job(s, &t[1], &one), LACK_PLACE);
    assert_int_equal(try_job(s, &t[2], &other), LACK_NONE);
    assert_int_equal(try_job(s, &t[3], &third), LACK_PLACE);
    stop(s);
    for (int i = 0; i < 4; i++)
        free_job(&t[i]);
}

/* Memory counts where more run than places; half of what is kept is for a key of which nothing runs. */
static void test_memory(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 5, .max_runs = 9, .places = 1 });
    struct share one, other;
    struct told t[4];

    (void) state;
    share_init(&one);
    share_init(&other);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 5; i++)
        wait_box(s);
    s->memory = 0;
    assert_int_equal(try_job(s, &t[0], &one), LACK_NONE);
    run_until_long(s, 1);
    assert_int_equal(try_job(s, &t[1], &one), LACK_MEMORY);
    assert_int_equal(pool_lack(s->pool), LACK_MEMORY);
    s->memory = 51;
    assert_int_equal(try_job(s, &t[2], &other), LACK_NONE);
    assert_int_equal(pool_queue_length(s->pool), 1);
    run_until_long(s, 2);
    assert_int_equal(try_job(s, &t[3], &other), LACK_MEMORY);
    s->memory = 101;
    while (pool_queue_length(s->pool)) /* nobody tells of memory: it is looked at again */
        uv_run(&s->loop, UV_RUN_ONCE);
    stop(s);
    for (int i = 0; i < 4; i++)
        free_job(&t[i]);
}

/* An eighth of all runs is kept for keys of which nothing runs, where there are others. */
static void test_runs_kept(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 8, .max_runs = 8, .places = 8 });
    struct share one, other;
    struct told t[10];

    (void) state;
    share_init(&one);
    share_init(&other);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 8; i++)
        wait_box(s);
    s->two_keys = true;
    for (int i = 0; i < 7; i++)
        assert_int_equal(try_job(s, &t[i], &one), LACK_NONE);
    assert_int_equal(try_job(s, &t[7], &one), LACK_RUNS);
    assert_int_equal(try_job(s, &t[8], &other), LACK_NONE);
    assert_int_equal(try_job(s, &t[9], &other), LACK_RUNS);
    wait_box(s);
    pool_cancel(s->pool, &t[8].job);
    assert_int_equal(pool_queue_length(s->pool), 1); /* the other's second job was the first of a newcomer */
    pool_cancel(s->pool, &t[9].job);
    wait_box(s);
    s->two_keys = false;
    pool_cancel(s->pool, &t[0].job);
    assert_int_equal(pool_queue_length(s->pool), 0);
    stop(s);
    for (int i = 0; i < 10; i++)
        free_job(&t[i]);
}

static void test_words_of_lack(void **state)
{
    (void) state;
    assert_string_equal(lack_word(LACK_NONE), "");
    assert_string_equal(lack_word(LACK_KEY), "key");
    assert_non_null(strstr(lack_why(LACK_RUNS), "pool.max_runs"));
}

/* Slots beyond the first ones come with programs that run for long, and no more than there may be. */
static void test_later_slots(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = 3, .n_first_slots = 1, .runtimes[0].pool_size = 2, .max_runs = 9 });
    struct told t[3];

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct box_end *box = wait_box(s);
        assert_int_equal(slot_of(s, box), i);
        assert_true(no_order(s));
        begin(s, &t[i], box);
        run_until_long(s, i + 1);
    }
    assert_true(no_order(s));
    stop(s);
    for (int i = 0; i < 3; i++)
        free_job(&t[i]);
}

/* Fewer boxes wait than may run: a job that could run is not kept back until another has ended. */
static void test_small_pool(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 3, 0);
    struct told t[4];

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &t[0], box);
    for (int i = 1; i < 4; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    for (int i = 1; i < 3; i++) {
        struct wire_of_box order;
        assert_true(get_order(s, &order));
        say_state(s, send_box(s, &order), BOX_READY, 0);
        assert_int_equal(pool_queue_length(s->pool), 3 - i);
    }
    wait_box(s);
    assert_int_equal(pool_queue_length(s->pool), 1);
    assert_true(no_order(s));
    pool_cancel(s->pool, &t[3].job);
    stop(s);
    for (int i = 0; i < 4; i++)
        free_job(&t[i]);
}

static void test_unlimited_queue(void **state)
{
    enum { N = 3000 };
    struct scene *s = start(1, 1, 1, 0);
    struct told *t = calloc(N, sizeof(*t));

    (void) state;
    for (int i = 0; i < N; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    assert_int_equal(pool_queue_length(s->pool), N);
    for (int i = N - 1; i >= 0; i--)
        pool_cancel(s->pool, &t[i].job);
    assert_int_equal(pool_queue_length(s->pool), 0);
    stop(s);
    for (int i = 0; i < N; i++)
        free_job(&t[i]);
    free(t);
}

static void test_cancel_waiting(void **state)
{
    (void) state;
    for (unsigned mask = 0; mask < 16; mask++) { /* every choice of four */
        struct scene *s = start(SLOTS, 1, 1, 0);
        struct told t[4];
        for (int i = 0; i < 4; i++) {
            make_job(&t[i], s);
            t[i].job.code = &"0123"[i];
            t[i].job.code_len = 1;
            assert_int_equal(pool_run(s->pool, &t[i].job), 0);
        }
        unsigned left = 4;
        for (int i = 0; i < 4; i++)
            if (mask & 1u << i) {
                pool_cancel(s->pool, &t[i].job);
                left--;
            }
        assert_int_equal(pool_queue_length(s->pool), left);
        tell(s, WIRE_WARM, 0, 0, 0);
        for (int i = 0; i < 4; i++) {
            if (mask & 1u << i)
                continue;
            struct box_end *box = wait_box(s);
            char code[] = { (char) ('0' + i), '\0' };
            take_order(box, code);
            report(s, box, OUTCOME_OK, 0, "", "");
            bury(s, box);
        }
        for (int i = 0; i < 4; i++) {
            assert_int_equal(t[i].n_done, !(mask & 1u << i));
            free_job(&t[i]);
        }
        stop(s);
    }
}

static void test_cancel_running(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told first, second, third;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    make_job(&second, s);
    assert_int_equal(pool_run(s->pool, &second.job), 0);
    pool_cancel(s->pool, &first.job);
    turn(s);
    assert_true(is_killed(box));
    struct box_end *next = wait_box(s);
    take_order(next, "pass");
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, SIGKILL);
    bury(s, box);
    assert_int_equal(first.n_done, 0);
    /* and while the supervisor is asked */
    report(s, next, OUTCOME_EXIT, 1, "", "");
    assert_int_equal(s->n_asked, 1);
    pool_cancel(s->pool, &second.job);
    answer(s, slot_of(s, next), 0, 0);
    assert_int_equal(second.n_done, 0);
    assert_true(is_killed(next));
    bury(s, next);
    box = wait_box(s); /* the pool is as it was */
    begin(s, &third, box);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(third.n_done, 1);
    free_job(&first);
    free_job(&second);
    free_job(&third);
    stop(s);
}

static void test_run_from_done(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 1);
    struct told first, second;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    make_job(&second, s);
    first.next = &second;
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(pool_queue_length(s->pool), 1);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "2", "");
    assert_int_equal(second.n_done, 1);
    free_job(&first);
    free_job(&second);
    stop(s);
}

static void test_drain(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told running, queued, late;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &running, box);
    make_job(&queued, s);
    make_job(&late, s);
    assert_int_equal(pool_run(s->pool, &queued.job), 0);
    pool_drain(s->pool);
    assert_false(pool_is_ready(s->pool));
    assert_int_equal(pool_run(s->pool, &late.job), -ESHUTDOWN);
    assert_int_equal(pool_queue_length(s->pool), 1);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(running.n_done, 1);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(queued.n_done, 1);
    assert_int_equal(late.n_done, 0);
    free_job(&running);
    free_job(&queued);
    free_job(&late);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_place_for_newcomer),
        cmocka_unit_test(test_later_slots),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_runs_kept),
        cmocka_unit_test(test_words_of_lack),
        cmocka_unit_test(test_small_pool),
        cmocka_unit_test(test_unlimited_queue),
        cmocka_unit_test(test_cancel_waiting),
        cmocka_unit_test(test_cancel_running),
        cmocka_unit_test(test_run_from_done),
        cmocka_unit_test(test_drain),
    };

    scene_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
