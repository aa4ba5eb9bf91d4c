/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-store: the store alone. N clients in one loop, each with one operation under way: a job is accepted (durable
 * when its answer comes) and, with --cycle, claimed and finished before the client accepts the next. jobs.py calls it
 * and sets the server's rates beside it.
 */
#include "../src/jobs/store.h"

#include "measure.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
    struct bench *bench;
    uint64_t start_ns;
    struct store_lease lease;
};

struct bench {
    uv_loop_t loop;
    struct store *store;
    uint64_t deadline_ns;
    bool cycle;
    long active, errors;
    struct latencies latencies;
};

static char code[1024];

static void begin(struct client *client);

static void end(struct client *client, const struct store_answer *answer)
{
    struct bench *b = client->bench;

    if (answer->err)
        b->errors++;
    else
        latencies_add(&b->latencies, measure_now_ns() - client->start_ns);
    begin(client);
}

static void on_finished(void *data, const struct store_answer *answer)
{
    end(data, answer);
}

static void on_claimed(void *data, const struct store_answer *answer)
{
    static const char body[] = "{\"code\": 200, \"response\": {\"result\": null, \"stdout\": \"Hello, World!\\n\"}}";
    struct client *client = data;
    struct bench *b = client->bench;

    if (answer->err || !answer->n) {
        end(client, answer);
        return;
    }
    const struct store_lease lease = { answer->records[0].seq, answer->records[0].attempt };
    const struct store_end over = { STORE_DONE, 200, 1, 2, { body, sizeof(body) - 1 } };
    b->store->ops->finish(b->store, &lease, &over, on_finished, client);
}

static void on_accepted(void *data, const struct store_answer *answer)
{
    struct client *client = data;
    struct bench *b = client->bench;
    const struct store_claim claim = { .max = 1 };

    if (b->cycle && !answer->err)
        b->store->ops->claim(b->store, &claim, on_claimed, client);
    else
        end(client, answer);
}

static void on_closed(void *data)
{
    (void) data;
}

static void begin(struct client *client)
{
    struct bench *b = client->bench;
    struct store_job job = { .tenant = "bench", .code = { code, sizeof(code) }, .timeout_ms = 30000, .created_us = 1 };

    client->start_ns = measure_now_ns();
    if (client->start_ns < b->deadline_ns) {
        uuid_make(job.id);
        b->store->ops->enqueue(b->store, &job, on_accepted, client);
    } else if (--b->active == 0)
        b->store->ops->close(b->store, on_closed, b);
}

static const struct option option_table[] = {
    { "path", required_argument, NULL, 'p' },
    { "clients", required_argument, NULL, 'c' },
    { "seconds", required_argument, NULL, 's' },
    { "cycle", no_argument, NULL, 'y' },
    { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
    static struct bench bench;
    struct store_conf conf = { 0 };
    long clients = 1, seconds = 2;
    struct buf error;
    int option;

    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1)
        switch (option) {
        case 'p': conf.path = optarg; break;
        case 'c': clients = measure_number("clients", optarg, 1); break;
        case 's': seconds = measure_number("seconds", optarg, 1); break;
        case 'y': bench.cycle = true; break;
        default: return 2;
        }
    buf_init(&error, 1024);
    memset(code, '#', sizeof(code));
    if (!conf.path || sodium_init() < 0 || uv_loop_init(&bench.loop) < 0
        || store_sqlite_open(&bench.store, &conf, &bench.loop, &error) < 0) {
        fprintf(stderr, "usage: bench-store --path FILE [--clients N] [--seconds S] [--cycle]\n%.*s\n", (int) error.len,
                error.data ? error.data : "");
        return 2;
    }
    uint64_t start_ns = measure_now_ns();
    bench.deadline_ns = start_ns + (uint64_t) seconds * 1000000000u;
    bench.active = clients;
    struct client *all = calloc((size_t) clients, sizeof(*all));
    for (long i = 0; i < clients; i++) {
        all[i].bench = &bench;
        begin(&all[i]);
    }
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    int status = measure_print(NULL, &bench.latencies, bench.errors, measure_now_ns() - start_ns, 0);
    latencies_free(&bench.latencies);
    free(all);
    return status;
}
