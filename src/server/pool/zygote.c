/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one zygote.
 *
 * Called by makers.c.  A zygote is replaced now and then, because its boxes share its address
 * layout and hash seed: the old one goes on until its last box is gone.  What must never happen: a
 * struct freed while a box still points to it. */
#include "server/pool/zygote.h"

#include "base/buf.h"
#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>

/* A zygote that a program has taken over may send messages without end; the loop has others to
 * serve. */
enum { MESSAGES_A_TURN = 32 };

static void unref(struct zygote *zygote)
{
    if (--zygote->refs == 0)
        free(zygote);
}

static void on_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

static void close_socket(struct zygote *zygote)
{
    if (zygote->fd < 0)
        return;
    uv_close((uv_handle_t *) &zygote->poll, on_closed);
    uv_close((uv_handle_t *) &zygote->age, on_closed);
    fd_close(&zygote->fd);
}

static void on_warm(void *data, struct wire_in *in)
{
    struct zygote *zygote = data;

    (void) in;
    zygote->hooks->on_warm(zygote);
}

static void on_box(void *data, struct wire_in *in)
{
    struct zygote *zygote = data;

    if (zygote->hooks->on_box(zygote, in->msg, in->fds))
        for (int i = 0; i < 4; i++)
            in->fds[i] = -1;
}

static void on_exited(void *data, struct wire_in *in)
{
    struct zygote *zygote = data;
    zygote->hooks->on_exited(zygote, in->msg);
}

static void on_gone(void *data, struct wire_in *in)
{
    struct zygote *zygote = data;
    zygote->hooks->on_gone(zygote, in->msg);
}

static wire_handler *const from_zygote[WIRE_TYPES] = {
    [WIRE_WARM] = on_warm,
    [WIRE_BOX] = on_box,
    [WIRE_EXITED] = on_exited,
    [WIRE_GONE] = on_gone,
};

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct zygote *zygote = handle->data;
    union {
        struct wire_of_box box;
        struct wire_exited exited;
        struct wire_gone gone;
    } room;
    struct wire_in in = { .msg = &room, .size = sizeof(room) };

    (void) status;
    (void) events;
    for (int left = MESSAGES_A_TURN; left && zygote->fd >= 0; left--) {
        int heard = wire_hear(&zygote->link, zygote->fd, &in, from_zygote, zygote);
        if (heard == -EAGAIN)
            return;
        if (heard <= 0) {
            close_socket(zygote);
            zygote->hooks->on_lost(zygote);
        }
    }
}

static void on_age(uv_timer_t *timer)
{
    struct zygote *zygote = timer->data;

    zygote->max_boxes = 0; /* say it once */
    zygote->hooks->on_old(zygote);
}

struct zygote *zygote_new(uv_loop_t *loop, int fd, int64_t max_boxes, int64_t max_age_ms,
                          const struct zygote_hooks *hooks, void *runtime)
{
    struct zygote *zygote = xcalloc(1, sizeof(*zygote));

    zygote->hooks = hooks;
    zygote->runtime = runtime;
    zygote->fd = fd;
    zygote->link = (struct wire_link){ .table = &wire_table, .from = PEER_ZYGOTE, .to = PEER_SERVER };
    zygote->max_boxes = max_boxes;
    zygote->max_age_ms = max_age_ms;
    zygote->refs = 2;
    zygote->poll.data = zygote->age.data = zygote;
    uv_poll_init(loop, &zygote->poll, fd); /* makes it non-blocking */
    uv_poll_start(&zygote->poll, UV_READABLE, on_readable);
    uv_timer_init(loop, &zygote->age);
    if (max_age_ms)
        uv_timer_start(&zygote->age, on_age, (uint64_t) max_age_ms, 0);
    return zygote;
}

int zygote_order(struct zygote *zygote, uint32_t slot, uint32_t serial)
{
    const struct wire_of_box order = { .type = WIRE_SPAWN, .slot = slot, .serial = serial };
    int err = fd_send(zygote->fd, &order, sizeof(order), NULL, 0);

    if (err)
        return err;
    zygote->boxes++;
    zygote->refs++;
    zygote->coming++;
    if (++zygote->ordered == zygote->max_boxes) {
        uv_timer_stop(&zygote->age);
        zygote->hooks->on_old(zygote);
    }
    return 0;
}

static void close_if_over(struct zygote *zygote)
{
    if (zygote->retired && !zygote->boxes)
        close_socket(zygote);
}

void zygote_gone(struct zygote *zygote)
{
    zygote->boxes--;
    close_if_over(zygote);
    unref(zygote);
}

void zygote_retire(struct zygote *zygote)
{
    zygote->retired = true;
    uv_timer_stop(&zygote->age);
    close_if_over(zygote);
}
