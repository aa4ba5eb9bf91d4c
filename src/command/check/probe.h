/* SPDX-License-Identifier: Apache-2.0 */
/* Does the kernel grant one layer of the jail by itself, where no whole box can be made? */
#ifndef HATCHERY_COMMAND_CHECK_PROBE_H
#define HATCHERY_COMMAND_CHECK_PROBE_H

#include "box/layers.h"

/* Put @layer on in a child that then ends; blocks for a moment.  0; -errno where it is refused; 1 where it can't be told
 * because user and mount namespaces, in which it is put on, can't be had.  cgroup and ids are 0: the supervisor has
 * found those before it makes anything. */
int probe_layer(enum layer layer);

#endif
