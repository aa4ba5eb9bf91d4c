/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries on their way.
 *
 * Called by the main loop.  A delivery that is due is leased from the store,
 * given to the courier with the reply in a sealed memfd, and its attempt is
 * recorded with what follows from it: over, or again later.
 * What must never happen here: a host that takes its time holding up another,
 * a delivery that is forgotten because a courier died, an order the courier
 * is waited for with. */
#include "server/jobs/outbox.h"

#include "base/beside.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/trace.h"
#include "courier/courier.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

enum { RETRY_MS = 1000, DRAIN_MS = 3000, ORDERS_MAX = 3, RETRY_AFTER_MAX_S = 86400, TIMER_MAX_MS = 3600000 };

/* Those of a courier that somebody has taken over come without end; the loop has others to serve. */
enum { RESULTS_A_TURN = 32 };

/* Replies under way are in memory.  Each key may have one of any size. */
static const int64_t IN_FLIGHT_MAX = 256 << 20;

enum flight_state {
    FLIGHT_PACKING, /* a thread is writing its reply to a file */
    FLIGHT_UNSENT,  /* the courier has not been told */
    FLIGHT_ORDERED,
    FLIGHT_LANDED,  /* its attempt is on the way to the disk */
    FLIGHT_REFUSED, /* the disk did not take it; it is tried again */
};

struct flight {
    struct outbox *outbox;
    enum flight_state state;
    int64_t seq, started_us;
    int tries; /* before this one */
    unsigned orders;
    char host[STORE_HOST_MAX + 1], tenant[STORE_TENANT_MAX + 1], job_id[UUID_SIZE];
    struct courier_order order;
    struct kept kept; /* what the reply is worded of; empty once that is in the file */
    int64_t bytes;    /* of the reply, at most until it is worded */
    struct beside beside;
    int body_fd; /* or -errno */
    struct store_attempt attempt;
    char error[256], address[64];
    TAILQ_ENTRY(flight) link;
};

struct outbox {
    struct outbox_conf conf;
    TAILQ_HEAD(, flight) flights;
    unsigned n_flights;
    uint64_t serial;
    int fd; /* the courier's; -1: none */
    struct wire_link heard;
    uv_poll_t *poll;
    uv_timer_t due, retry, last;
    bool claiming, again, draining;
    void (*on_idle)(void *data);
    void *on_idle_data;
};

static void pump(struct outbox *o);
static void send_orders(struct outbox *o);
static void record(struct flight *f);

static void check_idle(struct outbox *o)
{
    void (*on_idle)(void *) = o->on_idle;
    struct flight *f;

    if (!o->draining || !on_idle || o->claiming)
        return;
    TAILQ_FOREACH (f, &o->flights, link)
        if (f->state != FLIGHT_UNSENT || o->poll)
            return;
    o->on_idle = NULL;
    uv_timer_stop(&o->last);
    on_idle(o->on_idle_data);
}

static void flight_free(struct flight *f)
{
    struct outbox *o = f->outbox;

    TAILQ_REMOVE(&o->flights, f, link);
    o->n_flights--;
    fd_close(&f->body_fd);
    kept_free(&f->kept);
    free(f);
}

/* --- recording --- */

static void on_retry(uv_timer_t *timer)
{
    struct outbox *o = timer->data;
    struct flight *f;

    TAILQ_FOREACH (f, &o->flights, link)
        if (f->state == FLIGHT_REFUSED)
            record(f);
}

static void on_recorded(void *data, const struct store_answer *answer)
{
    struct flight *f = data;
    struct outbox *o = f->outbox;

    if (answer->err && answer->err != -ESTALE) {
        f->state = FLIGHT_REFUSED;
        uv_timer_start(&o->retry, on_retry, RETRY_MS, 0);
        return;
    }
    flight_free(f);
    pump(o);
    check_idle(o);
}

static void record(struct flight *f)
{
    struct outbox *o = f->outbox;

    f->state = FLIGHT_LANDED;
    store_outbox_done(o->conf.store, f->seq, &f->attempt, on_recorded, f);
}

/* The schedule's time, up to a tenth more or less so that receivers that failed together are not asked together. */
static int64_t wait_us(const struct outbox *o, const struct flight *f, int64_t retry_after_s)
{
    int64_t ms = o->conf.conf->retry_ms[f->tries];

    ms += ms / 10 - (int64_t) randombytes_uniform((uint32_t) (ms / 5 < UINT32_MAX - 1 ? ms / 5 : UINT32_MAX - 1) + 1);
    if (retry_after_s > RETRY_AFTER_MAX_S)
        retry_after_s = RETRY_AFTER_MAX_S;
    return (ms > retry_after_s * 1000 ? ms : retry_after_s * 1000) * 1000;
}

/* 2xx is success, 410 says never again; all else may be different next time, also a 404: n8n's Wait node answers it
 * until it is ready, and an address that is refused today until the operator allows it. */
static void judge(struct flight *f, const struct courier_result *r)
{
    struct outbox *o = f->outbox;
    bool answered = r->verdict == COURIER_ANSWERED;
    const char *what = "delivered";
    unsigned word = METRIC_DELIVERY_DELIVERED;

    if (answered && r->status >= 200 && r->status < 300)
        f->attempt.next = STORE_DELIVERED;
    else if ((answered && r->status == 410) || f->tries >= (int) o->conf.conf->n_retries) {
        f->attempt.next = STORE_GIVEN_UP;
        what = "given up";
        word = METRIC_DELIVERY_GIVEN_UP;
    } else {
        f->attempt.next = STORE_PENDING;
        f->attempt.next_us = wall_us() + wait_us(o, f, r->retry_after_s);
        what = "failed, again later";
        word = METRIC_DELIVERY_FAILED;
    }
    struct trace_ids trace = trace_ids(f->order.traceparent);
    metric_count(METRIC_DELIVERIES, word);
    metric_observe(METRIC_DELIVERY_DURATION, r->duration_us, 0, 0, 0);
    log_info("webhook", LOG_S("job_id", f->job_id) LOG_S("outcome", what) LOG_S("host", f->host)
                            LOG_I("status", answered ? r->status : 0) LOG_US("duration", r->duration_us)
                                LOG_I("attempt", f->tries + 1) LOG_S("error", r->error[0] ? r->error : NULL)
                                    LOG_SOME("trace_id", trace.trace) LOG_SOME("span_id", trace.span));
}

static void land(struct flight *f, const struct courier_result *r)
{
    snprintf(f->error, sizeof(f->error), "%s", r->error);
    snprintf(f->address, sizeof(f->address), "%s", r->address);
    f->attempt = (struct store_attempt){ .at_us = f->started_us,
                                         .duration_us = r->duration_us,
                                         .status = r->verdict == COURIER_ANSWERED ? r->status : 0 };
    if (f->error[0])
        f->attempt.error = (struct store_bytes){ f->error, strlen(f->error) };
    if (f->address[0])
        f->attempt.address = (struct store_bytes){ f->address, strlen(f->address) };
    judge(f, r);
    record(f);
}

/* --- the courier --- */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

/* What it had is given to the next one.  A delivery that was in the hands of several when they died is not given to
 * another at once. */
static void lose_courier(struct outbox *o)
{
    static const struct courier_result lost = { .verdict = COURIER_FAILED,
                                                .retry_after_s = -1,
                                                .error = "the courier ended while it had this delivery" };
    struct flight *f;

    if (!o->poll)
        return;
    uv_close((uv_handle_t *) o->poll, on_poll_closed);
    o->poll = NULL;
    fd_close(&o->fd);
    TAILQ_FOREACH (f, &o->flights, link)
        if (f->state == FLIGHT_ORDERED) {
            f->state = FLIGHT_UNSENT;
            if (f->orders >= ORDERS_MAX)
                land(f, &lost);
        }
    check_idle(o);
}

static void on_result(void *data, struct wire_in *in)
{
    struct courier_result *r = in->msg;
    struct outbox *o = data;
    struct flight *f;

    r->error[sizeof(r->error) - 1] = r->address[sizeof(r->address) - 1] = '\0';
    TAILQ_FOREACH (f, &o->flights, link)
        if (f->state == FLIGHT_ORDERED && f->order.delivery == r->delivery) {
            land(f, r);
            return;
        }
}

static wire_handler *const from_courier[COURIER_TYPES] = { [COURIER_RESULT] = on_result };

static void on_courier(uv_poll_t *handle, int status, int events)
{
    struct outbox *o = handle->data;
    struct courier_result result;
    struct wire_in in = { .msg = &result, .size = sizeof(result) };

    (void) status;
    if (events & UV_WRITABLE)
        send_orders(o);
    for (int left = RESULTS_A_TURN; left && o->poll == handle; left--) {
        int heard = wire_hear(&o->heard, o->fd, &in, from_courier, o);
        if (heard == -EAGAIN)
            return;
        if (heard <= 0) {
            log_warn("the courier is gone; what it had is delivered by the next");
            lose_courier(o);
            return;
        }
    }
}

static void send_orders(struct outbox *o)
{
    struct flight *f;
    int events = UV_READABLE;

    if (!o->poll)
        return;
    TAILQ_FOREACH (f, &o->flights, link) {
        if (f->state != FLIGHT_UNSENT)
            continue;
        int err = fd_send(o->fd, &f->order, sizeof(f->order), &f->body_fd, 1);
        if (err) { /* full: go on when it has room; gone: reading will tell */
            events |= err == -EAGAIN ? UV_WRITABLE : 0;
            break;
        }
        f->state = FLIGHT_ORDERED;
        f->orders++;
        f->started_us = wall_us();
    }
    uv_poll_start(o->poll, events, on_courier);
}

void outbox_courier(struct outbox *o, int fd)
{
    lose_courier(o);
    o->fd = fd;
    o->heard = (struct wire_link){ .table = &courier_table, .from = PEER_COURIER, .to = PEER_SERVER };
    o->poll = xcalloc(1, sizeof(*o->poll));
    o->poll->data = o;
    uv_poll_init(o->conf.loop, o->poll, fd); /* makes it non-blocking */
    send_orders(o);
    pump(o);
}

/* --- claiming --- */

static int make_body(const char *bytes, size_t len)
{
    _cleanup_fd_ int fd = memfd_create("webhook", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;

    if (fd < 0)
        return -errno;
    while (done < len) {
        ssize_t n = write(fd, bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t) n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return -errno;
    return fd_steal(&fd);
}

/* The same for every attempt, and nothing that a caller chose: the job's id without its dashes.  What it ended with
 * after it was queued again is another message: receivers drop a second one of the same name. */
static void name_message(const struct store_record *r, char *ret, size_t size)
{
    size_t n = (size_t) snprintf(ret, size, "msg_");

    for (const char *p = r->id; *p && n + 1 < size; p++)
        if (*p != '-')
            ret[n++] = *p;
    ret[n] = '\0';
    if (r->requeues)
        snprintf(ret + n, size - n, "_%d", r->requeues + 1);
}

static void pack(void *data)
{
    struct flight *f = data;

    struct blob *reply = kept_word(&f->kept, f->outbox->conf.wordings);

    f->order.body_len = reply ? blob_len(reply) : 0;
    f->body_fd = make_body(reply ? blob_bytes(reply) : "", f->order.body_len);
    blob_unref(reply);
    kept_free(&f->kept);
}

/* It may be ordered now. */
static void on_packed(void *data)
{
    static const struct courier_result no_memory = { .verdict = COURIER_FAILED,
                                                     .retry_after_s = -1,
                                                     .error = "the server had no descriptor or memory for it" };
    struct flight *f = data;
    struct outbox *o = f->outbox;

    f->state = FLIGHT_UNSENT;
    f->bytes = (int64_t) f->order.body_len;
    if (f->body_fd < 0)
        land(f, &no_memory);
    send_orders(o);
    check_idle(o);
}

static void take_off(struct outbox *o, const struct store_record *r)
{
    struct flight *f = xcalloc(1, sizeof(*f));

    f->outbox = o;
    f->seq = r->seq;
    f->tries = r->tries;
    f->started_us = wall_us();
    memcpy(f->job_id, r->id, sizeof(f->job_id));
    snprintf(f->host, sizeof(f->host), "%s", r->host.p ? r->host.p : "");
    snprintf(f->tenant, sizeof(f->tenant), "%s", r->tenant);
    f->order.type = COURIER_ORDER;
    f->order.delivery = ++o->serial;
    f->bytes = r->longest;
    name_message(r, f->order.webhook_id, sizeof(f->order.webhook_id));
    snprintf(f->order.url, sizeof(f->order.url), "%s", r->webhook_url.p ? r->webhook_url.p : "");
    snprintf(f->order.traceparent, sizeof(f->order.traceparent), "%s", r->trace.p ? r->trace.p : "");
    f->state = FLIGHT_PACKING;
    f->body_fd = -1;
    kept_take(&f->kept, r);
    TAILQ_INSERT_TAIL(&o->flights, f, link);
    o->n_flights++;
    if (kept_is_long(&f->kept))
        beside_begin(o->conf.loop, &f->beside, &keys_named(o->conf.keys, f->tenant)->share, pack, on_packed, f);
    else {
        pack(f);
        on_packed(f);
    }
}

static void on_due(uv_timer_t *timer)
{
    pump(timer->data);
}

/* Whatever next_due_us says, look again in an hour: a wall clock can be set. */
static void wait_for_due(struct outbox *o, int64_t next_due_us)
{
    int64_t ms = next_due_us ? (next_due_us - wall_us()) / 1000 + 1 : TIMER_MAX_MS;

    uv_timer_start(&o->due, on_due, (uint64_t) (ms < 1 ? 1 : ms > TIMER_MAX_MS ? TIMER_MAX_MS : ms), 0);
}

static void on_claimed(void *data, const struct store_answer *answer)
{
    struct outbox *o = data;
    bool again = o->again;

    o->claiming = o->again = false;
    for (unsigned i = 0; i < answer->n; i++)
        take_off(o, &answer->records[i]);
    wait_for_due(o, answer->err ? wall_us() + RETRY_MS * 1000 : answer->next_due_us);
    if (again || (answer->more && answer->n))
        pump(o);
    check_idle(o);
}

static unsigned list_busy(const struct outbox *o, struct store_busy *busy)
{
    const struct flight *f;
    unsigned n = 0, i;

    TAILQ_FOREACH (f, &o->flights, link) {
        for (i = 0; i < n && (strcmp(busy[i].host, f->host) != 0 || strcmp(busy[i].tenant, f->tenant) != 0); i++)
            ;
        if (i == n)
            busy[n++] = (struct store_busy){ .host = f->host, .tenant = f->tenant };
        busy[i].n++;
        busy[i].bytes += f->bytes;
    }
    return n;
}

static void pump(struct outbox *o)
{
    unsigned in_all = o->conf.conf->webhooks_in_all;

    o->again = o->claiming;
    if (o->claiming || o->draining || !o->poll || o->n_flights >= in_all)
        return;
    struct store_busy *busy = xcalloc(o->n_flights + 1, sizeof(*busy));
    const struct store_outbox_claim claim = { .now_us = wall_us(),
                                              .max = in_all - o->n_flights,
                                              .per_host = o->conf.conf->webhooks_per_host,
                                              .max_bytes = IN_FLIGHT_MAX,
                                              .n_busy = list_busy(o, busy),
                                              .busy = busy };
    o->claiming = true;
    o->again = false;
    store_outbox_claim(o->conf.store, &claim, on_claimed, o);
    free(busy);
}

void outbox_wake(struct outbox *o)
{
    pump(o);
}

static void on_last(uv_timer_t *timer)
{
    struct outbox *o = timer->data;
    void (*on_idle)(void *) = o->on_idle;

    o->on_idle = NULL;
    if (on_idle)
        on_idle(o->on_idle_data);
}

void outbox_drain(struct outbox *o, void (*on_idle)(void *data), void *data)
{
    pump(o); /* what the last runs have left */
    o->draining = true;
    o->on_idle = on_idle;
    o->on_idle_data = data;
    uv_timer_stop(&o->due);
    uv_timer_start(&o->last, on_last, DRAIN_MS, 0);
    check_idle(o);
}

struct outbox *outbox_new(const struct outbox_conf *conf)
{
    struct outbox *o = xcalloc(1, sizeof(*o));

    o->conf = *conf;
    o->fd = -1;
    TAILQ_INIT(&o->flights);
    uv_timer_init(conf->loop, &o->due);
    uv_timer_init(conf->loop, &o->retry);
    uv_timer_init(conf->loop, &o->last);
    o->due.data = o->retry.data = o->last.data = o;
    return o;
}
