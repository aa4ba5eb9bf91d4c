/* SPDX-License-Identifier: Apache-2.0 */
/* A status and a body to bytes, and the bytes to the socket.
 *
 * Called by handlers through http.h and by conn.c for what it refuses itself. A reply is written
 * where it is made, head and body in one system call; what is longer than a slice, or the socket
 * does not take, is left to the loop.
 * What must never happen here: a byte of a request in a reply's head. */
#include "server/http/conn.h"

#include "base/json.h"

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
#include "server/http/status.def"
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

/* --- bytes to the socket --- */

enum { PIECES = 4 };

void parts_free(struct parts *parts)
{
    buf_free(&parts->before);
    buf_free(&parts->after);
    parts->blob = blob_unref(parts->blob);
}

void rest_free(struct rest *rest)
{
    buf_free(&rest->head);
    parts_free(&rest->parts);
    rest->at = rest->len = rest->underway = 0;
}

static uv_buf_t piece(const char *p, size_t n)
{
    return (uv_buf_t){ .base = (char *) (uintptr_t) p, .len = n };
}

/* The part of head and parts that one turn writes, behind the first @at bytes.  Returns the number
 * of its pieces. */
static unsigned cut_slice(const struct buf *head, const struct parts *parts, size_t at, uv_buf_t ret[static PIECES])
{
    const uv_buf_t all[PIECES] = { piece(head->data, head->len), piece(parts->before.data, parts->before.len),
                                   piece(parts->blob ? blob_bytes(parts->blob) : NULL,
                                         parts->blob ? blob_len(parts->blob) : 0),
                                   piece(parts->after.data, parts->after.len) };
    size_t room = SLICE_MAX;
    unsigned n = 0;

    for (unsigned i = 0; i < PIECES && room; i++) {
        size_t skipped = at < all[i].len ? at : all[i].len;
        size_t len = all[i].len - skipped < room ? all[i].len - skipped : room;
        at -= skipped;
        room -= len;
        if (len)
            ret[n++] = piece(all[i].base + skipped, len);
    }
    return n;
}

static size_t length_of(const struct parts *parts)
{
    return parts->before.len + (parts->blob ? blob_len(parts->blob) : 0) + parts->after.len;
}

static void on_written(uv_write_t *write, int status);

/* The loop writes a slice when the socket takes it, and has its other turns in between: a client
 * that reads as fast as we write would otherwise have the loop for all of a long reply. */
static void write_slice(struct conn *conn)
{
    struct rest *rest = &conn->rest;
    uv_buf_t slice[PIECES];
    unsigned n = cut_slice(&rest->head, &rest->parts, rest->at, slice);

    rest->underway = 0;
    for (unsigned i = 0; i < n; i++)
        rest->underway += slice[i].len;
    conn->write.data = conn;
    if (uv_write(&conn->write, &conn->uv.stream, slice, n, on_written) != 0)
        conn_close(conn);
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;
    struct rest *rest = &conn->rest;

    rest->at += rest->underway;
    bool goes_on = status == 0 && conn->state == CONN_REPLY && rest->at < rest->len;
    yield_to_unsent(conn, goes_on ? rest->len - rest->at : 0);
    if (goes_on) {
        write_slice(conn);
        return;
    }
    rest_free(rest);
    if (status < 0)
        conn_close(conn);
    else if (conn->state == CONN_REPLY)
        conn_sent(conn);
}

static void copy(struct buf *to, const struct buf *from)
{
    buf_init(to, from->len);
    buf_add(to, from->data, from->len);
}

/* The socket took @sent bytes. */
static void send_rest(struct conn *conn, const struct buf *head, struct parts *parts, bool owned, size_t sent)
{
    struct rest *rest = &conn->rest;

    copy(&rest->head, head);
    if (owned)
        rest->parts = *parts;
    else
        copy(&rest->parts.before, &parts->before);
    *parts = (struct parts){ 0 };
    rest->at = sent;
    rest->len = head->len + length_of(&rest->parts);
    yield_to_unsent(conn, rest->len - sent);
    if (conn->state == CONN_REPLY)
        write_slice(conn);
}

/* @owned: @parts are ours; otherwise they are a single text, which is copied if the socket does not
 * take it. */
static void send_bytes(struct conn *conn, const struct buf *head, struct parts *parts, bool owned)
{
    size_t len = head->len + length_of(parts);
    uv_buf_t slice[PIECES];

    request_drop_body(&conn->req);
    conn->state = CONN_REPLY;
    conn->deadline_ms = uv_now(conn->http->loop) + conn->http->conf.write_timeout_ms;
    unsigned n_pieces = cut_slice(head, parts, 0, slice);
    int n = uv_try_write(&conn->uv.stream, slice, n_pieces);
    if (n < 0 && n != UV_EAGAIN)
        conn_close(conn);
    else if (n >= 0 && (size_t) n == len)
        conn_sent(conn);
    else
        send_rest(conn, head, parts, owned, n < 0 ? 0 : (size_t) n);
}

/* --- a reply --- */

static const char json[] = "application/json";

static void send_reply(struct request *req, int status, const char *type, struct parts *parts, bool owned,
                       unsigned retry_after_s)
{
    struct parts nothing = { 0 };
    struct conn *conn = req->conn;
    const struct http_conf *conf = &conn->http->conf;
    struct buf *head = &conn->http->reply_head;

    if (conf->on_reply)
        conf->on_reply(conf->data, req, status);
    conn->keep = conn->keep && conn->http->phase == SERVING;
    buf_reset(head);
    buf_addf(head, "HTTP/1.1 %d %s\r\n", status, find_status(status)->reason);
    buf_addf(head, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, length_of(parts));
    buf_adds(head, "X-Content-Type-Options: nosniff\r\n");
    /* A cache in front of us does not know x-api-key: it would give one key's job to the next
     * client. */
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
    send_bytes(conn, head, request_is(req, "HEAD") ? &nothing : parts, owned);
    if (owned)
        parts_free(parts);
}

static void send_text(struct request *req, int status, const char *type, const struct buf *body, unsigned retry_after_s)
{
    struct parts parts = { .before = *body };
    send_reply(req, status, type, &parts, false, retry_after_s);
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
    send_text(req, status, json, body, retry_after_s);
}

void reply_refusal(struct request *req, int status)
{
    _cleanup_buf_ struct buf sentence;

    buf_init(&sentence, SENTENCE_MAX);
    route_add_sentence(req, status, find_status(status)->sentence, &sentence);
    send_error(req, status, buf_text(&sentence), status == 503);
}

/* Is the client still there?  A second reply would answer the next request with this one's outcome. */
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
        send_text(req, status, json, body, retry_after_s);
}

void reply_typed(struct request *req, int status, const char *type, const struct buf *body)
{
    if (has_client(req))
        send_text(req, status, type, body, 0);
}

void reply_parts(struct request *req, int status, struct parts *parts, unsigned retry_after_s)
{
    if (has_client(req))
        send_reply(req, status, json, parts, true, retry_after_s);
    else
        parts_free(parts);
}

void reply_error(struct request *req, int status, const char *error, unsigned retry_after_s)
{
    if (has_client(req))
        send_error(req, status, error, retry_after_s);
}
