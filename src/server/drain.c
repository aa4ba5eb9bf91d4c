/* SPDX-License-Identifier: Apache-2.0 */
/* The server stops: readiness first, then requests and jobs in hand, deliveries, the store.
 *
 * Each step begins when the one before it says that it is at rest.  What must never happen here: a
 * request or a job that was accepted and is dropped, or a client that is refused by the kernel while
 * another could still be answered. */
#include "server/server.h"

#include "base/log.h"

static void on_store_closed(void *data)
{
    struct server *s = data;
    log_info("stopped: all requests in hand are answered");
    uv_stop(s->loop);
}

static void close_store(void *data)
{
    struct server *s = data;

    if (s->store)
        store_close(s->store, on_store_closed, s);
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
    http_stop(s->clients, on_clients_gone, s);
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
        http_leave(s->clients, on_part_drained, s);
    else {
        pool_drain(s->pool);
        http_drain(s->clients, on_part_drained, s);
    }
}

static void drain(struct server *s)
{
    if (s->draining)
        return;
    if (!s->clients) {
        pool_drain(s->pool);
        uv_stop(s->loop);
        return;
    }
    s->draining = s->backlog ? 2 : 1;
    drain_clients(s);
    if (s->backlog)
        backlog_drain(s->backlog, on_part_drained, s);
}

static void on_delay(uv_timer_t *timer)
{
    drain(timer->data);
}

/* Told to stop: first say so to those who ask whether to send requests here; where another takes over there is no need. */
void server_drain(struct server *s)
{
    if (s->api.draining)
        return;
    s->api.draining = true;
    if (!s->conf.drain_delay_ms || !s->clients || s->conf.inherited) {
        drain(s);
        return;
    }
    s->delay.data = s;
    uv_timer_init(s->loop, &s->delay);
    uv_timer_start(&s->delay, on_delay, s->conf.drain_delay_ms, 0);
    log_info("not ready any more; stopping after a while", LOG_US("delay", s->conf.drain_delay_ms * 1000LL));
}
