/* SPDX-License-Identifier: Apache-2.0 */
/* The user and group ids that a supervisor with privileges gives to the other processes. */
#ifndef HATCHERY_SUPERVISOR_IDS_H
#define HATCHERY_SUPERVISOR_IDS_H

#include "base/buf.h"

#include <sys/types.h>

/* May we give away @count ids from @first on?  They must be mapped in our own user namespace, and
 * we need the capabilities for it (user_namespaces(7)).  0, or -errno with what to change in
 * @error. */
int ids_available(uid_t first, unsigned count, struct buf *error);

/* The ids of server.user, which must not be root.  0, or -ENOENT with a sentence in @error. */
int ids_of_user(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct buf *error);

#endif
