/* SPDX-License-Identifier: Apache-2.0 */
/* Zygotes that end, and one that takes the place of another. */
#include "scene.h"

#include "base/fd.h"
#include "base/log.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int begin_log(void)
{
    int saved = dup(STDERR_FILENO), fd = memfd_create("log", MFD_CLOEXEC);

    dup2(fd, STDERR_FILENO);
    close(fd);
    log_init("server", LOG_JSON, LOG_INFO);
    return saved;
}

static const char *end_log(int saved)
{
    static char text[10000];
    ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

    dup2(saved, STDERR_FILENO);
    close(saved);
    text[n > 0 ? n : 0] = '\0';
    log_init("server", LOG_JSON, (enum log_level)(LOG_ERROR + 1));
    return text;
}

static void test_zygote_lost(void **state)
{
    struct scene *s = start_warm(SLOTS, 3, 3, 0);
    struct told silent, reported, asked, queued;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &silent, box);
    struct box_end *second = wait_box(s);
    begin(s, &reported, second);
    box = wait_box(s);
    begin(s, &asked, box);
    report(s, box, OUTCOME_EXCEPTION, 1, "", "why");
    uint32_t slot = slot_of(s, box);
    make_job(&queued, s);
    assert_int_equal(pool_run(s->pool, &queued.job), 0);
    struct wire_of_box order = wait_order(s); /* one is under way */
    send_box(s, &order);
    const struct wire_outcome head = { OUTCOME_OK, 0, 0, 0 }; /* has reported, and nobody has looked yet */
    char packet[TOKEN + sizeof(head)];
    memcpy(packet, second->order.token, TOKEN);
    memcpy(packet + TOKEN, &head, sizeof(head));
    assert_int_equal(send(second->control, packet, sizeof(packet), 0), sizeof(packet));
    int saved = begin_log();
    fd_close(&s->zygote);
    turn(s);
    const char *text = end_log(saved);
    assert_int_equal(silent.n_done, 1);
    assert_int_equal(silent.kind, OUTCOME_INTERNAL);
    assert_non_null(strstr(text, silent.job.id)); /* the same job_id is in the log */
    assert_non_null(strstr(text, "\"outcome\":\"internal\""));
    assert_int_equal(reported.n_done, 1);
    assert_int_equal(reported.kind, OUTCOME_OK);
    assert_false(pool_is_ready(s->pool));
    answer(s, slot, 0, 0);
    assert_int_equal(asked.n_done, 1);
    assert_int_equal(asked.kind, OUTCOME_EXCEPTION);
    assert_int_equal(queued.n_done, 0);
    assert_int_equal(pool_queue_length(s->pool), 1);
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->boxes[i].open) {
            assert_true(is_killed(&s->boxes[i]));
            close_box(&s->boxes[i]);
        }
    /* with the next one life goes on */
    bring_zygote(s);
    assert_true(no_order(s));
    tell(s, WIRE_WARM, 0, 0, 0);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(queued.n_done, 1);
    free_job(&silent);
    free_job(&reported);
    free_job(&asked);
    free_job(&queued);
    stop(s);
}

/* --- a zygote after the other --- */

/* What is told and ordered next is between the pool and @zygote. */
static int turn_to(struct scene *s, int zygote)
{
    int before = s->zygote;
    s->zygote = zygote;
    return before;
}

/* Has the pool let go of the zygote? */
static bool is_closed(struct scene *s, int zygote)
{
    char c;
    turn(s);
    return recv(zygote, &c, 1, MSG_DONTWAIT) == 0;
}

/* Another zygote comes, and is not warm yet.  Its predecessor is returned. */
static int bring_successor(struct scene *s)
{
    int old = s->zygote;
    bring_zygote(s);
    return old;
}

/* While the successor warms up all is as before; then each of its boxes takes the place of one of the old. */
static void test_rotation(void **state)
{
    struct scene *s = start_warm(SLOTS, 2, 2, 0);

    (void) state;
    struct box_end *first = wait_box(s), *second = wait_box(s);
    int old = bring_successor(s), new = turn_to(s, old);
    assert_false(is_killed(first) || is_killed(second));
    run_well(s, second);
    bury(s, second);
    second = wait_box(s); /* ordered from the old */
    turn_to(s, new);
    assert_true(no_order(s));
    tell(s, WIRE_WARM, 0, 0, 0);
    assert_true(pool_is_ready(s->pool));
    assert_false(is_killed(first) || is_killed(second));
    struct wire_of_box orders[2];
    assert_true(get_order(s, &orders[0]) && get_order(s, &orders[1]));
    assert_true(no_order(s));
    for (int i = 0; i < 2; i++) {
        struct box_end *box = send_box(s, &orders[i]);
        assert_int_equal(is_killed(first) + is_killed(second), i);
        say_state(s, box, BOX_READY, 0);
        assert_int_equal(is_killed(first) + is_killed(second), i + 1);
    }
    assert_true(no_order(s));
    turn_to(s, old);
    assert_true(no_order(s));
    bury(s, first);
    assert_false(is_closed(s, old));
    bury(s, second);
    assert_true(is_closed(s, old)); /* with its last box */
    turn_to(s, new);
    assert_true(pool_is_ready(s->pool));
    assert_int_equal(s->n_ready, 1);
    close(old);
    stop(s);
}

/* Until the new boxes are there the old ones are used; what runs in them runs to its end. */
static void test_rotation_under_load(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 2, 0);
    struct told in_old, after, in_new;

    (void) state;
    struct box_end *first = wait_box(s);
    begin(s, &in_old, first);
    int old = bring_successor(s), new = turn_to(s, old);
    make_job(&after, s);
    assert_int_equal(pool_run(s->pool, &after.job), 0); /* a second at the same time, which must wait for a box */
    assert_int_equal(pool_queue_length(s->pool), 1);
    struct wire_of_box order = wait_order(s); /* of the old, and on its way when the new one is warm */
    turn_to(s, new);
    tell(s, WIRE_WARM, 0, 0, 0);
    turn_to(s, old);
    struct box_end *second = send_box(s, &order);
    say_state(s, second, BOX_READY, 0);
    take_order(second, "pass");
    report(s, second, OUTCOME_OK, 0, "2", "");
    assert_int_equal(after.n_done, 1);
    bury(s, second);
    assert_true(no_order(s));
    assert_false(is_closed(s, old));
    turn_to(s, new);
    struct box_end *box = wait_box(s);
    begin(s, &in_new, box);
    report(s, box, OUTCOME_OK, 0, "3", "");
    assert_true(is(&in_new.result, "3"));
    turn_to(s, old);
    report(s, first, OUTCOME_OK, 0, "1", "");
    assert_true(is(&in_old.result, "1"));
    bury(s, first);
    assert_true(is_closed(s, old));
    turn_to(s, new);
    free_job(&in_old);
    free_job(&after);
    free_job(&in_new);
    close(old);
    stop(s);
}

/* A box of the old zygote that is late: there are enough without it, and nothing would ever use it up. */
static void test_rotation_overtaken(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);

    (void) state;
    struct box_end *first = wait_box(s);
    run_well(s, first);
    bury(s, first);
    struct wire_of_box order = wait_order(s);
    int old = bring_successor(s), new = turn_to(s, old);
    turn_to(s, new);
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    turn_to(s, old);
    struct box_end *late = send_box(s, &order);
    say_state(s, late, BOX_READY, 0);
    assert_true(is_killed(late));
    bury(s, late);
    assert_true(is_closed(s, old));
    turn_to(s, new);
    assert_true(pool_is_ready(s->pool));
    close(old);
    stop(s);
}

/* A successor that never gets warm changes nothing, whether it dies or yet another comes. */
static void test_successor_lost(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);

    (void) state;
    struct box_end *box = wait_box(s);
    int old = bring_successor(s);
    fd_close(&s->zygote); /* it dies */
    turn(s);
    assert_true(pool_is_ready(s->pool));
    bring_zygote(s);
    int replaced = bring_successor(s), last = turn_to(s, old);
    assert_true(is_closed(s, replaced));
    close(replaced);
    assert_false(is_closed(s, old) || is_closed(s, last));
    run_well(s, box);
    bury(s, box);
    box = wait_box(s); /* the old one makes the boxes still */
    turn_to(s, last);
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    assert_true(is_killed(box));
    turn_to(s, old);
    bury(s, box);
    assert_true(is_closed(s, old));
    turn_to(s, last);
    close(old);
    stop(s);
}

/* The old one dies before its last box is gone: what runs there is lost, and nothing else. */
static void test_retired_lost(void **state)
{
    struct scene *s = start_warm(SLOTS, 2, 2, 0);
    struct told lost;

    (void) state;
    struct box_end *waiting = wait_box(s), *box = wait_box(s);
    begin(s, &lost, box);
    int old = bring_successor(s);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *fresh = wait_box(s);
    close(old);
    turn(s);
    assert_int_equal(lost.n_done, 1);
    assert_int_equal(lost.kind, OUTCOME_INTERNAL);
    assert_true(is_killed(waiting) && is_killed(box) && !is_killed(fresh));
    close_box(waiting);
    close_box(box);
    assert_true(pool_is_ready(s->pool));
    run_well(s, fresh);
    free_job(&lost);
    stop(s);
}

/* The zygote that makes the boxes dies while its successor warms up: who waits is served by that. */
static void test_lost_before_its_successor(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    close(bring_successor(s));
    turn(s);
    assert_true(is_killed(box));
    close_box(box);
    assert_false(pool_is_ready(s->pool));
    make_job(&t, s);
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    tell(s, WIRE_WARM, 0, 0, 0);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    free_job(&t);
    stop(s);
}

/* A zygote has made its number of boxes: another is asked for, once, and meanwhile it goes on. */
static void test_rotate_runs(void **state)
{
    struct scene *s = start_with((struct wire_server_conf){
        .n_slots = SLOTS, .runtimes[0].pool_size = 1, .max_runs = 1, .rotate_runs = 3, .rotate_age_ms = LONG_MS });
    int old = -1;

    (void) state;
    for (unsigned zygote = 0; zygote < 2; zygote++) {
        tell(s, WIRE_WARM, 0, 0, 0);
        for (unsigned i = 1; i <= 5; i++) {
            struct box_end *box = wait_box(s);
            assert_int_equal(s->n_zygotes_asked, zygote + (i >= 3));
            run_well(s, box);
            bury(s, box);
        }
        if (zygote == 0)
            old = bring_successor(s);
    }
    close(old);
    stop(s);
}

/* It has served its time, counted for each from its own start. */
static void test_rotate_age(void **state)
{
    struct scene *s = start_with((struct wire_server_conf){
        .n_slots = SLOTS, .runtimes[0].pool_size = 1, .max_runs = 1, .rotate_runs = 2, .rotate_age_ms = 50 });

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    while (!s->n_zygotes_asked)
        uv_run(&s->loop, UV_RUN_ONCE);
    run_well(s, box);
    wait_box(s);
    assert_int_equal(s->n_zygotes_asked, 1); /* not again for its number of boxes */
    int old = bring_successor(s);
    while (s->n_zygotes_asked < 2)
        uv_run(&s->loop, UV_RUN_ONCE);
    close(old);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zygote_lost),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_rotation_overtaken),
        cmocka_unit_test(test_rotation_under_load),
        cmocka_unit_test(test_successor_lost),
        cmocka_unit_test(test_retired_lost),
        cmocka_unit_test(test_lost_before_its_successor),
        cmocka_unit_test(test_rotate_runs),
        cmocka_unit_test(test_rotate_age),
    };

    scene_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
