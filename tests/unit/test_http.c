/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP room as a whole: a real server and its clients in one loop.
 *
 * Vectors go over a socket pair, each whole and one byte at a time; what needs
 * addresses or a listener goes over the loopback.  Nothing sleeps: a test waits
 * for bytes, an end, a deadline of the server's own, or for the loop to be quiet. */
#include "server/http/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG = 16 << 20, LATER_MAX = 8 };

struct server {
    uv_loop_t loop;
    struct http *http;
    struct request *later[LATER_MAX]; /* in hand, in the order they came */
    unsigned n_later, n_gone, n_quiet, n_drained;
    bool in_reply, nested, no_gone, refuse;
    char seen_key[64];
    unsigned n_entered, n_yielded;
    struct holder key, other_key;
    struct charge charge;
};

static struct holder *find_key(void *data, const char *key, size_t len)
{
    struct server *s = data;
    snprintf(s->seen_key, sizeof(s->seen_key), "%s", key ? key : "(none)");
    if (!key || len != 6)
        return NULL;
    return memcmp(key, "secret", 6) == 0 ? &s->key : memcmp(key, "second", 6) == 0 ? &s->other_key : NULL;
}

static bool on_enter(void *data, struct request *req)
{
    struct server *s = data;

    s->n_entered++;
    reply_header(req, "X-Entered", "yes");
    if (s->refuse)
        reply_error(req, 429, "Enough", 7);
    return !s->refuse;
}

static void reply_text(struct request *req, const char *text)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_adds(&b, text);
    reply_json(req, 200, &b, 0);
    buf_free(&b);
}

static void on_hello(struct request *req, void *data)
{
    (void) data;
    reply_text(req, "\"hello\"");
}

static void on_echo(struct request *req, void *data)
{
    struct buf b;
    size_t len;
    const char *body = request_body(req, &len);

    (void) data;
    buf_init(&b, 1 << 20);
    buf_add(&b, body, len);
    reply_json(req, 200, &b, 0);
    buf_free(&b);
}

static void on_big(struct request *req, void *data)
{
    struct buf b;

    (void) data;
    buf_init(&b, BIG);
    memset(buf_room(&b, BIG), '1', BIG);
    b.len = BIG;
    reply_json(req, 200, &b, 0);
    buf_free(&b);
}

/* Takes more than a turn may. */
static void on_slow(struct request *req, void *data)
{
    uint64_t end_ns = uv_hrtime() + (TURN_MS + 2) * 1000000ULL;

    while (uv_hrtime() < end_ns)
        ;
    on_hello(req, data);
}

static void on_later_gone(struct request *req, void *data)
{
    struct server *s = data;

    assert_ptr_equal(req, s->later[0]);
    s->n_gone++;
    s->n_later = 0;
}

static void on_later(struct request *req, void *data)
{
    struct server *s = data;

    s->nested = s->nested || s->in_reply;
    s->later[s->n_later++] = req;
    if (!s->no_gone)
        request_on_gone(req, on_later_gone, s);
}

/* It waits, and may be given up. */
static bool on_later_yield(struct request *req, void *data, const char *why)
{
    struct server *s = data;

    if (!why)
        return true;
    assert_ptr_equal(req, s->later[s->n_later - 1]);
    s->n_later--;
    s->n_yielded++;
    reply_error(req, 503, why, 1);
    return true;
}

static void on_wait_gone(struct request *req, void *data)
{
    struct server *s = data;
    unsigned i = 0;

    while (s->later[i] != req)
        i++;
    memmove(s->later + i, s->later + i + 1, (--s->n_later - i) * sizeof(*s->later));
}

static void on_wait(struct request *req, void *data)
{
    on_later(req, data);
    request_on_gone(req, on_wait_gone, data);
    request_may_yield(req, on_later_yield);
}

/* What it takes is held when its client has gone, as by the store. */
static void on_hold(struct request *req, void *data)
{
    struct server *s = data;

    assert_true(request_pin(req));
    request_take_charge(req, &s->charge);
    on_later(req, data);
}

static void on_busy(struct request *req, void *data)
{
    (void) data;
    reply_error(req, 429, "Queue \"full\"", 7);
}

static const struct route routes[] = {
    { "GET", "/hello", 0, on_hello },
    { "GET", "/key", ROUTE_KEY, on_hello },
    { "POST", "/echo", ROUTE_KEY | ROUTE_JSON, on_echo },
    { "POST", "/any", ROUTE_BODY, on_echo },
    { "GET", "/any", 0, on_hello },
    { "DELETE", "/any", 0, on_hello },
    { "GET", "/big", 0, on_big },
    { "GET", "/slow", 0, on_slow },
    { "GET", "/later", 0, on_later },
    { "GET", "/busy", 0, on_busy },
    { "GET", "/wait", ROUTE_KEY, on_wait },
    { "POST", "/hold", ROUTE_KEY | ROUTE_JSON, on_hold },
    { NULL, NULL, 0, NULL },
};

static const struct http_conf usual = {
    .max_connections = 100,
    .max_connections_per_address = 100,
    .head_timeout_ms = 60000,
    .body_timeout_ms = 60000,
    .idle_timeout_ms = 60000,
    .write_timeout_ms = 60000,
    .max_body = 1 << 20,
    .max_bodies = 2 << 20,
    .find_key = find_key,
    .on_enter = on_enter,
};

static struct server *start(const struct http_conf *conf)
{
    struct server *s = calloc(1, sizeof(*s));
    struct http_conf own = *conf;

    own.data = s;
    uv_loop_init(&s->loop);
    s->http = http_new(&s->loop, &own, routes, s);
    s->key.is_key = s->other_key.is_key = true;
    return s;
}

static void stop(struct server *s)
{
    http_free(s->http);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    free(s);
}

/* A client whose bytes come in through the same loop. */
struct client {
    struct server *server;
    uv_poll_t poll;
    int fd;
    bool end, reset;
    struct buf in;
};

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    ssize_t n;

    (void) events;
    do { /* of a broken connection libuv tells once */
        n = recv(c->fd, buf_room(&c->in, 65536), 65536, MSG_DONTWAIT);
        if (n > 0)
            c->in.len += (size_t) n;
    } while (status < 0 && n > 0);
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    c->end = true;
    c->reset = n < 0;
    uv_poll_stop(poll);
}

static struct client *client_new(struct server *s, int fd)
{
    struct client *c = calloc(1, sizeof(*c));

    c->server = s;
    c->fd = fd;
    c->poll.data = c;
    buf_init(&c->in, BIG + 65536 * 2);
    uv_poll_init(&s->loop, &c->poll, fd);
    uv_poll_start(&c->poll, UV_READABLE, on_client);
    return c;
}

static struct client *connect_pair(struct server *s)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    conn_new(s->http, fds[0], false, NULL);
    return client_new(s, fds[1]);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    buf_free(&c->in);
    free(c);
}

static void client_close(struct client *c)
{
    uv_close((uv_handle_t *) &c->poll, on_client_closed);
    close(c->fd);
}

/* Run until nothing has moved for a few rounds: with both ends in this loop, that is the end of what comes. */
static void settle(struct client *c)
{
    size_t len = c->in.len;
    bool end = c->end;

    for (unsigned quiet = 0; quiet < 4; quiet++) {
        uv_run(&c->server->loop, UV_RUN_NOWAIT);
        if (c->in.len != len || c->end != end)
            quiet = 0;
        len = c->in.len;
        end = c->end;
    }
}

static void wait_end(struct client *c)
{
    while (!c->end)
        uv_run(&c->server->loop, UV_RUN_ONCE);
}

static void say(struct client *c, const char *p, size_t n)
{
    while (n && !c->end) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return;
        if (sent > 0) {
            p += sent;
            n -= (size_t) sent;
        }
        uv_run(&c->server->loop, UV_RUN_NOWAIT);
    }
}

static void says(struct client *c, const char *text)
{
    say(c, text, strlen(text));
    settle(c);
}

/* "200 404 x": the statuses that came, x for the end of the connection.  @no_body: they answer HEAD.
 * @ret_body receives the last body. */
static const char *got(struct client *c, bool no_body, struct buf *ret_body)
{
    static char text[65536];
    size_t at = 0;
    char *out = text;

    *out = '\0';
    buf_addc(&c->in, '\0');
    c->in.len--;
    while (at < c->in.len) {
        const char *head = c->in.data + at, *end = strstr(head, "\r\n\r\n");
        assert_non_null(end);
        assert_memory_equal(head, "HTTP/1.1 ", 9);
        int status = atoi(head + 9);
        const char *length = strstr(head, "Content-Length: ");
        size_t len = status == 100 || no_body ? 0 : strtoul(length + 16, NULL, 10);
        at = (size_t) (end - c->in.data) + 4;
        assert_true(at + len <= c->in.len);
        if (ret_body) {
            buf_reset(ret_body);
            buf_add(ret_body, c->in.data + at, len);
        }
        at += len;
        out += sprintf(out, "%d ", status);
    }
    strcpy(out, c->end ? "x" : "");
    return text;
}

#define expect(c, text) assert_string_equal(got(c, false, NULL), text)

#define H "Host: a\r\n"
#define KEY "x-api-key: secret\r\n"
#define JSON "Content-Type: application/json\r\n"
#define HELLO "GET /hello HTTP/1.1\r\n" H "\r\n"
#define SLOW "GET /slow HTTP/1.1\r\n" H "\r\n"
#define LATER "GET /later HTTP/1.1\r\n" H "\r\n"
#define POST_ECHO "POST /echo HTTP/1.1\r\n" H KEY JSON
#define ANY "POST /any HTTP/1.1\r\n" H
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define LEN(n) "Content-Length: " #n "\r\n"

struct vector {
    const char *expected;
    const char *body; /* of the last reply, or NULL */
    const char *bytes;
    size_t len;
    bool no_body;
    const char *late; /* expected where a body comes later than its head; NULL: the same */
};

#define V(expected, body, bytes)                                                                                       \
    {                                                                                                                  \
        expected, body, bytes, sizeof(bytes) - 1, false                                                                \
    }
#define VHEAD(expected, bytes)                                                                                         \
    {                                                                                                                  \
        expected, NULL, bytes, sizeof(bytes) - 1, true                                                                 \
    }

/* Refused: the connection stays only if the body has come with the head. */
#define VREFUSED(expected, late, bytes)                                                                                \
    {                                                                                                                  \
        expected, NULL, bytes, sizeof(bytes) - 1, false, late                                                          \
    }

/* Whatever is smuggled in these is called /smuggled, which is a 404: it must not be among the replies. */
#define SMUGGLED "GET /smuggled HTTP/1.1\r\n" H "\r\n"

static const struct vector vectors[] = {
    /* served */
    V("200 ", "\"hello\"", HELLO),
    V("200 200 200 ", "\"hello\"", HELLO HELLO HELLO),
    V("200 ", "\"hello\"", "GET /hello?a=b HTTP/1.1\r\n" H "\r\n"),
    V("200 200 ", NULL, "\r\n" HELLO "\r\n" HELLO),
    V("200 ", "{}", POST_ECHO LEN(2) "\r\n{}"),
    V("200 200 ", "\"hello\"", POST_ECHO LEN(2) "\r\n{}" HELLO),
    V("200 ", "", ANY "\r\n"),
    V("200 ", "", ANY LEN(0) "\r\n"),
    V("200 200 ", "\"hello\"", ANY CHUNKED "\r\n0\r\n\r\n" HELLO),
    V("200 200 ", "hello world", HELLO ANY CHUNKED "\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nTrailer: x\r\n\r\n"),
    V("200 ", "\0", POST_ECHO LEN(1) "\r\n\0"),
    V("200 ", "{}",
      "POST /echo HTTP/1.1\r\n" H KEY LEN(2) "Content-Type: APPLICATION/json ; charset=\"UTF-8\"\r\n\r\n{}"),
    V("100 200 ", "{}", POST_ECHO LEN(2) "Expect: 100-continue\r\n\r\n{}"),
    V("100 200 200 ", "\"hello\"", POST_ECHO CHUNKED "Expect: 100-Continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n" HELLO),
    V("200 ", "", ANY "Expect: 100-continue\r\n\r\n"), /* no body to wait for */
    VHEAD("200 200 ", "HEAD /hello HTTP/1.1\r\n" H "\r\nHEAD /key HTTP/1.1\r\n" H KEY "\r\n"),
    V("200 200 ", NULL, "GET /hello HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" HELLO),
    V("200 200 ", NULL, "GET /hello HTTP/1.1\r\n" H LEN(40) "\r\n0123456789012345678901234567890123456789" HELLO),
    V("200 x", "\"hello\"", "GET /hello HTTP/1.1\r\n" H LEN(65537) "\r\n"),
    V("200 x", "\"hello\"", "GET /hello HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n" SMUGGLED),
    V("200 x", "\"hello\"", "GET /hello HTTP/1.1\r\n" H LEN(5) "Expect: 100-continue\r\n\r\n" SMUGGLED),
    /* served and closed */
    V("200 x", "\"hello\"", "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n"),
    V("200 x", NULL, "GET /hello HTTP/1.1\r\n" H "Connection: a, Close\r\n\r\n" SMUGGLED),
    V("200 x", NULL, "GET /hello HTTP/1.0\r\n\r\n"),
    V("200 x", NULL, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" SMUGGLED),
    V("200 x", "{}", "POST /echo HTTP/1.0\r\n" KEY JSON LEN(2) "\r\n{}" SMUGGLED),
    /* refused, in order: path, method, key, expectation, type, size */
    V("404 200 ", NULL, "GET / HTTP/1.1\r\n" H "\r\n" HELLO),
    V("404 ", NULL, "GET /hello/ HTTP/1.1\r\n" H "\r\n"),
    V("404 ", NULL, "GET /%68ello HTTP/1.1\r\n" H "\r\n"),
    V("404 ", NULL, "GET /HELLO HTTP/1.1\r\n" H "\r\n"),
    V("404 x", NULL, "BREW /pot HTTP/1.1\r\n" H LEN(5) "\r\nhello"),
    VREFUSED("404 200 ", "404 x", "POST /x HTTP/1.1\r\n" H LEN(5) "\r\nhello" HELLO),
    VREFUSED("405 200 ", "405 x", "POST /hello HTTP/1.1\r\n" H LEN(5) "\r\nhello" HELLO),
    V("405 x", NULL, "BREW /hello HTTP/1.1\r\n" H "\r\n" SMUGGLED),
    V("405 x", NULL, "get /hello HTTP/1.1\r\n" H "\r\n"),
    VREFUSED("401 200 ", "401 x", "POST /echo HTTP/1.1\r\n" H LEN(5) "\r\nhello" HELLO),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H "X-API-Key: Secret\r\n\r\n"),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H "x-api-key:\r\n\r\n"),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H "x-api-key: secret2\r\n\r\n"),
    V("200 ", NULL, "GET /key HTTP/1.1\r\n" H KEY KEY "\r\n"),
    V("200 ", NULL, "GET /key HTTP/1.1\r\n" H "Authorization: bearer  secret\r\n\r\n"),
    V("200 ", NULL, "GET /key HTTP/1.1\r\n" H KEY "Authorization: Bearer secret\r\n\r\n"),
    V("200 ", NULL, "GET /key HTTP/1.1\r\n" H KEY "Authorization: Basic c2VjcmV0\r\n\r\n"),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H KEY "Authorization: Bearer other\r\n\r\n"),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H "Authorization: Bearer\r\n\r\n"),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H "Authorization: secret\r\n\r\n"),
    V("404 ", NULL, "GET /hello/ HTTP/1.1\r\n" H "\r\n"),
    V("401 ", NULL, "GET /key HTTP/1.1\r\n" H "x_api_key: secret\r\n\r\n"),
    V("401 x", NULL, "POST /echo HTTP/1.1\r\n" H LEN(2) "Expect: 100-continue\r\n\r\n"),
    V("401 x", NULL, "POST /echo HTTP/1.1\r\n" H CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("401 x", NULL, "POST /echo HTTP/1.1\r\n" H LEN(65537) "\r\n" SMUGGLED),
    V("401 200 ", NULL, "GET /key HTTP/1.1\r\n" H "\r\nGET /key HTTP/1.1\r\n" H KEY "\r\n"),
    V("417 x", NULL, POST_ECHO LEN(2) "Expect: 200-ok\r\n\r\n{}" SMUGGLED),
    VREFUSED("415 200 ", "415 x", "POST /echo HTTP/1.1\r\n" H KEY LEN(2) "\r\n{}" HELLO),
    VREFUSED("415 200 ", "415 x", POST_ECHO LEN(2) "Content-Encoding: gzip\r\n\r\n{}" HELLO),
    VREFUSED("415 200 ", "415 x", "POST /any HTTP/1.1\r\n" H LEN(2) "Content-Encoding: br\r\n\r\n{}" HELLO),
    V("200 200 ", NULL, POST_ECHO LEN(2) "Content-Encoding: Identity\r\nContent-Encoding:\r\n\r\n{}" HELLO),
    V("400 200 ", NULL, "GET /hello HTTP/1.1\r\n" H "X-HTTP-Method: PUT\r\n\r\n" HELLO),
    VREFUSED("415 ", "415 x", "POST /echo HTTP/1.1\r\n" H KEY LEN(2) "Content-Type: text/plain\r\n\r\n{}"),
    VREFUSED("415 ", "415 x", "POST /echo HTTP/1.1\r\n" H KEY LEN(2) "Content-Type: application/jsonp\r\n\r\n{}"),
    VREFUSED("415 ", "415 x",
             "POST /echo HTTP/1.1\r\n" H KEY LEN(2) "Content-Type: application/json; charset=utf-16\r\n\r\n{}"),
    V("413 x", NULL, POST_ECHO LEN(1048577) "\r\n" SMUGGLED),
    V("413 x", NULL, POST_ECHO LEN(999999999999999999) "Expect: 100-continue\r\n\r\n" SMUGGLED),
    V("413 x", NULL, POST_ECHO CHUNKED "\r\n100001\r\n" SMUGGLED),
    V("413 x", NULL, POST_ECHO CHUNKED "\r\n5\r\nhello\r\nffffffff\r\n" SMUGGLED),
    /* heads that two parsers might read as two things */
    V("400 x", NULL, ANY LEN(5) LEN(5) "\r\nhello" SMUGGLED),
    V("400 x", NULL, ANY LEN(5) LEN(6) "\r\nhello" SMUGGLED),
    V("400 x", NULL, ANY LEN(5) CHUNKED "\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED LEN(5) "\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED CHUNKED "\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "Transfer-Encoding: identity\r\n" LEN(5) "\r\nhello" SMUGGLED),
    V("400 x", NULL, ANY "Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL,
      ANY "Transfer-Encoding:\x0b"
          "chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "X: y\0z\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "Content-Length: +5\r\n\r\nhello" SMUGGLED),
    V("400 x", NULL, ANY "Content-Length: 5,5\r\n\r\nhello" SMUGGLED),
    V("400 x", NULL, ANY "Content-Length: 18446744073709551616\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY "Content-Length : 5\r\n\r\nhello" SMUGGLED),
    V("400 x", NULL, ANY "Content-Length: \r\n\r\n" SMUGGLED),
    V("400 x", NULL, "POST /any HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, "GET /hello HTTP/1.1\r\n\r\n" SMUGGLED),
    V("400 x", NULL, "GET /hello HTTP/1.1\r\n" H "Host: b\r\n\r\n" SMUGGLED),
    V("400 x", NULL, "GET http://a/hello HTTP/1.1\r\n" H "\r\n" SMUGGLED),
    V("400 x", NULL, "OPTIONS * HTTP/1.1\r\n" H "\r\n" SMUGGLED),
    V("400 x", NULL, "CONNECT a:80 HTTP/1.1\r\n" H "\r\n" SMUGGLED),
    V("400 x", NULL, "CONNECT /any HTTP/1.1\r\n" H "\r\n" SMUGGLED),
    V("400 x", NULL, "GET /hello HTTP/1.1\n" H "\r\n" SMUGGLED),
    V("400 x", NULL, "GET /hello\r\n" SMUGGLED),
    V("505 x", NULL, "GET /hello HTTP/2.0\r\n" H "\r\n" SMUGGLED),
    V("400 x", NULL, "\x16\x03\x01\x02"),
    V("200 400 x", NULL, HELLO "GET /hello HTTP/1.1\r\n\r\n" SMUGGLED),
    V("200 400 x", NULL, HELLO "\r\n\r\n" SMUGGLED),
    /* bodies likewise */
    V("400 x", NULL, ANY CHUNKED "\r\n5\r\nhelloXX0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n5\rXhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n5\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n5\r\nhello\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n5;a\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n5 \r\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n0x5\r\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n-5\r\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n100000000000000005\r\nhello\r\n0\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n0\r\n\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n0\r\nX: y\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n0\r\n X: y\r\n\r\n" SMUGGLED),
    V("400 x", NULL, ANY CHUNKED "\r\n" SMUGGLED),
    V("100 400 x", NULL, ANY CHUNKED "Expect: 100-continue\r\n\r\nx\r\n" SMUGGLED),
    /* incomplete: nothing happens */
    V("", NULL, ""),
    V("", NULL, "GET /hello HTTP/1.1\r\n" H),
    V("", NULL, ANY LEN(5) "\r\nhell"),
    V("", NULL, ANY CHUNKED "\r\n5\r\nhello\r\n0\r\n"),
    V("404 x", NULL, "POST /x HTTP/1.1\r\n" H LEN(5) "\r\nhell"),
};

static void run_vector(unsigned i, size_t step)
{
    const struct vector *v = &vectors[i];
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    struct buf body;

    buf_init(&body, 1 << 20);
    for (size_t at = 0; at < v->len; at += step)
        say(c, v->bytes + at, step < v->len - at ? step : v->len - at);
    settle(c);
    const char *replies = got(c, v->no_body, &body);
    const char *expected = v->late && step == 1 ? v->late : v->expected;
    if (strcmp(replies, expected) != 0)
        fail_msg("vector %u in steps of %zu: \"%s\" instead of \"%s\"", i, step, replies, expected);
    if (v->body && *v->body && (body.len != strlen(v->body) || memcmp(body.data, v->body, body.len) != 0))
        fail_msg("vector %u: body %.*s", i, (int) body.len, body.data);
    buf_free(&body);
    client_close(c);
    stop(s);
}

static void test_vectors_whole(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(vectors) / sizeof(*vectors); i++)
        run_vector(i, 1 << 20);
}

static void test_vectors_bytewise(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(vectors) / sizeof(*vectors); i++)
        run_vector(i, 1);
}

static void test_reply_bytes(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    static const char busy[] =
        "HTTP/1.1 429 Too Many Requests\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 69\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\n"
        "Retry-After: 7\r\n\r\n"
        "{\"code\": 429, \"error\": \"Queue \\\"full\\\"\", \"message\": \"Queue \\\"full\\\"\"}";
    static const char allow[] =
        "HTTP/1.1 405 Method Not Allowed\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 161\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\n"
        "Allow: POST, GET, HEAD, DELETE\r\n"
        "Connection: close\r\n\r\n"
        "{\"code\": 405, \"error\": \"Method not allowed; this path takes: POST, GET, HEAD, DELETE\", "
        "\"message\": \"Method not allowed; this path takes: POST, GET, HEAD, DELETE\"}";

    (void) state;
    says(c, "GET /busy HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(c->in.len, sizeof(busy) - 1);
    assert_memory_equal(c->in.data, busy, sizeof(busy) - 1);
    buf_reset(&c->in);
    says(c, "PUT /any HTTP/1.1\r\nConnection: close\r\n" H "\r\n");
    assert_int_equal(c->in.len, sizeof(allow) - 1);
    assert_memory_equal(c->in.data, allow, sizeof(allow) - 1);
    client_close(c);
    stop(s);
}

static void test_head_has_length(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);

    (void) state;
    says(c, "HEAD /hello HTTP/1.1\r\n" H "\r\n");
    assert_string_equal(got(c, true, NULL), "200 ");
    assert_non_null(strstr(c->in.data, "Content-Length: 7\r\n"));
    client_close(c);
    stop(s);
}

static void test_key_before_body(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);

    (void) state;
    says(c, "POST /echo HTTP/1.1\r\n" H LEN(100) "\r\n");
    assert_string_equal(s->seen_key, "(none)");
    expect(c, "401 x"); /* it keeps no place for a body that may never come */
    client_close(c);
    c = connect_pair(s);
    says(c, "POST /echo HTTP/1.1\r\n" H LEN(5) "\r\n12345" HELLO);
    expect(c, "401 200 ");
    client_close(c);
    stop(s);
}

/* The body of a request that was one too many is not waited for; with the key the connection stays. */
static void test_enter_before_body(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);

    (void) state;
    s->refuse = true;
    says(c, POST_ECHO LEN(5) "\r\n");
    expect(c, "429 ");
    assert_non_null(strstr(c->in.data, "X-Entered: yes\r\n"));
    s->refuse = false;
    says(c, "12345" POST_ECHO LEN(2) "\r\n");
    expect(c, "429 ");
    assert_int_equal(s->n_entered, 2);
    says(c, "{}");
    expect(c, "429 200 ");
    client_close(c);
    stop(s);
}

static void reply_first(struct server *s, const char *text)
{
    struct request *req = s->later[0];

    assert_true(s->n_later > 0);
    memmove(s->later, s->later + 1, --s->n_later * sizeof(*s->later));
    s->in_reply = true;
    reply_text(req, text);
    s->in_reply = false;
}

/* One request at a time, in order, and no handler called from within a reply. */
static void test_pipeline_later(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);

    (void) state;
    says(c, LATER HELLO LATER LATER);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(s->n_later, 1);
        reply_first(s, "1");
        settle(c);
    }
    assert_false(s->nested);
    expect(c, "200 200 200 200 ");
    client_close(c);
    stop(s);
}

/* Not with strstr(3), which under a sanitizer looks at all of the text each time. */
static unsigned count_200(const struct client *c)
{
    static const char line[] = "HTTP/1.1 200";
    size_t len = sizeof(line) - 1;
    unsigned n = 0;

    for (size_t at = 0; at + len <= c->in.len; at++)
        n += c->in.data[at] == line[0] && memcmp(c->in.data + at, line, len) == 0;
    return n;
}

static void test_pipeline_deep(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    enum { N = 20000 };

    (void) state;
    for (unsigned i = 0; i < N / 100; i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        for (unsigned j = 0; j < 100; j++)
            buf_adds(&b, HELLO);
        say(c, b.data, b.len);
        buf_free(&b);
    }
    settle(c);
    assert_int_equal(count_200(c), N);
    client_close(c);
    stop(s);
}

/* A flood on one connection: others have their turn after TURN_MAX of its requests. */
static void test_turns(void **state)
{
    struct server *s = start(&usual);
    struct client *flood = connect_pair(s), *other = connect_pair(s);
    struct buf b;

    (void) state;
    buf_init(&b, 1 << 20);
    for (unsigned i = 0; i < TURN_MAX * 5; i++)
        buf_adds(&b, HELLO);
    assert_int_equal(send(flood->fd, b.data, b.len, MSG_DONTWAIT), b.len);
    assert_int_equal(send(other->fd, HELLO, strlen(HELLO), MSG_DONTWAIT), strlen(HELLO));
    while (!other->in.len)
        uv_run(&s->loop, UV_RUN_ONCE);
    expect(other, "200 ");
    assert_true(s->http->n_ready == 1);
    settle(flood);
    assert_true(s->http->n_ready == 0);
    buf_free(&b);
    client_close(flood);
    client_close(other);
    stop(s);
}

/* Long bodies that are all there already: of each a piece is read in a turn, and few of one key where a turn is over. */
static void test_bodies_in_turns(void **state)
{
    enum { N = 12, PIECES = 2 };
    static char piece[READ_MAX];
    struct server *s = start(&usual);
    struct client *clients[N];
    struct conn *conn;
    unsigned late = 0;

    (void) state;
    memset(piece, '1', sizeof(piece));
    for (unsigned i = 0; i < N; i++) {
        clients[i] = connect_pair(s);
        says(clients[i], "POST /any HTTP/1.1\r\n" H "Content-Length: 1000000\r\n\r\n");
    }
    for (unsigned i = 0; i < PIECES * N; i++)
        assert_int_equal(send(clients[i / PIECES]->fd, piece, sizeof(piece), MSG_DONTWAIT), sizeof(piece));
    uv_run(&s->loop, UV_RUN_NOWAIT);
    TAILQ_FOREACH (conn, &s->http->conns, all) {
        assert_true(conn->req.body.len <= READ_MAX);
        late += conn->req.body.len > 0 && conn->req.body.len < READ_MAX;
    }
    assert_true(late <= LATE_READS);
    settle(clients[0]);
    TAILQ_FOREACH (conn, &s->http->conns, all) {
        for (unsigned turns = 0; conn->req.body.len < PIECES * READ_MAX && turns < 1000; turns++)
            uv_run(&s->loop, UV_RUN_NOWAIT);
        assert_int_equal(conn->req.body.len, PIECES * READ_MAX);
    }
    for (unsigned i = 0; i < N; i++)
        client_close(clients[i]);
    stop(s);
}

/* The same where something else has taken up the turn: what is short is read. */
static void test_late_reads(void **state)
{
    struct server *s = start(&usual);
    struct client *slow = connect_pair(s), *clients[2 * LATE_READS];
    unsigned n_read = 0;
    struct conn *conn;

    (void) state;
    for (unsigned i = 0; i < 2 * LATE_READS; i++)
        clients[i] = connect_pair(s);
    settle(slow);
    assert_int_equal(send(slow->fd, SLOW, strlen(SLOW), MSG_DONTWAIT), strlen(SLOW));
    for (unsigned i = 0; i < 2 * LATE_READS; i++)
        assert_int_equal(send(clients[i]->fd, HELLO, strlen(HELLO), MSG_DONTWAIT), strlen(HELLO));
    uv_run(&s->loop, UV_RUN_NOWAIT);
    TAILQ_FOREACH (conn, &s->http->conns, all)
        n_read += conn->heard || conn->unread.len > 0 || conn->is_ready;
    assert_int_equal(n_read, 1 + LATE_READS);
    for (unsigned i = 0; i < 2 * LATE_READS; i++) {
        settle(clients[i]);
        expect(clients[i], "200 ");
        client_close(clients[i]);
    }
    client_close(slow);
    stop(s);
}

/* Of what a client sends while its request is in hand, a bounded part is taken; all of it is served in the end. */
static void test_unread_bound(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    struct conn *conn = TAILQ_FIRST(&s->http->conns);
    unsigned n = 0;

    (void) state;
    says(c, LATER);
    assert_int_equal(s->n_later, 1);
    while (send(c->fd, HELLO, strlen(HELLO), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t) strlen(HELLO)) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        n++;
    }
    assert_int_equal(conn->unread.len, UNREAD_MAX);
    assert_true(n * strlen(HELLO) > UNREAD_MAX);
    reply_first(s, "1");
    settle(c);
    assert_int_equal(count_200(c), n + 1);
    client_close(c);
    stop(s);
}

static void test_big_reply(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    struct buf body;

    (void) state;
    buf_init(&body, BIG);
    says(c, "GET /big HTTP/1.1\r\n" H "\r\n" HELLO);
    assert_true(strncmp(got(c, false, NULL), "200 200 ", 8) == 0);
    buf_reset(&c->in);
    says(c, "GET /big HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
    assert_string_equal(got(c, false, &body), "200 x");
    assert_int_equal(body.len, BIG);
    assert_int_equal(body.data[BIG - 1], '1');
    buf_free(&body);
    client_close(c);
    stop(s);
}

/* A half-close is as good as gone, in hand and before. */
static void test_gone(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);

    (void) state;
    says(c, LATER HELLO);
    assert_int_equal(s->n_later, 1);
    shutdown(c->fd, SHUT_WR);
    settle(c);
    assert_int_equal(s->n_gone, 1);
    assert_true(c->end && c->in.len == 0);
    client_close(c);
    c = connect_pair(s);
    says(c, "GET /he");
    shutdown(c->fd, SHUT_WR);
    settle(c);
    assert_true(c->end && c->in.len == 0);
    client_close(c);
    stop(s);
}

/* Without on_gone a handler may still reply to nobody. */
static void test_gone_unset(void **state)
{
    struct server *s = start(&usual);

    (void) state;
    s->no_gone = true;
    for (unsigned i = 0; i < 2; i++) {
        struct client *c = connect_pair(s);
        says(c, LATER);
        client_close(c);
        while (s->http->n_conns && i == 0)
            uv_run(&s->loop, UV_RUN_ONCE);
        if (i == 0)
            reply_first(s, "1");
    }
    struct request *last = s->later[0];
    stop(s);
    reply_text(last, "1"); /* even after the server */
}

static void test_ended_while_replying(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);

    (void) state;
    uv_poll_stop(&c->poll);
    says(c, "GET /big HTTP/1.1\r\n" H "\r\n");
    shutdown(c->fd, SHUT_WR);
    settle(c);
    uv_poll_start(&c->poll, UV_READABLE, on_client);
    wait_end(c);
    expect(c, "200 x");
    client_close(c);
    stop(s);
}

static void test_timeouts(void **state)
{
    struct http_conf conf = usual;
    static const char *const texts[] = { "GET /hello HTTP/1.1\r\n", ANY LEN(5) "\r\nhell", "", HELLO,
                                         "POST /x HTTP/1.1\r\n" H LEN(5) "\r\nhell" };
    static const char *const replies[] = { "408 x", "408 x", "x", "200 x", "404 x" };

    (void) state;
    conf.head_timeout_ms = conf.body_timeout_ms = conf.idle_timeout_ms = 40;
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct server *s = start(&conf);
        struct client *c = connect_pair(s);
        says(c, texts[i]);
        wait_end(c);
        expect(c, replies[i]);
        if (i < 2)
            assert_non_null(strstr(c->in.data, "Connection: close\r\n"));
        client_close(c);
        stop(s);
    }
}

static void on_drip(uv_timer_t *timer)
{
    struct client *c = timer->data;
    (void) !send(c->fd, "a", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A byte now and then does not move the deadline. */
static void test_drip(void **state)
{
    struct http_conf conf = usual;
    uv_timer_t drip;

    (void) state;
    conf.head_timeout_ms = 80;
    struct server *s = start(&conf);
    struct client *c = connect_pair(s);
    says(c, "GET /hello HTTP/1.1\r\n" H "X: ");
    uv_timer_init(&s->loop, &drip);
    drip.data = c;
    uv_timer_start(&drip, on_drip, 5, 5);
    wait_end(c);
    expect(c, "408 x");
    uv_close((uv_handle_t *) &drip, NULL);
    client_close(c);
    stop(s);
}

static void test_never_reads(void **state)
{
    struct http_conf conf = usual;

    (void) state;
    conf.write_timeout_ms = 40;
    struct server *s = start(&conf);
    struct client *c = connect_pair(s);
    uv_poll_stop(&c->poll);
    says(c, "GET /big HTTP/1.1\r\n" H "\r\n" LATER);
    assert_int_equal(s->n_later, 0); /* not before the reply has left */
    while (s->http->n_conns)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(s->n_later, 0);
    client_close(c);
    stop(s);
}

/* A refusal can be read by a client that goes on sending. */
static void test_linger(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    static char body[2 << 20];

    (void) state;
    says(c, POST_ECHO LEN(2000000) "\r\n");
    for (unsigned i = 0; i < 20; i++) {
        send(c->fd, body, 100000, MSG_NOSIGNAL | MSG_DONTWAIT);
        uv_run(&s->loop, UV_RUN_NOWAIT);
    }
    settle(c);
    expect(c, "413 x");
    assert_false(c->reset);
    assert_int_equal(s->http->n_conns, 1);
    shutdown(c->fd, SHUT_WR);
    settle(c);
    assert_int_equal(s->http->n_conns, 0);
    client_close(c);
    stop(s);
}

static int listen_tcp(struct server *s, struct sockaddr_in *ret_addr)
{
    socklen_t len = sizeof(*ret_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *ret_addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(bind(fd, (struct sockaddr *) ret_addr, sizeof(*ret_addr)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) ret_addr, &len), 0);
    assert_int_equal(http_listen(s->http, fd), 0);
    return fd;
}

static struct client *connect_tcp(struct server *s, const struct sockaddr_in *addr, const char *from)
{
    struct sockaddr_in own = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, from, &own.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *) &own, sizeof(own)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *) addr, sizeof(*addr)), 0);
    return client_new(s, fd);
}

static void test_tcp(void **state)
{
    struct server *s = start(&usual);
    struct sockaddr_in addr;

    (void) state;
    listen_tcp(s, &addr);
    struct client *c = connect_tcp(s, &addr, "127.0.0.1");
    says(c, HELLO POST_ECHO LEN(2) "\r\n{}" LATER);
    assert_int_equal(s->n_later, 1);
    /* a reset is noticed too */
    struct linger hard = { .l_onoff = 1 };
    expect(c, "200 200 ");
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    client_close(c);
    while (!s->n_gone)
        uv_run(&s->loop, UV_RUN_ONCE);
    stop(s);
}

/* A client that does not read is reset, so that the kernel forgets what it was sent. */
static void test_tcp_write_timeout(void **state)
{
    struct http_conf conf = usual;
    struct sockaddr_in addr;

    (void) state;
    conf.write_timeout_ms = 40;
    struct server *s = start(&conf);
    listen_tcp(s, &addr);
    struct client *c = connect_tcp(s, &addr, "127.0.0.1");
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 65536 }, sizeof(int)); /* or the kernel may take it all */
    uv_poll_stop(&c->poll);
    says(c, "GET /big HTTP/1.1\r\n" H "\r\n");
    while (s->http->n_conns)
        uv_run(&s->loop, UV_RUN_ONCE);
    uv_poll_start(&c->poll, UV_READABLE, on_client);
    wait_end(c);
    assert_true(c->reset);
    client_close(c);
    stop(s);
}

static void test_address_cap(void **state)
{
    struct http_conf conf = usual;
    struct sockaddr_in addr;

    (void) state;
    conf.max_connections_per_address = 2;
    struct server *s = start(&conf);
    listen_tcp(s, &addr);
    struct client *a = connect_tcp(s, &addr, "127.0.0.1"), *b = connect_tcp(s, &addr, "127.0.0.1");
    struct client *other = connect_tcp(s, &addr, "127.0.0.2");
    says(a, LATER);
    says(b, LATER);
    struct client *over = connect_tcp(s, &addr, "127.0.0.1"); /* both that it has are in hand */
    wait_end(over);
    expect(over, "503 x");
    assert_non_null(strstr(over->in.data, "Retry-After: 1\r\n"));
    reply_first(s, "1");
    reply_first(s, "2");
    says(other, HELLO);
    expect(a, "200 ");
    expect(b, "200 ");
    expect(other, "200 ");
    client_close(over);
    over = connect_tcp(s, &addr, "127.0.0.1");
    says(over, HELLO);
    settle(a);
    expect(a, "200 x"); /* it was idle for longer than the other */
    expect(over, "200 ");
    client_close(a);
    client_close(b);
    client_close(over);
    client_close(other);
    stop(s);
}

#define SECOND "x-api-key: second\r\n"
#define GET_KEY "GET /key HTTP/1.1\r\n" H KEY "\r\n"
#define GET_SECOND "GET /key HTTP/1.1\r\n" H SECOND "\r\n"

/* Whatever strangers are at, and from however many addresses: who comes with a key is served. */
static void test_strangers_give_way(void **state)
{
    static const char *const texts[] = { "",
                                         "GET /he",
                                         HELLO,
                                         "GET /big HTTP/1.1\r\n" H "\r\n",
                                         "POST /echo HTTP/1.1\r\n" H LEN(100) "\r\n",
                                         "GET /hello HTTP/1.1\r\n" H LEN(100) "\r\n",
                                         ANY LEN(100) "\r\n" };
    struct http_conf conf = usual;
    struct sockaddr_in addr;

    (void) state;
    conf.max_connections = 8;
    conf.max_connections_per_address = 6;
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct server *s = start(&conf);
        struct client *c[10];
        listen_tcp(s, &addr);
        for (unsigned j = 0; j < 8; j++) {
            c[j] = connect_tcp(s, &addr, j < 6 ? "127.0.0.1" : "127.0.0.2");
            setsockopt(c[j]->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 65536 }, sizeof(int));
            says(c[j], texts[i]);
            uv_poll_stop(&c[j]->poll);
        }
        c[8] = connect_tcp(s, &addr, "127.0.0.1"); /* its address has its share, too */
        c[9] = connect_tcp(s, &addr, "127.0.0.3");
        for (unsigned j = 8; j < 10; j++) {
            says(c[j], GET_KEY);
            expect(c[j], "200 ");
        }
        assert_int_equal(s->http->n_known, 2);
        for (unsigned j = 0; j < 10; j++)
            client_close(c[j]);
        stop(s);
    }
}

/* All places that keys may have are one key's: another key is served, and a connection of the first gives way. */
static void test_key_with_most_gives_way(void **state)
{
    static const struct {
        const char *said, *told;
    } cases[] = {
        { "", "200 x" }, /* it is idle */
        { "GET /ke", "200 503 x" },
        { POST_ECHO LEN(100) "\r\n12345", "200 503 x" },
        { "GET /wait HTTP/1.1\r\n" H KEY "\r\n", "200 503 x" },
        { "GET /later HTTP/1.1\r\n" H KEY "\r\n", NULL }, /* a handler does not let it */
    };
    enum { N = 8, FOR_KEYS = 7 };
    struct http_conf conf = usual;

    (void) state;
    conf.max_connections = N;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct server *s = start(&conf);
        struct client *c[FOR_KEYS], *other = connect_pair(s);
        unsigned n_ended = 0;
        s->no_gone = true;
        for (unsigned j = 0; j < FOR_KEYS; j++) {
            c[j] = connect_pair(s);
            says(c[j], GET_KEY);
            says(c[j], cases[i].said);
        }
        says(other, GET_SECOND);
        expect(other, cases[i].told ? "200 " : "503 ");
        for (unsigned j = 0; j < FOR_KEYS; j++) {
            settle(c[j]);
            n_ended += c[j]->end;
            if (c[j]->end)
                expect(c[j], cases[i].told);
        }
        assert_int_equal(n_ended, cases[i].told ? 1 : 0);
        assert_int_equal(s->http->n_known, FOR_KEYS);
        assert_int_equal(s->key.n_conns + s->other_key.n_conns, FOR_KEYS);
        for (unsigned j = 0; j < FOR_KEYS; j++)
            client_close(c[j]);
        client_close(other);
        while (s->n_later)
            reply_first(s, "late");
        stop(s);
    }
}

/* Who has sent its first request is heard before it would have to leave, however many come at once. */
static void test_heard_before_leaving(void **state)
{
    struct http_conf conf = usual;
    struct sockaddr_in addr;
    struct client *c[30];

    (void) state;
    conf.max_connections = 16;
    struct server *s = start(&conf);
    listen_tcp(s, &addr);
    for (unsigned i = 0; i < 30; i++) {
        c[i] = connect_tcp(s, &addr, i % 10 ? "127.0.0.1" : "127.0.0.2");
        if (i % 10 == 0)
            assert_int_equal(send(c[i]->fd, GET_KEY, strlen(GET_KEY), MSG_NOSIGNAL), strlen(GET_KEY));
    }
    for (unsigned i = 0; i < 30; i += 10) {
        while (!c[i]->in.len && !c[i]->end)
            uv_run(&s->loop, UV_RUN_ONCE);
        expect(c[i], "200 ");
    }
    for (unsigned i = 0; i < 30; i++)
        client_close(c[i]);
    stop(s);
}

/* The key that has most keeps what it is at: its own idle connections make room for its next. */
static void test_own_idle_connections_give_way(void **state)
{
    struct http_conf conf = usual;
    struct client *c[9];

    (void) state;
    conf.max_connections = 8;
    struct server *s = start(&conf);
    for (unsigned i = 0; i < 9; i++) {
        c[i] = connect_pair(s);
        says(c[i], GET_KEY);
        expect(c[i], "200 ");
    }
    settle(c[0]);
    assert_true(c[0]->end && c[1]->end && !c[2]->end); /* the oldest */
    for (unsigned i = 0; i < 9; i++)
        client_close(c[i]);
    stop(s);
}

#define KEYED(key, n) "POST /echo HTTP/1.1\r\n" H key JSON LEN(n) "\r\n"

/* One key's bodies take all: those of others are taken, and the slowest of that key's is refused. */
static void test_key_with_most_bodies_gives_way(void **state)
{
    struct server *s = start(&usual); /* 2 MiB */
    struct client *a = connect_pair(s), *b = connect_pair(s), *other = connect_pair(s);
    static char bytes[1 << 20];

    (void) state;
    memset(bytes, ' ', sizeof(bytes));
    says(a, KEYED(KEY, 1048576));
    says(b, KEYED(KEY, 1048576));
    say(a, bytes, sizeof(bytes) - 1000);
    say(b, bytes, sizeof(bytes) - 10);
    settle(a);
    assert_int_equal(s->key.bodies, 2 * sizeof(bytes) - 1010);
    says(other, KEYED(SECOND, 2000));
    say(other, bytes, 2000);
    settle(other);
    expect(other, "200 ");
    settle(a);
    settle(b);
    assert_true(a->end != b->end);
    expect(a->end ? a : b, "503 x");
    assert_non_null(strstr((a->end ? a : b)->in.data, "server.max_bodies"));
    client_close(a);
    client_close(b);
    client_close(other);
    while (s->http->n_conns)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(s->http->bodies, 0);
    stop(s);
}

/* What a handler holds counts until it lets go, whatever became of the client; and is bounded for each key. */
static void test_charge_outlives_client(void **state)
{
    struct server *s = start(&usual);
    struct client *c = connect_pair(s);
    static char bytes[500000];

    (void) state;
    says(c, "POST /hold HTTP/1.1\r\n" H KEY JSON LEN(500000) "\r\n");
    say(c, bytes, sizeof(bytes));
    settle(c);
    assert_int_equal(s->n_later, 1);
    client_close(c);
    while (s->http->n_conns)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(s->n_gone, 1);
    assert_int_equal(s->http->bodies, sizeof(bytes) + REQUEST_COST);
    assert_int_equal(s->key.pinned, s->http->bodies);
    struct request req = { .holder = &s->key, .conn = &(struct conn){ .http = s->http }, .charge = { 0 } };
    assert_true(request_pin(&req)); /* (2 MiB - 504096) / 2 is above it */
    struct request large = req;
    large.charge = (struct charge){ .http = s->http, .holder = &s->key, .bytes = 300000 };
    s->key.bodies += 300000;
    s->http->bodies += 300000;
    http_ref(s->http);
    assert_false(request_pin(&large));
    charge_drop(&large.charge);
    charge_drop(&req.charge);
    charge_drop(&s->charge);
    assert_true(!s->http->bodies && !s->key.bodies && !s->key.pinned && !s->http->pinned);
    stop(s);
}

/* On unix sockets only the cap in all counts. */
static void test_unix_cap(void **state)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    socklen_t len = offsetof(struct sockaddr_un, sun_path);
    struct http_conf conf = usual;
    struct client *c[4];

    (void) state;
    conf.max_connections = 3;
    conf.max_connections_per_address = 1;
    struct server *s = start(&conf);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &addr, len), 0); /* an abstract name of the kernel's choice */
    assert_int_equal(listen(fd, 64), 0);
    len = sizeof(addr);
    getsockname(fd, (struct sockaddr *) &addr, &len);
    assert_int_equal(http_listen(s->http, fd), 0);
    for (unsigned i = 0; i < 4; i++) {
        int end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(end, (struct sockaddr *) &addr, len), 0);
        c[i] = client_new(s, end);
    }
    wait_end(c[0]);
    expect(c[0], "x");
    for (unsigned i = 1; i < 4; i++) {
        says(c[i], HELLO);
        expect(c[i], "200 ");
    }
    for (unsigned i = 0; i < 4; i++)
        client_close(c[i]);
    stop(s);
}

/* No descriptors left: the connection is refused, not left to wake the loop for ever. */
static void test_no_descriptors(void **state)
{
    struct server *s = start(&usual);
    struct sockaddr_in addr;
    struct rlimit old, low;

    (void) state;
    listen_tcp(s, &addr);
    struct client *c = connect_tcp(s, &addr, "127.0.0.1");
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){ (rlim_t) next, old.rlim_max };
    setrlimit(RLIMIT_NOFILE, &low);
    wait_end(c);
    setrlimit(RLIMIT_NOFILE, &old);
    expect(c, "503 x");
    assert_true(s->http->reserve_fd >= 0);
    client_close(c);
    c = connect_tcp(s, &addr, "127.0.0.1");
    says(c, HELLO);
    while (!c->in.len && !c->end) /* accepting may have paused until the tick */
        uv_run(&s->loop, UV_RUN_ONCE);
    expect(c, "200 ");
    client_close(c);
    stop(s);
}

static void on_quiet(void *data)
{
    struct server *s = data;
    s->n_quiet++;
}

static void on_drained(void *data)
{
    struct server *s = data;
    s->n_drained++;
}

static void test_drain(void **state)
{
    struct server *s = start(&usual);
    struct client *idle = connect_pair(s), *busy = connect_pair(s), *half = connect_pair(s);
    struct sockaddr_in addr;

    (void) state;
    listen_tcp(s, &addr);
    says(busy, LATER HELLO);
    says(half, ANY LEN(2) "\r\n1");
    http_drain(s->http, on_quiet, s);
    settle(idle);
    assert_false(idle->end); /* its request may be on its way */
    says(half, "2");
    expect(half, "200 x");
    struct client *late = connect_tcp(s, &addr, "127.0.0.1");
    says(late, LATER);
    struct client *later = connect_tcp(s, &addr, "127.0.0.1");
    says(later, HELLO);
    wait_end(later);
    wait_end(idle);
    expect(idle, "x");
    expect(later, "200 x");
    assert_non_null(strstr(later->in.data, "Connection: close\r\n"));
    assert_int_equal(s->n_quiet, 0);
    reply_first(s, "1");
    settle(busy);
    expect(busy, "200 x");
    assert_non_null(strstr(busy->in.data, "Connection: close\r\n"));
    while (!s->n_quiet)
        uv_run(&s->loop, UV_RUN_NOWAIT);
    /* What came late was not waited for; but it is answered, as is who has connected and not spoken yet. */
    struct client *silent = connect_tcp(s, &addr, "127.0.0.1"), *last = connect_tcp(s, &addr, "127.0.0.1");
    http_stop(s->http, on_drained, s);
    settle(last);
    assert_int_equal(s->n_drained, 0);
    says(last, HELLO);
    wait_end(last);
    expect(last, "200 x");
    wait_end(silent);
    reply_first(s, "2");
    wait_end(late);
    expect(late, "200 x");
    client_close(busy); /* it was lingering: more had been sent */
    while (!s->n_drained)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(s->n_quiet, 1);
    struct client *const others[] = { idle, half, late, later, silent, last };
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        client_close(others[i]);
    stop(s);
}

static void test_drain_nothing(void **state)
{
    struct server *s = start(&usual);
    struct sockaddr_in addr;

    (void) state;
    listen_tcp(s, &addr);
    http_drain(s->http, on_quiet, s);
    assert_int_equal(s->n_quiet, 0); /* not from within */
    while (!s->n_quiet)
        uv_run(&s->loop, UV_RUN_NOWAIT);
    http_stop(s->http, on_drained, s);
    assert_int_equal(s->n_drained, 0);
    while (!s->n_drained)
        uv_run(&s->loop, UV_RUN_ONCE);
    settle(&(struct client){ .server = s });
    assert_int_equal(s->n_quiet, 1);
    assert_int_equal(s->n_drained, 1);
    assert_false(uv_is_active((uv_handle_t *) &s->http->tick));
    stop(s);
}

/* http_free() with requests in every state. */
static void test_free_all(void **state)
{
    static const char *const texts[] = {
        "", "GET", ANY LEN(5) "\r\n", LATER HELLO, "GET /big HTTP/1.1\r\n" H "\r\n", "BAD\r\n"
    };
    struct server *s = start(&usual);
    struct client *c[6];

    (void) state;
    for (unsigned i = 0; i < 6; i++) {
        c[i] = connect_pair(s);
        if (i == 4)
            uv_poll_stop(&c[i]->poll);
        says(c[i], texts[i]);
        uv_poll_stop(&c[i]->poll);
    }
    for (unsigned i = 0; i < 6; i++)
        client_close(c[i]);
    http_free(s->http);
    assert_int_equal(s->n_gone, 1);
    s->http = NULL;
    stop(s);
}

/* Connections come and go; the loop sleeps between them. */
static void test_tick_stops(void **state)
{
    struct http_conf conf = usual;

    (void) state;
    conf.idle_timeout_ms = 40;
    struct server *s = start(&conf);
    struct client *c = connect_pair(s);
    assert_true(uv_is_active((uv_handle_t *) &s->http->tick));
    wait_end(c);
    while (uv_is_active((uv_handle_t *) &s->http->tick))
        uv_run(&s->loop, UV_RUN_ONCE);
    client_close(c);
    stop(s);
}

/* What has come in time counts, though the loop comes to it late. */
static void test_read_late(void **state)
{
    struct http_conf conf = usual;

    (void) state;
    conf.idle_timeout_ms = 40;
    struct server *s = start(&conf);
    struct client *c = connect_pair(s);
    assert_int_equal(send(c->fd, HELLO, strlen(HELLO), 0), strlen(HELLO));
    usleep(100000);
    wait_end(c);
    expect(c, "200 x");
    client_close(c);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_whole),
        cmocka_unit_test(test_vectors_bytewise),
        cmocka_unit_test(test_reply_bytes),
        cmocka_unit_test(test_head_has_length),
        cmocka_unit_test(test_key_before_body),
        cmocka_unit_test(test_enter_before_body),
        cmocka_unit_test(test_pipeline_later),
        cmocka_unit_test(test_pipeline_deep),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_bodies_in_turns),
        cmocka_unit_test(test_late_reads),
        cmocka_unit_test(test_unread_bound),
        cmocka_unit_test(test_big_reply),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_gone_unset),
        cmocka_unit_test(test_ended_while_replying),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_drip),
        cmocka_unit_test(test_never_reads),
        cmocka_unit_test(test_linger),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_tcp_write_timeout),
        cmocka_unit_test(test_address_cap),
        cmocka_unit_test(test_strangers_give_way),
        cmocka_unit_test(test_heard_before_leaving),
        cmocka_unit_test(test_key_with_most_gives_way),
        cmocka_unit_test(test_own_idle_connections_give_way),
        cmocka_unit_test(test_key_with_most_bodies_gives_way),
        cmocka_unit_test(test_charge_outlives_client),
        cmocka_unit_test(test_unix_cap),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_nothing),
        cmocka_unit_test(test_free_all),
        cmocka_unit_test(test_tick_stops),
        cmocka_unit_test(test_read_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
