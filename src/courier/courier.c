/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery-courier: takes orders from the server and delivers webhooks.
 *
 * The supervisor starts it; its socket is descriptor 3.  The courier has one thread of its own and
 * one loop around curl_multi_poll(3).  Name look-ups run in threads of libcurl, so nothing here
 * waits for anybody. All state is in memory, and nobody would miss it: the server's store has every
 * delivery. What must never happen here: that an order has no result, or two, while its server
 * lives; that a result goes to another server than the order came from; more orders at a time than
 * the process has memory for. */
#include "courier/confine.h"
#include "courier/lane.h"
#include "courier/sign.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { SUPERVISOR_FD = 3 };
enum { IN_HAND_MAX = 4096, ORDERS_A_TURN = 64, POLL_MS = 60000 };

/* Descriptors of one attempt: two sockets while IPv4 and IPv6 race, the resolver's socket and its
 * wake-up pair, a file. */
enum { FDS_BASE = 64, FDS_EACH = 8, IN_ALL_MAX = 4096 };

struct courier {
    struct courier_conf conf;
    struct guard_allow *allow;
    CURLM *multi;
    struct lanes lanes;
    struct deliveries running, finished; /* finished: the result is still to be sent */
    unsigned n_finished;
    int server_fd; /* -1: no server has come, or the last one has gone */
    struct wire_link from_supervisor, from_server;
    bool unusable; /* the supervisor's last message */
    bool warned;
};

/* --- deliveries --- */

static void finish(struct courier *c, struct delivery *d)
{
    TAILQ_INSERT_TAIL(&c->finished, d, link);
    c->n_finished++;
}

static void start_all(struct courier *c)
{
    struct delivery *d;

    while ((d = lanes_next(&c->lanes))) {
        TAILQ_INSERT_TAIL(&c->running, d, link);
        delivery_start(d, c->multi);
    }
}

static void end_all(struct courier *c)
{
    struct CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(c->multi, &left))) {
        struct delivery *d = NULL;
        CURLcode code = msg->data.result;
        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **) &d);
        TAILQ_REMOVE(&c->running, d, link);
        delivery_end(d, c->multi, code);
        lanes_done(&c->lanes, d);
        finish(c, d);
    }
}

static void free_list(struct courier *c, struct deliveries *list)
{
    struct delivery *d;

    while ((d = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, d, link);
        if (d->lane)
            lanes_done(&c->lanes, d);
        delivery_free(d, c->multi);
    }
}

/* Nobody waits for these results any more. The next server will order the deliveries again. */
static void drop_server(struct courier *c)
{
    lanes_clear(&c->lanes);
    free_list(c, &c->running);
    free_list(c, &c->finished);
    c->n_finished = 0;
    fd_close(&c->server_fd);
}

/* --- the server's messages --- */

static void take_order(struct courier *c, const struct courier_order *order, int body_fd)
{
    struct delivery *d = delivery_new(&c->conf, &c->allow, order, body_fd);

    if (!c->conf.n_secrets && !c->warned) {
        c->warned = true;
        log_warn("webhooks are not signed: there is no secret in the configuration");
    }
    if (!d->result.type && lanes_add(&c->lanes, d) < 0)
        delivery_fail(d, COURIER_FAILED, "too many deliveries wait for this host already");
    if (d->result.type)
        finish(c, d);
}

/* Unsent results keep orders out only if there are many of them: a server that reads no results may
 * still be about to order. */
static bool has_room(const struct courier *c)
{
    return c->lanes.n_waiting + c->n_finished < IN_HAND_MAX;
}

static void on_order(void *data, struct wire_in *in)
{
    take_order(data, in->msg, fd_steal(&in->fds[0]));
}

static wire_handler *const orders_of_server[COURIER_TYPES] = { [COURIER_ORDER] = on_order };

static void read_orders(struct courier *c)
{
    struct courier_order order;
    struct wire_in in = { .msg = &order, .size = sizeof(order) };

    for (int i = 0; i < ORDERS_A_TURN && c->server_fd >= 0 && has_room(c); i++) {
        int heard = wire_hear(&c->from_server, c->server_fd, &in, orders_of_server, c);
        if (heard == -EAGAIN)
            return;
        if (heard <= 0)
            drop_server(c);
    }
}

static void send_results(struct courier *c)
{
    struct delivery *d;

    while (c->server_fd >= 0 && (d = TAILQ_FIRST(&c->finished))) {
        int err = fd_send(c->server_fd, &d->result, sizeof(d->result), NULL, 0);
        if (err == -EAGAIN)
            return;
        if (err) {
            drop_server(c);
            return;
        }
        TAILQ_REMOVE(&c->finished, d, link);
        c->n_finished--;
        delivery_free(d, c->multi);
    }
}

/* --- the configuration --- */

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static bool conf_is_sound(const struct courier_conf *conf)
{
    bool sound = conf->type == COURIER_CONF && conf->timeout_ms && conf->per_host && conf->in_all
                 && conf->in_all <= IN_ALL_MAX && conf->n_secrets <= COURIER_SECRETS_MAX
                 && memchr(conf->allow, '\0', sizeof(conf->allow)) && memchr(conf->ports, '\0', sizeof(conf->ports));

    for (unsigned i = 0; i < conf->n_secrets && sound; i++)
        sound = conf->secrets[i].len >= SIGN_KEY_MIN && conf->secrets[i].len <= SIGN_KEY_MAX;
    return sound;
}

static int parse_allow(struct courier *c)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 1024);
    int err = guard_allow_new(c->conf.allow, c->conf.ports, &c->allow, &error);
    if (err)
        log_error("webhooks.allow or webhooks.ports is wrong", LOG_S("error", buf_text(&error)));
    return err;
}

/* --- the supervisor's messages --- */

/* Takes effect on connections from now on. Wipes @fresh. */
static bool take_conf(struct courier *c, struct courier_conf *fresh)
{
    struct guard_allow *old = c->allow;
    /* the limit of descriptors was computed from in_all */
    bool sound = conf_is_sound(fresh) && fresh->in_all == c->conf.in_all;

    if (sound)
        c->conf = *fresh;
    sodium_memzero(fresh, sizeof(*fresh));
    if (!sound || parse_allow(c) < 0)
        return false;
    guard_allow_free(old);
    c->lanes.per_host = c->conf.per_host;
    log_set_level((enum log_level) c->conf.log_level);
    return true;
}

static void on_conf(void *data, struct wire_in *in)
{
    struct courier *c = data;
    c->unusable = !take_conf(c, in->msg);
}

static void on_server(void *data, struct wire_in *in)
{
    struct courier *c = data;

    if (set_nonblocking(in->fds[0]) < 0) {
        c->unusable = true;
        return;
    }
    drop_server(c);
    c->server_fd = fd_steal(&in->fds[0]);
    c->from_server = (struct wire_link){ .table = &courier_table, .from = PEER_SERVER, .to = PEER_COURIER };
}

static wire_handler *const orders_of_supervisor[COURIER_TYPES] = {
    [COURIER_CONF] = on_conf,
    [COURIER_SERVER] = on_server,
};

/* False if the supervisor is gone or sends nonsense. */
static bool read_supervisor(struct courier *c)
{
    static struct courier_conf room; /* the largest message */
    struct wire_in in = { .msg = &room, .size = sizeof(room) };
    int heard = 1;

    while (heard > 0 && !c->unusable)
        heard = wire_hear(&c->from_supervisor, SUPERVISOR_FD, &in, orders_of_supervisor, c);
    return heard == -EAGAIN;
}

/* --- the loop --- */

/* If the server has hung up, it is gone, whatever orders it has left behind. */
static bool server_hung_up(const struct courier *c)
{
    struct pollfd p = { .fd = c->server_fd };

    return c->server_fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static void wait_for_something(struct courier *c)
{
    struct curl_waitfd fds[2] = { { .fd = SUPERVISOR_FD, .events = CURL_WAIT_POLLIN }, { .fd = c->server_fd } };

    if (has_room(c))
        fds[1].events |= CURL_WAIT_POLLIN;
    if (!TAILQ_EMPTY(&c->finished))
        fds[1].events |= CURL_WAIT_POLLOUT;
    if (curl_multi_poll(c->multi, fds, c->server_fd >= 0 ? 2 : 1, POLL_MS, NULL) != CURLM_OK)
        abort();
}

static int serve(struct courier *c)
{
    int running;

    while (read_supervisor(c)) {
        if (server_hung_up(c))
            drop_server(c);
        read_orders(c);
        start_all(c);
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            abort();
        end_all(c);
        start_all(c);
        send_results(c);
        wait_for_something(c);
    }
    drop_server(c);
    return EXIT_SUCCESS;
}

/* --- starting --- */

static int start(struct courier *c)
{
    const char *what = "";

    if (parse_allow(c) < 0 || set_nonblocking(SUPERVISOR_FD) < 0)
        return -1;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(c->multi = curl_multi_init())) {
        log_error("libcurl does not start");
        return -1;
    }
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long) c->conf.in_all);
    lanes_init(&c->lanes, c->conf.per_host, c->conf.in_all);
    TAILQ_INIT(&c->running);
    TAILQ_INIT(&c->finished);
    c->server_fd = -1;
    c->from_supervisor = (struct wire_link){ .table = &courier_table, .from = PEER_SUPERVISOR, .to = PEER_COURIER };
    int err = courier_confine(FDS_BASE + FDS_EACH * c->conf.in_all, &what);
    if (err)
        log_error("the courier could not confine itself", LOG_S("step", what) LOG_S("errno", strerrorname_np(-err)));
    return err;
}

int main(void)
{
    static struct courier courier;

    prctl(PR_SET_NAME, "hatchery-courier", 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    large_blocks_go_back();
    signal(SIGPIPE, SIG_IGN);
    /* The secrets stay in the message buffer, so there is no second copy of them. */
    sodium_mlock(&courier.conf, sizeof(courier.conf));
    if (sodium_init() < 0
        || fd_recv(SUPERVISOR_FD, &courier.conf, sizeof(courier.conf), NULL, 0, NULL) != sizeof(courier.conf)
        || !conf_is_sound(&courier.conf)) {
        fprintf(stderr, "hatchery-courier is started by `hatchery serve`\n");
        return EXIT_FAILURE;
    }
    log_init("courier", (enum log_format) courier.conf.log_format, (enum log_level) courier.conf.log_level);
    int status = start(&courier) < 0 ? EXIT_FAILURE : serve(&courier);
    sodium_munlock(&courier.conf, sizeof(courier.conf)); /* wipes it */
    return status;
}
