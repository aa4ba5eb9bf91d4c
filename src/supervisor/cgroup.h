/* SPDX-License-Identifier: Apache-2.0 */
/* The control groups of the boxes: one for each slot, made at start or when its first box joins, removed at the end.
 *
 * cgroups(7); v1 (memory, pids and cpu hierarchies) or v2.  Below the group in which the supervisor was
 * started: hatchery-PID/box-N.  All calls block only as long as the kernel's cgroup files do. */
#ifndef HATCHERY_SUPERVISOR_CGROUP_H
#define HATCHERY_SUPERVISOR_CGROUP_H

#include "base/buf.h"
#include "base/wire.h"

#include <sys/types.h>

struct cgroups;

struct cgroups_conf {
    unsigned n_slots, n_first_slots; /* how many slots there may be; how many of them get their
                                      * groups at once */
    struct wire_limits limits;       /* of each box */
    int64_t memory_bytes;            /* of all boxes together; with v2 also of their zygotes */
    uid_t zygote;                    /* the user id that will fork boxes into the groups; -1:
                                      * ours */
};

/* Find or make the groups.  @kind is isolation.cgroup: "auto" takes v2 if its controllers are
 * available, otherwise v1.  On failure returns -errno, with one sentence in @error that says what
 * to change. */
int cgroups_new(struct cgroups **ret, const char *kind, const struct cgroups_conf *conf, struct buf *error);

/* From each slot's next join on, its group has other limits. A box that is in it keeps its
 * limits. */
void cgroups_change(struct cgroups *groups, const struct wire_limits *limits);

/* Forget what the slot's last box did in its group, and let @pid, of the box @serial, into it.  If
 * the box was not born in it, opens the files to which the box itself must write "0" (the caller
 * owns them; -1: none).  0, or -errno with no file open. */
int cgroups_join(struct cgroups *groups, uint32_t slot, uint32_t serial, pid_t pid,
                 int ret_tasks[static WIRE_TASKS_MAX]);

/* v1 has no memory.oom.group: other processes of a killed one live on, and we must end the run.
 * Returns a descriptor that is readable when cgroups_next_oom() should be called; -1 with v2, where
 * the kernel ends the whole box. */
int cgroups_oom_fd(const struct cgroups *groups);

/* True once for each box of which the kernel has killed a process since its join.  @ret_wait_ms is
 * 0, or when to call again although the descriptor is silent: the kernel tells of the limit a
 * moment before it kills. */
bool cgroups_next_oom(struct cgroups *groups, uint32_t *ret_slot, uint32_t *ret_serial, bool *ret_of_machine,
                      int *ret_wait_ms);

/* From now on until the next join, other slots' groups go before the box @serial when they compete
 * for a processor.  @if_crowd: only if the box has many processes.  True if it yields from now
 * on. */
bool cgroups_yield(struct cgroups *groups, uint32_t slot, uint32_t serial, bool if_crowd);

/* Hold the slot's box, or let it go on; the slot's next box is not held.  A held task first
 * finishes its system call, so it has no lock of the kernel.  v2 freezes the group (Linux 5.2).  v1
 * takes nearly all of its processor quota, which has the same effect only since Linux 6.18.
 * SIGKILL ends a held box: with v1 in tenths of a second. */
int cgroups_hold(struct cgroups *groups, uint32_t slot, bool held);

/* How boxes are held: v1 before Linux 6.18 holds nobody. */
enum cgroups_hold_by { CGROUPS_HOLD_BY_NOTHING, CGROUPS_HOLD_BY_QUOTA, CGROUPS_HOLD_BY_FREEZER };
enum cgroups_hold_by cgroups_hold_by(const struct cgroups *groups);

/* Processes and threads in the slot's group; dead ones count until they are reaped. */
unsigned cgroups_count_tasks(const struct cgroups *groups, uint32_t slot);

/* Their numbers, a line each, in @text, as many as fit; or -errno. */
ssize_t cgroups_list_tasks(const struct cgroups *groups, uint32_t slot, char *text, size_t size);

/* Events in the slot's group since its last join. */
struct cgroups_usage {
    int64_t oom_kills, pid_refusals;
    bool oom_of_machine; /* a process was killed, but the box was not at its own limit: the machine
                          * was, or all boxes together */
};
struct cgroups_usage cgroups_usage(struct cgroups *groups, uint32_t slot);

/* Of our cgroup and those around it, find the one with the smallest memory limit: its directory,
 * and the limit. -ENOENT if none is limited. */
int cgroups_find_memory_limit(char *ret_path, size_t size, int64_t *ret_limit, bool *ret_v1);

/* 1 or 2. */
int cgroups_version(const struct cgroups *groups);

/* v2: the group of the zygotes, for CLONE_INTO_CGROUP, and the path of the group that contains it
 * and the boxes'. -1 with v1. */
int cgroups_zygote_fd(const struct cgroups *groups, const char **ret_path);

/* Remove all groups, which must be empty or about to be: waits for at most two seconds. NULL is
 * fine. */
void cgroups_free(struct cgroups *groups);

#endif
