/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries: from the store to the courier, and what it reports back to the store. */
#ifndef HATCHERY_SERVER_JOBS_OUTBOX_H
#define HATCHERY_SERVER_JOBS_OUTBOX_H

#include "base/wire.h"
#include "server/jobs/keys.h"
#include "server/jobs/wording.h"
#include "server/store/store.h"

#include <uv.h>

struct outbox;

struct outbox_conf {
    uv_loop_t *loop;
    const struct wire_server_conf *conf; /* retries, attempts at once */
    struct store *store;
    struct keys *keys;
    const struct wording *wordings; /* [APIS]: what is delivered is worded when it is sent */
};

struct outbox *outbox_new(const struct outbox_conf *conf);

/* A courier's socket, which the outbox owns from here.  What the courier before it had is given to this one. */
void outbox_courier(struct outbox *outbox, int fd);

/* A delivery may be due (struct store_conf's on_wake). */
void outbox_wake(struct outbox *outbox);

/* Order what is due now, and no more; @on_idle when it is reported and on disk, or after a moment: what is not
 * reported by then is delivered again by the next server. */
void outbox_drain(struct outbox *outbox, void (*on_idle)(void *data), void *data);

#endif
