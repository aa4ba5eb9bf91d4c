/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets that a service manager has opened for us: sd_listen_fds(3), by hand. */
#ifndef HATCHERY_SUPERVISOR_INHERIT_H
#define HATCHERY_SUPERVISOR_INHERIT_H

#include "base/buf.h"
#include "base/wire.h"

struct inherited {
    unsigned n; /* for clients */
    int fds[WIRE_LISTENERS_MAX];
    int metrics_fd; /* the one with the name "metrics", or -1 */
};

/* Look at LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.  What is given to another process is nothing.  The descriptors are
 * close-on-exec afterwards and the caller's.  Failure: -errno and one sentence in @error. */
int inherit_listeners(struct inherited *ret, struct buf *error);

/* Append a sentence about what was given and what it stands for; nothing where there is nothing. */
void inherit_describe(const struct inherited *in, struct buf *ret);

/* Take the variables from the environment: they are for this process alone. */
void inherit_forget(void);

#endif
