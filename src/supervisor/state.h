/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: found or made, given to the server's user, and locked so that two servers never share one. */
#ifndef HATCHERY_SUPERVISOR_STATE_H
#define HATCHERY_SUPERVISOR_STATE_H

#include "base/buf.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <sys/types.h>

/* What server.state = @configured means: itself; empty: /var/lib/hatchery for root, $XDG_STATE_HOME/hatchery or
 * ~/.local/state/hatchery for others.  "none" gives 0 and an empty path.  -ENOENT with a sentence where nothing can be
 * said. */
int state_path(const char *configured, struct buf *ret_path, struct buf *error);

/* Open the directory (and make it, and those above it), mode 0700.  @give: it becomes @uid's and @gid's; else it is
 * ours.  Its files too: those of a server with another id, those of a backup that root has put back.
 * A directory that holds files of somebody else is refused.  The descriptor, or -errno with a sentence that
 * says what to type next.  May block. */
int state_open(const char *path, bool give, uid_t uid, gid_t gid, struct buf *error);

/* The state directory of a command that works beside a server, or without one: that of @conf, a descriptor, or -errno with
 * a sentence in @error.  For a @change it is made where it is missing, and locked against other commands until the
 * descriptor is closed; waits for them. */
int state_open_configured(const struct conf *conf, bool change, struct buf *error);

/* Take the lock of an open state directory: the descriptor that holds it, in whatever process it is.  Waits a few
 * seconds for processes that are just ending. */
int state_lock(int state_fd, const char *path, struct buf *error);

#endif
