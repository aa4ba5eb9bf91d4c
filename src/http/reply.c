/* SPDX-License-Identifier: Apache-2.0 */
/* A status and a body to bytes, and the bytes to the socket.
 *
 * Called by handlers through http.h and by conn.c for what it refuses itself.
 * A reply is written where it is made, head and body in one system call; only
 * what the socket does not take is copied and left to the loop.
 * What must never happen here: a byte of a request in a reply's head. */
#include "conn.h"

#include "../base/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_MAX = 1024 };

static const struct status {
    int code;
    const char *reason;
    const char *sentence;
} statuses[] = {
#define STATUS(code, reason, sentence) { code, reason, sentence },
#include "status.def"
#undef STATUS
    { 0, "", "" },
};

#define OVERLOAD "{\"code\": 503, \"error\": \"Too many connections\", \"message\": \"Too many connections\"}"

const char reply_overload[] = "HTTP/1.1 503 Service Unavailable\r\n"
                              "Content-Type: application/json\r\n"
                              "Content-Length: 81\r\n"
                              "X-Content-Type-Options: nosniff\r\n"
                              "Retry-After: 1\r\n"
                              "Connection: close\r\n\r\n" OVERLOAD;
static_assert(sizeof(OVERLOAD) - 1 == 81, "Content-Length above");

static const struct status *find_status(int code)
{
    const struct status *s = statuses;
    while (s->code && s->code != code)
        s++;
    return s;
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;

    free(conn->rest);
    conn->rest = NULL;
    yield_to_unsent(conn, 0);
    if (status < 0)
        conn_close(conn);
    else if (conn->state == CONN_REPLY)
        conn_sent(conn);
}

/* The socket took @sent bytes of the reply; the loop writes the others when it takes more. */
static void send_rest(struct conn *conn, const uv_buf_t bufs[2], size_t sent)
{
    size_t head = sent < bufs[0].len ? bufs[0].len - sent : 0;
    size_t len = bufs[0].len + bufs[1].len - sent;

    conn->rest = xmalloc(len);
    memcpy(conn->rest, bufs[0].base + bufs[0].len - head, head);
    if (len > head)
        memcpy(conn->rest + head, bufs[1].base + bufs[1].len - (len - head), len - head);
    uv_buf_t rest = uv_buf_init(conn->rest, (unsigned) len);
    conn->write.data = conn;
    if (uv_write(&conn->write, &conn->uv.stream, &rest, 1, on_written) != 0)
        conn_close(conn);
    else
        yield_to_unsent(conn, len);
}

static void send_bytes(struct conn *conn, const struct buf *head, const char *body, size_t body_len)
{
    uv_buf_t bufs[2] = {
        uv_buf_init(head->data, (unsigned) head->len),
        uv_buf_init((char *) (uintptr_t) body, (unsigned) body_len),
    };

    request_drop_body(&conn->req);
    conn->state = CONN_REPLY;
    conn->deadline_ms = uv_now(conn->http->loop) + conn->http->conf.write_timeout_ms;
    int n = uv_try_write(&conn->uv.stream, bufs, body_len ? 2 : 1);
    if (n < 0 && n != UV_EAGAIN)
        conn_close(conn);
    else if (n >= 0 && (size_t) n == head->len + body_len)
        conn_sent(conn);
    else
        send_rest(conn, bufs, n < 0 ? 0 : (size_t) n);
}

static const char json[] = "application/json";

static void send_reply(struct request *req, int status, const char *type, const char *body, size_t len,
                       unsigned retry_after_s)
{
    struct conn *conn = req->conn;
    const struct http_conf *conf = &conn->http->conf;
    struct buf *head = &conn->http->reply_head;

    if (conf->on_reply)
        conf->on_reply(conf->data, req, status);
    conn->keep = conn->keep && !conn->http->draining;
    buf_reset(head);
    buf_addf(head, "HTTP/1.1 %d %s\r\n", status, find_status(status)->reason);
    buf_addf(head, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, len);
    buf_adds(head, "X-Content-Type-Options: nosniff\r\n");
    /* A cache in front of us knows no x-api-key, and would give one key's job to the next who asks. */
    if (!request_is(req, "POST"))
        buf_adds(head, "Cache-Control: no-store\r\n");
    if (status == 401)
        buf_adds(head, "WWW-Authenticate: ApiKey realm=\"hatchery\", Bearer realm=\"hatchery\"\r\n");
    if (status == 405 && !req->route) {
        buf_adds(head, "Allow: ");
        route_add_methods(req, head);
        buf_adds(head, "\r\n");
    }
    if (status == 415)
        buf_adds(head, "Accept: application/json\r\nAccept-Encoding: identity\r\n");
    if (retry_after_s)
        buf_addf(head, "Retry-After: %u\r\n", retry_after_s);
    buf_add(head, req->headers.data, req->headers.len);
    buf_adds(head, conn->keep ? "\r\n" : "Connection: close\r\n\r\n");
    send_bytes(conn, head, body, request_is(req, "HEAD") ? 0 : len);
}

static void send_error(struct request *req, int status, const char *error, unsigned retry_after_s)
{
    struct buf *body = &req->conn->http->reply_body;
    const struct http_conf *conf = &req->conn->http->conf;

    if (conf->on_refusal)
        conf->on_refusal(conf->data, req, status);
    buf_reset(body);
    buf_addf(body, "{\"code\": %d, \"error\": ", status);
    json_add_cstring(body, error);
    buf_adds(body, ", \"message\": ");
    json_add_cstring(body, error);
    buf_addc(body, '}');
    send_reply(req, status, json, body->data, body->len, retry_after_s);
}

void reply_refusal(struct request *req, int status)
{
    struct buf sentence;

    buf_init(&sentence, SENTENCE_MAX);
    route_add_sentence(req, status, find_status(status)->sentence, &sentence);
    buf_addc(&sentence, '\0');
    send_error(req, status, sentence.data, status == 503);
    buf_free(&sentence);
}

/* Is there still somebody to tell?  A second reply would answer the next request with this one's outcome. */
static bool has_client(struct request *req)
{
    struct conn *conn = req->conn;

    if (conn->state == CONN_CLOSED) {
        conn_release(conn);
        return false;
    }
    if (conn->state != CONN_HANDED)
        abort();
    return true;
}

void reply_json(struct request *req, int status, const struct buf *body, unsigned retry_after_s)
{
    if (has_client(req))
        send_reply(req, status, json, body->data, body->len, retry_after_s);
}

void reply_typed(struct request *req, int status, const char *type, const struct buf *body)
{
    if (has_client(req))
        send_reply(req, status, type, body->data, body->len, 0);
}

void reply_error(struct request *req, int status, const char *error, unsigned retry_after_s)
{
    if (has_client(req))
        send_error(req, status, error, retry_after_s);
}
