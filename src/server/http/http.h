/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 on libuv and llhttp: bytes to a request, a reply to bytes.
 *
 * The rest of the server sees this header only.  One loop, one thread; nothing here blocks.  A
 * request belongs to its connection; a handler answers it exactly once, now or later, or learns
 * that its client is gone. */
#ifndef HATCHERY_SERVER_HTTP_HTTP_H
#define HATCHERY_SERVER_HTTP_HTTP_H

#include "base/blob.h"
#include "base/buf.h"
#include "base/holder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct conn;
struct request;
struct http;

/* The configuration; all times in milliseconds, all sizes in bytes. */
struct http_conf {
    unsigned max_connections, max_connections_per_address;
    unsigned head_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms;
    size_t max_body, max_bodies; /* of one request; of all requests without a reply */
    /* The holder of a key; NULL: nobody has it.  @key is NULL if the request has none, in x-api-key
     * or as Authorization: Bearer, or two.  Called before the body is read; must take the same time
     * for every wrong key. */
    struct holder *(*find_key)(void *data, const char *key, size_t len);
    /* If not NULL, called for every request with a good key, before its body is read.  May add
     * headers to the reply; false: it has replied. */
    bool (*on_enter)(void *data, struct request *req);
    /* If not NULL, called for every reply right before it leaves; for every connection that was
     * refused. */
    void (*on_reply)(void *data, const struct request *req, int status);
    void (*on_shed)(void *data);
    /* If not NULL, called for every request that is answered by reply_error(), or by this room with
     * a status of 400 and more. */
    void (*on_refusal)(void *data, const struct request *req, int status);
    /* If not NULL, called when the kernel has taken the last byte of a reply. */
    void (*on_sent)(void *data, const struct request *req);
    void *data;
};

/* Needs the key; needs a JSON body (otherwise 415); takes any body; takes small bodies only; takes
 * parameters in the query; is not counted against the key's rate.  The body for a route without one
 * of these is dropped. */
enum { ROUTE_KEY = 1, ROUTE_JSON = 2, ROUTE_BODY = 4, ROUTE_SMALL = 8, ROUTE_QUERY = 16, ROUTE_UNRATED = 32 };

/* The longest body of a ROUTE_SMALL, which its handler parses at once. */
enum { SMALL_BODY_MAX = 16384 };

struct route {
    const char *method; /* "GET" (answers HEAD too), "POST", "DELETE" */
    const char *path;   /* exact, but for {parts}: /v1/jobs/{id} */
    unsigned flags;
    /* Called once the body is complete, or the head where the route wants none.  Must lead to
     * exactly one reply_*() call, unless on_gone is called first. */
    void (*on_request)(struct request *req, void *data);
    size_t path_id;    /* the owner's, for on_reply */
    const char *query; /* names of the parameters of a ROUTE_QUERY, separated by spaces */
};

/* @routes ends with an entry whose method is NULL and must outlive the server. @data is passed to
 * every handler. */
struct http *http_new(uv_loop_t *loop, const struct http_conf *conf, const struct route *routes, void *data);

/* Use other timeouts and bounds from here on; connections beyond a lower cap stay until they end. */
void http_configure(struct http *http, const struct http_conf *conf);

/* Accept connections on @fd, a listening stream socket (TCP or unix), whose ownership passes.
 * Returns 0 or -errno. */
int http_listen(struct http *http, int fd);

/* Every reply from here on says Connection: close, and idle connections are closed after a moment.
 * New ones are accepted as before: the handlers tell them.  @on_quiet is called once when the
 * requests that are in hand now have their replies. */
void http_drain(struct http *http, void (*on_quiet)(void *), void *data);

/* After on_quiet: accept no new connections; a connection that has sent nothing gets a moment, the
 * others finish their request.  @on_drained is called once when none is left. */
void http_stop(struct http *http, void (*on_drained)(void *), void *data);

/* Instead of both, if another process keeps the listening sockets open and accepts connections
 * later: requests are served as ever, with Connection: close, and connections that are idle now
 * have a second.  Until then new ones are accepted, as they would only wait. */
void http_leave(struct http *http, void (*on_drained)(void *), void *data);

/* Close everything at once; requests in hand get on_gone. Frees after the loop has run the close
 * callbacks. */
void http_free(struct http *http);

/* Connections that are open, and those of them whose request a handler has in hand. */
void http_counts(const struct http *http, unsigned *ret_open, unsigned *ret_in_hand);

/* The route that the request has found, or NULL; is its method @name? */
const struct route *request_route(const struct request *req);
bool request_is(const struct request *req, const char *name);

/* The holder of the request's key, as find_key said; NULL if its route needs none. */
struct holder *request_holder(const struct request *req);

/* The request's body: valid until the reply or on_gone. Not NUL-terminated. */
const char *request_body(const struct request *req, size_t *ret_len);

/* Take the body over: the caller frees @ret, before the reply or long after. */
void request_keep_body(struct request *req, struct buf *ret);

/* A request's part of http_conf.max_bodies, on its key's account. */
struct charge {
    struct http *http; /* NULL: nothing */
    struct holder *holder;
    size_t bytes;
    bool pinned;
};

/* Of a request with a key: hold its charge until the disk has answered, even if its client goes.
 * False: its key holds too much of that already (503).  The requests of one key hold at most a
 * third of max_bytes so, of two keys a quarter each, and so on; one request is always taken. */
bool request_pin(struct request *req);

/* Of a request with a key: free its body; its charge, with the cost of any request, is the caller's
 * until charge_drop(). */
void request_take_charge(struct request *req, struct charge *ret);
void charge_drop(struct charge *charge);

/* From here on the charge is given back when the client goes. */
void charge_unpin(struct charge *charge);

/* A header's value by its lower-case name, NUL-terminated, or NULL. Valid as long as the body. */
const char *request_header(const struct request *req, const char *name);

/* The same, but NULL also if the header comes more than once. */
const char *request_only_header(const struct request *req, const char *name);

/* The first {part} of the request's path, as it was sent: cut to @size - 1 bytes and
 * NUL-terminated. */
void request_part(const struct request *req, char *ret, size_t size);

/* The first name in the query that its route does not take, as it was sent, cut to @size - 1 bytes:
 * false if there is none. */
bool request_unknown_query(const struct request *req, char *ret, size_t size);

/* The address of the connected client, which may be a proxy's; "unix", or "?" if it is not known. */
void request_address(const struct request *req, char *ret, size_t size);

/* The value of @name in the query, percent-decoded and NUL-terminated.  0, -ENOENT, or -EINVAL if
 * it comes twice, is longer than @size - 1 or holds NUL or a broken escape. */
int request_query(const struct request *req, const char *name, char *ret, size_t size);

/* Add a header to the reply to come: @name is ours, @value too, or printable ASCII. */
void reply_header(struct request *req, const char *name, const char *value);

/* uv_hrtime() / 1000 when the request's first byte was read. */
uint64_t request_start_us(const struct request *req);

/* A time that the handler leaves for on_sent; 0 until then, for each request. */
void request_mark(struct request *req, int64_t us);
int64_t request_marked_us(const struct request *req);

/* Have @on_gone called if the client goes away before the reply (reset, close or half-close of its
 * connection, or http_free).  After it the request must not be touched. NULL to unset. */
void request_on_gone(struct request *req, void (*on_gone)(struct request *, void *), void *data);

/* Called if other requests need room and this one's key has most of it.  With @why NULL it says
 * whether the request may be given up; otherwise it gives it up and has replied (503).  @data is
 * on_gone's.  A request without it is never given up while its handler has it. */
void request_may_yield(struct request *req, bool (*on_yield)(struct request *, void *data, const char *why));

/* Answer with a JSON @body (copied).  @retry_after_s > 0 adds Retry-After.  The request is gone
 * after it. */
void reply_json(struct request *req, int status, const struct buf *body, unsigned retry_after_s);

/* A long body: the bytes of @blob between two texts.  All may be empty; @blob may be NULL. */
struct parts {
    struct buf before;
    struct blob *blob;
    struct buf after;
};

void parts_free(struct parts *parts);

/* The same with a JSON body in @parts, which the reply owns from here: they are not copied, and
 * freed when the client has them. */
void reply_parts(struct request *req, int status, struct parts *parts, unsigned retry_after_s);

/* The same with a body of another media @type, which is ours. */
void reply_typed(struct request *req, int status, const char *type, const struct buf *body);

/* Answer {"code": status, "error": error, "message": error}.  Logs nothing. */
void reply_error(struct request *req, int status, const char *error, unsigned retry_after_s);

#endif
