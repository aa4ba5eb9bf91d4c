/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery-server: HTTP, the queue and the pool of warm boxes, in one loop.
 *
 * Started by the supervisor without privileges, with descriptor 3 as its socket.
 * With it come the configuration, the listening socket, the state directory (its
 * working directory from then on) and, one after the other, the sockets of
 * zygotes and couriers.  For `hatchery run` it runs one program instead of
 * listening.  What must never happen here: a fork, an exec, a file opened
 * outside of the state directory, or a wait that blocks the loop. */
#include "server/server.h"

#include "base/beside.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/metrics/metrics.h"
#include "server/pool/slot.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* --- what the pool asks --- */

static void on_room(void *data)
{
    struct server *s = data;
    if (s->backlog)
        backlog_wake(s->backlog);
}

static int64_t memory_left(void *data, unsigned kept)
{
    struct server *s = data;
    return headroom_left(&s->headroom, kept);
}

static bool has_keys(void *data)
{
    struct server *s = data;
    unsigned n = 0;

    for (const struct key *key = keys_first(s->keys); key; key = key->next)
        n += key->valid;
    return n > 1;
}

static const struct pool_hooks pool_hooks = {
    .on_ready = server_on_ready,
    .on_refused = server_on_refused,
    .ask_usage = server_ask_usage,
    .tell_long = server_tell_long,
    .ask_zygote = server_ask_zygote,
    .on_room = on_room,
    .memory_left = memory_left,
    .has_keys = has_keys,
};

/* --- the listeners --- */

enum { METRICS_CONNECTIONS_MAX = 64 };

struct http_conf server_http_conf(struct server *s)
{
    return (struct http_conf){ .max_connections = s->conf.max_connections,
                               .max_connections_per_address = s->conf.max_connections_per_address,
                               .head_timeout_ms = s->conf.head_timeout_ms,
                               .body_timeout_ms = s->conf.body_timeout_ms,
                               .idle_timeout_ms = s->conf.idle_timeout_ms,
                               .write_timeout_ms = s->conf.write_timeout_ms,
                               .max_body = api_body_max(&s->conf),
                               .max_bodies = (size_t) s->conf.max_bodies,
                               .find_key = api_find_key,
                               .on_enter = api_on_enter,
                               .on_reply = api_on_reply,
                               .on_shed = api_on_shed,
                               .on_refusal = api_on_refusal,
                               .on_sent = api_on_sent,
                               .data = &s->api };
}

static int start_http(struct server *s, const int *listeners, int metrics)
{
    const struct http_conf conf = server_http_conf(s);
    struct http_conf of_metrics = conf;
    int err = 0;

    of_metrics.max_connections = of_metrics.max_connections_per_address = METRICS_CONNECTIONS_MAX;
    if (metrics >= 0) {
        s->metrics = http_new(s->loop, &of_metrics, api_metrics_routes, &s->api);
        err = http_listen(s->metrics, metrics);
    }
    s->clients = http_new(s->loop, &conf, api_routes, &s->api);
    for (unsigned i = 0; i < s->conf.n_listeners && !err; i++)
        err = http_listen(s->clients, listeners[i]);
    return err;
}

/* --- start --- */

void server_lend(struct server *s)
{
    s->api.allow = s->allow;
    s->api.store = s->store;
    s->api.backlog = s->backlog;
    s->api.intake = (struct intake){ .pool = s->pool, .backlog = s->backlog, .conf = &s->conf };
    s->api.https[0] = s->clients;
    s->api.https[1] = s->metrics;
}

/* The parts that both verbs have: what `hatchery run` does without is NULL until it is opened. */
static void make_parts(struct server *s)
{
    s->loop = uv_default_loop();
    headroom_init(&s->headroom, s->conf.memory_bytes);
    s->pool = pool_new(s->loop, &s->conf, &pool_hooks, s);
    s->keys = keys_new(s->conf.has_key ? s->conf.key_hash : NULL);
    s->api = (struct api){
        .loop = s->loop,
        .conf = &s->conf,
        .pool = s->pool,
        .keys = s->keys,
        .self = { .pid = getpid(), .queue_id = (int64_t) randombytes_uniform(0x7fffffff), .build = VERSION }
    };
    server_hear_supervisor(s);
    loop_turns_watch(&s->turns, s->loop);
}

/* @fds: the listeners, metrics.listen's, the state directory and its lock, as far as the configuration has them. */
static int start_service(struct server *s, const int *fds)
{
    const int *metrics = fds + s->conf.n_listeners;
    const int *state = metrics + s->conf.has_metrics;

    s->lock_fd = s->conf.has_state ? state[1] : -1;
    api_metrics_init(&s->api);
    api_openapi_init(&s->api);
    metric_set(METRIC_CONFIG_OK, 1, 0, 0, 0);
    int err = server_open_state(s, s->conf.has_state ? state[0] : -1);
    if (!err)
        err = start_http(s, fds, s->conf.has_metrics ? *metrics : -1);
    server_lend(s);
    return err;
}

static int start(struct server *s, const int *fds)
{
    int err = slots_prepare();

    if (!err)
        err = server_forgo_io_uring();
    if (err)
        return err;
    make_parts(s);
    if (!s->conf.one_run)
        return start_service(s, fds);
    s->run.source_fd = fds[0];
    return server_give_up_the_rest(-1);
}

int main(void)
{
    static struct server server;
    int fds[FD_PASS_MAX];

    prctl(PR_SET_NAME, "hatchery-server", 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    beside_prepare();
    large_blocks_go_back();
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0 || server_hear_conf(&server, fds) < 0) {
        fprintf(stderr, "hatchery-server is started by `hatchery serve`\n");
        return EXIT_FAILURE;
    }
    log_init("server", (enum log_format) server.conf.log_format, (enum log_level) server.conf.log_level);
    int err = start(&server, fds);
    if (err) {
        log_error("cannot start", LOG_S("errno", strerrorname_np(-err)));
        return EXIT_FAILURE;
    }
    uv_run(server.loop, UV_RUN_DEFAULT);
    pool_log_last(server.pool);
    return server.exit_status;
}
