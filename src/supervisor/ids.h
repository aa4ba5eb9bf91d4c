/* SPDX-License-Identifier: Apache-2.0 */
/* The user and group ids that a supervisor with privileges gives to the other processes. */
#ifndef HATCHERY_SUPERVISOR_IDS_H
#define HATCHERY_SUPERVISOR_IDS_H

#include "../base/buf.h"

#include <sys/types.h>

/* May we give away the ids from @first on, @count of them?  They must be mapped in our own user namespace, and we need
 * the capabilities for it (user_namespaces(7)).  0, or -errno with what to change in @error. */
int ids_available(uid_t first, unsigned count, struct buf *error);

#endif
