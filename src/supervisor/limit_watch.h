/* SPDX-License-Identifier: Apache-2.0 */
/* Watching boxes that have no cgroup: ten times a second the use of each run is summed up, and a
 * run over its limit is killed.
 *
 * It stands in for memory.max and pids.max, and is weaker: between two looks only the resource
 * limits of each process bound a run.  proc(5); needs CONFIG_PROC_CHILDREN. */
#ifndef HATCHERY_SUPERVISOR_LIMIT_WATCH_H
#define HATCHERY_SUPERVISOR_LIMIT_WATCH_H

#include "base/wire.h"

#include <sys/types.h>

struct limit_watch;

enum { LIMIT_WATCH_INTERVAL_MS = 100 };

/* Enforces @limits' memory_bytes and processes. */
struct limit_watch *limit_watch_new(unsigned n_slots, const struct wire_limits *limits);

/* Boxes that join from now on have other limits; earlier ones keep theirs. */
void limit_watch_change(struct limit_watch *watch, const struct wire_limits *limits);

/* @pid is the slot's new box; forget the findings about the last one. 0 or -errno (-ESRCH: it is
 * ending). */
int limit_watch_join(struct limit_watch *w, uint32_t slot, pid_t pid);

/* Look at every box of @zygote once.  Blocks only as long as /proc does. */
void limit_watch_look(struct limit_watch *w, pid_t zygote);

/* As cgroups_usage(): 1 if the slot's box was killed for that reason. */
void limit_watch_usage(const struct limit_watch *w, uint32_t slot, int64_t *ret_oom_kills, int64_t *ret_pid_refusals);

/* NULL is fine. */
void limit_watch_free(struct limit_watch *w);

#endif
