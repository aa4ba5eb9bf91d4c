/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor says, and what is said to it.
 *
 * Its messages are of fixed size (wire.h); what this file hands on is already checked to be one.
 * What must never happen here: a descriptor that came with a message and stays open unused, or a
 * server that lives on without its supervisor. */
#include "server/server.h"

#include "base/fd.h"
#include "base/log.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdlib.h>

enum { EXIT_REFUSED = 3 };

/* --- to the supervisor --- */

/* Whether it was sent shows when the answer does not come; a supervisor that is gone is the end of us. */
#define SEND(...) fd_send(SUPERVISOR_FD, &(__VA_ARGS__), sizeof(__VA_ARGS__), NULL, 0)

void server_on_ready(void *data)
{
    struct server *s = data;

    SEND((const struct wire_plain){ .type = WIRE_READY });
    if (s->conf.one_run)
        server_start_one_run(s);
}

void server_on_refused(void *data, const struct wire_box_state *state)
{
    struct server *s = data;

    SEND((const struct wire_refused){ .type = WIRE_REFUSED, .step = state->step, .error = state->error });
    s->exit_status = EXIT_REFUSED;
    uv_stop(s->loop);
}

void server_ask_usage(void *data, uint32_t slot, uint32_t serial)
{
    (void) data;
    SEND((const struct wire_of_box){ .type = WIRE_USAGE_GET, .slot = slot, .serial = serial });
}

void server_tell_long(void *data, uint32_t slot, uint32_t serial, bool maybe)
{
    (void) data;
    SEND((const struct wire_long){ .type = WIRE_LONG, .slot = slot, .serial = serial, .if_crowd = maybe });
}

void server_ask_zygote(void *data, unsigned runtime)
{
    (void) data;
    SEND((const struct wire_of_runtime){ .type = WIRE_ZYGOTE_GET, .runtime = runtime });
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
        guard_allow_free(s->allow);
        s->allow = allow;
        server_lend(s);
    }
    buf_free(&error);
}

/* All that points to s->conf has the new values with it; what made a copy is told. */
static void on_conf_again(void *data, struct wire_in *in)
{
    const struct wire_server_conf *conf = in->msg;
    struct server *s = data;

    s->conf = *conf;
    log_set_level((enum log_level) conf->log_level);
    keys_set_default(s->keys, conf->has_key ? conf->key_hash : NULL);
    change_allow(s);
    if (s->clients) {
        const struct http_conf of_clients = server_http_conf(s);
        http_configure(s->clients, &of_clients);
    }
    count_reload(METRIC_RELOAD_OK);
}

static void on_kept(void *data, struct wire_in *in)
{
    (void) data;
    (void) in;
    count_reload(METRIC_RELOAD_REFUSED);
}

/* --- from the supervisor --- */

static void on_zygote(void *data, struct wire_in *in)
{
    const struct wire_of_runtime *of = in->msg;
    struct server *s = data;
    pool_zygote(s->pool, of->runtime, fd_steal(&in->fds[0]));
}

static void on_packages(void *data, struct wire_in *in)
{
    const struct wire_of_runtime *of = in->msg;
    struct server *s = data;
    api_take_packages(&s->api, of->runtime, fd_steal(&in->fds[0]));
}

static void on_fault(void *data, struct wire_in *in)
{
    const struct wire_fault *fault = in->msg;
    struct server *s = data;

    api_take_left_out(&s->api, fault->runtime, fd_steal(&in->fds[0]), fault->n_left_out);
    pool_fault(s->pool, fault->runtime, (enum fault) fault->fault);
}

static void on_memory(void *data, struct wire_in *in)
{
    const struct wire_memory_file *file = in->msg;
    struct server *s = data;
    headroom_take(&s->headroom, file->which, fd_steal(&in->fds[0]));
}

static void on_courier(void *data, struct wire_in *in)
{
    struct server *s = data;
    if (s->outbox)
        outbox_courier(s->outbox, fd_steal(&in->fds[0]));
}

static void on_usage(void *data, struct wire_in *in)
{
    struct server *s = data;
    pool_usage(s->pool, in->msg);
}

static void on_oom(void *data, struct wire_in *in)
{
    struct server *s = data;
    pool_out_of_memory(s->pool, in->msg);
}

static void on_held(void *data, struct wire_in *in)
{
    const struct wire_held *held = in->msg;

    (void) data;
    metric_add(METRIC_SANDBOX_VIOLATIONS, held->boxes, METRIC_VIOLATION_QUEUE, 0, 0);
    metric_add(METRIC_SANDBOX_HELD, held->boxes_us, 0, 0, 0);
}

static void on_alive_get(void *data, struct wire_in *in)
{
    (void) data;
    (void) in;
    SEND((const struct wire_plain){ .type = WIRE_ALIVE });
}

static void on_drain(void *data, struct wire_in *in)
{
    (void) in;
    server_drain(data);
}

static wire_handler *const from_supervisor[WIRE_TYPES] = {
    [WIRE_SERVER_CONF_AGAIN] = on_conf_again,
    [WIRE_KEPT] = on_kept,
    [WIRE_ZYGOTE] = on_zygote,
    [WIRE_PACKAGES] = on_packages,
    [WIRE_FAULT] = on_fault,
    [WIRE_COURIER] = on_courier,
    [WIRE_MEMORY] = on_memory,
    [WIRE_USAGE] = on_usage,
    [WIRE_OOM] = on_oom,
    [WIRE_HELD] = on_held,
    [WIRE_ALIVE_GET] = on_alive_get,
    [WIRE_DRAIN] = on_drain,
};

static void on_readable(uv_poll_t *handle, int status, int events)
{
    static struct wire_server_conf room; /* the largest message */
    struct wire_in in = { .msg = &room, .size = sizeof(room) };
    struct server *s = handle->data;
    int heard = status < 0 ? status : 1;

    (void) events;
    while (heard > 0)
        heard = wire_hear(&s->heard, SUPERVISOR_FD, &in, from_supervisor, s);
    if (heard == -EAGAIN)
        return;
    s->exit_status = EXIT_FAILURE; /* nobody could restart a zygote for us: end, and the boxes with us */
    uv_stop(s->loop);
}

int server_hear_conf(struct server *s, int fds[static FD_PASS_MAX])
{
    s->heard = (struct wire_link){ .table = &wire_table, .from = PEER_SUPERVISOR, .to = PEER_SERVER };
    ssize_t n = fd_recv(SUPERVISOR_FD, &s->conf, sizeof(s->conf), fds, FD_PASS_MAX, NULL);

    if (n < 0)
        return (int) n;
    return wire_check(&s->heard, &s->conf, (size_t) n, 0) ? -EPROTO : 0;
}

void server_hear_supervisor(struct server *s)
{
    s->supervisor.data = s;
    uv_poll_init(s->loop, &s->supervisor, SUPERVISOR_FD);
    uv_poll_start(&s->supervisor, UV_READABLE, on_readable);
}
