/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one zygote.
 *
 * Called by makers.c.  A zygote is replaced now and then, because its boxes share
 * its address layout and hash seed: the old one goes on until its last box is
 * gone.  What must never happen: a struct freed while a box still points to it. */
#include "server/pool/zygote.h"

#include "base/buf.h"
#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>

/* Those of a zygote that somebody has taken over come without end; the loop has others to serve. */
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
    zygote->warm = false;
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct zygote *zygote = handle->data;
    struct wire_msg msg;
    int fds[4];

    (void) status;
    (void) events;
    for (int left = MESSAGES_A_TURN; left && zygote->fd >= 0; left--) {
        ssize_t n = fd_recv(zygote->fd, &msg, sizeof(msg), fds, 4, NULL);
        if (n == -EAGAIN)
            return;
        if (n == sizeof(msg) && msg.type != WIRE_WARM) {
            zygote->hooks->on_message(zygote, &msg, fds);
            continue;
        }
        for (int i = 0; i < 4; i++)
            fd_close(&fds[i]);
        if (n != sizeof(msg)) {
            close_socket(zygote);
            zygote->hooks->on_lost(zygote);
        } else if (!zygote->warm) {
            zygote->warm = true;
            zygote->hooks->on_warm(zygote);
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
    const struct wire_msg order = { .type = WIRE_SPAWN, .slot = slot, .serial = serial };
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
