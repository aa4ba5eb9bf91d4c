/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds how much of what all share, and who gives way when it is used up.
 *
 * Shared are places (connections), bytes of requests and bytes of replies that clients have yet to
 * read.  Each is counted by key, and by address for those that have shown none: strangers.  A
 * connection is a stranger's until its first request with a good key has passed, and that key's
 * from then on.
 *
 *   used up                       gives way
 *   places                        a stranger: of the address with most of them the one that was of use longest ago, whatever
 *                                 it is at; where its first request has come and was not read yet, it is read instead
 *   places of an address          the same, among those of that address
 *   places of keys: all but an    a connection of the key with most, where that is more than whoever asks has:
 *   eighth of all, which newcomers  by the order of `turns` below.  The key that has most itself gives up none but its
 *   have, and of an address's       idle ones; else it is refused
 *   bytes of requests             the key with most: the slowest of its bodies that arrive, then its newest request
 *                                 that waits
 *   bytes of replies              the holder with most: its connection that has read nothing for longest is reset
 *   bytes that the store has      nobody: a key that has a part of them already is refused (request_pin())
 *
 * Called by listen.c, conn.c, request.c and reply.c.  It costs a request nothing but sums; who
 * gives way is looked for when something is used up.  What must never happen here: a key that has
 * less than its share giving way, or a stranger that costs a key anything. */
#include "server/http/conn.h"

const char yield_places[] = "Connections take all of server.max_connections, or of server.max_connections_per_address, "
                            "and this key has most of them: nothing was run, try again";
const char yield_bodies[] =
    "Requests take all of server.max_bodies, and this key has most of it: nothing was run, try again";

/* When a connection of a key gives its place up, by what it is at: 0 goes first.  A request that a
 * handler has goes only if the handler lets it (request_may_yield()), as one does whose program has
 * not begun. */
enum { TURN_IDLE, TURN_HEAD, TURN_BODY, TURN_REPLY, TURN_HANDED, TURN_NEVER };

static const int turns[] = {
    [CONN_IDLE] = TURN_IDLE,                              /* and what owes us the rest of a body that nobody wants */
    [CONN_LINGER] = TURN_IDLE,   [CONN_HEAD] = TURN_HEAD, /* 503 */
    [CONN_BODY] = TURN_BODY,                              /* 503 */
    [CONN_REPLY] = TURN_REPLY,                            /* reset */
    [CONN_HANDED] = TURN_HANDED,                          /* 503, by its handler */
    [CONN_CLOSED] = TURN_NEVER,
};

static int turn_of(struct conn *conn)
{
    struct request *req = &conn->req;

    if (conn->state == CONN_BODY && req->skipping)
        return TURN_IDLE;
    if (conn->state == CONN_HANDED && !(req->on_yield && req->on_yield(req, req->on_gone_data, NULL)))
        return TURN_NEVER;
    return turns[conn->state];
}

/* --- places --- */

enum { HEARD_MAX = 8 }; /* for each newcomer */

/* How many of @max places are for connections that have shown a key: the rest is for newcomers. */
static unsigned for_keys(unsigned max)
{
    return max - max / 8;
}

static void count_known(struct conn *conn, unsigned n)
{
    if (!conn->holder->is_key)
        return;
    conn->http->n_known += n;
    if (conn->address)
        conn->address->n_known += n;
}

void yield_enter(struct conn *conn, struct holder *holder)
{
    conn->holder = holder;
    conn->useful_ms = uv_now(conn->http->loop);
    if (holder->n_conns++ == 0) {
        TAILQ_INIT(&holder->conns);
        LIST_INSERT_HEAD(&conn->http->holders, holder, link);
    }
    TAILQ_INSERT_TAIL(&holder->conns, conn, held);
    holder->unsent += conn->unsent;
    count_known(conn, 1);
}

void yield_leave(struct conn *conn)
{
    struct holder *holder = conn->holder;

    count_known(conn, -1U);
    holder->unsent -= conn->unsent;
    TAILQ_REMOVE(&holder->conns, conn, held);
    if (--holder->n_conns == 0)
        LIST_REMOVE(holder, link);
}

void yield_useful(struct conn *conn)
{
    conn->useful_ms = uv_now(conn->http->loop);
    TAILQ_REMOVE(&conn->holder->conns, conn, held);
    TAILQ_INSERT_TAIL(&conn->holder->conns, conn, held);
}

void yield_useless(struct conn *conn)
{
    conn->useful_ms = 0;
    TAILQ_REMOVE(&conn->holder->conns, conn, held);
    TAILQ_INSERT_HEAD(&conn->holder->conns, conn, held);
}

/* The connection of an address, without a key, that was of use longest ago. */
static struct conn *stalest(const struct holder *holder)
{
    struct conn *conn;

    if (!holder->n_conns)
        return NULL;
    TAILQ_FOREACH (conn, &holder->conns, held)
        if (conn->state != CONN_HANDED)
            break;
    return conn;
}

/* Does @conn leave before @other?  First leave connections that were refused or gave way, then
 * those of the address with most. */
static bool leaves_before(const struct conn *conn, const struct conn *other)
{
    if (!conn->useful_ms != !other->useful_ms)
        return !conn->useful_ms;
    if (conn->holder->n_conns != other->holder->n_conns)
        return conn->holder->n_conns > other->holder->n_conns;
    return conn->useful_ms <= other->useful_ms;
}

/* The same of all addresses.  They are listed by age, the newest first. */
static struct conn *stranger_for(const struct http *http)
{
    struct conn *conn, *found = NULL;
    const struct holder *holder;

    LIST_FOREACH (holder, &http->holders, link)
        if (!holder->is_key && (conn = stalest(holder)) && (!found || leaves_before(conn, found)))
            found = conn;
    return found;
}

bool yield_to_newcomer(struct http *http, const struct holder *crowd)
{
    for (unsigned i = 0; i < HEARD_MAX; i++) {
        struct conn *conn = crowd ? stalest(crowd) : stranger_for(http);
        if (!conn)
            return false;
        bool heard = conn_hear(conn);
        if (!heard)
            conn_close(conn);
        if (conn->state == CONN_CLOSED)
            return true;
    }
    return false;
}

/* Does @conn give way before @other?  Of two requests that wait the newer one does, otherwise the
 * connection that was of use longer ago. */
static bool goes_before(const struct conn *conn, int turn, const struct conn *other, int turn_of_other)
{
    if (conn->holder->n_conns != other->holder->n_conns)
        return conn->holder->n_conns > other->holder->n_conns;
    if (turn != turn_of_other)
        return turn < turn_of_other;
    return conn->state == CONN_HANDED ? conn->useful_ms >= other->useful_ms : conn->useful_ms < other->useful_ms;
}

/* The connection whose place @newer can have: of @address, or of all (NULL).  NULL: none. */
static struct conn *place_for(const struct conn *newer, const struct address *address)
{
    struct conn *conn, *found = NULL;
    int turn_of_found = TURN_NEVER;

    TAILQ_FOREACH (conn, &newer->http->conns, all) {
        bool own = conn->holder == newer->holder;
        if (!conn->holder->is_key || (address && conn->address != address) || conn->state == CONN_CLOSED
            || (!own && conn->holder->n_conns <= newer->holder->n_conns))
            continue;
        int turn = turn_of(conn);
        if (turn == TURN_NEVER || (own && turn != TURN_IDLE)
            || (found && !goes_before(conn, turn, found, turn_of_found)))
            continue;
        found = conn;
        turn_of_found = turn;
    }
    return found;
}

static bool make_place(struct conn *newer, const struct address *address, const unsigned *n_known, unsigned max)
{
    while (*n_known > for_keys(max)) {
        struct conn *conn = place_for(newer, address);
        if (!conn)
            return false;
        conn_give_up(conn, yield_places);
    }
    return true;
}

bool yield_to_key(struct conn *conn, struct holder *key)
{
    const struct http *http = conn->http;
    struct holder *before = conn->holder;

    if (before == key)
        return true;
    yield_leave(conn);
    yield_enter(conn, key);
    if (make_place(conn, NULL, &http->n_known, http->conf.max_connections)
        && (!conn->address
            || make_place(conn, conn->address, &conn->address->n_known, http->conf.max_connections_per_address)))
        return true;
    yield_leave(conn);
    yield_enter(conn, before);
    return false;
}

/* --- bytes of requests --- */

static void charge_add(struct charge *charge, struct http *http, struct holder *holder, size_t n)
{
    if (!charge->http)
        http_ref(http);
    charge->http = http;
    charge->holder = holder;
    charge->bytes += n;
    holder->bodies += n;
    http->bodies += n;
}

void charge_unpin(struct charge *charge)
{
    if (!charge->pinned)
        return;
    charge->holder->pinned -= charge->bytes;
    charge->http->pinned -= charge->bytes;
    charge->pinned = false;
}

void charge_drop(struct charge *charge)
{
    struct http *http = charge->http;

    if (!http)
        return;
    charge_unpin(charge);
    charge->holder->bodies -= charge->bytes;
    http->bodies -= charge->bytes;
    *charge = (struct charge){ 0 };
    http_unref(http);
}

void request_take_charge(struct request *req, struct charge *ret)
{
    if (!req->charge.pinned)
        charge_add(&req->charge, req->conn->http, req->holder, REQUEST_COST);
    *ret = req->charge;
    req->charge = (struct charge){ 0 };
    request_drop_body(req);
}

/* A key may pin at most half of the room that is left to others, so each new key finds room. */
bool request_pin(struct request *req)
{
    struct http *http = req->conn->http;
    struct charge *charge = &req->charge;

    charge_add(charge, http, req->holder, REQUEST_COST);
    size_t n = charge->bytes, max = http->conf.max_bodies;
    if (req->holder->pinned && req->holder->pinned + n > (max > http->pinned ? (max - http->pinned) / 2 : 0))
        return false;
    charge->pinned = true;
    req->holder->pinned += n;
    http->pinned += n;
    return true;
}

static const struct holder *holder_of(const struct conn *conn)
{
    return conn->req.holder ? conn->req.holder : conn->holder;
}

/* Compares bytes by the time since the head came. */
static bool is_slower(const struct conn *conn, const struct conn *other)
{
    uint64_t end_ms = uv_now(conn->http->loop) + conn->http->conf.body_timeout_ms + 1;
    double ms = (double) (end_ms - conn->body_deadline_ms), others_ms = (double) (end_ms - other->body_deadline_ms);

    return (double) conn->req.charge.bytes * others_ms < (double) other->req.charge.bytes * ms;
}

/* Does @conn give up its request before @other? */
static bool gives_before(const struct conn *conn, const struct conn *other)
{
    size_t held = holder_of(conn)->bodies, others = holder_of(other)->bodies;

    if (held != others)
        return held > others;
    if (conn->state != other->state)
        return conn->state == CONN_BODY;
    return conn->state == CONN_BODY ? is_slower(conn, other) : conn->useful_ms >= other->useful_ms;
}

/* The connection whose request gives way to one of @newer's holder; @newer itself is possible.
 * NULL: none. */
static struct conn *body_for(struct conn *newer)
{
    const struct holder *holder = holder_of(newer);
    struct conn *conn, *found = NULL;

    TAILQ_FOREACH (conn, &newer->http->conns, all) {
        bool own = holder_of(conn) == holder;
        int turn = turn_of(conn);
        if ((turn == TURN_BODY || (turn == TURN_HANDED && !own)) && (own || holder_of(conn)->bodies > holder->bodies)
            && (!found || gives_before(conn, found)))
            found = conn;
    }
    return found;
}

bool yield_to_body(struct request *req, size_t n)
{
    struct conn *newer = req->conn, *conn;
    struct http *http = newer->http;

    charge_add(&req->charge, http, req->holder ? req->holder : newer->holder, n);
    while (http->bodies > http->conf.max_bodies) {
        conn = body_for(newer);
        if (!conn || conn == newer)
            return false;
        conn_give_up(conn, yield_bodies);
    }
    return true;
}

/* --- bytes of replies --- */

static struct conn *least_read(const struct http *http)
{
    struct conn *conn, *found = NULL;

    TAILQ_FOREACH (conn, &http->conns, all)
        if (conn->unsent
            && (!found || conn->holder->unsent > found->holder->unsent
                || (conn->holder == found->holder && conn->deadline_ms < found->deadline_ms)))
            found = conn;
    return found;
}

void yield_to_unsent(struct conn *conn, size_t len)
{
    struct http *http = conn->http;

    http->unsent += len - conn->unsent;
    conn->holder->unsent += len - conn->unsent;
    conn->unsent = len;
    while (len && http->unsent > UNSENT_MAX)
        conn_close(least_read(http));
}
