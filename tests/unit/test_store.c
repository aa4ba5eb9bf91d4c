/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine of store.h must do.  Nothing here knows an engine but open_engine(); another one is another
 * constructor.  Each test has a store of its own, and may close and open it again. */
#include "server/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORDS_MAX = 300, MEGA = 1 << 20 };

/* The last answer, copied. */
struct seen {
    unsigned n_calls;
    int err;
    unsigned n, n_attempts;
    enum store_limit limit;
    bool existing, suspects, more;
    int64_t next_due_us, queued;
    struct {
        struct store_lease lease;
        char id[UUID_SIZE], tenant[65], code[256], body[256], url[256], host[64], client_id[64];
        enum store_state state;
        int status, tries, requeues, api, form;
        int64_t longest;
        bool has_delivery;
        enum store_delivery_state delivery;
        int64_t created_us, over_us, due_us;
    } records[RECORDS_MAX];
    struct {
        int status;
        int64_t at_us;
        char error[64];
    } attempts[16];
};

struct test {
    uv_loop_t loop;
    struct store *store;
    struct store_conf conf;
    char directory[64], path[96];
    struct seen seen;
    unsigned n_wakes;
};

static void copy(char *to, size_t size, struct store_bytes from)
{
    snprintf(to, size, "%.*s", (int) from.n, from.p ? from.p : "");
}

static void on_done(void *data, const struct store_answer *a)
{
    struct test *t = data;
    struct seen *s = &t->seen;

    *s = (struct seen){ .n_calls = s->n_calls + 1,
                        .err = a->err,
                        .n = a->n,
                        .n_attempts = a->n_attempts,
                        .limit = a->limit,
                        .existing = a->existing,
                        .suspects = a->suspects,
                        .more = a->more,
                        .next_due_us = a->next_due_us,
                        .queued = a->queued };
    for (unsigned i = 0; i < a->n && i < RECORDS_MAX; i++) {
        const struct store_record *r = &a->records[i];
        s->records[i].lease = (struct store_lease){ r->seq, r->attempt };
        memcpy(s->records[i].id, r->id, UUID_SIZE);
        snprintf(s->records[i].tenant, sizeof(s->records[i].tenant), "%s", r->tenant);
        copy(s->records[i].code, sizeof(s->records[i].code), r->code);
        copy(s->records[i].body, sizeof(s->records[i].body), r->body);
        copy(s->records[i].url, sizeof(s->records[i].url), r->webhook_url);
        copy(s->records[i].host, sizeof(s->records[i].host), r->host);
        copy(s->records[i].client_id, sizeof(s->records[i].client_id), r->client_id);
        s->records[i].state = r->state;
        s->records[i].status = r->status;
        s->records[i].tries = r->tries;
        s->records[i].requeues = r->requeues;
        s->records[i].api = r->api;
        s->records[i].form = r->form;
        s->records[i].longest = r->longest;
        s->records[i].has_delivery = r->has_delivery;
        s->records[i].delivery = r->delivery;
        s->records[i].created_us = r->created_us;
        s->records[i].over_us = r->over_us;
        s->records[i].due_us = r->due_us;
    }
    for (unsigned i = 0; i < a->n_attempts && i < 16; i++) {
        s->attempts[i].status = a->attempts[i].status;
        s->attempts[i].at_us = a->attempts[i].at_us;
        copy(s->attempts[i].error, sizeof(s->attempts[i].error), a->attempts[i].error);
    }
}

static void on_wake(void *data)
{
    ((struct test *) data)->n_wakes++;
}

static int open_engine(struct test *t, struct buf *error)
{
    return store_sqlite_open(&t->store, &t->conf, &t->loop, error);
}

static void open_store(struct test *t)
{
    struct buf error;

    buf_init(&error, 1000);
    uv_loop_init(&t->loop);
    int err = open_engine(t, &error);
    if (err)
        print_error("%.*s\n", (int) error.len, error.data);
    assert_int_equal(err, 0);
    buf_free(&error);
}

static void close_store(struct test *t)
{
    store_close(t->store, NULL, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
}

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));

    snprintf(t->directory, sizeof(t->directory), "/tmp/hatchery-store-XXXXXX");
    assert_non_null(mkdtemp(t->directory));
    snprintf(t->path, sizeof(t->path), "%s/jobs.db", t->directory);
    t->conf = (struct store_conf){ .path = t->path, .on_wake = on_wake, .data = t };
    open_store(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    char command[128];

    close_store(t);
    snprintf(command, sizeof(command), "rm -rf %s", t->directory);
    assert_int_equal(system(command), 0);
    free(t);
    return 0;
}

static struct seen *await(struct test *t, unsigned calls)
{
    while (t->seen.n_calls < calls)
        uv_run(&t->loop, UV_RUN_ONCE);
    return &t->seen;
}

#define ASK(op, ...) (t->seen.n_calls = 0, store_##op(t->store, __VA_ARGS__, on_done, t), await(t, 1))

static struct store_job a_job(const char *tenant, const char *code)
{
    struct store_job job = {
        .tenant = tenant, .code = { code, strlen(code) }, .timeout_ms = 30000, .created_us = 1000
    };
    uuid_make(job.id);
    return job;
}

static struct store_job a_webhook_job(const char *tenant, const char *host)
{
    struct store_job job = a_job(tenant, "pass");
    job.webhook_url = "http://receiver.example/x";
    job.host = host;
    return job;
}

static struct store_end an_end(enum store_state state, const char *body)
{
    return (struct store_end){ .state = state,
                               .status = state == STORE_DONE ? 200 : 400,
                               .started_us = 2000,
                               .over_us = 3000,
                               .body = { body, strlen(body) },
                               .form = 1,
                               .longest = 6 * (int64_t) strlen(body) };
}

static struct seen *claim(struct test *t, unsigned max, bool alone)
{
    const struct store_claim c = { .max = max, .alone = alone };
    return ASK(claim, &c);
}

static struct seen *requeue(struct test *t, const char *tenant, const char *id, int64_t max_queued)
{
    const struct store_limits limits = { .max_queued = max_queued };
    return ASK(requeue, tenant, id, &limits);
}

static struct seen *sweep(struct test *t, int64_t now_us)
{
    const struct store_sweep s = { .now_us = now_us };
    return ASK(sweep, &s);
}

static struct seen *outbox_claim(struct test *t, int64_t now_us, unsigned max, unsigned per_host)
{
    const struct store_outbox_claim c = { .now_us = now_us, .max = max, .per_host = per_host };
    return ASK(outbox_claim, &c);
}

/* A job with a webhook, over, its delivery due at 3000. */
static void sweep_all(struct test *t, int64_t now_us)
{
    do
        assert_int_equal(sweep(t, now_us)->err, 0);
    while (t->seen.more);
}

static void run_job_with(struct test *t, const struct store_job *job, const struct store_end *end)
{
    assert_int_equal(ASK(enqueue, job)->err, 0);
    assert_int_equal(claim(t, 1, true)->n, 1);
    struct store_lease lease = t->seen.records[0].lease;
    assert_int_equal(ASK(finish, &lease, end)->err, 0);
}

static void run_job(struct test *t, const struct store_job *job)
{
    const struct store_end end = an_end(STORE_DONE, "reply");
    run_job_with(t, job, &end);
}

/* A job whose reply has @n bytes. */
static void run_large(struct test *t, struct store_job job, size_t n)
{
    static char body[8 * MEGA];
    struct store_end end = an_end(STORE_DONE, "");

    end.body = (struct store_bytes){ body, n };
    end.longest = (int64_t) n;
    run_job_with(t, &job, &end);
}

static struct store_job a_keyed_job(const char *tenant, const char *name)
{
    struct store_job job = a_job(tenant, "pass");
    job.idem_key = name;
    job.idem_expires_us = 1000000;
    return job;
}

/* What the store takes for held by @tenant: as much as it refuses to take beside that. */
static int64_t held_by(struct test *t, const char *tenant)
{
    static char code[8 * MEGA];
    const struct store_end end = an_end(STORE_CANCELLED, "");
    int64_t taken = 0, refused = t->conf.max_bytes;

    while (refused - taken > 1) {
        struct store_job job = a_job(tenant, "");
        job.code = (struct store_bytes){ code, (size_t) (taken + (refused - taken) / 2) };
        int err = ASK(enqueue, &job)->err;
        if (err == -ENOBUFS)
            refused = (int64_t) job.code.n;
        else
            taken = (int64_t) job.code.n;
        if (!err)
            assert_int_equal(ASK(cancel, tenant, job.id, &end)->err, 0);
    }
    return t->conf.max_bytes - refused;
}

static struct store_job a_finished_job(struct test *t, const char *tenant, const char *host)
{
    struct store_job job = a_webhook_job(tenant, host);
    const struct store_end end = an_end(STORE_DONE, "reply");

    assert_int_equal(ASK(enqueue, &job)->err, 0);
    assert_int_equal(claim(t, 1, true)->n, 1);
    struct store_lease lease = t->seen.records[0].lease;
    assert_int_equal(ASK(finish, &lease, &end)->err, 0);
    return job;
}

static void test_a_job_is_kept_as_it_was(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "receiver.example:80");

    job.client_id = (struct store_bytes){ "mine", 4 };
    assert_int_equal(ASK(enqueue, &job)->err, 0);
    assert_int_equal(t->seen.queued, 1);
    close_store(t);
    open_store(t);
    struct seen *s = ASK(get, "k", job.id);
    assert_int_equal(s->err, 0);
    assert_string_equal(s->records[0].id, job.id);
    assert_string_equal(s->records[0].tenant, "k");
    assert_string_equal(s->records[0].url, job.webhook_url);
    assert_string_equal(s->records[0].client_id, "mine");
    assert_int_equal(s->records[0].state, STORE_QUEUED);
    assert_int_equal(s->records[0].created_us, 1000);
    assert_string_equal(claim(t, 1, true)->records[0].code, "pass");
}

/* What its callers alone understand comes back; a row without a length is as long as its bytes. */
static void test_forms_come_back(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "receiver.example:80");
    const struct store_end end = an_end(STORE_DONE, "reply");

    job.api = 3;
    assert_int_equal(ASK(enqueue, &job)->err, 0);
    assert_int_equal(claim(t, 1, true)->records[0].api, 3);
    struct store_lease lease = t->seen.records[0].lease;
    assert_int_equal(ASK(finish, &lease, &end)->err, 0);
    const struct seen *s = ASK(get, "k", job.id);
    for (int i = 0; i < 2; i++, s = outbox_claim(t, 4000, 5, 5)) {
        assert_string_equal(s->records[0].body, "reply");
        assert_int_equal(s->records[0].api, 3);
        assert_int_equal(s->records[0].form, 1);
        assert_int_equal(s->records[0].longest, 30);
    }
}

static void test_another_tenant_sees_nothing(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "h");
    const struct store_end end = an_end(STORE_CANCELLED, "gone");
    const struct store_query query = { .tenant = "other", .limit = 10 };

    ASK(enqueue, &job);
    assert_int_equal(ASK(get, "other", job.id)->err, -ENOENT);
    assert_int_equal(ASK(cancel, "other", job.id, &end)->err, -ENOENT);
    assert_int_equal(ASK(redeliver, "other", job.id, 5)->err, -ENOENT);
    assert_int_equal(ASK(list, &query)->n, 0);
    assert_int_equal(ASK(get, "k", "no-id")->err, -ENOENT);
}

static void test_a_lease_is_fenced(void **state)
{
    struct test *t = *state;
    struct store_job job = a_job("k", "pass");
    const struct store_end end = an_end(STORE_DONE, "late"), right = an_end(STORE_DONE, "right");

    ASK(enqueue, &job);
    struct store_lease first = claim(t, 1, true)->records[0].lease;
    assert_int_equal(ASK(release, &first, true)->err, 0);
    assert_int_equal(t->seen.queued, 1);
    assert_int_equal(ASK(finish, &first, &end)->err, -ESTALE);
    struct store_lease second = claim(t, 1, true)->records[0].lease;
    assert_int_equal(second.attempt, first.attempt + 1);
    assert_int_equal(ASK(finish, &first, &end)->err, -ESTALE);
    assert_int_equal(ASK(finish, &second, &right)->err, 0);
    assert_int_equal(ASK(finish, &second, &end)->err, -ESTALE);
    assert_int_equal(ASK(release, &second, true)->err, -ESTALE);
    assert_string_equal(ASK(get, "k", job.id)->records[0].body, "right");
}

static void test_released_unstarted_is_as_never_claimed(void **state)
{
    struct test *t = *state;
    struct store_job job = a_job("k", "pass");

    ASK(enqueue, &job);
    struct store_lease lease = claim(t, 1, true)->records[0].lease;
    ASK(release, &lease, false);
    assert_int_equal(claim(t, 5, false)->n, 1);
    assert_int_equal(t->seen.records[0].lease.attempt, 1);
}

static void test_a_lost_job_is_claimed_alone(void **state)
{
    struct test *t = *state;
    struct store_job lost = a_job("k", "poison"), fresh = a_job("k", "fresh");

    ASK(enqueue, &lost);
    assert_int_equal(claim(t, 1, true)->n, 1);
    ASK(enqueue, &fresh);
    close_store(t); /* the owner is gone */
    open_store(t);
    assert_int_equal(claim(t, 5, false)->n, 0);
    assert_true(t->seen.suspects);
    assert_int_equal(claim(t, 5, true)->n, 1);
    assert_string_equal(t->seen.records[0].code, "poison");
    assert_int_equal(t->seen.records[0].lease.attempt, 2);
    assert_int_equal(claim(t, 5, false)->n, 1);
    assert_string_equal(t->seen.records[0].code, "fresh");
}

static void enqueue_many(struct test *t, const char *tenant, int n)
{
    for (int i = 0; i < n; i++) {
        struct store_job job = a_job(tenant, tenant);
        assert_int_equal(ASK(enqueue, &job)->err, 0);
    }
}

/* Those that end while others run anyway put it off no further. */
static void test_short_jobs_pass_a_lost_one(void **state)
{
    struct test *t = *state;
    struct store_job lost = a_job("k", "poison"), longer = a_job("k", "long"), shorter = a_job("k", "short"),
                     other = a_job("long", "other");
    const struct store_claim within = { .max = 5, .within_ms = 5000 };

    ASK(enqueue, &lost);
    struct store_lease lease = claim(t, 1, true)->records[0].lease;
    ASK(release, &lease, true);
    shorter.timeout_ms = 5000;
    ASK(enqueue, &longer);
    ASK(enqueue, &shorter);
    ASK(enqueue, &other);
    assert_int_equal(claim(t, 5, false)->n, 0);
    assert_int_equal(ASK(claim, &within)->n, 1);
    assert_true(t->seen.suspects);
    assert_string_equal(t->seen.records[0].code, "short");
    assert_int_equal(t->seen.queued, 3);
    assert_int_equal(claim(t, 5, true)->n, 1);
    assert_string_equal(t->seen.records[0].code, "poison");
    assert_int_equal(claim(t, 5, false)->n, 2);
    assert_false(t->seen.suspects);
}

static void test_a_dead_job_is_queued_again(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "h");
    struct store_end dead = an_end(STORE_DEAD, "lost"), done = an_end(STORE_DONE, "reply");
    const struct store_attempt failed = { .at_us = 5000, .status = 500, .next = STORE_PENDING, .next_us = 9000 };

    ASK(enqueue, &job);
    assert_int_equal(requeue(t, "k", job.id, 0)->err, -ENOTRECOVERABLE);
    struct store_lease lease = claim(t, 1, true)->records[0].lease;
    assert_int_equal(requeue(t, "k", job.id, 0)->err, -ENOTRECOVERABLE);
    ASK(finish, &lease, &dead);
    assert_int_equal(requeue(t, "other", job.id, 0)->err, -ENOENT);
    assert_int_equal(requeue(t, "k", "no id", 0)->err, -ENOENT);
    assert_int_equal(outbox_claim(t, 4000, 5, 5)->n, 1);
    assert_int_equal(requeue(t, "k", job.id, 0)->err, -EBUSY);
    ASK(outbox_done, lease.seq, &failed);
    enqueue_many(t, "k", 2);
    assert_int_equal(requeue(t, "k", job.id, 2)->err, -EAGAIN);
    assert_int_equal(ASK(get, "k", job.id)->records[0].state, STORE_DEAD);
    assert_int_equal(requeue(t, "k", job.id, 3)->err, 0);
    assert_int_equal(t->seen.queued, 3);
    assert_int_equal(requeue(t, "k", job.id, 0)->err, -ENOTRECOVERABLE);

    ASK(get, "k", job.id);
    assert_int_equal(t->seen.records[0].state, STORE_QUEUED);
    assert_string_equal(t->seen.records[0].body, "");
    assert_int_equal(t->seen.records[0].over_us, 0);
    assert_false(t->seen.records[0].has_delivery);
    close_store(t); /* as well after the next start */
    open_store(t);
    assert_int_equal(claim(t, 5, false)->n, 0);
    assert_int_equal(claim(t, 5, true)->n, 1);
    assert_string_equal(t->seen.records[0].code, "pass");
    assert_int_equal(t->seen.records[0].requeues, 1);
    assert_int_equal(t->seen.records[0].lease.attempt, 2);
    lease = t->seen.records[0].lease;
    assert_int_equal(ASK(finish, &lease, &done)->err, 0);
    assert_int_equal(requeue(t, "k", job.id, 0)->err, -ENOTRECOVERABLE);
    assert_int_equal(outbox_claim(t, 4000, 5, 5)->n, 1);
    assert_string_equal(t->seen.records[0].body, "reply");
}

static void test_a_queue_of_the_first_schema_is_taken_over(void **state)
{
    struct test *t = *state;
    struct store_job job = a_job("k", "pass");
    char command[1024];

    close_store(t);
    t->conf.max_bytes = MEGA;
    open_store(t);
    a_finished_job(t, "k", "h");
    struct store_job keyed = a_keyed_job("k", "once");
    run_job(t, &keyed);
    ASK(enqueue, &job);
    int64_t held = held_by(t, "k");
    close_store(t);
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c 'import sqlite3; c = sqlite3.connect(\"%s\"); "
             "c.executescript(\"ALTER TABLE jobs DROP COLUMN bytes; ALTER TABLE jobs DROP COLUMN idem; "
             "ALTER TABLE jobs DROP COLUMN runtime; ALTER TABLE jobs DROP COLUMN requeues; "
             "ALTER TABLE jobs DROP COLUMN api; ALTER TABLE results DROP COLUMN form; ALTER TABLE results DROP COLUMN "
             "longest; "
             "DROP INDEX jobs_state; DROP INDEX deliveries_due; ALTER TABLE deliveries DROP COLUMN tenant; "
             "CREATE INDEX deliveries_due ON deliveries(host, due) WHERE state = 0; PRAGMA user_version = 1\")'",
             t->path);
    assert_int_equal(system(command), 0);
    open_store(t);
    assert_int_equal(held_by(t, "k"), held);
    assert_int_equal(claim(t, 5, false)->n, 1);
    assert_string_equal(t->seen.records[0].code, "pass");
    assert_int_equal(outbox_claim(t, 4000, 5, 5)->n, 1);
    close_store(t);
    open_store(t);
    ASK(enqueue, &keyed);
    assert_true(t->seen.existing);
    sweep_all(t, 5000);
    assert_int_equal(ASK(get, "k", keyed.id)->err, 0);
}

static void test_tenants_take_turns(void **state)
{
    struct test *t = *state;
    char order[31] = "";

    enqueue_many(t, "A", 50);
    for (int i = 0; i < 5; i++)
        order[i] = claim(t, 1, true)->records[0].code[0];
    enqueue_many(t, "B", 5);
    enqueue_many(t, "C", 5);
    assert_string_equal(order, "AAAAA");
    claim(t, 15, true);
    int count[3] = { 0 };
    for (unsigned i = 0; i < 15; i++)
        count[t->seen.records[i].code[0] - 'A']++;
    /* A's 50 hold up nobody: after 15 claims each had its 5. */
    assert_int_equal(count[0], 5);
    assert_int_equal(count[1], 5);
    assert_int_equal(count[2], 5);
    for (unsigned i = 0; i + 3 <= 15; i += 3)
        assert_true(t->seen.records[i].code[0] != t->seen.records[i + 1].code[0]
                    && t->seen.records[i + 1].code[0] != t->seen.records[i + 2].code[0]);
}

static void test_weight_and_room(void **state)
{
    struct test *t = *state;
    const struct store_share shares[] = { { "A", 3, UINT32_MAX }, { "B", 1, 2 } };
    const struct store_claim c = { .max = 8, .alone = true, .n_shares = 2, .shares = shares };
    int a = 0;

    enqueue_many(t, "A", 20);
    enqueue_many(t, "B", 20);
    ASK(claim, &c);
    for (unsigned i = 0; i < t->seen.n; i++)
        a += t->seen.records[i].code[0] == 'A';
    assert_int_equal(t->seen.n, 8);
    assert_int_equal(a, 6);
    ASK(claim, &(struct store_claim){
                   .max = 20, .n_shares = 2, .shares = (const struct store_share[]){ { "A", 1, 0 }, { "B", 1, 2 } } });
    assert_int_equal(t->seen.n, 2);
}

static void test_order_of_a_tenant_is_that_of_arrival(void **state)
{
    struct test *t = *state;
    static const char *const codes[] = { "1", "2", "3" };

    for (int i = 0; i < 3; i++) {
        struct store_job job = a_job("k", codes[i]);
        ASK(enqueue, &job);
    }
    claim(t, 3, true);
    for (int i = 0; i < 3; i++)
        assert_string_equal(t->seen.records[i].code, codes[i]);
}

/* The queue is full of one tenant's jobs: others get their part, and no more. */
static void test_a_full_queue_takes_in_others(void **state)
{
    struct test *t = *state;
    struct store_limits limits = { .max_queued = 4 };

    enqueue_many(t, "A", 4);
    for (int i = 0; i < 4; i++) {
        struct store_job job = a_job(i < 3 ? "B" : "A", "pass");
        job.limits = limits;
        assert_int_equal(ASK(enqueue, &job)->err, i < 2 ? 0 : -EAGAIN);
    }
    struct store_job job = a_job("C", "pass"); /* two of it wait in the pool, where four keys have jobs */
    job.limits = (struct store_limits){ .max_queued = 4, .waiting = 6, .tenant_waiting = 1, .tenants_waiting = 4 };
    assert_int_equal(ASK(enqueue, &job)->err, -EAGAIN);
    job.limits.tenant_waiting = 0;
    assert_int_equal(ASK(enqueue, &job)->err, 0);
    job = a_job("A", "pass");
    claim(t, 7, true);
    job.limits = (struct store_limits){ .max_queued = 4, .max_tenant_queued = 2, .tenant_waiting = 2, .waiting = 2 };
    assert_int_equal(ASK(enqueue, &job)->err, -EDQUOT);
}

static void test_limits_of_the_queue(void **state)
{
    struct test *t = *state;
    struct store_job job = a_job("A", "pass");

    job.limits.max_queued = 2;
    assert_int_equal(ASK(enqueue, &job)->err, 0);
    uuid_make(job.id);
    job.limits.max_tenant_queued = 1;
    assert_int_equal(ASK(enqueue, &job)->err, -EDQUOT);
    job.tenant = "B";
    assert_int_equal(ASK(enqueue, &job)->err, 0);
    job = a_job("B", "pass");
    job.limits.max_queued = 2;
    assert_int_equal(ASK(enqueue, &job)->err, -EAGAIN);
    assert_int_equal(ASK(get, "B", job.id)->err, -ENOENT);
    claim(t, 1, true);
    assert_int_equal(ASK(enqueue, &job)->err, 0);
}

static void test_idempotency(void **state)
{
    struct test *t = *state;
    struct store_job job = a_job("A", "pass"), again = a_job("A", "pass");
    const struct store_end end = an_end(STORE_DONE, "reply");

    job.idem_key = again.idem_key = "key";
    job.idem_expires_us = again.idem_expires_us = 10000;
    memset(job.fingerprint, 1, sizeof(job.fingerprint));
    memset(again.fingerprint, 1, sizeof(again.fingerprint));
    assert_false(ASK(enqueue, &job)->existing);
    assert_true(ASK(enqueue, &again)->existing);
    assert_int_equal(t->seen.err, 0);
    assert_int_equal(t->seen.queued, 1);
    assert_string_equal(t->seen.records[0].id, job.id);
    struct store_lease lease = claim(t, 1, true)->records[0].lease;
    ASK(finish, &lease, &end);
    close_store(t);
    open_store(t);
    assert_string_equal(ASK(enqueue, &again)->records[0].body, "reply");
    again.fingerprint[0] = 2;
    assert_int_equal(ASK(enqueue, &again)->err, -EBADMSG);
    again.tenant = "B"; /* each key has names of its own */
    assert_false(ASK(enqueue, &again)->existing);
    struct store_job late = a_job("A", "pass");
    late.idem_key = "key";
    late.created_us = 10000;
    late.idem_expires_us = 20000;
    assert_false(ASK(enqueue, &late)->existing);
    assert_int_equal(t->seen.err, 0);
}

static void test_cancel(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "h");
    const struct store_end end = an_end(STORE_CANCELLED, "cancelled");

    ASK(enqueue, &job);
    assert_int_equal(ASK(cancel, "k", job.id, &end)->err, 0);
    assert_int_equal(t->seen.queued, 0);
    assert_int_equal(claim(t, 1, true)->n, 0);
    assert_int_equal(ASK(cancel, "k", job.id, &end)->err, -EALREADY);
    assert_int_equal(ASK(get, "k", job.id)->records[0].state, STORE_CANCELLED);
    assert_int_equal(outbox_claim(t, 4000, 5, 5)->n, 1);
    assert_string_equal(t->seen.records[0].body, "cancelled");
    job = a_job("k", "pass");
    ASK(enqueue, &job);
    claim(t, 1, true);
    assert_int_equal(ASK(cancel, "k", job.id, &end)->err, -EBUSY);
}

static void test_list_pages(void **state)
{
    struct test *t = *state;
    char ids[5][UUID_SIZE];
    struct store_query query = { .tenant = "k", .limit = 2 };

    for (int i = 0; i < 5; i++) {
        struct store_job job = a_job("k", "pass");
        job.created_us = 1000 + i;
        memcpy(ids[i], job.id, UUID_SIZE);
        ASK(enqueue, &job);
    }
    for (int at = 4; at >= 0; at -= 2) {
        ASK(list, &query);
        assert_string_equal(t->seen.records[0].id, ids[at]);
        assert_int_equal(t->seen.more, at > 0);
        assert_int_equal(t->seen.n, at > 0 ? 2 : 1);
        query.before_seq = t->seen.records[t->seen.n - 1].lease.seq;
    }
    claim(t, 2, true);
    query = (struct store_query){ .tenant = "k", .limit = 10, .states = 1U << STORE_RUNNING };
    assert_int_equal(ASK(list, &query)->n, 2);
    query = (struct store_query){ .tenant = "k", .limit = 10, .since_us = 1003 };
    assert_int_equal(ASK(list, &query)->n, 2);
}

/* Leases that have not begun are answered as if they had never been claimed. */
static void test_list_waiting(void **state)
{
    struct test *t = *state;
    struct store_query query = { .tenant = "k", .limit = 10, .states = 1U << STORE_QUEUED };
    int64_t waiting[2];

    enqueue_many(t, "k", 5);
    claim(t, 3, true);
    for (int i = 0; i < 2; i++)
        waiting[i] = t->seen.records[i + 1].lease.seq;
    assert_int_equal(ASK(list, &query)->n, 2);
    query.waiting = waiting;
    query.n_waiting = 2;
    assert_int_equal(ASK(list, &query)->n, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(t->seen.records[i].state, STORE_QUEUED);
        assert_int_equal(t->seen.records[i].lease.attempt, 0);
    }
    query.limit = 3;
    assert_int_equal(ASK(list, &query)->n, 3);
    assert_true(t->seen.more);
    query.before_seq = t->seen.records[2].lease.seq;
    assert_int_equal(ASK(list, &query)->n, 1);
    assert_false(t->seen.more);
    assert_int_equal(t->seen.records[0].lease.seq, waiting[0]);
    query = (struct store_query){
        .tenant = "k", .limit = 10, .states = 1U << STORE_RUNNING, .n_waiting = 2, .waiting = waiting
    };
    assert_int_equal(ASK(list, &query)->n, 1);
    assert_int_equal(t->seen.records[0].lease.attempt, 1);
    query.states = 0;
    assert_int_equal(ASK(list, &query)->n, 5);
}

static void test_list_of_one_state(void **state)
{
    static const enum store_state ends[] = { STORE_DONE, STORE_FAILED, STORE_DEAD, STORE_DONE };
    struct test *t = *state;
    struct store_query query = { .tenant = "k", .limit = 10 };

    enqueue_many(t, "k", 6);
    claim(t, 5, true);
    struct store_lease leases[4];
    for (int i = 0; i < 4; i++)
        leases[i] = t->seen.records[i].lease;
    for (int i = 0; i < 4; i++) {
        const struct store_end end = an_end(ends[i], "reply");
        ASK(finish, &leases[i], &end);
    }
    enqueue_many(t, "m", 1);
    static const unsigned expected[STORE_N_STATES] = { 1, 1, 2, 1, 0, 1 };
    for (int i = 0; i < STORE_N_STATES; i++) {
        query.states = 1U << i;
        assert_int_equal(ASK(list, &query)->n, expected[i]);
    }
    query.states = 1U << STORE_DONE;
    query.limit = 1;
    assert_int_equal(ASK(list, &query)->records[0].lease.seq, leases[3].seq);
    assert_true(t->seen.more);
    query.before_seq = leases[3].seq;
    assert_int_equal(ASK(list, &query)->records[0].lease.seq, leases[0].seq);
    assert_false(t->seen.more);
}

static void on_counted(void *data, const struct store_answer *answer)
{
    unsigned *n = data;
    (void) answer;
    ++*n;
}

/* Questions of one tenant stand behind its own, not behind all of another's. */
static void test_questions_take_turns(void **state)
{
    struct test *t = *state;
    struct store_job job = a_job("m", "pass");
    const struct store_query query = { .tenant = "k", .limit = 1000 };
    unsigned n = 0;

    enqueue_many(t, "k", 500);
    ASK(enqueue, &job);
    for (int i = 0; i < 100; i++)
        store_list(t->store, &query, on_counted, &n);
    ASK(get, "m", job.id);
    assert_true(n < 100);
    while (n < 100)
        uv_run(&t->loop, UV_RUN_ONCE);
}

static void test_result_and_delivery_are_one(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "h"), quiet = a_job("k", "pass");
    const struct store_end end = an_end(STORE_FAILED, "reply");

    ASK(enqueue, &job);
    ASK(enqueue, &quiet);
    claim(t, 2, true);
    struct store_lease leases[2] = { t->seen.records[0].lease, t->seen.records[1].lease };
    assert_int_equal(outbox_claim(t, 4000, 5, 5)->n, 0);
    t->n_wakes = 0;
    ASK(finish, &leases[0], &end);
    ASK(finish, &leases[1], &end);
    assert_true(t->n_wakes > 0);
    assert_int_equal(outbox_claim(t, 2999, 5, 5)->n, 0);
    assert_int_equal(t->seen.next_due_us, 3000);
    assert_int_equal(outbox_claim(t, 3000, 5, 5)->n, 1);
    assert_string_equal(t->seen.records[0].id, job.id);
    assert_string_equal(t->seen.records[0].body, "reply");
    assert_int_equal(outbox_claim(t, 9000, 5, 5)->n, 0); /* it is under way */
    close_store(t);
    open_store(t);
    assert_int_equal(outbox_claim(t, 9000, 5, 5)->n, 1); /* its owner died */
}

static void test_attempts_are_recorded(void **state)
{
    struct test *t = *state;
    struct store_job job = a_finished_job(t, "k", "h");
    struct store_attempt failed = {
        .at_us = 5000, .duration_us = 10, .error = { "refused", 7 }, .next = STORE_PENDING, .next_us = 7000
    };
    struct store_attempt answered = { .at_us = 7000, .status = 200, .next = STORE_DELIVERED };

    int64_t seq = outbox_claim(t, 5000, 1, 1)->records[0].lease.seq;
    assert_int_equal(ASK(outbox_done, seq, &failed)->err, 0);
    assert_int_equal(outbox_claim(t, 6999, 1, 1)->n, 0);
    assert_int_equal(t->seen.next_due_us, 7000);
    assert_int_equal(outbox_claim(t, 7000, 1, 1)->n, 1);
    assert_int_equal(t->seen.records[0].tries, 1);
    assert_int_equal(ASK(outbox_done, seq, &answered)->err, 0);
    assert_int_equal(ASK(outbox_done, seq, &answered)->err, -ESTALE);
    assert_int_equal(outbox_claim(t, 9000, 1, 1)->n, 0);
    ASK(get, "k", job.id);
    assert_int_equal(t->seen.records[0].delivery, STORE_DELIVERED);
    assert_int_equal(t->seen.n_attempts, 2);
    assert_string_equal(t->seen.attempts[0].error, "refused");
    assert_int_equal(t->seen.attempts[1].status, 200);
    assert_int_equal(ASK(redeliver, "k", job.id, 9500)->err, 0);
    assert_int_equal(outbox_claim(t, 9500, 1, 1)->n, 1);
    assert_int_equal(t->seen.records[0].tries, 0);
    assert_int_equal(ASK(redeliver, "k", job.id, 9500)->err, -EBUSY);
}

static void test_a_host_holds_up_no_other(void **state)
{
    struct test *t = *state;

    for (int i = 0; i < 10; i++)
        a_finished_job(t, "k", "slow:80");
    a_finished_job(t, "k", "quick:80");
    struct store_job quiet = a_job("k", "pass");
    ASK(enqueue, &quiet);
    assert_int_equal(ASK(redeliver, "k", quiet.id, 5)->err, -ENOMSG);
    assert_int_equal(outbox_claim(t, 4000, 10, 3)->n, 4);
    const struct store_busy busy[] = { { "slow:80", 3, "k", 0 } };
    const struct store_outbox_claim c = { .now_us = 4000, .max = 10, .per_host = 3, .n_busy = 1, .busy = busy };
    assert_int_equal(ASK(outbox_claim, &c)->n, 0);
    assert_int_equal(t->seen.next_due_us, 0);
}

/* Whoever has much to deliver gets a place that is free no sooner than others. */
static void test_deliveries_take_turns(void **state)
{
    static const char *const hosts[] = { "a", "b", "c" };
    struct test *t = *state;

    for (int i = 0; i < 9; i++)
        a_finished_job(t, "k", hosts[i / 3]);
    assert_int_equal(outbox_claim(t, 4000, 4, 2)->n, 4);
    const struct store_busy busy[] = { { "b", 2, "k", 0 } }; /* those to a are done: it is c's turn all the same */
    const struct store_outbox_claim c = { .now_us = 4000, .max = 2, .per_host = 2, .n_busy = 1, .busy = busy };
    assert_int_equal(ASK(outbox_claim, &c)->n, 2);
    for (int i = 0; i < 2; i++)
        assert_string_equal(t->seen.records[i].host, "c");
    a_finished_job(t, "m", "z");
    assert_int_equal(outbox_claim(t, 4000, 1, 2)->n, 1); /* of the key that had no turn yet */
    assert_string_equal(t->seen.records[0].tenant, "m");
    close_store(t);
    open_store(t);
    assert_int_equal(outbox_claim(t, 4000, 20, 20)->n, 10);
}

static void test_retention(void **state)
{
    struct test *t = *state;
    struct store_query query = { .tenant = "k", .limit = 1000 };
    struct store_record records[250] = { 0 };

    close_store(t);
    t->conf.retention_age_us = 100000;
    t->conf.retention_count = 100;
    open_store(t);
    struct store_job owed = a_finished_job(t, "k", "h"), queued = a_job("k", "pass");
    ASK(enqueue, &queued);
    for (int i = 0; i < 250; i++) {
        records[i] = (struct store_record){
            .tenant = "k", .state = STORE_DONE, .created_us = 5000, .over_us = 5000 + i, .status = 200
        };
        uuid_make(records[i].id);
    }
    assert_int_equal(ASK(history, records, 250)->err, 0);
    assert_int_equal(ASK(list, &query)->n, 252);
    sweep_all(t, 10000);
    assert_int_equal(ASK(list, &query)->n, 100);
    assert_string_equal(t->seen.records[0].id, records[249].id); /* the newest stay */
    sweep_all(t, 5000000);
    assert_int_equal(ASK(list, &query)->n, 2); /* what waits and what is owed is never dropped */
    assert_int_equal(ASK(get, "k", owed.id)->err, 0);
    const struct store_attempt given_up = { .at_us = 6000, .next = STORE_GIVEN_UP };
    int64_t seq = outbox_claim(t, 6000, 1, 1)->records[0].lease.seq; /* by itself: one question at a time */
    assert_int_equal(ASK(outbox_done, seq, &given_up)->err, 0);
    sweep_all(t, 5000000);
    assert_int_equal(ASK(get, "k", owed.id)->err, -ENOENT);
    assert_int_equal(ASK(get, "k", queued.id)->err, 0);
}

/* Who sends much makes others forget nothing. */
static void test_retention_between_tenants(void **state)
{
    struct test *t = *state;
    struct store_record records[250] = { 0 };

    close_store(t);
    t->conf.retention_count = 100;
    open_store(t);
    struct store_job rare = a_job("m", "pass"), early = a_job("k", "pass");
    rare.idem_key = "once";
    rare.idem_expires_us = 1000000;
    run_job(t, &rare);
    run_job(t, &early);
    for (int i = 0; i < 250; i++) {
        records[i] = (struct store_record){
            .tenant = "k", .state = STORE_DONE, .created_us = 5000, .over_us = 5000 + i, .status = 200
        };
        uuid_make(records[i].id);
    }
    assert_int_equal(ASK(history, records, 250)->err, 0);
    sweep_all(t, 10000);
    assert_int_equal(ASK(get, "k", records[151].id)->err, -ENOENT); /* runs that were waited for go first, the oldest */
    assert_int_equal(ASK(get, "k", records[152].id)->err, 0);
    assert_int_equal(ASK(get, "k", early.id)->err, 0);
    for (int i = 0; i < 110; i++) {
        struct store_job job = a_job("k", "pass");
        run_job(t, &job);
    }
    sweep_all(t, 10000);
    assert_int_equal(ASK(get, "k", early.id)->err, -ENOENT);
    ASK(enqueue, &rare);
    assert_true(t->seen.existing);
    assert_string_equal(t->seen.records[0].body, "reply");
}

/* A key that is known for a job that is no more says nothing, and must not stay for its day: there could be millions. */
static void test_keys_go_with_their_jobs(void **state)
{
    struct test *t = *state;
    const struct store_end end = an_end(STORE_DONE, "reply");
    char name[8], command[256];

    t->conf.retention_count = 2;
    close_store(t);
    open_store(t);
    for (int i = 0; i < 10; i++) {
        struct store_job job = a_job("k", "pass");
        snprintf(name, sizeof(name), "key%d", i);
        job.idem_key = name;
        job.idem_expires_us = 1000000 + i;
        ASK(enqueue, &job);
        struct store_lease lease = claim(t, 1, true)->records[0].lease;
        ASK(finish, &lease, &end);
    }
    assert_int_equal(sweep(t, 5000)->err, 0);
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c 'import sqlite3; c = sqlite3.connect(\"%s\"); "
             "assert c.execute(\"SELECT group_concat(name) FROM idempotency\").fetchone()[0] == \"key8,key9\"'",
             t->path);
    assert_int_equal(system(command), 0);
}

/* One tenant holds three quarters at most; of what is over, the oldest makes room at once. */
static void test_a_store_has_a_size(void **state)
{
    struct test *t = *state;
    static char code[100000];
    struct store_job job, first = a_keyed_job("k", "first");
    int n = 0;

    close_store(t);
    t->conf.max_bytes = 1000000;
    open_store(t);
    run_large(t, first, sizeof(code));
    memset(code, '#', sizeof(code));
    do {
        job = a_job("k", "");
        job.code = (struct store_bytes){ code, sizeof(code) };
        n++;
    } while (ASK(enqueue, &job)->err == 0 && n < 20);
    assert_int_equal(t->seen.err, -ENOBUFS);
    assert_int_equal(n, 8);
    assert_int_equal(ASK(get, "k", job.id)->err, -ENOENT);
    job.tenant = "m"; /* another finds room, for which the oldest that is over goes */
    for (int i = 0; i < 2; i++) {
        uuid_make(job.id);
        assert_int_equal(ASK(enqueue, &job)->err, 0);
    }
    assert_int_equal(ASK(get, "k", first.id)->err, -ENOENT);
    /* What was accepted goes on. */
    assert_int_equal(claim(t, 1, true)->n, 1);
    struct store_lease lease = t->seen.records[0].lease;
    struct store_end large = an_end(STORE_DONE, "");
    large.body = (struct store_bytes){ code, sizeof(code) };
    assert_int_equal(ASK(finish, &lease, &large)->err, 0);
    sweep_all(t, 5000);
    assert_int_equal(ASK(enqueue, &first)->err, -ENOBUFS); /* more than three times what is free now */
    while (claim(t, 1, false)->n) {
        lease = t->seen.records[0].lease;
        ASK(finish, &lease, &large);
    }
    assert_int_equal(ASK(enqueue, &first)->err, 0);
}

/* Who fills the store with replies loses its own; others' stay, and their idempotency keys. */
static void test_who_has_most_gives_way(void **state)
{
    struct test *t = *state;
    struct store_job early = a_keyed_job("m", "once"), again = a_keyed_job("m", "once");

    close_store(t);
    t->conf.max_bytes = 8 * MEGA;
    t->conf.retention_count = 1000;
    open_store(t);
    run_large(t, early, MEGA);
    for (int i = 0; i < 30; i++) {
        run_large(t, a_job("k", "pass"), MEGA);
        if (i % 5 == 0)
            sweep_all(t, 5000);
    }
    ASK(enqueue, &again);
    assert_true(t->seen.existing);
    assert_string_equal(t->seen.records[0].id, early.id);
    for (int i = 0; i < 30; i++) /* and where its replies are small: by number */
        run_large(t, a_job("k", "pass"), 10);
    assert_int_equal(ASK(get, "m", early.id)->err, 0);
}

/* Replies that are not delivered can't be dropped: one tenant owes no more than its part, and its jobs wait. */
static void test_undelivered_replies_have_a_share(void **state)
{
    struct test *t = *state;
    struct store_job job = a_webhook_job("k", "h"), other = a_job("m", "pass");
    int n = 0;

    close_store(t);
    t->conf.max_bytes = 8 * MEGA;
    open_store(t);
    for (; n < 20; n++) {
        uuid_make(job.id);
        if (ASK(enqueue, &job)->err)
            break;
        assert_int_equal(claim(t, 1, true)->n, 1);
        struct store_lease lease = t->seen.records[0].lease;
        static char body[MEGA];
        struct store_end end = an_end(STORE_DONE, "");
        end.body = (struct store_bytes){ body, sizeof(body) };
        ASK(finish, &lease, &end);
    }
    assert_int_equal(t->seen.err, -ENOBUFS);
    assert_in_range(n, 5, 7);
    run_large(t, other, MEGA / 2); /* others are served, and lose nothing */
    sweep_all(t, 5000);
    assert_int_equal(ASK(get, "m", other.id)->err, 0);
    int64_t held = held_by(t, "k");
    close_store(t);
    open_store(t);
    assert_int_equal(held_by(t, "k"), held);
    /* One is given up: there is room for one. */
    int64_t seq = outbox_claim(t, 4000, 1, 1)->records[0].lease.seq;
    char gone[UUID_SIZE];
    memcpy(gone, t->seen.records[0].id, UUID_SIZE);
    const struct store_attempt given_up = { .at_us = 4000, .next = STORE_GIVEN_UP };
    assert_int_equal(ASK(outbox_done, seq, &given_up)->err, 0);
    assert_int_equal(ASK(enqueue, &job)->err, 0);
    assert_true(held_by(t, "k") < held);
    /* Nor is one owed again beyond the share. */
    struct store_job large = a_job("k", "");
    static char code[8 * MEGA];
    large.code = (struct store_bytes){ code, (size_t) (t->conf.max_bytes - held_by(t, "k") - MEGA / 2) };
    assert_int_equal(ASK(enqueue, &large)->err, 0);
    assert_int_equal(ASK(redeliver, "k", gone, 5000)->err, -ENOBUFS);
}

/* A tenant begins as many jobs as there is room for the replies of. */
static void test_replies_have_room_before_a_job_begins(void **state)
{
    struct test *t = *state;
    struct store_claim c = { .max = 10, .reply_max = 2 * MEGA };

    close_store(t);
    t->conf.max_bytes = 8 * MEGA;
    open_store(t);
    enqueue_many(t, "k", 10);
    assert_int_equal(ASK(claim, &c)->n, 2);
    struct store_lease lease = t->seen.records[0].lease;
    assert_int_equal(ASK(claim, &c)->n, 0);
    enqueue_many(t, "m", 10);
    assert_int_equal(ASK(claim, &c)->n, 1);
    assert_string_equal(t->seen.records[0].tenant, "m");
    const struct store_end end = an_end(STORE_DONE, "reply");
    ASK(finish, &lease, &end);
    assert_int_equal(ASK(claim, &c)->n, 1);
    c.reply_max = 100 * MEGA; /* however small the store: one by one */
    enqueue_many(t, "n", 3);
    assert_int_equal(ASK(claim, &c)->n, 1);
    assert_int_equal(ASK(claim, &c)->n, 0);
}

static void test_a_quota(void **state)
{
    struct test *t = *state;
    const struct store_quota quota = { "k", MEGA };
    const struct store_sweep with = { .now_us = 5000, .n_quotas = 1, .quotas = &quota };
    struct store_job first = a_job("k", "pass"), last = a_job("k", "pass"), other = a_job("m", "pass");

    run_large(t, first, MEGA / 2);
    run_large(t, other, 4 * MEGA);
    ASK(sweep, &with);
    assert_int_equal(ASK(get, "k", first.id)->err, 0);
    run_large(t, last, MEGA / 2);
    ASK(sweep, &with);
    assert_int_equal(ASK(get, "k", first.id)->err, -ENOENT);
    assert_int_equal(ASK(get, "k", last.id)->err, 0);
    assert_int_equal(ASK(get, "m", other.id)->err, 0);
    static char code[MEGA];
    struct store_job large = a_job("k", "");
    large.code = (struct store_bytes){ code, sizeof(code) };
    assert_int_equal(ASK(enqueue, &large)->err, -ENOBUFS);
    assert_int_equal(t->seen.limit, STORE_LIMIT_QUOTA);
    large.code.n = MEGA * 3 / 4;
    assert_int_equal(ASK(enqueue, &large)->err, 0); /* its oldest makes room */
    assert_int_equal(ASK(get, "k", last.id)->err, -ENOENT);
    sweep(t, 5000); /* the quota is no more */
    large.code.n = MEGA;
    uuid_make(large.id);
    assert_int_equal(ASK(enqueue, &large)->err, 0);
}

/* Whatever is done, the sums are those of the rows. */
static void test_sums_are_those_of_the_rows(void **state)
{
    static const char *const tenants[] = { "k", "m" };
    struct test *t = *state;
    struct store_lease leases[8];
    unsigned n_leases = 0, seed = 1;

    close_store(t);
    t->conf.max_bytes = 4 * MEGA;
    open_store(t);
    for (int i = 0; i < 400; i++) {
        const char *tenant = tenants[rand_r(&seed) % 2];
        struct store_job job = rand_r(&seed) % 2 ? a_webhook_job(tenant, "h") : a_keyed_job(tenant, "name");
        static char text[20000];
        enum store_state ends[] = { STORE_DONE, STORE_FAILED, STORE_DEAD };
        struct store_end end = an_end(ends[rand_r(&seed) % 3], "");
        end.body = (struct store_bytes){ text, rand_r(&seed) % sizeof(text) };
        job.code = (struct store_bytes){ text, rand_r(&seed) % sizeof(text) };
        switch (rand_r(&seed) % 6) {
        case 0: ASK(enqueue, &job); break;
        case 1:
            if (n_leases < 8 && claim(t, 1, !n_leases)->n)
                leases[n_leases++] = t->seen.records[0].lease;
            break;
        case 2:
            if (n_leases)
                ASK(finish, &leases[--n_leases], &end);
            break;
        case 3:
            if (n_leases)
                ASK(release, &leases[--n_leases], rand_r(&seed) % 3 == 0);
            break;
        case 4:
            if (outbox_claim(t, 4000, 1, 1)->n) {
                const struct store_attempt a = { .at_us = 4000,
                                                 .next = rand_r(&seed) % 2 ? STORE_PENDING : STORE_DELIVERED,
                                                 .next_us = 4000 };
                char id[UUID_SIZE];
                memcpy(id, t->seen.records[0].id, UUID_SIZE);
                ASK(outbox_done, t->seen.records[0].lease.seq, &a);
                if (rand_r(&seed) % 2)
                    ASK(redeliver, tenant, id, 4000);
                else
                    requeue(t, tenant, id, 0);
            }
            break;
        default: sweep(t, 5000);
        }
    }
    int64_t held[2] = { held_by(t, "k"), held_by(t, "m") };
    assert_true(held[0] > 20000 && held[1] > 20000);
    close_store(t);
    open_store(t);
    for (int i = 0; i < 2; i++)
        assert_int_equal(held_by(t, tenants[i]), held[i]);
}

/* A claim leaves places to others, with hosts of their own and with the same; replies that are large fill no memory. */
static void test_deliveries_leave_places(void **state)
{
    struct test *t = *state;

    close_store(t);
    t->conf.max_bytes = 0;
    open_store(t);
    for (int i = 0; i < 8; i++)
        a_finished_job(t, "k", "a");
    assert_int_equal(outbox_claim(t, 4000, 8, 8)->n, 8); /* who is alone */
    close_store(t);
    open_store(t);
    for (int i = 0; i < 8; i++) {
        a_finished_job(t, "k", i % 2 ? "b" : "c");
    }
    a_finished_job(t, "m", "a");
    assert_int_equal(ASK(outbox_claim, (&(struct store_outbox_claim){ .now_us = 4000, .max = 1, .per_host = 8 }))->n,
                     1);
    const struct store_busy busy[] = { { "a", 6, "k", 0 } };
    const struct store_outbox_claim full = { .now_us = 4000, .max = 10, .per_host = 8, .n_busy = 1, .busy = busy };
    unsigned n = ASK(outbox_claim, &full)->n;
    assert_in_range(n, 6, 7); /* 12 of 16 */
    for (unsigned i = 0; i < n; i++)
        assert_true(strcmp(t->seen.records[i].tenant, "m") == 0 || strcmp(t->seen.records[i].host, "a") != 0);
    close_store(t);
    open_store(t);
    const struct store_outbox_claim few = { .now_us = 4000, .max = 10, .per_host = 8, .max_bytes = 8 };
    n = ASK(outbox_claim, &few)->n;
    assert_in_range(n, 2, 4); /* of five bytes each: one of each tenant at least */
}

static bool file_has(const char *path, const char *what, long *ret_size)
{
    FILE *f = fopen(path, "r");
    char *text;

    *ret_size = 0;
    if (!f)
        return false;
    fseek(f, 0, SEEK_END);
    *ret_size = ftell(f);
    rewind(f);
    text = calloc(1, (size_t) *ret_size + 1);
    assert_int_equal(fread(text, 1, (size_t) *ret_size, f), *ret_size);
    bool found = memmem(text, (size_t) *ret_size, what, strlen(what)) != NULL;
    free(text);
    fclose(f);
    return found;
}

/* A program that has run is in no file any more once the store has been idle, however SQLite was built. */
static void test_what_is_deleted_is_gone(void **state)
{
    static const char secret[] = "the program of a stranger";
    static char code[50000];
    struct test *t = *state;
    struct store_job small = a_job("k", secret), large = a_job("k", "");
    char log[128];
    long size, log_size = 1;

    memset(code, '#', sizeof(code));
    memcpy(code + sizeof(code) - sizeof(secret), secret, sizeof(secret) - 1);
    large.code = (struct store_bytes){ code, sizeof(code) };
    snprintf(log, sizeof(log), "%s-wal", t->path);
    enqueue_many(t, "k", 20);
    ASK(enqueue, &small);
    ASK(enqueue, &large);
    assert_true(file_has(log, secret, &log_size));
    claim(t, 22, true);
    struct store_lease leases[22];
    for (int i = 0; i < 22; i++)
        leases[i] = t->seen.records[i].lease;
    for (int i = 0; i < 22; i++) {
        const struct store_end end = an_end(STORE_DONE, "reply");
        ASK(finish, &leases[i], &end);
    }
    for (int i = 0; i < 600 && log_size; i++) { /* it empties its log when nothing comes for a second */
        usleep(50000);
        assert_false(file_has(log, secret, &log_size) && !log_size);
    }
    assert_int_equal(log_size, 0);
    assert_false(file_has(t->path, secret, &size));
    assert_true(size > 0);
}

static void test_a_batch_answers_in_order(void **state)
{
    struct test *t = *state;

    t->seen.n_calls = 0;
    for (int i = 0; i < 1000; i++) {
        struct store_job job = a_job("k", "pass");
        store_enqueue(t->store, &job, on_done, t);
    }
    const struct store_claim c = { .max = 1, .alone = true };
    store_claim(t->store, &c, on_done, t);
    await(t, 1001);
    assert_int_equal(t->seen.n, 1); /* the last answer is the claim's, and saw what came before it */
    assert_int_equal(t->seen.queued, 999);
}

/* --- SIGKILL at any time --- */

static void on_ack(void *data, const struct store_answer *a)
{
    int fd = *(int *) data;
    if (a->err || write(fd, a->records[0].id, UUID_SIZE - 1) != UUID_SIZE - 1)
        _exit(9);
}

static void ignore(void *data, const struct store_answer *a)
{
    (void) data;
    (void) a;
}

_Noreturn static void enqueue_until_killed(struct test *t, int fd)
{
    open_store(t);
    for (;;) {
        for (int i = 0; i < 20; i++) {
            struct store_job job = a_job("k", "pass");
            store_enqueue(t->store, &job, on_ack, &fd);
        }
        const struct store_claim c = { .max = 3, .alone = false };
        store_claim(t->store, &c, ignore, NULL);
        uv_run(&t->loop, UV_RUN_ONCE);
    }
}

static void test_what_was_acknowledged_survives_sigkill(void **state)
{
    struct test *t = *state;
    char id[UUID_SIZE] = "";
    int acked = 0;

    close_store(t);
    for (int round = 0; round < 5; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            enqueue_until_killed(t, fds[1]);
        close(fds[1]);
        char ids[200][UUID_SIZE];
        for (int i = 0; i < 100 + 20 * round; i++) {
            assert_int_equal(read(fds[0], ids[i], UUID_SIZE - 1), UUID_SIZE - 1);
            ids[i][UUID_SIZE - 1] = '\0';
        }
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        open_store(t);
        for (int i = 0; i < 100 + 20 * round; i++, acked++)
            assert_int_equal(ASK(get, "k", ids[i])->err, 0);
        /* Whatever else was in the pipe was acknowledged as well. */
        while (read(fds[0], id, UUID_SIZE - 1) == UUID_SIZE - 1) {
            assert_int_equal(ASK(get, "k", id)->err, 0);
            acked++;
        }
        close(fds[0]);
        close_store(t);
    }
    open_store(t);
    print_message("%d acknowledged, 0 lost\n", acked);
}

/* --- stores that can't be used --- */

static void test_damaged_files_are_refused(void **state)
{
    struct test *t = *state;
    struct buf error;

    close_store(t);
    FILE *f = fopen(t->path, "w");
    for (int i = 0; i < 3000; i++)
        fputs("garbage", f);
    fclose(f);
    buf_init(&error, 1000);
    uv_loop_init(&t->loop);
    assert_int_equal(open_engine(t, &error), -EUCLEAN);
    buf_addc(&error, '\0');
    assert_non_null(strstr(error.data, "damaged"));
    buf_free(&error);
    unlink(t->path);
    uv_loop_close(&t->loop);
    open_store(t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_job_is_kept_as_it_was),
        TEST(forms_come_back),
        TEST(another_tenant_sees_nothing),
        TEST(a_lease_is_fenced),
        TEST(released_unstarted_is_as_never_claimed),
        TEST(a_lost_job_is_claimed_alone),
        TEST(short_jobs_pass_a_lost_one),
        TEST(a_dead_job_is_queued_again),
        TEST(a_queue_of_the_first_schema_is_taken_over),
        TEST(tenants_take_turns),
        TEST(weight_and_room),
        TEST(order_of_a_tenant_is_that_of_arrival),
        TEST(limits_of_the_queue),
        TEST(a_full_queue_takes_in_others),
        TEST(idempotency),
        TEST(cancel),
        TEST(list_pages),
        TEST(list_waiting),
        TEST(list_of_one_state),
        TEST(questions_take_turns),
        TEST(result_and_delivery_are_one),
        TEST(attempts_are_recorded),
        TEST(a_host_holds_up_no_other),
        TEST(deliveries_take_turns),
        TEST(retention),
        TEST(retention_between_tenants),
        TEST(keys_go_with_their_jobs),
        TEST(a_store_has_a_size),
        TEST(who_has_most_gives_way),
        TEST(undelivered_replies_have_a_share),
        TEST(replies_have_room_before_a_job_begins),
        TEST(a_quota),
        TEST(sums_are_those_of_the_rows),
        TEST(deliveries_leave_places),
        TEST(what_is_deleted_is_gone),
        TEST(a_batch_answers_in_order),
        TEST(what_was_acknowledged_survives_sigkill),
        TEST(damaged_files_are_refused),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
