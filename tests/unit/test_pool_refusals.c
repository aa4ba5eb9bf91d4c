/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes that do not come, and messages that cannot be. */
#include "scene.h"

#include "base/fd.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Who waits is told after a while, and who comes then waits anew.  Jobs behind a full house wait as long as it takes. */
static void test_no_box_comes(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    unsigned before = open_fds();
    struct scene *full = start(SLOTS, 1, 1, 0);
    struct told cancelled, first, second, late, running, patient;

    (void) state;
    tell(full, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(full);
    begin(full, &running, box);
    make_job(&patient, full);
    assert_int_equal(pool_run(full->pool, &patient.job), 0);
    make_job(&cancelled, s);
    make_job(&first, s);
    make_job(&second, s);
    make_job(&late, s);
    first.next = &late;
    assert_int_equal(pool_run(s->pool, &cancelled.job), 0);
    assert_int_equal(pool_run(s->pool, &first.job), 0);
    assert_int_equal(pool_run(s->pool, &second.job), 0);
    pool_cancel(s->pool, &cancelled.job);
    while (!first.n_refused)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_true(first.job.ended_us - first.job.queued_us > 1000000);
    assert_int_equal(second.n_refused, 1);
    assert_int_equal(late.n_refused, 0);
    assert_int_equal(pool_queue_length(s->pool), 1);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *at_last = wait_box(s);
    take_order(at_last, "pass");
    report(s, at_last, OUTCOME_OK, 0, "", "");
    assert_int_equal(late.n_done, 1);
    bury(s, at_last);
    assert_int_equal(first.n_done + second.n_done + cancelled.n_done + cancelled.n_refused, 0);
    turn(full);
    assert_int_equal(patient.n_refused, 0);
    report(full, box, OUTCOME_OK, 0, "", "");
    box = wait_box(full);
    take_order(box, "pass");
    report(full, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(patient.n_done, 1);
    struct told *all[] = { &cancelled, &first, &second, &late, &running, &patient };
    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
        free_job(all[i]);
    stop(full);
    s->fds_before += open_fds() - before; /* its loop stays */
    stop(s);
}

/* What a zygote may not send is its end, and no descriptor of it stays. */
static void test_bad_message(void **state)
{
    static const struct {
        enum wire_type type;
        size_t size;
        unsigned n_fds;
    } bad[] = {
        { WIRE_WARM, sizeof(struct wire_plain) - 1, 3 }, { WIRE_WARM, sizeof(struct wire_exited) + 1, 3 },
        { WIRE_WARM, sizeof(struct wire_plain), 3 },     { WIRE_WARM, 0, 3 },
        { WIRE_BOX, sizeof(struct wire_of_box), 3 },     { WIRE_BOX, sizeof(struct wire_of_box), 5 },
        { WIRE_GONE, sizeof(struct wire_exited), 0 },    { WIRE_SPAWN, sizeof(struct wire_of_box), 0 },
        { WIRE_READY, sizeof(struct wire_plain), 0 },    { 77, sizeof(struct wire_of_box), 4 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct scene *s = start(SLOTS, 1, 1, 0);
        char msg[sizeof(struct wire_exited) + 1] = { 0 };
        const int fds[5] = { 0 };
        char c;
        memcpy(msg, &bad[i].type, sizeof(bad[i].type));
        assert_int_equal(fd_send(s->zygote, msg, bad[i].size, fds, bad[i].n_fds), 0);
        turn(s);
        assert_false(pool_is_ready(s->pool));
        assert_int_equal(recv(s->zygote, &c, 1, MSG_DONTWAIT), 0); /* it is let go */
        stop(s);
    }
}

/* It is warm once. */
static void test_warm_twice(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    char c;

    (void) state;
    wait_order(s);
    tell(s, WIRE_WARM, 0, 0, 0);
    assert_int_equal(recv(s->zygote, &c, 1, MSG_DONTWAIT), 0);
    stop(s);
}

/* Messages about boxes that there are not, or not in that state. */
static void test_strange_messages(void **state)
{
    static const enum wire_type types[] = { WIRE_BOX, WIRE_EXITED, WIRE_GONE };
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    const uint32_t slot = slot_of(s, box);
    const struct wire_of_box about[] = {
        { .slot = SLOTS }, { .slot = UINT32_MAX },         { .slot = slot, .serial = box->serial - 1 },
        { .slot = slot },  { .slot = (slot + 1) % SLOTS }, { .slot = slot, .serial = box->serial + 1 },
    };
    unsigned before = open_fds();
    for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++)
        for (unsigned j = 0; j < sizeof(about) / sizeof(*about); j++)
            tell_with(s, types[i], about[j].slot, about[j].serial, types[i] == WIRE_GONE ? -ENOMEM : 0,
                      types[i] == WIRE_BOX ? 4 : 0);
    /* a second box in a slot that has one */
    tell_with(s, WIRE_BOX, slot, box->serial, 0, 4);
    assert_int_equal(open_fds(), before);
    assert_int_equal(t.n_done, 0);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(wait_order(s).type, WIRE_SPAWN);
    assert_true(no_order(s)); /* one box, as ever */
    free_job(&t);
    stop(s);
}

/* A zygote that somebody has taken over keeps the pipes that it passes on, and has the flags that they share. */
static void test_pipe_that_waits(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    struct wire_of_box order = wait_order(s);
    int fds[4];
    struct box_end *box = give_box(s, &order, fds);
    close(fds[0]);
    close(fds[3]);
    say_state(s, box, BOX_READY, 0);
    begin(s, &t, box);
    alarm(60); /* SIGALRM ends a test that waits */
    assert_int_equal(fcntl(fds[1], F_SETFL, 0) | fcntl(fds[2], F_SETFL, 0), 0);
    write_text(box->out, "before");
    report(s, box, OUTCOME_OK, 0, "", "");
    alarm(0);
    assert_int_equal(t.n_done, 1);
    assert_true(is(&t.out, "before") && is(&t.err, ""));
    close(fds[1]);
    close(fds[2]);
    free_job(&t);
    bury(s, box);
    stop(s);
}

/* What is no pipe, or no socket of the kind, in each place: none of it becomes a box, and the pool goes on. */
static void test_strange_ends(void **state)
{
    struct scene *s = start_warm(SLOTS, SLOTS, 1, 0);

    (void) state;
    for (int place = 0; place < 4; place++)
        for (int kind = 0; kind < 4; kind++) {
            struct wire_of_box order = wait_order(s);
            struct wire_of_box msg = { .type = WIRE_BOX, .slot = order.slot, .serial = order.serial };
            unsigned before = open_fds();
            int control[2], other[2], ends[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other), 0);
            assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
            int strange[] = { memfd_create("file", MFD_CLOEXEC), open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                              other[0], place == 0 ? ends[0] : control[0] };
            int fds[] = { control[0], ends[0], ends[0], ends[1] };
            fds[place] = strange[kind];
            assert_true(strange[0] >= 0 && strange[1] >= 0);
            assert_int_equal(fd_send(s->zygote, &msg, sizeof(msg), fds, 4), 0);
            turn(s);
            const int all[] = { control[0], control[1], other[0], other[1], ends[0], ends[1], strange[0], strange[1] };
            for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
                close(all[i]);
            assert_int_equal(open_fds(), before);
            tell(s, WIRE_GONE, order.slot, order.serial, 0);
        }
    struct box_end *box = wait_box(s);
    run_well(s, box);
    stop(s);
}

/* The ways in which a box fails to come. */
static void fail_to_come(struct scene *s, const struct wire_of_box *order, int way)
{
    struct box_end *box = way > 2 ? send_box(s, order) : NULL;

    switch (way) {
    case 0: tell(s, WIRE_GONE, order->slot, order->serial, -ENOMEM); return;
    case 1: break; /* its WIRE_BOX was lost */
    case 2: tell(s, WIRE_EXITED, order->slot, order->serial, 9); break;
    case 3: say_state(s, box, BOX_SECCOMP, ENOSYS); break;
    case 4: fd_close(&box->control); break; /* it died before its first word */
    case 5: assert_int_equal(send(box->control, "x", 1, 0), 1); break;
    case 6: tell(s, WIRE_GONE, order->slot, order->serial, -ENOMEM); break; /* it is there, all the same */
    }
    turn(s);
    if (box && box->open) {
        assert_true(is_killed(box));
        close_box(box);
    }
    if (way != 6)
        tell(s, WIRE_GONE, order->slot, order->serial, 0);
}

/* Another is ordered after a pause, never in a tight loop, and not one more or less than there should be. */
static void test_failures(void **state)
{
    (void) state;
    for (int way = 0; way < 7; way++) {
        struct scene *s = start_warm(2, 1, 1, 0);
        struct wire_of_box order = wait_order(s);
        int64_t at = now_us();
        fail_to_come(s, &order, way);
        assert_int_equal(s->n_refused, way == 3); /* a layer that is not to be had; all else may pass */
        struct box_end *box = get_order(s, &order) ? make_box(s, &order) : wait_box(s);
        if (now_us() - at < 400000) /* not by the number of turns: this process may have stood still */
            fail_msg("way %d: ordered again at once", way);
        assert_true(no_order(s));
        run_well(s, box);
        bury(s, box);
        wait_box(s);
        assert_true(no_order(s));
        stop(s);
    }
}

/* A jail that fails when others have worked is no reason to give up. */
static void test_later_failure(void **state)
{
    struct scene *s = start_warm(2, 2, 1, 0);

    (void) state;
    wait_box(s);
    struct wire_of_box order = wait_order(s);
    say_state(s, send_box(s, &order), BOX_CGROUP, EIO);
    assert_int_equal(s->n_ready, 1);
    assert_int_equal(s->n_refused, 0);
    assert_true(pool_is_ready(s->pool));
    stop(s);
}

/* A waiting box that ends, is buried, or speaks: it is not given a job. */
static void test_waiting_ends(void **state)
{
    struct scene *s = start_warm(SLOTS, 2, 2, 0);

    (void) state;
    struct box_end *good = wait_box(s);
    for (int way = 0; way < 3; way++) {
        struct box_end *box = wait_box(s);
        uint32_t slot = slot_of(s, box);
        if (way == 0)
            fd_close(&box->control);
        if (way == 1)
            assert_int_equal(send(box->control, "x", 1, 0), 1);
        if (way == 2) {
            tell(s, WIRE_EXITED, slot, box->serial, 9);
            tell(s, WIRE_GONE, slot, box->serial, 0);
        }
        turn(s);
        assert_true(is_killed(box));
        if (way < 2)
            bury(s, box);
        else
            close_box(box);
    }
    run_well(s, good);
    assert_int_equal(s->n_refused, 0);
    stop(s);
}

/* The box died, and nobody has noticed when a job is handed over: another runs it. */
static void test_dead_box(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    fd_close(&box->control);
    make_job(&t, s);
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    turn(s);
    assert_int_equal(t.n_done, 0);
    assert_int_equal(pool_queue_length(s->pool), 1);
    assert_true(is_killed(box));
    assert_true(no_order(s)); /* not in a tight loop */
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, SIGKILL);
    struct box_end *other = wait_box(s);
    take_order(other, "pass");
    bury(s, box);
    report(s, other, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.kind, OUTCOME_OK);
    free_job(&t);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_box_comes),    cmocka_unit_test(test_bad_message),
        cmocka_unit_test(test_warm_twice),      cmocka_unit_test(test_strange_messages),
        cmocka_unit_test(test_pipe_that_waits), cmocka_unit_test(test_strange_ends),
        cmocka_unit_test(test_failures),        cmocka_unit_test(test_later_failure),
        cmocka_unit_test(test_waiting_ends),    cmocka_unit_test(test_dead_box),
    };

    scene_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
