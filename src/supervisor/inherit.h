/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets that a service manager has opened for us: sd_listen_fds(3), by hand. */
#ifndef HATCHERY_SUPERVISOR_INHERIT_H
#define HATCHERY_SUPERVISOR_INHERIT_H

#include "base/buf.h"
#include "base/wire.h"

struct inherited {
    unsigned n; /* for clients */
    int fds[WIRE_LISTENERS_MAX];
    int metrics_fd; /* the socket with the name "metrics", or -1 */
};

/* Read LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.  If they are for another process, there are no
 * sockets.  The descriptors are close-on-exec afterwards, and the caller's.  Failure: -errno and
 * one sentence in @error. */
int inherit_listeners(struct inherited *ret, struct buf *error);

/* Append a sentence about the sockets and what they replace; nothing if there are none. */
void inherit_describe(const struct inherited *in, struct buf *ret);

/* Remove the variables from the environment: they are for this process alone. */
void inherit_forget(void);

#endif
