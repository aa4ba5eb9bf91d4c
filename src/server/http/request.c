/* SPDX-License-Identifier: Apache-2.0 */
/* One request: its bytes through the strict checks and llhttp, and what handlers may ask of it.
 *
 * Called by conn.c with bytes, by handlers through http.h.  Two parsers read each request: head.c
 * and chunk.c refuse, llhttp parses; where they differ about its framing the request is refused.
 * What must never happen here: memory taken because a client announced a size. The body grows with
 * the bytes that have come. */
#include "server/http/conn.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { REPLY_HEADERS_MAX = 512 };

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct request *req = parser->data;

    if (req->parsed) /* a trailer: it is ignored */
        return 0;
    if (req->n_fields == HEAD_FIELDS_MAX)
        return -1;
    req->fields[req->n_fields++] = (struct field){
        .name = { (uint16_t) (at - req->bytes.data), (uint16_t) len },
    };
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct request *req = parser->data;

    if (req->parsed)
        return 0;
    req->fields[req->n_fields - 1].value = (struct span){ (uint16_t) (at - req->bytes.data), (uint16_t) len };
    return 0;
}

/* Do head.c and llhttp see the same request? */
static int on_fields_end(llhttp_t *parser)
{
    struct request *req = parser->data;
    const struct head *head = &req->head;
    bool chunked = parser->flags & F_CHUNKED;

    if (req->parsed)
        return 0;
    if (chunked != head->chunked || req->n_fields != head->n_fields || parser->http_minor != head->minor)
        return -1;
    if (!chunked && parser->content_length != head->length)
        return -1;
    req->left = head->length;
    req->wants_close = head->minor == 0 || (parser->flags & F_CONNECTION_CLOSE);
    req->parsed = true;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct request *req = parser->data;
    return req->skipping || buf_add(&req->body, at, len) == 0 ? 0 : -1;
}

static int on_complete(llhttp_t *parser)
{
    struct request *req = parser->data;
    req->complete = true;
    return HPE_PAUSED; /* or it would go on to the next request */
}

static const llhttp_settings_t settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_fields_end,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void request_init(struct request *req, struct conn *conn)
{
    req->conn = conn;
    buf_init(&req->bytes, HEAD_MAX);
    buf_init(&req->headers, REPLY_HEADERS_MAX);
    buf_init(&req->body, conn->http->conf.max_body);
}

void request_free(struct request *req)
{
    buf_free(&req->bytes);
    buf_free(&req->body);
    buf_free(&req->headers);
}

static void empty(struct buf *b)
{
    if (b->cap > KEEP_MAX)
        buf_free(b);
    buf_reset(b);
}

void request_drop_body(struct request *req)
{
    charge_drop(&req->charge);
    empty(&req->body);
}

/* A parser for each request: none can leave anything behind for the next. */
void request_begin(struct request *req)
{
    llhttp_init(&req->parser, HTTP_REQUEST, &settings);
    req->parser.data = req;
    req->head = (struct head){ 0 };
    req->chunks = (struct chunks){ .max = req->conn->http->conf.max_body };
    empty(&req->bytes);
    request_drop_body(req);
    req->body.max = req->conn->http->conf.max_body;
    empty(&req->headers);
    req->left = 0;
    req->n_fields = 0;
    req->parsed = req->complete = req->skipping = req->refused = false;
    req->wants_close = true; /* until its head has passed */
    req->route = NULL;
    req->holder = NULL;
    req->why = NULL;
    req->on_gone = NULL;
    req->on_yield = NULL;
    req->start_us = uv_hrtime() / 1000;
    req->mark_us = 0;
}

/* Make each value a string.  Its NUL overwrites a byte that head.c found to be a blank or the
 * line's CR.  An empty one is put behind its name, over the colon: llhttp reports it absent, or at
 * the first byte of the next line. */
static void end_values(struct request *req)
{
    char *p = req->bytes.data;

    for (unsigned i = 0; i < req->n_fields; i++) {
        struct span *value = &req->fields[i].value;
        if (value->len == 0)
            value->at = (uint16_t) (req->fields[i].name.at + req->fields[i].name.len);
        while (value->len && (p[value->at + value->len - 1] == ' ' || p[value->at + value->len - 1] == '\t'))
            value->len--;
        p[value->at + value->len] = '\0';
    }
}

static int parse_head(struct request *req)
{
    llhttp_errno_t err = llhttp_execute(&req->parser, req->bytes.data, req->head.pos);

    if (err == HPE_INVALID_METHOD) {
        /* Well-formed, but a method llhttp has never heard of: no route has it either. */
        req->parsed = req->wants_close = true;
        return 1;
    }
    if (!req->parsed || (err != HPE_OK && !req->complete))
        return -400;
    end_values(req);
    return 1;
}

int request_take_head(struct request *req, const char *p, size_t n, size_t *ret_used)
{
    size_t before = req->bytes.len;
    size_t room = HEAD_MAX - before;

    buf_add(&req->bytes, p, n < room ? n : room);
    int r = head_scan(&req->head, req->bytes.data, req->bytes.len);
    if (r <= 0) {
        *ret_used = req->bytes.len - before;
        return r;
    }
    *ret_used = req->head.pos - before;
    req->bytes.len = req->head.pos;
    return parse_head(req);
}

int request_take_body(struct request *req, const char *p, size_t n, size_t *ret_used)
{
    int end = 0;

    *ret_used = n;
    if (req->head.chunked)
        end = chunks_scan(&req->chunks, p, n, ret_used);
    else if (n >= req->left) {
        *ret_used = (size_t) req->left;
        end = 1;
    }
    /* Of two errors the first counts, in however many pieces the body comes: llhttp may refuse what
     * is before ours. */
    if (end == -413 && llhttp_execute(&req->parser, p, *ret_used - 1) != HPE_OK)
        return -400;
    if (end < 0)
        return end;
    if (!req->skipping && !yield_to_body(req, *ret_used))
        return -503;
    req->left -= req->head.chunked ? 0 : *ret_used;
    llhttp_errno_t err = llhttp_execute(&req->parser, p, *ret_used);
    if (err != HPE_OK && err != HPE_PAUSED)
        return -400;
    return req->complete == (bool) end ? end : -400;
}

const struct route *request_route(const struct request *req)
{
    return req->route;
}

struct holder *request_holder(const struct request *req)
{
    return req->holder;
}

void request_address(const struct request *req, char *ret, size_t size)
{
    struct sockaddr_storage from = { 0 };
    socklen_t len = sizeof(from);

    snprintf(ret, size, "?");
    if (req->conn->state == CONN_CLOSED || getpeername(req->conn->fd, (struct sockaddr *) &from, &len) < 0)
        return;
    address_write(&from, ret, size);
}

/* False while the head is incomplete. */
bool request_is(const struct request *req, const char *name)
{
    size_t len = strlen(name);
    return req->parsed && len == req->head.method_len && memcmp(req->bytes.data + req->head.method, name, len) == 0;
}

const char *request_body(const struct request *req, size_t *ret_len)
{
    *ret_len = req->body.len;
    return req->body.len ? req->body.data : "";
}

void request_keep_body(struct request *req, struct buf *ret)
{
    *ret = req->body;
    buf_init(&req->body, ret->max);
}

const char *request_header(const struct request *req, const char *name)
{
    size_t len = strlen(name);

    for (unsigned i = 0; i < req->n_fields; i++) {
        const struct field *f = &req->fields[i];
        if (f->name.len == len && strncasecmp(req->bytes.data + f->name.at, name, len) == 0)
            return req->bytes.data + f->value.at;
    }
    return NULL;
}

const char *request_only_header(const struct request *req, const char *name)
{
    const char *found = request_header(req, name);
    size_t len = strlen(name);
    unsigned n = 0;

    for (unsigned i = 0; i < req->n_fields; i++) {
        const struct field *f = &req->fields[i];
        n += f->name.len == len && strncasecmp(req->bytes.data + f->name.at, name, len) == 0;
    }
    return n == 1 ? found : NULL;
}

void reply_header(struct request *req, const char *name, const char *value)
{
    buf_addf(&req->headers, "%s: %s\r\n", name, value);
}

uint64_t request_start_us(const struct request *req)
{
    return req->start_us;
}

void request_mark(struct request *req, int64_t us)
{
    req->mark_us = us;
}

int64_t request_marked_us(const struct request *req)
{
    return req->mark_us;
}

void request_on_gone(struct request *req, void (*on_gone)(struct request *, void *), void *data)
{
    req->on_gone = on_gone;
    req->on_gone_data = data;
}

void request_may_yield(struct request *req, bool (*on_yield)(struct request *, void *, const char *))
{
    req->on_yield = on_yield;
}
