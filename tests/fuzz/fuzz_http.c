/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP room: any bytes on a connection, whole and in pieces, get the same replies.
 *
 * The first byte of the input says how it is cut.  Whatever comes, each reply is one that a client can read, a
 * request that is handed over is what both parsers took it for, and nothing is answered after a refusal that
 * closes. */
#include "server/http/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REPLIES_MAX = 1 << 24, BODY_MAX = 1000 };

static struct holder *find_key(void *data, const char *key, size_t len)
{
    static struct holder holder = { .is_key = true };

    (void) data;
    return key && len == 1 && *key == 'k' ? &holder : NULL;
}

/* The body again, and what the handler sees of the head. */
static void on_echo(struct request *req, void *data)
{
    const char *type = request_header(req, "content-type"), *absent = request_header(req, "x-never-sent-by-anyone");
    struct buf b;
    size_t len;
    const char *body = request_body(req, &len);

    (void) data;
    assert(len <= BODY_MAX && !absent);
    buf_init(&b, 1 << 20);
    buf_add(&b, body, len);
    buf_adds(&b, type ? type : "");
    reply_json(req, 200, &b, 0);
    buf_free(&b);
}

static const struct route routes[] = {
    { "GET", "/", 0, on_echo },
    { "POST", "/", ROUTE_BODY, on_echo },
    { "GET", "/k", ROUTE_KEY, on_echo },
    { "POST", "/k", ROUTE_KEY | ROUTE_JSON, on_echo },
    { NULL, NULL, 0, NULL },
};

static uv_loop_t loop;
static struct http *http;

static void start_once(void)
{
    static const struct http_conf conf = {
        .max_connections = 10,
        .max_connections_per_address = 10,
        .head_timeout_ms = 3600000,
        .body_timeout_ms = 3600000,
        .idle_timeout_ms = 3600000,
        .write_timeout_ms = 3600000,
        .max_body = BODY_MAX,
        .max_bodies = 2 * BODY_MAX,
        .find_key = find_key,
    };

    if (http)
        return;
    uv_loop_init(&loop);
    http = http_new(&loop, &conf, routes, NULL);
}

/* Take what has come; false at the end of the connection. */
static bool take_replies(int fd, struct buf *replies)
{
    for (;;) {
        char *room = buf_room(replies, 65536);
        assert(room);
        ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        replies->len += (size_t) n;
    }
}

/* Until nothing moves any more. */
static bool settle(int fd, struct buf *replies)
{
    for (unsigned quiet = 0; quiet < 3; quiet++) {
        size_t before = replies->len;
        uv_run(&loop, UV_RUN_NOWAIT);
        if (!take_replies(fd, replies))
            return false;
        if (replies->len != before)
            quiet = 0;
    }
    return true;
}

/* Send it all @step bytes at a time; returns whether the connection was still open. */
static bool converse(const uint8_t *data, size_t size, size_t step, struct buf *replies)
{
    bool open = true;
    int pair[2];

    buf_init(replies, REPLIES_MAX);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        abort();
    conn_new(http, pair[0], false, NULL);
    while (size && open) {
        ssize_t n = send(pair[1], data, step < size ? step : size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            data += n;
            size -= (size_t) n;
        }
        uv_run(&loop, UV_RUN_NOWAIT);
        open = take_replies(pair[1], replies);
    }
    open = open && settle(pair[1], replies);
    close(pair[1]);
    while (http->n_conns)
        uv_run(&loop, UV_RUN_ONCE);
    return open;
}

static bool starts(const char *p, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/* Each reply is complete, and the one that says so is the last.  A HEAD's body is not sent: where the next reply
 * begins, the length is not believed. */
static void check_replies(const struct buf *replies, bool open)
{
    const char *p = replies->data;
    size_t left = replies->len;
    bool last = false;

    while (left) {
        assert(!last && starts(p, left, "HTTP/1.1 "));
        const char *end = memmem(p, left, "\r\n\r\n", 4);
        assert(end);
        size_t head = (size_t) (end - p) + 4;
        if (!starts(p, left, "HTTP/1.1 100 ")) {
            const char *length = memmem(p, head, "\r\nContent-Length: ", 18);
            assert(length && memmem(p, head, "\r\nX-Content-Type-Options: nosniff\r\n", 34));
            last = memmem(p, head, "\r\nConnection: close\r\n", 21) != NULL;
            size_t body = strtoul(length + 18, NULL, 10);
            if (left > head && !starts(p + head, left - head, "HTTP/1.1 ")) {
                assert(body <= left - head);
                head += body;
            }
        }
        p += head;
        left -= head;
    }
    assert(last == !open);
}

static int memcmp_of(const struct buf *a, const struct buf *b)
{
    return a->len ? memcmp(a->data, b->data, a->len) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut;

    if (size < 1)
        return 0;
    start_once();
    size_t step = data[0] ? data[0] : 1;
    bool open = converse(data + 1, size - 1, size, &whole);
    bool cut_open = converse(data + 1, size - 1, step, &cut);
    check_replies(&whole, open);
    check_replies(&cut, cut_open);
    /* Only a refused request whose body has not come yet may make a difference: the connection then ends with it. */
    bool same = open == cut_open && whole.len == cut.len && memcmp_of(&whole, &cut) == 0;
    assert(same || !cut_open);
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
