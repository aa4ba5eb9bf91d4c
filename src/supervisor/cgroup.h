/* SPDX-License-Identifier: Apache-2.0 */
/* The control groups of the boxes: one for each slot, made at start, removed at the end.
 *
 * cgroups(7); v1 (memory, pids and cpu hierarchies) or v2.  Below the group in which the supervisor was
 * started: hatchery-PID/box-N.  All calls block only as long as the kernel's cgroup files do. */
#ifndef HATCHERY_SUPERVISOR_CGROUP_H
#define HATCHERY_SUPERVISOR_CGROUP_H

#include "../base/buf.h"
#include "../base/wire.h"

#include <sys/types.h>

struct cgroups;

/* Find or make the groups.  @kind is isolation.cgroup: "auto" takes v2 where its controllers can be had, else v1.
 * On failure returns -errno, with one sentence in @error that says what to change. */
int cgroups_new(struct cgroups **ret, const char *kind, unsigned n_slots, const struct wire_limits *limits,
                struct buf *error);

/* Move @pid into the slot's group and forget what the slot's last box did there. 0 or -errno. */
int cgroups_join(struct cgroups *groups, uint32_t slot, pid_t pid);

/* What happened in the slot's group since its last join. */
void cgroups_usage(struct cgroups *groups, uint32_t slot, int64_t *ret_oom_kills, int64_t *ret_pid_refusals);

/* 1 or 2. */
int cgroups_version(const struct cgroups *groups);

/* Remove all groups, which must be empty or about to be: waits for at most two seconds. NULL is fine. */
void cgroups_free(struct cgroups *groups);

#endif
