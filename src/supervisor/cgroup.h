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
    unsigned n_slots, n_first_slots; /* how many there may be; whose groups are made at once */
    struct wire_limits limits;       /* of each box */
    int64_t memory_bytes;            /* of all boxes together; with v2 of their zygotes too */
    uid_t zygote;                    /* the user id that will fork boxes into them; -1: ours */
};

/* Find or make the groups.  @kind is isolation.cgroup: "auto" takes v2 where its controllers can be had, else v1.
 * On failure returns -errno, with one sentence in @error that says what to change. */
int cgroups_new(struct cgroups **ret, const char *kind, const struct cgroups_conf *conf, struct buf *error);

/* From each slot's next join on, its group has other limits; the box that is in it keeps those it began with. */
void cgroups_change(struct cgroups *groups, const struct wire_limits *limits);

/* Forget what the slot's last box did in its group, and let @pid, of the box @serial, into it, where it was not born
 * in it: opens the files to which it must itself write "0" (they are the caller's then; -1: none). 0, or -errno and no
 * file is open. */
int cgroups_join(struct cgroups *groups, uint32_t slot, uint32_t serial, pid_t pid,
                 int ret_tasks[static WIRE_TASKS_MAX]);

/* v1 has no memory.oom.group: a killed process's siblings live on, and the run must be ended by us.  A descriptor
 * that is readable when cgroups_next_oom() should be called; -1 with v2, where the kernel ends all of the box. */
int cgroups_oom_fd(const struct cgroups *groups);

/* A box of which the kernel has killed a process since its join: true once for each.  @ret_wait_ms is 0, or when to
 * call again though the descriptor is silent: the kernel tells of the limit a moment before it kills. */
bool cgroups_next_oom(struct cgroups *groups, uint32_t *ret_slot, uint32_t *ret_serial, bool *ret_of_machine,
                      int *ret_wait_ms);

/* Let the groups of other slots go before the box @serial when they compete for a processor, until the next join.
 * @if_crowd: only if many processes are in it.  True: from here on it does. */
bool cgroups_yield(struct cgroups *groups, uint32_t slot, uint32_t serial, bool if_crowd);

/* Hold the slot's box, or let it go on; its next box is not held.  A task that is held finishes the system call that it is in,
 * so it has no lock of the kernel: v2 freezes the group (Linux 5.2), v1 takes nearly all of its processor quota, which is the
 * same since Linux 6.18 alone.  SIGKILL ends what is held: with v1 in tenths of a second. */
int cgroups_hold(struct cgroups *groups, uint32_t slot, bool held);

/* By what: v1 before Linux 6.18 holds nobody. */
enum cgroups_hold_by { CGROUPS_HOLD_BY_NOTHING, CGROUPS_HOLD_BY_QUOTA, CGROUPS_HOLD_BY_FREEZER };
enum cgroups_hold_by cgroups_hold_by(const struct cgroups *groups);

/* Processes and threads in the slot's group; those that are dead and not reaped count. */
unsigned cgroups_count_tasks(const struct cgroups *groups, uint32_t slot);

/* Their numbers, a line each, in @text, or as many as it has room for; -errno. */
ssize_t cgroups_list_tasks(const struct cgroups *groups, uint32_t slot, char *text, size_t size);

/* What happened in the slot's group since its last join. */
struct cgroups_usage {
    int64_t oom_kills, pid_refusals;
    bool oom_of_machine; /* it was killed and has not been at its own limit: the machine was, or all boxes together */
};
struct cgroups_usage cgroups_usage(struct cgroups *groups, uint32_t slot);

/* The cgroup with the smallest memory limit among ours and those around it: its directory, and the limit.  -ENOENT: none
 * is limited. */
int cgroups_find_memory_limit(char *ret_path, size_t size, int64_t *ret_limit, bool *ret_v1);

/* 1 or 2. */
int cgroups_version(const struct cgroups *groups);

/* v2: the group of the zygotes, for CLONE_INTO_CGROUP, and the path of that which has it and the boxes'; else -1. */
int cgroups_zygote_fd(const struct cgroups *groups, const char **ret_path);

/* Remove all groups, which must be empty or about to be: waits for at most two seconds. NULL is fine. */
void cgroups_free(struct cgroups *groups);

#endif
