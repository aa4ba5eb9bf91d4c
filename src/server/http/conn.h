/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the server, a connection, a request.
 *
 *   http.c     struct http: made, drained, freed; the tick and the turn that all connections share
 *   listen.c   accepting: caps, no descriptors left
 *   address.c  the addresses of connections, counted
 *   conn.c     a connection's life, from its descriptor to its last reference
 *   request.c  bytes to a request: head.c and chunk.c refuse, llhttp parses
 *   query.c    the query of a request's target
 *   route.c    what a head is refused for that is well-formed
 *   yield.c    who holds how much, and who gives way
 *   reply.c    a status and a body to bytes */
#ifndef HATCHERY_SERVER_HTTP_CONN_H
#define HATCHERY_SERVER_HTTP_CONN_H

#include "server/http/address.h"
#include "server/http/chunk.h"
#include "server/http/head.h"
#include "server/http/http.h"

#include <llhttp.h>
#include <sys/queue.h>

enum {
    READ_MAX = 65536,       /* one read(2), the only one of a connection in a turn; all share the buffer */
    LATE_READ_MAX = 16384,  /* the same when the turn is over, */
    LATE_READS = 4,         /* which each key, or address of strangers, may do so often in a turn */
    UNREAD_MAX = 65536,     /* bytes a connection may send ahead of their turn */
    SLICE_MAX = 65536,      /* bytes of a reply that one turn of the loop writes */
    SKIP_MAX = 65536,       /* a refused request's body up to this is read and dropped, so that the connection stays */
    KEEP_MAX = 16384,       /* a buffer up to this stays allocated between requests */
    TURN_MAX = 32,          /* requests answered before other connections have their turn */
    TURN_MS = 1,            /* time after which no request is begun before the loop looks for events again */
    UNSENT_MAX = 256 << 20, /* bytes of replies that all clients have yet to read */
    REQUEST_COST = 4096,    /* bytes that a request takes beside its body */
    LINGER_MS = 2000,       /* time for a client to read a last reply while it is still sending */
    LAST_MS = 100,          /* time for a connection to begin its request once no more are accepted */
    LEAVE_MS = 1000,        /* the same while it would still be served: its client may be far away */
};

/* A place in the head's bytes; both fit since a head is at most HEAD_MAX. */
struct span {
    uint16_t at, len;
};

struct field {
    struct span name, value;
};

struct request {
    struct conn *conn;
    llhttp_t parser;
    struct head head;
    struct chunks chunks;
    struct buf bytes; /* the head; once parsed, each field's value ends with NUL */
    struct buf body;
    struct charge charge; /* for the body */
    struct buf headers;   /* headers that handlers add to the reply */
    uint64_t left;        /* of Content-Length */
    unsigned n_fields;    /* in @fields */
    bool parsed;          /* the head has passed: its method and fields may be read */
    bool complete;        /* so has the body */
    bool wants_close;     /* the connection ends with this request, as the client asks or the head demands */
    bool skipping;        /* answered: its body is dropped */
    bool refused;
    const struct route *route;
    struct holder *holder; /* the key that it has */
    const char *why;       /* why it is refused, if the status does not say it; in our words */
    uint64_t start_us;
    int64_t mark_us;
    void (*on_gone)(struct request *, void *);
    void *on_gone_data;
    bool (*on_yield)(struct request *, void *, const char *);
    struct field fields[HEAD_FIELDS_MAX];
};

enum conn_state {
    CONN_IDLE,   /* nothing of the next request has come */
    CONN_HEAD,   /* a head is arriving */
    CONN_BODY,   /* a body is arriving; also one that is skipped after its request was refused */
    CONN_HANDED, /* a handler has the request; further bytes wait in @unread */
    CONN_REPLY,  /* the reply is on its way out; the same */
    CONN_LINGER, /* answered for the last time; what still comes is dropped */
    CONN_CLOSED, /* its socket is closed; the struct waits for its last reference */
};

/* A reply that the socket did not take at once; all empty if there is none. */
struct rest {
    struct buf head;
    struct parts parts;
    size_t at, len;  /* bytes that the socket has taken; bytes in all */
    size_t underway; /* given to the loop */
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct http *http;
    struct address *address; /* where it comes from; NULL on unix sockets */
    struct holder *holder;   /* whose place it takes: its address's, or that of the key it has shown last */
    uint64_t useful_ms;      /* uv_now() when it was accepted, a request was taken or its reply had left; 0: never */
    TAILQ_ENTRY(conn) all, ready, held;
    enum conn_state state;
    unsigned refs; /* the handle's, and that of a handler that has not replied and set no on_gone */
    int fd;
    bool tcp;
    bool heard;           /* its first head has come */
    bool running;         /* conn.c's loop over requests is on the stack */
    bool is_ready;        /* in http->ready */
    bool awaited;         /* its request was in hand when draining began */
    bool keep;            /* another request may follow this one */
    bool ended;           /* the client has sent all it will */
    bool has_read;        /* it has read a full buffer in this turn: the rest waits until others had theirs */
    uint64_t deadline_ms; /* uv_now() time; UINT64_MAX: none */
    uint64_t body_deadline_ms;
    struct buf unread;
    uv_write_t write;
    struct rest rest;
    size_t unsent; /* bytes of it; 0 once the connection is closed */
    struct request req;
};

TAILQ_HEAD(conn_list, conn);
LIST_HEAD(listener_list, listener);

/* The life of the server; it goes from SERVING to STOPPED, and in between through one of the
 * others. */
enum http_phase {
    SERVING,
    DRAINING, /* http_drain() was called: requests in hand are awaited, others are answered */
    LEAVING,  /* http_leave() was called: connections are still accepted and served */
    STOPPED,  /* no connection is accepted; those that are left are awaited */
};

struct http {
    uv_loop_t *loop;
    struct http_conf conf;
    const struct route *routes;
    void *data;
    uv_timer_t tick; /* looks at every deadline; runs while there are connections */
    uv_idle_t turn;  /* runs while some connection is ready */
    unsigned tick_ms;
    unsigned n_handles; /* open in the loop; the last one frees the struct */
    unsigned n_conns, n_known, n_ready;
    size_t unsent, bodies, pinned; /* of all holders */
    LIST_HEAD(, holder) holders;   /* holders with connections */
    struct holder local;           /* of connections on unix sockets without a key */
    struct conn_list conns, ready;
    struct listener_list listeners;
    struct addresses addresses;
    int reserve_fd; /* closed to accept and refuse a connection when no descriptor is left */
    enum http_phase phase;
    uint64_t leave_at_ms; /* when connections that were idle at http_leave() are closed */
    unsigned n_awaited;
    void (*on_rest)(void *); /* on_quiet, then on_drained */
    void *on_rest_data;
    struct buf reply_head, reply_body; /* scratch */
    char read_buf[READ_MAX];
};

/* http.c */

/* http_ref(): a handle of @http was opened; its close callback calls http_unref(). */
void http_ref(struct http *http);
void http_unref(struct http *http);

/* http_start_tick(): have the tick run.  http_check_rest(): run it at once, as on_rest may be due. */
void http_start_tick(struct http *http);
void http_check_rest(struct http *http);

/* @conn has unread bytes and may parse them: conn_resume() comes in the loop's next turn, after
 * others. */
void http_make_ready(struct http *http, struct conn *conn);
void http_unmake_ready(struct http *http, struct conn *conn);

/* Has this turn of the loop taken so long that work that can wait must wait? */
bool http_turn_is_over(const struct http *http);

/* listen.c */

void listen_close_all(struct http *http);
void listen_take_rest(struct http *http); /* accept all that have connected already */
void listen_retry(struct http *http);     /* accept again on listeners that had no descriptor */
bool listen_paused(struct http *http);    /* is there such a listener? */

/* conn.c */

/* Serve @fd, a connected stream socket that does not block; takes it and @address's count. */
void conn_new(struct http *http, int fd, bool tcp, struct address *address);

/* Go on with unread bytes. */
void conn_resume(struct conn *conn);

/* Its deadline has passed. */
void conn_expire(struct conn *conn);

/* Close the socket; a request in hand learns that its client is gone. */
void conn_close(struct conn *conn);

/* Read the bytes of its first request that have come; false: none have, or they were read before. */
bool conn_hear(struct conn *conn);

/* @conn gives way to others: its client is told @why if it waits for a reply. */
void conn_give_up(struct conn *conn, const char *why);

/* The reply has left: go on as conn->keep says.  Calls no handler. */
void conn_sent(struct conn *conn);

/* A handler has replied to a connection that is closed. */
void conn_release(struct conn *conn);

/* request.c */

void request_init(struct request *req, struct conn *conn);
void request_free(struct request *req);

/* Begin a request whose first byte has just come. */
void request_begin(struct request *req);

/* Feed the head, then the body.  @ret_used receives how many of the @n bytes are the request's.
 * Return 1 at its end, 0 if more must come, or a negated status to refuse the request with. */
int request_take_head(struct request *req, const char *p, size_t n, size_t *ret_used);
int request_take_body(struct request *req, const char *p, size_t n, size_t *ret_used);

/* Nobody reads the body any more. */
void request_drop_body(struct request *req);

/* route.c */

/* Find the request's route and judge its head by it.  Returns 0 or the status to refuse it with. */
int route_check(struct request *req);

/* Append the methods of @req's path: the value of Allow. */
void route_add_methods(const struct request *req, struct buf *b);

/* Append the sentence of a refusal with @status; @usual is the sentence for the status alone. */
void route_add_sentence(const struct request *req, int status, const char *usual, struct buf *b);

/* yield.c */

/* @conn takes a place of @holder, gives it back, was of use, or is the first of its holder's to
 * give way. */
void yield_enter(struct conn *conn, struct holder *holder);
void yield_leave(struct conn *conn);
void yield_useful(struct conn *conn);
void yield_useless(struct conn *conn);

/* A stranger leaves, so that a newcomer may come in: one of @crowd, an address's, or of any (NULL).
 * False: none could. */
bool yield_to_newcomer(struct http *http, const struct holder *crowd);

/* @conn has shown @key: its place counts as that key's from here on.  False: no other connection
 * gives way, and the request must be refused. */
bool yield_to_key(struct conn *conn, struct holder *key);

/* @n more bytes of a body, counted in its charge.  False: this request must be refused. */
bool yield_to_body(struct request *req, size_t n);

/* @conn's client has yet to read @len bytes; 0: none any more. */
void yield_to_unsent(struct conn *conn, size_t len);

/* Why a connection gave way: for its place, for its body. */
extern const char yield_places[], yield_bodies[];

/* reply.c */

void rest_free(struct rest *rest);

/* Answer a request that no handler has seen with @status and the sentence for it, or req->why. */
void reply_refusal(struct request *req, int status);

/* The whole reply to a connection beyond the caps. */
extern const char reply_overload[];

#endif
