/* SPDX-License-Identifier: Apache-2.0 */
/* Two runtimes in one pool, one of which rests. */
#include "scene.h"

#include <unistd.h>

/* The other runtime's zygote comes, and is the one that is spoken for from here; the default's is returned. */
static int bring_other(struct scene *s)
{
    int pair[2], first = s->zygote;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->zygote = pair[0];
    pool_zygote(s->pool, 1, pair[1]);
    return first;
}

static struct scene *start_two(int64_t idle_ms)
{
    return start_with((struct wire_server_conf){ .n_slots = SLOTS,
                                                 .n_runtimes = 2,
                                                 .runtimes[0].pool_size = 1,
                                                 .runtimes[1] = { .pool_size = 1, .idle_ms = idle_ms },
                                                 .max_runs = 2 });
}

/* A job waits for a box of its own runtime, which is asked for once, and holds up nobody. */
static void test_two_runtimes(void **state)
{
    struct scene *s = start_two(0);
    struct told other, second, here;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    make_job(&other, s);
    make_job(&second, s);
    other.job.runtime = second.job.runtime = 1;
    assert_int_equal(pool_run(s->pool, &other.job), 0);
    assert_int_equal(pool_run(s->pool, &second.job), 0);
    assert_int_equal(s->n_zygotes_asked, 1);
    assert_int_equal(s->asked_runtime, 1);
    assert_int_equal(pool_queue_length(s->pool), 2);
    make_job(&here, s);
    assert_int_equal(pool_run(s->pool, &here.job), 0);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(here.n_done, 1);
    assert_int_equal(other.n_done, 0);
    bury(s, box);
    int first = bring_other(s);
    assert_false(pool_is_warm(s->pool, 1));
    tell(s, WIRE_WARM, 0, 0, 0);
    assert_true(pool_is_warm(s->pool, 1));
    struct box_end *others = wait_box(s);
    take_order(others, "pass");
    assert_int_equal(pool_queue_length(s->pool), 1);
    pool_cancel(s->pool, &second.job);
    report(s, others, OUTCOME_OK, 0, "", "");
    assert_int_equal(other.n_done, 1);
    assert_int_equal(s->n_zygotes_asked, 1);
    free_job(&other);
    free_job(&second);
    free_job(&here);
    close(first);
    stop(s);
}

/* Without a job for so long it lets go of its interpreter, whose boxes end; the next job asks for another. */
static void test_runtime_rests(void **state)
{
    struct scene *s = start_two(30);
    struct told t;
    char c;

    (void) state;
    make_job(&t, s);
    t.job.runtime = 1;
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    int first = bring_other(s);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    free_job(&t);
    bury(s, box);
    box = wait_box(s);
    while (pool_is_warm(s->pool, 1))
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_true(is_killed(box));
    bury(s, box);
    assert_int_equal(recv(s->zygote, &c, 1, MSG_DONTWAIT), 0); /* its process ends with this */
    assert_int_equal(s->n_zygotes_asked, 1);
    make_job(&t, s);
    t.job.runtime = 1;
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    assert_int_equal(s->n_zygotes_asked, 2);
    pool_cancel(s->pool, &t.job);
    free_job(&t);
    close(first);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_runtimes),
        cmocka_unit_test(test_runtime_rests),
    };

    scene_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
