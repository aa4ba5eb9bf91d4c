/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: its whole life, in the order in which it is lived.
 *
 * listen.c makes it, the loop calls it, http.c's tick looks at its deadline, reply.c sends through
 * it.  One request at a time: while a handler has it, and until its reply has left, further bytes
 * wait in @unread, up to a bound.
 * What must never happen here: a handler called from within another's reply; a stack that grows
 * with the requests a client has sent ahead; a connection in a state other than HANDED without a
 * deadline; a struct that is used after conn_close() by anything but its callbacks and a handler
 * that still has it. */
#include "server/http/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_closed(uv_handle_t *handle);

static void set_state(struct conn *conn, enum conn_state state, uint64_t deadline_ms)
{
    if (conn->awaited && state != CONN_HANDED) {
        conn->awaited = false;
        conn->http->n_awaited--;
        http_check_rest(conn->http);
    }
    conn->state = state;
    conn->deadline_ms = deadline_ms;
}

static uint64_t from_now(const struct conn *conn, unsigned ms)
{
    return uv_now(conn->http->loop) + ms;
}

static int open_handle(struct conn *conn)
{
    uv_loop_t *loop = conn->http->loop;
    int err = conn->tcp ? uv_tcp_init(loop, &conn->uv.tcp) : uv_pipe_init(loop, &conn->uv.pipe, 0);
    if (err)
        return err;
    return conn->tcp ? uv_tcp_open(&conn->uv.tcp, conn->fd) : uv_pipe_open(&conn->uv.pipe, conn->fd);
}

void conn_new(struct http *http, int fd, bool tcp, struct address *address)
{
    struct conn *conn = xcalloc(1, sizeof(*conn));

    conn->http = http;
    conn->fd = fd;
    conn->tcp = tcp;
    conn->address = address;
    conn->refs = 1;
    buf_init(&conn->unread, UNREAD_MAX);
    request_init(&conn->req, conn);
    yield_enter(conn, address ? &address->holder : &http->local);
    TAILQ_INSERT_TAIL(&http->conns, conn, all);
    http->n_conns++;
    http_ref(http);
    http_start_tick(http);
    set_state(conn, CONN_IDLE, from_now(conn, http->phase == LEAVING ? LEAVE_MS : http->conf.idle_timeout_ms));
    conn->uv.handle.data = conn;
    int err = open_handle(conn);
    if (err)
        close(fd);
    if (err || uv_read_start(&conn->uv.stream, on_alloc, on_read) != 0)
        conn_close(conn);
}

/* Bytes of the next request may be parsed; in the other states they wait or are dropped. */
static bool may_parse(const struct conn *conn)
{
    return conn->state == CONN_IDLE || conn->state == CONN_HEAD || conn->state == CONN_BODY;
}

static void begin_request(struct conn *conn)
{
    request_begin(&conn->req);
    conn->keep = false; /* until its head has passed */
    set_state(conn, CONN_HEAD, from_now(conn, conn->http->conf.head_timeout_ms));
}

/* A body that is small and whose end is known is read and dropped, so that the connection stays.
 * Never after an expectation: that client may keep its body to itself, and whatever comes next
 * would be taken for it. */
static bool can_skip_body(const struct request *req)
{
    return req->complete || (!req->head.chunked && req->head.expect == EXPECT_NOTHING && req->left <= SKIP_MAX);
}

/* Is the whole body among the @n bytes that were read with its head? */
static bool has_come(const struct request *req, size_t n)
{
    return req->complete || (!req->head.chunked && req->head.expect == EXPECT_NOTHING && req->left <= n);
}

static void refuse(struct conn *conn, int status, const char *why)
{
    if (!conn->req.parsed || conn->state == CONN_BODY || !can_skip_body(&conn->req))
        conn->keep = false;
    conn->req.refused = true;
    if (!conn->holder->is_key)
        yield_useless(conn);
    if (why)
        conn->req.why = why;
    reply_refusal(&conn->req, status);
}

/* A route that wants no body does not wait for one: its bytes are dropped behind the reply. */
static bool wants_body(const struct request *req)
{
    return req->route->flags & (ROUTE_JSON | ROUTE_BODY);
}

static void hand_over(struct conn *conn)
{
    conn->keep = conn->keep && can_skip_body(&conn->req);
    yield_useful(conn);
    set_state(conn, CONN_HANDED, UINT64_MAX);
    conn->req.route->on_request(&conn->req, conn->http->data);
}

/* A socket without room for these bytes belongs to a client that reads no replies. */
static int send_continue(struct conn *conn)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);
    return uv_try_write(&conn->uv.stream, &buf, 1) == (int) buf.len ? 0 : -EPIPE;
}

/* Count the request with its key; false: it was answered. */
static bool enter(struct conn *conn)
{
    const struct http_conf *conf = &conn->http->conf;
    bool keep = conn->keep;

    if (!conn->req.holder)
        return true;
    if (!yield_to_key(conn, conn->req.holder)) {
        refuse(conn, 503, yield_places);
        return false;
    }
    conn->keep = keep && can_skip_body(&conn->req);
    set_state(conn, CONN_HANDED, UINT64_MAX);
    if (conf->on_enter && !conf->on_enter(conf->data, &conn->req))
        return false;
    conn->keep = keep;
    return true;
}

/* @n bytes more are at hand.  A refused connection does not keep its place until its body has come. */
static void on_head(struct conn *conn, size_t n)
{
    struct request *req = &conn->req;

    conn->heard = true;
    conn->keep = !req->wants_close;
    conn->body_deadline_ms = from_now(conn, conn->http->conf.body_timeout_ms);
    int status = route_check(req);
    if (status) {
        conn->keep = conn->keep && has_come(req, n);
        refuse(conn, status, NULL);
    } else if (!enter(conn))
        return;
    else if (req->complete || !wants_body(req))
        hand_over(conn);
    else if (req->head.expect == EXPECT_CONTINUE && send_continue(conn) < 0)
        conn_close(conn);
    else
        set_state(conn, CONN_BODY, conn->body_deadline_ms);
}

static void next_request(struct conn *conn)
{
    set_state(conn, CONN_IDLE, from_now(conn, conn->http->conf.idle_timeout_ms));
}

static size_t take_head(struct conn *conn, const char *p, size_t n)
{
    size_t used;
    int r = request_take_head(&conn->req, p, n, &used);

    if (r > 0)
        on_head(conn, n - used);
    else if (r < 0)
        refuse(conn, -r, NULL);
    return used;
}

static size_t take_body(struct conn *conn, const char *p, size_t n)
{
    size_t used;
    int r = request_take_body(&conn->req, p, n, &used);

    if (r < 0 && conn->req.skipping)
        conn_close(conn); /* the client has had its reply */
    else if (r < 0)
        refuse(conn, -r, r == -503 ? yield_bodies : NULL);
    else if (r > 0 && conn->req.skipping)
        next_request(conn);
    else if (r > 0)
        hand_over(conn);
    return used;
}

/* Parse and serve requests until one is not answered at once, the bytes end or it's others' turn.
 * Returns how many bytes were used. */
static size_t run(struct conn *conn, const char *p, size_t n)
{
    unsigned n_begun = 0;
    size_t used = 0;

    conn->running = true;
    while (used < n && may_parse(conn)) {
        if (conn->state == CONN_IDLE) {
            if (n_begun++ == TURN_MAX || http_turn_is_over(conn->http))
                break;
            begin_request(conn);
        }
        if (conn->state == CONN_HEAD)
            used += take_head(conn, p + used, n - used);
        else
            used += take_body(conn, p + used, n - used);
    }
    conn->running = false;
    return used;
}

/* Read on, wait for room or wait for the turn.  Reading goes on while a handler has the request, or
 * its client could vanish unnoticed. */
static void settle(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_LINGER)
        buf_free(&conn->unread);
    bool waits = conn->unread.len > 0 && may_parse(conn);
    if (waits)
        http_make_ready(conn->http, conn);
    if (conn->unread.len == 0 && conn->unread.cap > KEEP_MAX)
        buf_free(&conn->unread);
    if (waits || conn->unread.len == UNREAD_MAX)
        uv_read_stop(&conn->uv.stream);
    else if (!conn->ended)
        uv_read_start(&conn->uv.stream, on_alloc, on_read); /* no matter if it is already */
}

void conn_resume(struct conn *conn)
{
    size_t used = run(conn, conn->unread.data, conn->unread.len);
    if (conn->state != CONN_CLOSED) {
        buf_consume(&conn->unread, used);
        settle(conn);
    }
}

/* When the turn is over, a key with a thousand connections reads no more than one with four, and
 * long bodies wait. */
static size_t most_late(struct conn *conn)
{
    struct holder *holder = conn->holder;
    uint64_t turn_ms = uv_now(conn->http->loop);

    holder->n_late = holder->late_ms == turn_ms ? holder->n_late + 1 : 1;
    holder->late_ms = turn_ms;
    return holder->n_late > LATE_READS ? 0 : LATE_READ_MAX;
}

/* libuv reads on after a full buffer, up to 32 times.  A buffer without room ends that with
 * UV_ENOBUFS, and the loop comes back. */
static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    struct conn *conn = handle->data;
    size_t room = conn->state == CONN_LINGER ? READ_MAX : UNREAD_MAX - conn->unread.len;
    size_t most = conn->has_read ? 0 : http_turn_is_over(conn->http) ? most_late(conn) : READ_MAX;

    (void) hint;
    conn->has_read = false;
    *buf = uv_buf_init(conn->http->read_buf, (unsigned) (room < most ? room : most));
}

/* The client has closed its side, or its connection broke: a half-close counts as gone. Only a
 * reply that is already on its way may still leave. */
static void on_end(struct conn *conn, ssize_t err)
{
    if (err != UV_EOF || conn->state != CONN_REPLY) {
        conn_close(conn);
        return;
    }
    conn->ended = true;
    conn->keep = false;
    uv_read_stop(&conn->uv.stream);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    size_t used = 0;

    if (n == UV_ENOBUFS)
        return;
    if (n < 0) {
        on_end(conn, n);
        return;
    }
    conn->has_read = (size_t) n == buf->len;
    if (conn->state == CONN_LINGER)
        return;
    if (may_parse(conn))
        used = run(conn, buf->base, (size_t) n);
    if (conn->state == CONN_CLOSED || n == 0)
        return;
    if (conn->state != CONN_LINGER)
        buf_add(&conn->unread, buf->base + used, (size_t) n - used);
    settle(conn);
}

bool conn_hear(struct conn *conn)
{
    uv_buf_t buf = uv_buf_init(conn->http->read_buf, UNREAD_MAX);

    if (conn->heard || !may_parse(conn) || conn->unread.len)
        return false;
    ssize_t n = recv(conn->fd, buf.base, buf.len, MSG_DONTWAIT);
    if (n > 0)
        on_read(&conn->uv.stream, n, &buf);
    conn->has_read = false;
    return n > 0;
}

/* Close so that a client that is still sending can read what it was told: closing with its bytes
 * unread would have the kernel answer them with a reset, which destroys the reply on its way (RFC
 * 9112 section 9.6). */
static void linger(struct conn *conn)
{
    if (conn->ended || shutdown(conn->fd, SHUT_WR) < 0)
        conn_close(conn);
    else
        set_state(conn, CONN_LINGER, from_now(conn, LINGER_MS));
}

void conn_sent(struct conn *conn)
{
    struct request *req = &conn->req;
    const struct http_conf *conf = &conn->http->conf;

    if (conf->on_sent)
        conf->on_sent(conf->data, req);
    if (conn->keep && !req->refused)
        yield_useful(conn);
    if (conn->keep && conn->http->phase == SERVING) {
        req->skipping = !req->complete;
        if (req->skipping)
            set_state(conn, CONN_BODY, conn->body_deadline_ms);
        else
            next_request(conn);
    } else if (req->complete && conn->unread.len == 0)
        conn_close(conn);
    else
        linger(conn);
    if (!conn->running)
        settle(conn);
}

/* Has a part of a request come that was not read yet? */
static bool has_arrived(const struct conn *conn)
{
    char byte;

    return conn->unread.len || recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Has a request begun to arrive, so that its client waits for a reply? */
static bool is_owed(const struct conn *conn)
{
    return conn->state == CONN_HEAD || (conn->state == CONN_BODY && !conn->req.skipping);
}

void conn_expire(struct conn *conn)
{
    if (conn->state == CONN_IDLE && has_arrived(conn))
        return;
    if (is_owed(conn))
        refuse(conn, 408, NULL);
    else
        conn_close(conn);
}

/* A reply that its client did not read in time is reset: closing would leave it to the kernel's
 * buffers and timers for minutes. */
static void close_handle(struct conn *conn)
{
    bool reset = conn->rest.len && conn->tcp;

    if (!reset || uv_tcp_close_reset(&conn->uv.tcp, on_closed) != 0)
        uv_close(&conn->uv.handle, on_closed);
}

void conn_close(struct conn *conn)
{
    struct request *req = &conn->req;
    bool handed = conn->state == CONN_HANDED;

    if (conn->state == CONN_CLOSED)
        return;
    set_state(conn, CONN_CLOSED, UINT64_MAX);
    yield_to_unsent(conn, 0);
    yield_leave(conn);
    http_unmake_ready(conn->http, conn);
    close_handle(conn);
    if (handed && !req->on_gone)
        conn->refs++; /* its handler still has to reply */
    else if (handed)
        req->on_gone(req, req->on_gone_data);
}

/* The client may read its reply; meanwhile the place is a stranger's, and goes to the next
 * connection that needs one. */
void conn_give_up(struct conn *conn, const char *why)
{
    struct request *req = &conn->req;

    conn->keep = false;
    if (conn->state == CONN_HANDED)
        req->on_yield(req, req->on_gone_data, why);
    else if (is_owed(conn))
        refuse(conn, 503, why);
    else
        conn_close(conn);
    if (conn->state == CONN_CLOSED)
        return;
    yield_leave(conn);
    yield_enter(conn, conn->address ? &conn->address->holder : &conn->http->local);
    yield_useless(conn);
}

void conn_release(struct conn *conn)
{
    if (--conn->refs)
        return;
    request_free(&conn->req);
    buf_free(&conn->unread);
    rest_free(&conn->rest);
    free(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct http *http = conn->http;

    TAILQ_REMOVE(&http->conns, conn, all);
    http->n_conns--;
    request_drop_body(&conn->req);
    address_drop(&http->addresses, conn->address);
    http_check_rest(http);
    conn->http = NULL;
    conn_release(conn);
    http_unref(http);
}
