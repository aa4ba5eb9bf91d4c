/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-store: the store alone, through its own header. N clients, each with one operation under way: a job is accepted
 * (durable when its answer comes) and, with --cycle, claimed and finished before the client's next. The rows are those
 * that the server writes for jobs.py's requests. A client is a thread that asks by one byte over a socket and waits for
 * one byte, so that the loop is woken by somebody else as the server's is; with --inside clients are callbacks of the
 * loop, which no server can have. jobs.py sets the server's rates beside both.
 */
#include "server/store/store.h"

#include "measure.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    struct bench *bench;
    uv_poll_t poll;
    uv_thread_t thread;
    int fd, far_fd; /* the loop's end, the thread's */
    uint64_t start_ns;
    struct store_lease lease;
};

struct bench {
    uv_loop_t loop;
    struct store *store;
    uint64_t deadline_ns;
    bool cycle, inside;
    long active, errors;
    struct latencies latencies;
};

static char code[1007];

static void begin(struct client *client);

static void reply_to(struct client *client)
{
    if (client->bench->inside)
        begin(client);
    else if (write(client->fd, "", 1) != 1)
        abort();
}

static void end(struct client *client, const struct store_answer *answer)
{
    struct bench *b = client->bench;

    if (answer->err)
        b->errors++;
    else
        latencies_add(&b->latencies, measure_now_ns() - client->start_ns);
    reply_to(client);
}

static void on_finished(void *data, const struct store_answer *answer)
{
    end(data, answer);
}

static void on_claimed(void *data, const struct store_answer *answer)
{
    static const char body[] =
        "{\"code\": 200, \"id\": null, \"job_id\": \"01a2266f-0ff5-7075-a65c-cb4948326a9d\", \"response\": "
        "{\"result\": null, "
        "\"stdout\": \"\", \"stderr\": \"\", \"exit_code\": 0}, \"message\": \"success\", \"pid\": 12345, "
        "\"queue_id\": "
        "1234567890, \"run_time\": 0.001234, \"queue_time\": 0.001234, \"total_time\": 0.001234, \"queue_length\": 0, "
        "\"build_number\": \"0.2.0\"}";
    struct client *client = data;
    struct bench *b = client->bench;

    if (answer->err || !answer->n) {
        end(client, answer);
        return;
    }
    const struct store_lease lease = { answer->records[0].seq, answer->records[0].attempt };
    const struct store_end over = { STORE_DONE, 200, 1, 2, { body, sizeof(body) - 1 } };
    store_finish(b->store, &lease, &over, on_finished, client);
}

static void on_accepted(void *data, const struct store_answer *answer)
{
    struct client *client = data;
    struct bench *b = client->bench;
    const struct store_claim claim = { .max = 1 };

    if (b->cycle && !answer->err)
        store_claim(b->store, &claim, on_claimed, client);
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
    struct store_job job = { .tenant = "default",
                             .code = { code, sizeof(code) },
                             .timeout_ms = 30000,
                             .webhook_url = "http://127.0.0.1:1/",
                             .host = "127.0.0.1:1" };
    struct timespec now;

    client->start_ns = measure_now_ns();
    if (client->start_ns < b->deadline_ns) {
        clock_gettime(CLOCK_REALTIME, &now);
        job.created_us = now.tv_sec * 1000000 + now.tv_nsec / 1000;
        uuid_make(job.id);
        store_enqueue(b->store, &job, on_accepted, client);
    } else if (--b->active == 0)
        store_close(b->store, on_closed, b);
    if (client->start_ns >= b->deadline_ns && !b->inside) {
        uv_close((uv_handle_t *) &client->poll, NULL);
        close(client->fd);
    }
}

static void on_asked(uv_poll_t *poll, int status, int events)
{
    struct client *client = poll->data;
    char byte;

    (void) status, (void) events;
    if (read(client->fd, &byte, 1) == 1)
        begin(client);
}

/* Until the loop closes its end. */
static void run_client(void *data)
{
    struct client *client = data;
    char byte;

    while (send(client->far_fd, "", 1, MSG_NOSIGNAL) == 1 && recv(client->far_fd, &byte, 1, 0) == 1)
        ;
}

static void start_client(struct client *client)
{
    int fds[2];

    if (client->bench->inside) {
        begin(client);
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    client->fd = fds[0];
    client->far_fd = fds[1];
    client->poll.data = client;
    if (uv_poll_init(&client->bench->loop, &client->poll, client->fd) < 0
        || uv_poll_start(&client->poll, UV_READABLE, on_asked) < 0
        || uv_thread_create(&client->thread, run_client, client) < 0)
        abort();
}

static const struct option option_table[] = {
    { "path", required_argument, NULL, 'p' },    { "clients", required_argument, NULL, 'c' },
    { "seconds", required_argument, NULL, 's' }, { "cycle", no_argument, NULL, 'y' },
    { "inside", no_argument, NULL, 'i' },        { NULL, 0, NULL, 0 },
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
        case 'i': bench.inside = true; break;
        default: return 2;
        }
    buf_init(&error, 1024);
    memset(code, '#', sizeof(code));
    if (!conf.path || sodium_init() < 0 || uv_loop_init(&bench.loop) < 0
        || store_sqlite_open(&bench.store, &conf, &bench.loop, &error) < 0) {
        fprintf(stderr, "usage: bench-store --path FILE [--clients N] [--seconds S] [--cycle] [--inside]\n%.*s\n",
                (int) error.len, error.data ? error.data : "");
        return 2;
    }
    uint64_t start_ns = measure_now_ns();
    bench.deadline_ns = start_ns + (uint64_t) seconds * 1000000000u;
    bench.active = clients;
    struct client *all = calloc((size_t) clients, sizeof(*all));
    for (long i = 0; i < clients; i++) {
        all[i].bench = &bench;
        start_client(&all[i]);
    }
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    int status = measure_print(NULL, &bench.latencies, bench.errors, measure_now_ns() - start_ns, 0);
    for (long i = 0; i < clients && !bench.inside; i++) {
        uv_thread_join(&all[i].thread);
        close(all[i].far_fd);
    }
    latencies_free(&bench.latencies);
    free(all);
    return status;
}
