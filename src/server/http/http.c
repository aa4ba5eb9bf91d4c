/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server as a whole: made, drained, freed, and the two things all connections share: the
 * tick that looks at their deadlines and the turn in which those with unread requests go on.
 *
 * Called by the server's main through http.h and by the other files here.
 * What must never happen here: a timer for each connection, a loop kept awake while there is none,
 * on_quiet or on_drained called twice. */
#include "server/http/conn.h"

#include "base/fd.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { TICK_MIN_MS = 10, TICK_MAX_MS = 250, REPLY_HEAD_MAX = 2048, REPLY_ERROR_MAX = 65536 };

/* A deadline is kept to a quarter of the shortest timeout. */
static unsigned choose_tick(const struct http_conf *conf)
{
    unsigned ms = conf->head_timeout_ms;

    if (conf->body_timeout_ms < ms)
        ms = conf->body_timeout_ms;
    if (conf->idle_timeout_ms < ms)
        ms = conf->idle_timeout_ms;
    if (conf->write_timeout_ms < ms)
        ms = conf->write_timeout_ms;
    ms /= 4;
    if (ms < TICK_MIN_MS)
        return TICK_MIN_MS;
    return ms < TICK_MAX_MS ? ms : TICK_MAX_MS;
}

struct http *http_new(uv_loop_t *loop, const struct http_conf *conf, const struct route *routes, void *data)
{
    struct http *http = xcalloc(1, sizeof(*http));

    http->loop = loop;
    http->conf = *conf;
    http->routes = routes;
    http->data = data;
    http->tick_ms = choose_tick(conf);
    http->reserve_fd = eventfd(0, EFD_CLOEXEC);
    http->n_handles = 2;
    TAILQ_INIT(&http->conns);
    TAILQ_INIT(&http->ready);
    LIST_INIT(&http->listeners);
    LIST_INIT(&http->holders);
    buf_init(&http->reply_head, REPLY_HEAD_MAX);
    buf_init(&http->reply_body, REPLY_ERROR_MAX);
    addresses_init(&http->addresses);
    uv_timer_init(loop, &http->tick);
    uv_idle_init(loop, &http->turn);
    http->tick.data = http->turn.data = http;
    signal(SIGPIPE, SIG_IGN); /* a client that closes before its reply must not end the process */
    return http;
}

void http_configure(struct http *http, const struct http_conf *conf)
{
    http->conf = *conf;
    http->tick_ms = choose_tick(conf);
    uv_timer_set_repeat(&http->tick, http->tick_ms);
}

void http_ref(struct http *http)
{
    http->n_handles++;
}

void http_unref(struct http *http)
{
    if (--http->n_handles)
        return;
    fd_close(&http->reserve_fd);
    buf_free(&http->reply_head);
    buf_free(&http->reply_body);
    free(http);
}

static bool is_at_rest(const struct http *http)
{
    switch (http->phase) {
    case DRAINING: return http->on_rest && !http->n_awaited;
    case STOPPED: return http->on_rest && !http->n_conns;
    default: return false;
    }
}

/* Runs on_rest at most once; @http may be gone after it. */
static void check_rest(struct http *http)
{
    void (*on_rest)(void *) = http->on_rest;

    if (!is_at_rest(http))
        return;
    http->on_rest = NULL;
    on_rest(http->on_rest_data);
}

static void on_tick(uv_timer_t *tick);

/* Idle connections get @last_ms more: the request of one may be on its way, and closing would be
 * all of an answer that it gets. */
static void hurry_idle(struct http *http, unsigned last_ms)
{
    uint64_t at_ms = uv_now(http->loop) + last_ms;
    struct conn *conn;

    TAILQ_FOREACH (conn, &http->conns, all)
        if (conn->state == CONN_IDLE && conn->deadline_ms > at_ms)
            conn->deadline_ms = at_ms;
    http->tick_ms = TICK_MIN_MS;
    uv_timer_start(&http->tick, on_tick, 0, http->tick_ms);
}

static void end(struct http *http, unsigned last_ms)
{
    http->phase = STOPPED;
    listen_close_all(http);
    hurry_idle(http, last_ms);
}

/* True while a connection that was idle at http_leave() may still send its request. Later ones have
 * longer. */
static bool is_held_up(const struct http *http)
{
    const struct conn *conn;

    TAILQ_FOREACH (conn, &http->conns, all)
        if (conn->state == CONN_IDLE && conn->deadline_ms <= http->leave_at_ms)
            return true;
    return false;
}

static void on_tick(uv_timer_t *tick)
{
    struct http *http = tick->data;
    uint64_t now_ms = uv_now(http->loop);
    struct conn *next;

    /* A closed connection leaves the list in a callback of its own, so next stays valid. */
    for (struct conn *conn = TAILQ_FIRST(&http->conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, all);
        if (conn->deadline_ms <= now_ms)
            conn_expire(conn);
    }
    listen_retry(http);
    if (http->phase == LEAVING && !is_held_up(http))
        end(http, LEAVE_MS);
    if (!http->n_conns && !listen_paused(http))
        uv_timer_stop(tick);
    check_rest(http);
}

void http_start_tick(struct http *http)
{
    if (!uv_is_active((uv_handle_t *) &http->tick))
        uv_timer_start(&http->tick, on_tick, http->tick_ms, http->tick_ms);
}

/* Deferred to the next tick: on_rest must not run inside a connection's own callback. */
void http_check_rest(struct http *http)
{
    if (is_at_rest(http))
        uv_timer_start(&http->tick, on_tick, 0, http->tick_ms);
}

/* uv_now() is when the loop last came back from waiting for events. */
bool http_turn_is_over(const struct http *http)
{
    return uv_hrtime() / 1000000 > uv_now(http->loop) + TURN_MS;
}

/* Connections that became ready before this turn go on once; others wait for the next turn. */
static void on_turn(uv_idle_t *turn)
{
    struct http *http = turn->data;
    struct conn *conn;

    for (unsigned n = http->n_ready; n && (conn = TAILQ_FIRST(&http->ready)) && !http_turn_is_over(http); n--) {
        http_unmake_ready(http, conn);
        conn_resume(conn);
    }
}

void http_make_ready(struct http *http, struct conn *conn)
{
    if (conn->is_ready)
        return;
    conn->is_ready = true;
    TAILQ_INSERT_TAIL(&http->ready, conn, ready);
    if (http->n_ready++ == 0)
        uv_idle_start(&http->turn, on_turn);
}

void http_unmake_ready(struct http *http, struct conn *conn)
{
    if (!conn->is_ready)
        return;
    conn->is_ready = false;
    TAILQ_REMOVE(&http->ready, conn, ready);
    if (--http->n_ready == 0)
        uv_idle_stop(&http->turn);
}

void http_drain(struct http *http, void (*on_quiet)(void *), void *data)
{
    struct conn *conn;

    http->phase = DRAINING;
    http->on_rest = on_quiet;
    http->on_rest_data = data;
    TAILQ_FOREACH (conn, &http->conns, all) {
        conn->awaited = conn->state == CONN_HANDED;
        http->n_awaited += conn->awaited;
    }
    hurry_idle(http, LAST_MS);
}

void http_stop(struct http *http, void (*on_drained)(void *), void *data)
{
    listen_take_rest(http);
    http->on_rest = on_drained;
    http->on_rest_data = data;
    end(http, LAST_MS);
}

void http_leave(struct http *http, void (*on_drained)(void *), void *data)
{
    http->phase = LEAVING;
    http->on_rest = on_drained;
    http->on_rest_data = data;
    hurry_idle(http, LEAVE_MS);
    http->leave_at_ms = uv_now(http->loop) + LEAVE_MS;
}

void http_counts(const struct http *http, unsigned *ret_open, unsigned *ret_in_hand)
{
    const struct conn *conn;
    unsigned n = 0;

    TAILQ_FOREACH (conn, &http->conns, all)
        n += conn->state == CONN_HANDED;
    *ret_open = http->n_conns;
    *ret_in_hand = n;
}

static void on_handle_closed(uv_handle_t *handle)
{
    http_unref(handle->data);
}

void http_free(struct http *http)
{
    struct conn *conn;

    if (!http)
        return;
    http->phase = STOPPED;
    http->on_rest = NULL;
    listen_close_all(http);
    TAILQ_FOREACH (conn, &http->conns, all)
        conn_close(conn);
    uv_close((uv_handle_t *) &http->tick, on_handle_closed);
    uv_close((uv_handle_t *) &http->turn, on_handle_closed);
}
