/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one zygote: orders go out, news of its boxes come in.
 *
 * Lives as long as anything of it does: its socket is open, or a box that it made is not gone yet. */
#ifndef HATCHERY_SERVER_POOL_ZYGOTE_H
#define HATCHERY_SERVER_POOL_ZYGOTE_H

#include "base/wire.h"

#include <stdbool.h>
#include <uv.h>

struct zygote;

struct zygote_hooks {
    void (*on_warm)(struct zygote *zygote);
    /* A box is made: its four ends are @fds.  True: they are taken. */
    bool (*on_box)(struct zygote *zygote, const struct wire_of_box *box, const int fds[static 4]);
    void (*on_exited)(struct zygote *zygote, const struct wire_exited *exited);
    void (*on_gone)(struct zygote *zygote, const struct wire_gone *gone);
    void (*on_old)(struct zygote *zygote);  /* it has reached its age or its number of boxes; once */
    void (*on_lost)(struct zygote *zygote); /* it has ended by itself, and all of its boxes with it */
};

struct zygote {
    const struct zygote_hooks *hooks;
    void *runtime; /* the pool's: whose boxes it makes */
    int fd;        /* -1: closed */
    struct wire_link link;
    uv_poll_t poll;
    uv_timer_t age;
    unsigned refs;                 /* handles and boxes */
    unsigned boxes;                /* ordered and not yet gone */
    unsigned coming, waiting;      /* of these: on their way to be ready; ready */
    int64_t ordered;               /* in its life */
    int64_t max_boxes, max_age_ms; /* 0: unlimited */
    bool retired;                  /* its successor is warm: no more orders, and it is closed with its last box */
};

/* Takes @fd, a zygote's socket.  Never blocks. */
struct zygote *zygote_new(uv_loop_t *loop, int fd, int64_t max_boxes, int64_t max_age_ms,
                          const struct zygote_hooks *hooks, void *runtime);

/* Order a box for @slot.  0 and it is counted until zygote_gone(), or -errno (-EAGAIN: the socket
 * is full). */
int zygote_order(struct zygote *zygote, uint32_t slot, uint32_t serial);

/* All of a box that it made has ended.  The zygote may be freed by this: don't use it after. */
void zygote_gone(struct zygote *zygote);

/* Send no more orders.  The zygote is closed, and its process ends, when its last box has ended: at
 * once if there is none. */
void zygote_retire(struct zygote *zygote);

#endif
