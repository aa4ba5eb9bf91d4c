/* SPDX-License-Identifier: Apache-2.0 */
/* What a box reports, true or forged, and what the clocks of the pool do where nothing comes. */
#include "scene.h"

#include "base/fd.h"
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static void test_wrong_token(void **state)
{
    static const struct wire_outcome forged = { OUTCOME_OK, 0, 1, 0 };
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    unsigned char token[TOKEN];
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    for (unsigned i = 0; i < TOKEN; i++) { /* each byte counts */
        memcpy(token, box->order.token, TOKEN);
        token[i] ^= 1;
        send_packet(s, box, token, &forged, sizeof(forged), "1", 1);
    }
    for (size_t n = 1; n < TOKEN + sizeof(forged); n++) { /* nor half a token, nor half a head */
        char packet[TOKEN + sizeof(forged)] = { 0 };
        memcpy(packet, box->order.token, TOKEN);
        assert_int_equal(send(box->control, packet, n, 0), n);
        turn(s);
    }
    assert_int_equal(t.n_done, 0);
    send_head(s, box, (struct wire_outcome){ OUTCOME_OK, 0, 4, 0 }, "[1", 2);
    send_packet(s, box, token, &forged, sizeof(forged), "9", 1); /* between two pieces */
    assert_int_equal(t.n_done, 0);
    send_piece(s, box, "2]", 2);
    while (t.n_done == 0) /* after what is not of our code the socket rests */
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(t.n_done, 1);
    assert_true(is(&t.result, "[12]"));
    free_job(&t);
    stop(s);
}

/* What the box says of its time counts where it can be true, and not at all otherwise. */
static void test_stamps(void **state)
{
    enum {
        RIGHT,
        EARLY,
        SWAPPED,
        COMPILED_LATE,
        FUTURE,
        NEGATIVE,
        REHEARSED,
        LONG_REHEARSED,
        REHEARSED_BACK,
        NONE,
        CASES
    };
    struct scene *s = start_warm(2, 1, 1, 0);

    (void) state;
    for (int i = 0; i < CASES; i++) {
        struct told t;
        struct box_end *box = wait_box(s);
        begin(s, &t, box);
        int64_t now = now_us(), started = t.job.started_us;
        const struct wire_stamps cases[] = {
            [RIGHT] = { 0, started, now, now },
            [EARLY] = { 0, started - 1, now, now },
            [SWAPPED] = { 0, now, started - 1, now },
            [COMPILED_LATE] = { 0, started, now + 1, now },
            [FUTURE] = { 0, started, now, now + 60000000 },
            [NEGATIVE] = { 0, INT64_MIN, INT64_MIN, INT64_MIN },
            [REHEARSED] = { 1, now, now, now },
            [LONG_REHEARSED] = { 60000000, now, now, now },
            [REHEARSED_BACK] = { -1, now, now, now },
            [NONE] = { 0 },
        };
        struct wire_outcome head = { OUTCOME_OK, 0, 1, 0, cases[i] };
        send_head(s, box, head, "7", 1);
        assert_int_equal(t.n_done, 1); /* it is a good report all the same */
        assert_true(is(&t.result, "7"));
        bool counts = i == RIGHT || i == REHEARSED;
        const struct wire_stamps none = { 0 };
        assert_memory_equal(&t.job.stamps, counts ? &cases[i] : &none, sizeof(none));
        tell(s, WIRE_EXITED, slot_of(s, box), box->serial, 9);
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

/* The same report whole, in two pieces cut anywhere, and byte by byte. */
static void test_pieces(void **state)
{
    static const char body[] = "{\"a\": [1, 2.5, \"x\"]}Traceback";
    const size_t len = sizeof(body) - 1, error_len = 9;
    struct scene *s = start_warm(SLOTS, 1, 1, 0);

    (void) state;
    for (size_t cut = 0; cut <= len + 1; cut++) {
        struct box_end *box = wait_box(s);
        struct wire_outcome head = { OUTCOME_EXCEPTION, 1, (int64_t) (len - error_len), (int64_t) error_len };
        struct told t;
        begin(s, &t, box);
        send_head(s, box, head, body, cut <= len ? cut : 0);
        assert_int_equal(s->n_asked, cut == len);
        if (cut < len)
            send_piece(s, box, body + cut, len - cut);
        else if (cut > len)
            for (size_t i = 0; i < len; i++) {
                assert_int_equal(s->n_asked, 0);
                send_piece(s, box, body + i, 1);
            }
        assert_int_equal(s->n_asked, 1);
        s->n_asked = 0;
        answer(s, slot_of(s, box), 0, 0);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, OUTCOME_EXCEPTION);
        assert_true(is(&t.error, "Traceback"));
        assert_int_equal(t.result.len, len - error_len);
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

static void test_large_report(void **state)
{
    static char body[RESULT_MAX];
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    memset(body, '1', sizeof(body));
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    send_head(s, box, (struct wire_outcome){ OUTCOME_OK, 0, RESULT_MAX, 0 }, body, WIRE_PIECE);
    for (size_t at = WIRE_PIECE; at < RESULT_MAX; at += WIRE_PIECE)
        send_piece(s, box, body, RESULT_MAX - at < WIRE_PIECE ? RESULT_MAX - at : WIRE_PIECE);
    while (!t.n_done) /* it is checked in a thread */
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.kind, OUTCOME_OK);
    assert_int_equal(t.result.len, RESULT_MAX);
    assert_memory_equal(t.result.data, body, RESULT_MAX);
    free_job(&t);
    stop(s);
}

/* Lengths that cannot be end the run at once; nothing waits for bytes that never come. */
static void test_lies(void **state)
{
    static const struct wire_outcome lies[] = {
        { OUTCOME_OK, 0, -1, 0 },
        { OUTCOME_OK, 0, 0, -1 },
        { OUTCOME_OK, 0, INT64_MIN, INT64_MAX },
        { OUTCOME_OK, 0, INT64_MAX, INT64_MAX },
        { OUTCOME_OK, 0, 1LL << 40, 0 },
        { OUTCOME_OK, 0, 0, 1LL << 40 },
        { OUTCOME_OK, 0, 0, 0 }, /* and "1" behind it */
        { OUTCOME_TIMEOUT, 0, 1, 0 },
        { OUTCOME_OK, 7, 1, 0 },
    };
    struct scene *s = start_warm(SLOTS, 1, 1, 0);

    (void) state;
    for (unsigned i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        struct box_end *box = wait_box(s);
        struct told t;
        begin(s, &t, box);
        send_head(s, box, lies[i], "1", 1);
        answer(s, slot_of(s, box), 0, 0);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, OUTCOME_EXIT);
        assert_int_equal(t.exit_code, 1);
        assert_int_equal(t.result.len, 0);
        assert_true(is_killed(box));
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

/* An empty packet looks like the end of the stream; the report behind it counts when the program has ended. */
static void test_empty_packet(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    assert_int_equal(send(box->control, "", 0, 0), 0);
    turn(s);
    report(s, box, OUTCOME_OK, 0, "5", "");
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, 0);
    assert_int_equal(t.n_done, 1);
    assert_true(is(&t.result, "5"));
    free_job(&t);
    stop(s);
}

/* The last words of a program that is reaped before they were read. */
static void test_report_then_exit(void **state)
{
    struct wire_exited exited = { .type = WIRE_EXITED, .status = SIGKILL };
    struct wire_outcome head = { OUTCOME_OK, 0, 1, 0 };
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    char packet[TOKEN + sizeof(head) + 1];
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    exited.slot = slot_of(s, box);
    exited.serial = box->serial;
    memcpy(packet, box->order.token, TOKEN);
    memcpy(packet + TOKEN, &head, sizeof(head));
    packet[TOKEN + sizeof(head)] = '5';
    fd_send(s->zygote, &exited, sizeof(exited), NULL, 0);
    assert_int_equal(send(box->control, packet, sizeof(packet), 0), sizeof(packet));
    turn(s);
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.kind, OUTCOME_OK);
    assert_true(is(&t.result, "5"));
    free_job(&t);
    stop(s);
}

/* --- time --- */

static void test_timeout(void **state)
{
    struct scene *s = start_warm(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    struct box_end *box = wait_box(s);
    make_job(&t, s);
    t.job.timeout_ms = 50;
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    take_order(box, "pass");
    write_text(box->out, "so far");
    send_head(s, box, (struct wire_outcome){ OUTCOME_OK, 0, 5, 0 }, "[1", 2); /* half a report is none */
    while (!t.n_done)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(t.kind, OUTCOME_TIMEOUT);
    assert_int_equal(t.exit_code, 137);
    assert_int_equal(t.result.len, 0);
    assert_true(is(&t.out, "so far"));
    assert_true(t.job.ended_us - t.job.started_us >= 50000);
    assert_true(is_killed(box));
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, SIGKILL);
    bury(s, box);
    assert_int_equal(t.n_done, 1);
    free_job(&t);
    stop(s);
}

/* The supervisor does not answer: the outcome that is known is told soon, whatever time the program had left. */
static void test_no_answer(void **state)
{
    (void) state;
    for (int zygote_lives = 0; zygote_lives < 2; zygote_lives++) {
        struct scene *s = start_warm(SLOTS, 1, 1, 0);
        struct told t;
        struct box_end *box = wait_box(s);
        begin(s, &t, box);
        report(s, box, OUTCOME_EXCEPTION, 1, "", "why");
        assert_int_equal(s->n_asked, 1);
        if (!zygote_lives)
            fd_close(&s->zygote);
        while (!t.n_done)
            uv_run(&s->loop, UV_RUN_ONCE);
        assert_int_equal(t.kind, OUTCOME_EXCEPTION);
        assert_true(is(&t.error, "why"));
        assert_true(t.job.ended_us - t.job.started_us < LONG_MS / 2 * 1000LL);
        answer(s, slot_of(s, box), 1, 1);
        assert_int_equal(t.n_done, 1);
        free_job(&t);
        stop(s);
    }
}

/* An answer that comes when the slot has another box is not about that. */
static void test_late_answer(void **state)
{
    struct scene *s = start_warm(1, 1, 1, 0);
    struct told first, second;

    (void) state;
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    report(s, box, OUTCOME_EXIT, 1, "", "");
    uint32_t serial = s->asked_serial;
    pool_cancel(s->pool, &first.job);
    bury(s, box);
    box = wait_box(s);
    begin(s, &second, box);
    report(s, box, OUTCOME_EXIT, 1, "", "");
    assert_int_equal(s->n_asked, 2);
    assert_int_not_equal(s->asked_serial, serial);
    answer_about(s, 0, serial, 9, 9);
    assert_int_equal(second.n_done, 0);
    answer(s, 0, 0, 0);
    assert_int_equal(second.n_done, 1);
    assert_int_equal(second.kind, OUTCOME_EXIT);
    free_job(&first);
    free_job(&second);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_token),      cmocka_unit_test(test_stamps),  cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_large_report),     cmocka_unit_test(test_lies),    cmocka_unit_test(test_empty_packet),
        cmocka_unit_test(test_report_then_exit), cmocka_unit_test(test_timeout), cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_late_answer),
    };

    scene_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
