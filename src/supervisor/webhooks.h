/* SPDX-License-Identifier: Apache-2.0 */
/* The [webhooks] section: the courier's slice of the configuration, and the part that the server
 * gets. */
#ifndef HATCHERY_SUPERVISOR_WEBHOOKS_H
#define HATCHERY_SUPERVISOR_WEBHOOKS_H

#include "base/wire.h"
#include "conf/conf.h"
#include "courier/courier.h"

/* Check the section and fill @ret_courier (which holds the secrets: wipe it) and the server's part.
 * Reads webhooks.secret_file.  0, or -errno with sentences in @error, each of which names its
 * key. */
int webhooks_fill(const struct conf *conf, struct courier_conf *ret_courier, struct wire_server_conf *ret_server,
                  struct buf *error);

/* Copy webhooks_fill()'s part from one of the server's slices to another. */
void webhooks_copy(struct wire_server_conf *server, const struct wire_server_conf *from);

#endif
