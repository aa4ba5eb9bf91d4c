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

void server_on_ready(void *data)
{
    struct server *s = data;
    const struct wire_msg ready = { .type = WIRE_READY };

    fd_send(SUPERVISOR_FD, &ready, sizeof(ready), NULL, 0);
    if (s->conf.one_run)
        server_start_one_run(s);
}

void server_on_refused(void *data, const struct wire_box_state *state)
{
    const struct wire_msg refused = { .type = WIRE_REFUSED, .slot = (uint32_t) state->step, .status = -state->error };
    struct server *s = data;

    fd_send(SUPERVISOR_FD, &refused, sizeof(refused), NULL, 0);
    s->exit_status = EXIT_REFUSED;
    uv_stop(s->loop);
}

void server_ask_usage(void *data, uint32_t slot, uint32_t serial)
{
    const struct wire_msg ask = { .type = WIRE_USAGE_GET, .slot = slot, .serial = serial };
    (void) data;
    fd_send(SUPERVISOR_FD, &ask, sizeof(ask), NULL, 0);
}

void server_tell_long(void *data, uint32_t slot, uint32_t serial, bool maybe)
{
    const struct wire_msg tell = { .type = WIRE_LONG, .slot = slot, .serial = serial, .status = maybe };
    (void) data;
    fd_send(SUPERVISOR_FD, &tell, sizeof(tell), NULL, 0);
}

void server_ask_zygote(void *data, unsigned runtime)
{
    const struct wire_msg ask = { .type = WIRE_ZYGOTE_GET, .slot = runtime };
    (void) data;
    fd_send(SUPERVISOR_FD, &ask, sizeof(ask), NULL, 0);
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
static void take_conf(struct server *s, const struct wire_server_conf *conf)
{
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

/* --- from the supervisor --- */

static void count_held(const struct wire_msg *msg)
{
    metric_add(METRIC_SANDBOX_VIOLATIONS, msg->serial, METRIC_VIOLATION_QUEUE, 0, 0);
    metric_add(METRIC_SANDBOX_HELD, msg->user_us, 0, 0, 0);
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
        if (msg.type == WIRE_HELD)
            count_held(&msg);
        if (msg.type == WIRE_ALIVE)
            fd_send(SUPERVISOR_FD, &msg, sizeof(msg), NULL, 0);
        if (msg.type == WIRE_KEPT)
            count_reload(METRIC_RELOAD_REFUSED);
        if (msg.type == WIRE_DRAIN)
            server_drain(s);
    }
}

void server_hear_supervisor(struct server *s)
{
    s->supervisor.data = s;
    uv_poll_init(s->loop, &s->supervisor, SUPERVISOR_FD);
    uv_poll_start(&s->supervisor, UV_READABLE, on_supervisor);
}
