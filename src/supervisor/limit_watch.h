/* SPDX-License-Identifier: Apache-2.0 */
/* Watching boxes that have no cgroup: what a run takes is summed up ten times a second, and a run over its limit killed.
 *
 * It stands in for memory.max and pids.max, and is weaker: what happens between two looks is bounded only by the
 * resource limits of each process.  proc(5); needs CONFIG_PROC_CHILDREN. */
#ifndef HATCHERY_SUPERVISOR_LIMIT_WATCH_H
#define HATCHERY_SUPERVISOR_LIMIT_WATCH_H

#include "base/wire.h"

#include <sys/types.h>

struct limit_watch;

enum { LIMIT_WATCH_INTERVAL_MS = 100 };

/* Of @limits memory_bytes and processes are enforced. */
struct limit_watch *limit_watch_new(unsigned n_slots, const struct wire_limits *limits);

/* Boxes that join from here on have other limits; the others keep those they began with. */
void limit_watch_change(struct limit_watch *watch, const struct wire_limits *limits);

/* @pid is the slot's new box; forget what was seen of the last one. 0 or -errno (-ESRCH: it is ending). */
int limit_watch_join(struct limit_watch *w, uint32_t slot, pid_t pid);

/* Look at every box of @zygote once.  Blocks only as long as /proc does. */
void limit_watch_look(struct limit_watch *w, pid_t zygote);

/* As cgroups_usage(): 1 where the slot's box was killed for it. */
void limit_watch_usage(const struct limit_watch *w, uint32_t slot, int64_t *ret_oom_kills, int64_t *ret_pid_refusals);

/* NULL is fine. */
void limit_watch_free(struct limit_watch *w);

#endif
