/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of deliveries: order within a host, independence between hosts, both limits. */
#include "courier/lane.h"

#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct delivery *make(const char *host, uint64_t number)
{
    struct delivery *d = xcalloc(1, sizeof(*d));

    d->order.delivery = number;
    snprintf(d->url.host, sizeof(d->url.host), "%s", host);
    return d;
}

static void add(struct lanes *lanes, const char *host, uint64_t number)
{
    assert_int_equal(lanes_add(lanes, make(host, number)), 0);
}

static struct delivery *expect(struct lanes *lanes, uint64_t number)
{
    struct delivery *d = lanes_next(lanes);

    if (!d || d->order.delivery != number)
        fail_msg("delivery %d instead of %d", d ? (int) d->order.delivery : -1, (int) number);
    return d;
}

static void end(struct lanes *lanes, struct delivery *d)
{
    lanes_done(lanes, d);
    delivery_free(d, NULL);
}

static void expect_empty(struct lanes *lanes)
{
    assert_null(lanes_next(lanes));
    assert_int_equal(lanes->n_waiting, 0);
    assert_int_equal(lanes->n_running, 0);
    assert_true(TAILQ_EMPTY(&lanes->lanes));
}

static void test_order(void **state)
{
    struct lanes lanes;

    (void) state;
    lanes_init(&lanes, 1, 10);
    for (uint64_t i = 0; i < 5; i++)
        add(&lanes, "a", i);
    for (uint64_t i = 0; i < 5; i++) {
        struct delivery *d = expect(&lanes, i);
        assert_null(lanes_next(&lanes));
        end(&lanes, d);
    }
    expect_empty(&lanes);
}

/* A host at its limit holds up nobody, and hosts take turns whatever they have waiting. */
static void test_hosts(void **state)
{
    struct delivery *d[6];
    struct lanes lanes;

    (void) state;
    lanes_init(&lanes, 2, 10);
    for (uint64_t i = 0; i < 4; i++)
        add(&lanes, "a", 10 + i);
    add(&lanes, "b", 20);
    add(&lanes, "c", 30);
    d[0] = expect(&lanes, 10);
    d[1] = expect(&lanes, 20);
    d[2] = expect(&lanes, 30);
    d[3] = expect(&lanes, 11);
    assert_null(lanes_next(&lanes));
    add(&lanes, "b", 21);
    d[4] = expect(&lanes, 21);
    end(&lanes, d[0]);
    d[5] = expect(&lanes, 12);
    assert_null(lanes_next(&lanes));
    for (int i = 1; i < 6; i++)
        end(&lanes, d[i]);
    end(&lanes, expect(&lanes, 13));
    expect_empty(&lanes);
}

static void test_in_all(void **state)
{
    struct delivery *d[2];
    struct lanes lanes;

    (void) state;
    lanes_init(&lanes, 2, 2);
    add(&lanes, "a", 1);
    add(&lanes, "b", 2);
    add(&lanes, "c", 3);
    d[0] = expect(&lanes, 1);
    d[1] = expect(&lanes, 2);
    assert_null(lanes_next(&lanes));
    end(&lanes, d[1]);
    d[1] = expect(&lanes, 3);
    end(&lanes, d[0]);
    end(&lanes, d[1]);
    expect_empty(&lanes);
}

static void test_full(void **state)
{
    struct delivery *extra = make("a", 999), *running;
    struct lanes lanes;

    (void) state;
    lanes_init(&lanes, 1, 10);
    add(&lanes, "a", 1);
    running = expect(&lanes, 1);
    for (uint64_t i = 0; i < LANE_MAX; i++)
        add(&lanes, "a", i);
    assert_int_equal(lanes_add(&lanes, extra), -EAGAIN);
    assert_int_equal(lanes.n_waiting, LANE_MAX);
    add(&lanes, "b", 7);
    delivery_free(extra, NULL);
    lanes_clear(&lanes);
    assert_int_equal(lanes.n_waiting, 0);
    end(&lanes, running);
    expect_empty(&lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_in_all),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
