/* SPDX-License-Identifier: Apache-2.0 */
/* Does the kernel grant one layer of the jail by itself, when no whole box can be made? */
#ifndef HATCHERY_COMMAND_CHECK_PROBE_H
#define HATCHERY_COMMAND_CHECK_PROBE_H

#include "box/layers.h"

/* Put @layer on in a child that then ends; blocks for a moment.  0 if it holds, -errno if the
 * kernel refuses it.  1 if it can't be told, because the user and mount namespaces that it needs
 * are missing.  For cgroup and ids it returns 0: the supervisor has found those before it makes
 * anything. */
int probe_layer(enum layer layer);

#endif
