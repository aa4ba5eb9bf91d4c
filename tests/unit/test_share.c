/* SPDX-License-Identifier: Apache-2.0 */
/* Turns between shares; and the file of keys, which says how large each is. */
#include "base/keyfile.h"
#include "base/fair.h"
#include "server/pool/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { N_SHARES = 3, N_JOBS = 64 };

struct scene {
    struct shares shares;
    struct share share[N_SHARES];
    struct job jobs[N_JOBS];
    unsigned n_jobs;
};

static void scene_init(struct scene *s)
{
    memset(s, 0, sizeof(*s));
    shares_init(&s->shares);
    for (int i = 0; i < N_SHARES; i++)
        share_init(&s->share[i]);
}

static void add(struct scene *s, int share, int n)
{
    while (n--) {
        struct job *job = &s->jobs[s->n_jobs++];
        job->share = &s->share[share];
        shares_add(&s->shares, job);
    }
}

/* The next @n jobs' shares as letters; each job is over at once. */
static const char *take(struct scene *s, int n)
{
    static char order[N_JOBS + 1];
    int i = 0;

    for (struct job *job; i < n && (job = shares_next(&s->shares, SHARES_ALL)); i++) {
        shares_start(&s->shares, job);
        order[i] = (char) ('A' + (job->share - s->share));
        shares_done(job->share);
    }
    order[i] = '\0';
    return order;
}

static unsigned count(const char *order, char letter)
{
    unsigned n = 0;
    for (; *order; order++)
        n += *order == letter;
    return n;
}

static void test_a_flood_delays_nobody(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    add(&s, 0, 30);
    assert_string_equal(take(&s, 5), "AAAAA");
    add(&s, 1, 3);
    add(&s, 2, 3);
    const char *order = take(&s, 9);
    assert_int_equal(count(order, 'A'), 3);
    assert_int_equal(count(order, 'B'), 3);
    assert_int_equal(count(order, 'C'), 3);
    assert_string_equal(take(&s, 9), "AAAAAAAAA");
}

static void test_who_was_idle_does_not_catch_up(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    add(&s, 0, 20);
    take(&s, 10);
    add(&s, 1, 10); /* no ten in a row, though A has had ten */
    assert_in_range(count(take(&s, 6), 'B'), 3, 4);
}

static void test_weight(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    s.share[0].weight = 3;
    add(&s, 0, 30);
    add(&s, 1, 30);
    assert_int_equal(count(take(&s, 16), 'A'), 12);
}

static void test_most_at_once(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    s.share[0].max_runs = 1;
    add(&s, 0, 2);
    add(&s, 1, 1);
    struct job *first = shares_next(&s.shares, SHARES_ALL);
    while (first->share != &s.share[0]) {
        shares_start(&s.shares, first);
        first = shares_next(&s.shares, SHARES_ALL);
    }
    shares_start(&s.shares, first);
    assert_false(share_has_room(&s.share[0]));
    struct job *next = shares_next(&s.shares, SHARES_ALL);
    assert_true(!next || next->share == &s.share[1]);
    if (next)
        shares_start(&s.shares, next);
    assert_null(shares_next(&s.shares, SHARES_ALL));
    assert_int_equal(s.shares.waiting, 1);
    shares_done(&s.share[0]);
    assert_ptr_equal(shares_next(&s.shares, SHARES_ALL)->share, &s.share[0]);
}

/* A share of which something runs is no newcomer, whoever's turn it is. */
static void test_newcomers(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    add(&s, 0, 2);
    struct job *first = shares_next_newcomer(&s.shares, SHARES_ALL);
    assert_ptr_equal(first, shares_next(&s.shares, SHARES_ALL));
    shares_start(&s.shares, first);
    assert_null(shares_next_newcomer(&s.shares, SHARES_ALL));
    add(&s, 1, 1);
    assert_ptr_equal(shares_next_newcomer(&s.shares, SHARES_ALL)->share, &s.share[1]);
    shares_done(&s.share[0]);
    assert_non_null(shares_next_newcomer(&s.shares, SHARES_ALL));
}

/* A job for one runtime does not hold up those for another; of several runtimes the oldest job is next. */
static void test_runtimes(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    for (int i = 0; i < 4; i++) {
        s.jobs[i] = (struct job){ .share = &s.share[0], .runtime = i % 2 ? 3 : 1, .queued_us = 10 + i };
        shares_add(&s.shares, &s.jobs[i]);
    }
    assert_null(shares_next(&s.shares, 1 << 0));
    assert_ptr_equal(shares_next(&s.shares, 1 << 1), &s.jobs[0]);
    assert_ptr_equal(shares_next(&s.shares, 1 << 3), &s.jobs[1]);
    assert_ptr_equal(shares_next(&s.shares, SHARES_ALL), &s.jobs[0]);
    assert_int_equal(shares_oldest_us(&s.shares), 10);
    shares_remove(&s.shares, &s.jobs[0]);
    assert_ptr_equal(shares_next(&s.shares, SHARES_ALL), &s.jobs[1]);
    shares_remove(&s.shares, &s.jobs[2]);
    assert_null(shares_next(&s.shares, 1 << 1));
    shares_start(&s.shares, &s.jobs[1]);
    shares_start(&s.shares, &s.jobs[3]);
    assert_int_equal(s.shares.waiting, 0);
    assert_int_equal(shares_oldest_us(&s.shares), 0);
}

/* One whose jobs waited for boxes of their own kind has its turn when they come, and not all the turns it missed. */
static void test_no_catching_up(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    for (int i = 0; i < 8; i++) {
        s.jobs[s.n_jobs] = (struct job){ .share = &s.share[0], .runtime = 1 };
        shares_add(&s.shares, &s.jobs[s.n_jobs++]);
    }
    add(&s, 1, 24);
    for (int i = 0; i < 16; i++) {
        struct job *job = shares_next(&s.shares, 1);
        assert_ptr_equal(job->share, &s.share[1]);
        shares_start(&s.shares, job);
        shares_done(job->share);
    }
    int others = (int) count(take(&s, 8), 'A');
    assert_in_range(others, 4, 5);
}

static void test_removal(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    add(&s, 0, 3);
    shares_remove(&s.shares, &s.jobs[1]);
    assert_ptr_equal(shares_next(&s.shares, SHARES_ALL), &s.jobs[0]);
    shares_remove(&s.shares, &s.jobs[0]);
    assert_ptr_equal(shares_next(&s.shares, SHARES_ALL), &s.jobs[2]);
    shares_remove(&s.shares, &s.jobs[2]);
    assert_null(shares_next(&s.shares, SHARES_ALL));
    assert_int_equal(s.shares.waiting, 0);
    add(&s, 0, 1);
    assert_string_equal(take(&s, 2), "A");
}

/* --- what one key may have --- */

/* A full queue takes in those who have less than their part of it, and is bounded all the same. */
static void test_a_full_queue(void **state)
{
    struct scene s;
    (void) state;
    scene_init(&s);
    add(&s, 0, 9);
    assert_true(shares_may_wait(&s.shares, &s.share[0], 0));
    assert_true(shares_may_wait(&s.shares, &s.share[0], 10));
    assert_false(shares_may_wait(&s.shares, &s.share[0], 9));
    assert_false(shares_may_wait(&s.shares, &s.share[1], -1));
    for (int i = 0; i < 4; i++) { /* half of 9 */
        assert_true(shares_may_wait(&s.shares, &s.share[1], 9));
        add(&s, 1, 1);
    }
    assert_false(shares_may_wait(&s.shares, &s.share[1], 9));
    for (int i = 0; i < 3; i++) { /* a third */
        assert_true(shares_may_wait(&s.shares, &s.share[2], 9));
        add(&s, 2, 1);
    }
    assert_false(shares_may_wait(&s.shares, &s.share[2], 9));
    assert_true(fair_may_wait(1, 5, 0, 9)); /* more keys than places: one each */
    assert_false(fair_may_wait(1, 5, 1, 9));
    take(&s, 16);
    assert_int_equal(s.shares.n_busy, 0);
}

/* Whoever comes, and in whatever order: each key in turn takes all that it gets, and something is left for the next. */
static void test_a_part_is_left(void **state)
{
    enum { MAX = 64, KEYS = 4 };
    int64_t has[KEYS] = { 0 }, taken = 0;
    (void) state;
    for (int key = 0; key < KEYS; key++) {
        int64_t left = fair_left(MAX, taken, 0);
        assert_true(left >= 1);
        has[key] = left;
        taken += left;
        assert_true(fair_left(MAX, taken, has[key]) <= 0);
        assert_true(taken <= MAX);
    }
    assert_int_equal(has[0], 48);
    assert_int_equal(fair_left(MAX, MAX, 0), 0);
    assert_int_equal(fair_left(1, 0, 0), 1);
    assert_true(fair_left(10, 20, 5) <= 0); /* the limit was lowered */
}

/* --- the file of keys --- */

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void on_key(void *data, const struct keyfile_key *key)
{
    *(struct keyfile_key *) data = *key;
}

static void test_a_key_survives_the_file(void **state)
{
    struct keyfile_key key = { .name = "a.b_c-1",
                               .weight = 2,
                               .max_runs = 3,
                               .max_waiting = 4,
                               .rate = 5,
                               .created_s = 6,
                               .runtime = "data",
                               .max_bytes = 7 };
    struct keyfile_key read = { 0 };
    struct buf text;
    unsigned line;

    (void) state;
    for (int i = 0; i < KEYFILE_HASH; i++)
        key.hash[i] = (unsigned char) (i * 7);
    buf_init(&text, 1000);
    keyfile_add_line(&text, &key);
    assert_int_equal(keyfile_parse(text.data, text.len, on_key, &read, &line), 0);
    assert_memory_equal(&key, &read, sizeof(key));
    buf_free(&text);
}

static void test_no_line_is_half_understood(void **state)
{
    static const char *const bad[] = {
        "name",
        "name " HASH,
        "name " HASH " 1 0 0 0",
        "name " HASH " 1 0 0 0 5 data more",
        "name " HASH " 1 0 0 0 5 More",
        "name " HASH " 1 0 0 0 5 max-bytes=x",
        "name " HASH " 1 0 0 0 5 max-bytes=-1",
        "name " HASH " 1 0 0 0 5 max-bytes=1 data",
        "name " HASH " 1 0 0 0 5 data max-bytes=1 more",
        "name " HASH " 1 0 0 0 5 max-bytes=1 max-bytes=2",
        "name " HASH " 0 0 0 0 5",
        "name " HASH " x 0 0 0 5",
        "name " HASH "0 1 0 0 0 5",
        "name 0" HASH " 1 0 0 0 5",
        "name 00112233 1 0 0 0 5",
        "na/me " HASH " 1 0 0 0 5",
        "default " HASH " 1 0 0 0 5",
    };
    struct keyfile_key read;
    unsigned line;

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[512];
        snprintf(text, sizeof(text), "# a comment\n\n%s\n", bad[i]);
        if (keyfile_parse(text, strlen(text), on_key, &read, &line) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(line, 3);
    }
    assert_int_equal(keyfile_parse("a\0b", 3, on_key, &read, &line), -EINVAL);
    assert_int_equal(keyfile_parse("", 0, on_key, &read, &line), 0);
}

static void test_ids(void **state)
{
    static const char good[] = "01a20dd0-d7be-7fdd-b408-489266bfe471";
    unsigned char bytes[UUID_BYTES];
    char text[UUID_SIZE];

    (void) state;
    assert_true(uuid_parse(good, strlen(good), bytes));
    uuid_format(bytes, text);
    assert_string_equal(text, good);
    for (size_t i = 0; i < strlen(good); i++) {
        static const char wrong[] = { 'A', 'g', '-', '0', '\0', '/', (char) 0x80 };
        for (size_t j = 0; j < sizeof(wrong); j++) {
            char changed[sizeof(good)];
            memcpy(changed, good, sizeof(good));
            changed[i] = wrong[j];
            bool dash = good[i] == '-';
            bool same = wrong[j] == good[i] || (!dash && wrong[j] == '0');
            assert_int_equal(uuid_parse(changed, strlen(good), bytes), same);
        }
        assert_false(uuid_parse(good, i, bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flood_delays_nobody),
        cmocka_unit_test(test_who_was_idle_does_not_catch_up),
        cmocka_unit_test(test_weight),
        cmocka_unit_test(test_most_at_once),
        cmocka_unit_test(test_newcomers),
        cmocka_unit_test(test_runtimes),
        cmocka_unit_test(test_no_catching_up),
        cmocka_unit_test(test_removal),
        cmocka_unit_test(test_a_full_queue),
        cmocka_unit_test(test_a_part_is_left),
        cmocka_unit_test(test_a_key_survives_the_file),
        cmocka_unit_test(test_no_line_is_half_understood),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
