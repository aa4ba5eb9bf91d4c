/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes of the pool: when they are made, what a run sends and receives, and when its slot is free. */
#include "scene.h"

#include "base/fd.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* --- boxes --- */

static void test_orders(void **state)
{
    struct scene *s = start(SLOTS, 3, 2, 0);
    struct wire_of_box orders[3];

    (void) state;
    assert_true(no_order(s)); /* not before the zygote is warm */
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(get_order(s, &orders[i]));
        for (int j = 0; j < i; j++)
            assert_true(orders[i].slot != orders[j].slot && orders[i].serial > orders[j].serial);
    }
    assert_true(no_order(s));
    assert_false(pool_is_ready(s->pool));
    for (int i = 0; i < 3; i++) {
        struct box_end *box = send_box(s, &orders[i]);
        assert_int_equal(s->n_ready, i > 0);
        say_state(s, box, BOX_READY, 0);
        assert_int_equal(s->n_ready, 1); /* once */
        assert_true(pool_is_ready(s->pool));
    }
    assert_true(no_order(s));
    stop(s);
}

static void test_run(void **state)
{
    struct scene *s = start_warm(2, 1, 2, 0);
    struct told first, second;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    assert_int_equal(box->order.timeout_ms, LONG_MS);
    write_text(box->out, "printed\n");
    write_text(box->err, "warned\n");
    assert_true(no_order(s)); /* the next box is ordered when the reply has left */
    assert_true(pool_is_ready(s->pool));
    report(s, box, OUTCOME_OK, 0, "[1, 2]", "");
    assert_int_equal(first.n_done, 1);
    assert_int_equal(first.kind, OUTCOME_OK);
    assert_int_equal(first.exit_code, 0);
    assert_true(is(&first.result, "[1, 2]"));
    assert_true(is(&first.out, "printed\n") && is(&first.err, "warned\n"));
    assert_true(is_killed(box));
    assert_int_equal(s->n_asked, 0);
    struct box_end *next = wait_box(s);
    assert_ptr_not_equal(next, box); /* its slot is not free before the zygote says so */
    begin(s, &second, next);
    assert_memory_not_equal(next->order.token, box->order.token, TOKEN);
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, 9);
    bury(s, box);
    report(s, next, OUTCOME_OK, 0, "", "");
    assert_int_equal(second.n_done, 1);
    assert_int_equal(first.n_done, 1);
    assert_ptr_equal(wait_box(s), box); /* now it is */
    free_job(&first);
    free_job(&second);
    stop(s);
}

/* As many slots as boxes: the next is made when the last of the old is gone. */
static void test_slots(void **state)
{
    struct scene *s = start_warm(1, 1, 1, 0);

    (void) state;
    for (int i = 0; i < 5; i++) {
        struct box_end *box = wait_box(s);
        run_well(s, box);
        assert_true(no_order(s));
        tell(s, WIRE_EXITED, 0, box->serial, 9);
        assert_true(no_order(s));
        bury(s, box);
    }
    stop(s);
}

static void test_output(void **state)
{
    struct scene *s = start(SLOTS, 2, 2, 0);
    char text[OUTPUT_MAX * 3 + 1];
    struct told t;

    (void) state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    write_text(box->out, text);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.out.len, OUTPUT_MAX);
    assert_int_equal(t.out_total, OUTPUT_MAX * 3);
    assert_int_equal(t.err.len, 0);
    free_job(&t);
    /* told as it comes, and not kept */
    box = wait_box(s);
    begin(s, &t, box);
    t.job.on_output = on_output;
    write_text(box->out, "a");
    while (!t.live.len) /* without the report: the loop looks for it */
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_true(is(&t.live, "1a"));
    write_text(box->err, "b");
    fd_close(&box->err); /* an end of output is not the end of the run */
    turn(s);
    assert_int_equal(t.n_done, 0);
    write_text(box->out, "c");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_true(is(&t.live, "1a2b1c"));
    assert_int_equal(t.out.len, 0);
    assert_int_equal(t.out_total, 2);
    free_job(&t);
    stop(s);
}

/* A program that writes without end is read in turns, and its report is seen. */
static void test_flood(void **state)
{
    static char text[4096];
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;
    size_t written = 0;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    while (written < 4 << 20) {
        ssize_t n = write(box->out, text, sizeof(text));
        if (n > 0)
            written += (size_t) n;
        else
            uv_run(&s->loop, UV_RUN_ONCE);
    }
    while (write(box->out, text, sizeof(text)) > 0)
        written += sizeof(text);
    report(s, box, OUTCOME_OK, 0, "1", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.out_total, written);
    assert_int_equal(t.out.len, OUTPUT_MAX);
    free_job(&t);
    stop(s);
}

/* Without a report the wait status is the outcome, and a failure asks for the reason. */
static void test_exits(void **state)
{
    static const struct {
        int status;
        int64_t oom_kills, pid_refusals;
        enum outcome_kind kind;
        int exit_code;
    } ends[] = {
        { 0, 0, 0, OUTCOME_OK, 0 },
        { 3 << 8, 0, 0, OUTCOME_EXIT, 3 },
        { SIGSEGV, 0, 0, OUTCOME_SIGNAL, 139 },
        { SIGKILL, 2, 0, OUTCOME_MEMORY, 137 },
        { 1 << 8, 0, 7, OUTCOME_PROCESSES, 1 },
    };
    struct scene *s = start_warm(SLOTS, 1, 1, 0);

    (void) state;
    for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        struct box_end *box = wait_box(s);
        uint32_t slot = slot_of(s, box);
        struct told t;
        begin(s, &t, box);
        write_text(box->out, "before");
        fd_close(&box->control);
        turn(s);
        assert_int_equal(t.n_done, 0);
        s->n_asked = 0;
        tell(s, WIRE_EXITED, slot, box->serial, ends[i].status);
        assert_int_equal(s->n_asked, ends[i].kind != OUTCOME_OK);
        if (s->n_asked) {
            assert_int_equal(t.n_done, 0);
            assert_int_equal(s->asked_slot, slot);
            assert_int_equal(s->asked_serial, box->serial);
            bury(s, box); /* that all of it is gone changes nothing */
            answer(s, slot, ends[i].oom_kills, ends[i].pid_refusals);
        } else
            bury(s, box);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, ends[i].kind);
        assert_int_equal(t.exit_code, ends[i].exit_code);
        assert_true(is(&t.out, "before"));
        answer(s, slot, 5, 5); /* nobody has asked */
        free_job(&t);
    }
    stop(s);
}

/* Which reported failures are asked about. */
static void test_asks(void **state)
{
    static const struct {
        int kind, exit_code;
        bool asks;
    } kinds[] = {
        { OUTCOME_EXCEPTION, 1, true },
        { OUTCOME_EXIT, 2, true },
        { OUTCOME_SYNTAX, 1, false },
        { OUTCOME_RESULT, 0, false },
    };
    struct scene *s = start_warm(SLOTS, 1, 1, 0);

    (void) state;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct box_end *box = wait_box(s);
        struct told t;
        begin(s, &t, box);
        s->n_asked = 0;
        report(s, box, kinds[i].kind, kinds[i].exit_code, "", "why");
        assert_int_equal(s->n_asked, kinds[i].asks);
        assert_int_equal(t.n_done, !kinds[i].asks);
        answer(s, SLOTS + 5, 1, 1); /* a slot that there is not */
        if (kinds[i].asks)
            report(s, box, OUTCOME_OK, 0, "1", ""); /* too late */
        answer(s, slot_of(s, box), 0, 0);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, kinds[i].kind);
        assert_true(is(&t.error, "why"));
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

/* --- large sources --- */

static void test_source(void **state)
{
    static const size_t sizes[] = { 0, 1, WIRE_PIECE - 1, WIRE_PIECE, WIRE_PIECE + 1, WIRE_PIECE * 3, (1 << 20) + 7 };
    static char code[(1 << 20) + 7], packet[sizeof(struct wire_run) + WIRE_PIECE + 1];
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    for (size_t i = 0; i < sizeof(code); i++)
        code[i] = (char) (i * 7 + i / 251);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct box_end *box = wait_box(s);
        struct told t;
        make_job(&t, s);
        t.job.code = code;
        t.job.code_len = sizes[i];
        assert_int_equal(pool_run(s->pool, &t.job), 0);
        size_t at = 0;
        bool first = true;
        while (first || at < sizes[i]) {
            ssize_t n = recv(box->control, packet, sizeof(packet), MSG_DONTWAIT);
            if (n < 0) {
                uv_run(&s->loop, UV_RUN_ONCE);
                continue;
            }
            size_t head = first ? sizeof(struct wire_run) : 0;
            assert_true((size_t) n >= head && (size_t) n - head <= WIRE_PIECE);
            if (first)
                memcpy(&box->order, packet, head);
            assert_memory_equal(packet + head, code + at, (size_t) n - head);
            at += (size_t) n - head;
            first = false;
        }
        assert_int_equal(at, sizes[i]);
        assert_int_equal(box->order.code_len, sizes[i]);
        assert_true(recv(box->control, packet, sizeof(packet), MSG_DONTWAIT) < 0);
        report(s, box, OUTCOME_OK, 0, "1", "");
        assert_int_equal(t.n_done, 1);
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders), cmocka_unit_test(test_run),    cmocka_unit_test(test_slots),
        cmocka_unit_test(test_output), cmocka_unit_test(test_flood),  cmocka_unit_test(test_exits),
        cmocka_unit_test(test_asks),   cmocka_unit_test(test_source),
    };

    scene_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
