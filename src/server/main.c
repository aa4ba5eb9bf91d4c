/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery-server: HTTP, the queue and the pool of warm boxes, in one loop.
 *
 * Started by the supervisor without privileges, with descriptor 3 as its socket.
 * With it come the configuration, the listening socket, the state directory (its
 * working directory from then on) and, one after the other, the sockets of
 * zygotes and couriers.  For `hatchery run` it runs one program instead of
 * listening.  What must never happen here: a fork, an exec, a file opened
 * outside of the state directory, or a wait that blocks the loop. */
#include "server/confine.h"

#include "base/beside.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "box/layers.h"
#include "server/api/api.h"
#include "server/http/http.h"
#include "server/jobs/backlog.h"
#include "server/jobs/outbox.h"
#include "server/metrics/metrics.h"
#include "server/pool/headroom.h"
#include "server/pool/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SUPERVISOR_FD = 3 };
enum { EXIT_REFUSED = 3, EXIT_TIMEOUT = 124 };

struct server {
    uv_loop_t *loop;
    struct wire_server_conf conf;
    struct pool *pool;
    struct api api;
    struct outbox *outbox;
    struct headroom headroom;
    int lock_fd;       /* holds the state directory's lock as long as this process lives */
    unsigned draining; /* parts that are not at rest yet: requests in hand, the backlog */
    uv_timer_t delay;  /* active: /readyz says no, and everything is served yet */
    uv_poll_t supervisor;
    uv_check_t events_over; /* a turn of the loop: the events that it was woken for, then what is due */
    uv_prepare_t turn_over;
    uint64_t events_ns, events_over_ns;
    /* hatchery run */
    int source_fd;
    struct buf source;
    struct job job;
    int exit_status;
    bool unwritable; /* its output could not be passed on, which has ended it */
};

/* --- one run --- */

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        p += written;
        n -= (size_t) written;
    }
    return 0;
}

static void on_run_output(struct job *job, int fd, const char *p, size_t n)
{
    struct server *s = job->owner;
    int err = s->unwritable ? 0 : write_all(fd, p, n);

    if (!err)
        return;
    /* As a program of its own would be ended by SIGPIPE: nobody reads what it has still to say. */
    if (err != -EPIPE)
        fprintf(stderr, "hatchery: cannot write what the program prints: %s\n", strerror(-err));
    s->unwritable = true;
    s->exit_status = err == -EPIPE ? 128 + SIGPIPE : EXIT_FAILURE;
    uv_stop(s->loop);
}

static void on_run_done(struct job *job, struct outcome *outcome)
{
    struct server *s = job->owner;
    struct buf message;

    if (s->unwritable)
        return;
    s->exit_status = outcome->kind == OUTCOME_TIMEOUT ? EXIT_TIMEOUT : outcome->exit_code;
    buf_init(&message, 200000);
    if (outcome->kind == OUTCOME_TIMEOUT || outcome->kind == OUTCOME_MEMORY || outcome->kind == OUTCOME_HOST_MEMORY
        || outcome->kind == OUTCOME_INTERNAL || outcome->kind == OUTCOME_PROCESSES || outcome->kind == OUTCOME_SIGNAL) {
        buf_adds(&message, "hatchery: ");
        outcome_message(outcome, outcome->limits, &message);
        buf_addc(&message, '\n');
        write_all(2, message.data, message.len);
    }
    buf_free(&message);
    uv_stop(s->loop);
}

static void on_run_refused(struct job *job)
{
    struct server *s = job->owner;

    fprintf(stderr, "hatchery: no box could be made, and nothing was run; the lines above say why\n");
    s->exit_status = EXIT_FAILURE;
    uv_stop(s->loop);
}

static int read_source(struct server *s)
{
    buf_init(&s->source, (size_t) s->conf.limits.code_bytes + 1);
    for (;;) {
        char *room =
            buf_room(&s->source, 65536 < s->source.max - s->source.len ? 65536 : s->source.max - s->source.len);
        ssize_t n = room ? read(s->source_fd, room,
                                s->source.max - s->source.len < 65536 ? s->source.max - s->source.len : 65536)
                         : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        s->source.len += (size_t) n;
        if (s->source.len > (size_t) s->conf.limits.code_bytes)
            return -EFBIG;
    }
}

static void start_one_run(struct server *s)
{
    int err = read_source(s);

    if (!err && s->source.len && memchr(s->source.data, '\0', s->source.len))
        err = -EILSEQ;
    if (err) {
        fprintf(stderr, "hatchery: cannot take the program: %s\n",
                err == -EFBIG    ? "it is larger than limits.code"
                : err == -EILSEQ ? "it contains NUL"
                                 : strerror(-err));
        s->exit_status = EXIT_FAILURE;
        uv_stop(s->loop);
        return;
    }
    s->job = (struct job){ .code = s->source.data ? s->source.data : "",
                           .code_len = s->source.len,
                           .timeout_ms = s->conf.limits.timeout_default_ms,
                           .on_done = on_run_done,
                           .on_refused = on_run_refused,
                           .on_output = on_run_output,
                           .owner = s };
    uuid_make(s->job.id);
    pool_run(s->pool, &s->job);
}

/* --- what the pool says --- */

static void on_ready(void *data)
{
    struct server *s = data;
    const struct wire_msg ready = { .type = WIRE_READY };

    fd_send(SUPERVISOR_FD, &ready, sizeof(ready), NULL, 0);
    if (s->conf.one_run)
        start_one_run(s);
}

static void on_refused(void *data, const struct wire_box_state *state)
{
    const struct wire_msg refused = { .type = WIRE_REFUSED, .slot = (uint32_t) state->step, .status = -state->error };
    struct server *s = data;

    fd_send(SUPERVISOR_FD, &refused, sizeof(refused), NULL, 0);
    s->exit_status = EXIT_REFUSED;
    uv_stop(s->loop);
}

static void ask_usage(void *data, uint32_t slot, uint32_t serial)
{
    const struct wire_msg ask = { .type = WIRE_USAGE_GET, .slot = slot, .serial = serial };
    (void) data;
    fd_send(SUPERVISOR_FD, &ask, sizeof(ask), NULL, 0);
}

static void on_room(void *data)
{
    struct server *s = data;
    if (s->api.backlog)
        backlog_wake(s->api.backlog);
}

static void tell_long(void *data, uint32_t slot, uint32_t serial, bool maybe)
{
    const struct wire_msg tell = { .type = WIRE_LONG, .slot = slot, .serial = serial, .status = maybe };
    (void) data;
    fd_send(SUPERVISOR_FD, &tell, sizeof(tell), NULL, 0);
}

static void ask_zygote(void *data, unsigned runtime)
{
    const struct wire_msg ask = { .type = WIRE_ZYGOTE_GET, .slot = runtime };
    (void) data;
    fd_send(SUPERVISOR_FD, &ask, sizeof(ask), NULL, 0);
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

    for (const struct key *key = keys_first(s->api.keys); key; key = key->next)
        n += key->valid;
    return n > 1;
}

static const struct pool_hooks pool_hooks = {
    .on_ready = on_ready,
    .on_refused = on_refused,
    .ask_usage = ask_usage,
    .tell_long = tell_long,
    .ask_zygote = ask_zygote,
    .on_room = on_room,
    .memory_left = memory_left,
    .has_keys = has_keys,
};

/* --- the listeners --- */

enum { WATCHERS_MAX = 64 };

static struct http_conf http_conf_of(struct server *s)
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

static int start_http(struct server *s, const int *listeners, int watch)
{
    const struct http_conf conf = http_conf_of(s);
    struct http_conf of_watch = conf;
    int err = 0;

    of_watch.max_connections = of_watch.max_connections_per_address = WATCHERS_MAX;
    if (watch >= 0) {
        s->api.https[1] = http_new(s->loop, &of_watch, api_watch_routes, &s->api);
        err = http_listen(s->api.https[1], watch);
    }
    s->api.https[0] = http_new(s->loop, &conf, api_routes, &s->api);
    for (unsigned i = 0; i < s->conf.n_listeners && !err; i++)
        err = http_listen(s->api.https[0], listeners[i]);
    return err;
}

/* --- a configuration that was read again --- */

static void count_reload(unsigned word)
{
    metric_count(METRIC_CONFIG_RELOADS, word);
    metric_set(METRIC_CONFIG_OK, word == METRIC_RELOAD_OK, 0, 0, 0);
}

static void change_allow(struct server *s)
{
    struct guard_allow *allow;
    struct buf error;

    buf_init(&error, 512);
    if (guard_allow_new(s->conf.allow, s->conf.ports, &allow, &error) == 0) { /* it was checked before it came here */
        guard_allow_free(s->api.allow);
        s->api.allow = allow;
    }
    buf_free(&error);
}

/* All that points to s->conf has the new values with it; what made a copy is told. */
static void take_conf(struct server *s, const struct wire_server_conf *conf)
{
    s->conf = *conf;
    log_set_level((enum log_level) conf->log_level);
    keys_set_default(s->api.keys, conf->has_key ? conf->key_hash : NULL);
    change_allow(s);
    if (s->api.https[0]) {
        const struct http_conf of_clients = http_conf_of(s);
        http_configure(s->api.https[0], &of_clients);
    }
    count_reload(METRIC_RELOAD_OK);
}

/* --- what the supervisor says --- */

static void on_store_closed(void *data)
{
    struct server *s = data;
    log_info("stopped: all requests in hand are answered");
    uv_stop(s->loop);
}

static void close_store(void *data)
{
    struct server *s = data;

    if (s->api.store)
        s->api.store->ops->close(s->api.store, on_store_closed, s);
    else
        on_store_closed(s);
}

/* The last client has its answer: only deliveries are left. */
static void on_clients_gone(void *data)
{
    struct server *s = data;

    if (s->outbox)
        outbox_drain(s->outbox, close_store, s);
    else
        close_store(s);
}

/* The one place where listening sockets of our own are given up.  Until then whoever connects is answered, that is told to
 * come back. */
static void stop_listening(struct server *s)
{
    http_stop(s->api.https[0], on_clients_gone, s);
}

static void on_part_drained(void *data)
{
    struct server *s = data;

    if (--s->draining)
        return;
    if (s->conf.inherited)
        on_clients_gone(s);
    else
        stop_listening(s);
}

/* Sockets that we were given outlive us: whoever is not accepted waits there for the next server, and whoever is has the
 * answer that any other time would bring. */
static void drain_clients(struct server *s)
{
    if (s->conf.inherited)
        http_leave(s->api.https[0], on_part_drained, s);
    else {
        pool_drain(s->pool);
        http_drain(s->api.https[0], on_part_drained, s);
    }
}

static void drain(struct server *s)
{
    if (s->draining)
        return;
    if (!s->api.https[0]) {
        pool_drain(s->pool);
        uv_stop(s->loop);
        return;
    }
    s->draining = s->api.backlog ? 2 : 1;
    drain_clients(s);
    if (s->api.backlog)
        backlog_drain(s->api.backlog, on_part_drained, s);
}

static void on_delay(uv_timer_t *timer)
{
    drain(timer->data);
}

/* Told to stop: first say so to those who ask whether to send requests here; where another takes over there is no need. */
static void prepare_to_drain(struct server *s)
{
    if (s->api.draining)
        return;
    s->api.draining = true;
    if (!s->conf.drain_delay_ms || !s->api.https[0] || s->conf.inherited) {
        drain(s);
        return;
    }
    s->delay.data = s;
    uv_timer_init(s->loop, &s->delay);
    uv_timer_start(&s->delay, on_delay, s->conf.drain_delay_ms, 0);
    log_info("not ready any more; stopping after a while", LOG_US("delay", s->conf.drain_delay_ms * 1000LL));
}

static void on_supervisor(uv_poll_t *handle, int status, int events)
{
    static union {
        struct wire_msg msg;
        struct wire_server_conf conf;
    } in;
    struct server *s = handle->data;
    int fd;

    (void) events;
    for (;;) {
        ssize_t n = status < 0 ? 0 : fd_recv(SUPERVISOR_FD, &in, sizeof(in), &fd, 1, NULL);
        const struct wire_msg msg = in.msg;
        if (n == -EAGAIN)
            return;
        if (n == sizeof(in.conf) && in.conf.type == WIRE_SERVER_CONF) {
            take_conf(s, &in.conf);
            continue;
        }
        if (n != sizeof(msg)) { /* nobody could restart a zygote for us: end, and the boxes with us */
            s->exit_status = EXIT_FAILURE;
            uv_stop(s->loop);
            return;
        }
        if (msg.type == WIRE_ZYGOTE && fd >= 0)
            pool_zygote(s->pool, msg.slot, fd);
        else if (msg.type == WIRE_PACKAGES && fd >= 0)
            api_take_packages(&s->api, msg.slot, fd);
        else if (msg.type == WIRE_FAULT && fd >= 0) {
            api_take_left_out(&s->api, msg.slot, fd, msg.serial);
            pool_fault(s->pool, msg.slot, (enum fault) msg.status);
        } else if (msg.type == WIRE_MEMORY && fd >= 0)
            headroom_take(&s->headroom, msg.slot, fd);
        else if (msg.type == WIRE_COURIER && fd >= 0 && s->outbox)
            outbox_courier(s->outbox, fd);
        else
            fd_close(&fd);
        if (msg.type == WIRE_USAGE)
            pool_usage(s->pool, &msg);
        if (msg.type == WIRE_OOM)
            pool_out_of_memory(s->pool, &msg);
        if (msg.type == WIRE_ALIVE)
            fd_send(SUPERVISOR_FD, &msg, sizeof(msg), NULL, 0);
        if (msg.type == WIRE_KEPT)
            count_reload(METRIC_RELOAD_REFUSED);
        if (msg.type == WIRE_DRAIN)
            prepare_to_drain(s);
    }
}

/* --- how long others wait --- */

static const uint64_t LONG_TURN_NS = 2000000;

/* The loop's time is when it was woken, in whole milliseconds. */
static void on_events_over(uv_check_t *handle)
{
    struct server *s = handle->data;

    s->events_over_ns = uv_hrtime();
    s->events_ns = s->events_over_ns - uv_now(s->loop) * 1000000;
}

static void on_turn_over(uv_prepare_t *handle)
{
    struct server *s = handle->data;
    uint64_t ns = s->events_ns + uv_hrtime() - s->events_over_ns;

    if (s->events_over_ns && ns > LONG_TURN_NS)
        metric_observe(METRIC_LOOP_TURN, (int64_t) (ns / 1000), 0, 0, 0);
}

static void watch_turns(struct server *s)
{
    s->events_over.data = s->turn_over.data = s;
    uv_check_init(s->loop, &s->events_over);
    uv_check_start(&s->events_over, on_events_over);
    uv_prepare_init(s->loop, &s->turn_over);
    uv_prepare_start(&s->turn_over, on_turn_over);
}

/* --- start --- */

static void on_store_wake(void *data)
{
    struct server *s = data;
    backlog_wake(s->api.backlog);
    outbox_wake(s->outbox);
}

/* Cursors stay good over a restart: their key does. */
static int load_cursor_key(struct api *api)
{
    static const char name[] = "cursor.key", fresh[] = "cursor.key.new";
    unsigned char *key = api->cursor_key;
    _cleanup_fd_ int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && read(fd, key, API_CURSOR_KEY) == API_CURSOR_KEY)
        return 0;
    fd_close(&fd);
    randombytes_buf(key, API_CURSOR_KEY);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, key, API_CURSOR_KEY) != API_CURSOR_KEY || rename(fresh, name) < 0)
        return errno ? -errno : -EIO;
    return 0;
}

/* Without a store synchronous runs go on, and whoever asks for more is told why not. */
static void open_store(struct server *s)
{
    const struct store_conf conf = { .path = "jobs.db",
                                     .retention_age_us = s->conf.retention_age_us,
                                     .retention_count = s->conf.retention_count,
                                     .max_bytes = s->conf.store_bytes,
                                     .on_wake = on_store_wake,
                                     .data = s };
    const struct backlog_conf backlog = { .loop = s->loop,
                                          .pool = s->pool,
                                          .keys = s->api.keys,
                                          .envelope = &s->api.envelope,
                                          .places = s->conf.places,
                                          .limits = &s->conf.limits };
    struct backlog_conf with_store = backlog;
    struct buf error;

    buf_init(&error, 1024);
    s->api.no_store = "Asynchronous jobs are not available: the store cannot be used, and the server's log says why";
    int err = load_cursor_key(&s->api);
    if (err)
        buf_adds(&error, "the state directory cannot be written to");
    if (!err)
        err = store_sqlite_open(&s->api.store, &conf, s->loop, &error);
    if (err) {
        buf_addc(&error, '\0');
        log_error("asynchronous jobs are not available",
                  LOG_S("error", error.data) LOG_S("errno", strerrorname_np(-err)));
    } else {
        with_store.store = s->api.store;
        s->api.backlog = backlog_new(&with_store);
        s->outbox = outbox_new(s->loop, &s->conf, s->api.store);
    }
    buf_free(&error);
}

/* From here on nothing is opened but the state, and nothing is started or connected. */
static int give_up_the_rest(int state_fd)
{
    const char *what = "";
    int err = confine(state_fd, &what);

    if (err)
        log_error("the server can't confine itself", LOG_S("layer", what) LOG_S("errno", strerrorname_np(-err))
                                                         LOG_S("hint", layers[layers_of_step(what)].change));
    return err;
}

static int open_state(struct server *s, int state_fd)
{
    struct buf error;

    buf_init(&error, 512);
    s->api.no_store = "Asynchronous jobs are switched off on this server (server.state = none)";
    int err = guard_allow_new(s->conf.allow, s->conf.ports, &s->api.allow, &error);
    buf_free(&error);
    if (!err && state_fd >= 0 && fchdir(state_fd) < 0)
        err = -errno;
    if (!err)
        err = give_up_the_rest(state_fd);
    if (err || state_fd < 0)
        return err;
    close(state_fd);
    err = keys_watch(s->api.keys, s->loop);
    if (err)
        log_error("changes of keys are not seen until the next start", LOG_S("errno", strerrorname_np(-err)));
    open_store(s);
    return 0;
}

static int start(struct server *s, const int *fds)
{
    const int *watch = fds + (s->conf.one_run ? 1 : s->conf.n_listeners);
    const int *state = watch + s->conf.has_watch;
    int err = run_prepare();

    if (err)
        return err;
    s->loop = uv_default_loop();
    headroom_init(&s->headroom, s->conf.memory_bytes);
    s->pool = pool_new(s->loop, &s->conf, &pool_hooks, s);
    s->lock_fd = s->conf.has_state ? state[1] : -1;
    s->api = (struct api){ .loop = s->loop,
                           .conf = &s->conf,
                           .pool = s->pool,
                           .keys = keys_new(s->conf.has_key ? s->conf.key_hash : NULL),
                           .envelope.queue_id = (int64_t) randombytes_uniform(0x7fffffff),
                           .envelope.build_number = VERSION };
    s->supervisor.data = s;
    uv_poll_init(s->loop, &s->supervisor, SUPERVISOR_FD);
    uv_poll_start(&s->supervisor, UV_READABLE, on_supervisor);
    watch_turns(s);
    if (s->conf.one_run) {
        s->source_fd = fds[0];
        err = give_up_the_rest(-1);
    } else {
        api_metrics_init(&s->api);
        api_openapi_init(&s->api);
        metric_set(METRIC_CONFIG_OK, 1, 0, 0, 0);
        err = open_state(s, s->conf.has_state ? state[0] : -1);
        if (!err)
            err = start_http(s, fds, s->conf.has_watch ? *watch : -1);
    }
    return err;
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
    if (sodium_init() < 0
        || fd_recv(SUPERVISOR_FD, &server.conf, sizeof(server.conf), fds, FD_PASS_MAX, NULL) != sizeof(server.conf)) {
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
