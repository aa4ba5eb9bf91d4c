/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: found or made, given to the server's user, and locked so that two servers
 * never share one. */
#ifndef HATCHERY_SUPERVISOR_STATE_H
#define HATCHERY_SUPERVISOR_STATE_H

#include "base/buf.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <sys/types.h>

/* The directory that server.state = @configured means: itself; if empty, /var/lib/hatchery for
 * root, $XDG_STATE_HOME/hatchery or ~/.local/state/hatchery for others.  "none" gives 0 and an
 * empty path.  -ENOENT with a sentence if there is no such directory. */
int state_path(const char *configured, struct buf *ret_path, struct buf *error);

/* Open the directory (and make it, and those above it), mode 0700.  @give: it becomes @uid's and
 * @gid's, otherwise ours; so do its files, from a server with another id or from a backup that root
 * has put back.  A directory with files of somebody else is refused.  The descriptor, or -errno
 * with a sentence that says what to type next.  May block. */
int state_open(const char *path, bool give, uid_t uid, gid_t gid, struct buf *error);

/* Open @conf's state directory for a command that works beside a server or without one.  A
 * descriptor, or -errno with a sentence in @error.  For a @change, makes the directory if it is
 * missing, and locks it against other commands until the descriptor is closed; waits for them. */
int state_open_configured(const struct conf *conf, bool change, struct buf *error);

/* Take the lock of an open state directory.  Returns the descriptor that holds it, whichever
 * process has it.  Waits a few seconds for processes that are just ending. */
int state_lock(int state_fd, const char *path, struct buf *error);

#endif
