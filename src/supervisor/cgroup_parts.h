/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files behind cgroup.h; no other file includes this header.
 *
 * cgroup_find.c finds the hierarchies and the group that we are in.  cgroup_tree.c makes the groups
 * and removes them.  cgroup.c moves a box into its group and watches it there.  All calls block
 * only as long as the kernel's cgroup files do. */
#ifndef HATCHERY_SUPERVISOR_CGROUP_PARTS_H
#define HATCHERY_SUPERVISOR_CGROUP_PARTS_H

#include "supervisor/cgroup.h"

#include <limits.h>

/* The controllers that limit boxes; v1 has a hierarchy for each, in this order. */
enum controller { MEMORY, PIDS, CPU };

enum { HIERARCHIES = WIRE_TASKS_MAX }; /* v1: one for each controller; v2: only the first is used */

/* The period of limits.cpu_percent, in microseconds, as the kernel's files take it. */
#define CPU_PERIOD "100000"

struct counters {
    int64_t oom_kills, pid_refusals;
    int64_t at_limit; /* v2: how often the group reached its own memory limit */
};

/* v1: watches a slot's memory.oom_control. */
struct oom_watch {
    int event_fd;
    uint32_t serial; /* the box that joined last */
    int looks;       /* how many more times to look at the counter: set by an event */
};

/* cgroups_new() makes it, cgroups_free() frees it with all that it has. */
struct cgroups {
    int version;
    unsigned n_hierarchies, n_slots;
    uid_t zygote;
    bool *made;            /* by slot: does it have its groups? */
    int dirs[HIERARCHIES]; /* hatchery-PID in each hierarchy */
    char paths[HIERARCHIES][PATH_MAX];
    int leaf_parent; /* v2: the group that we have left for a leaf in it, or -1 */
    int zygote_dir;  /* v2: ZYGOTE, or -1 */
    struct counters *at_join;
    struct oom_watch *watches;
    bool *yielding;
    enum cgroups_hold_by hold_by;
    bool *held;                   /* by slot */
    int64_t *quota_us;            /* by slot, of its box; v1 */
    struct wire_limits limits;    /* since cgroups_change() */
    unsigned change, *changed_at; /* how many changes there were, and the last that a slot's group
                                   * has */
    int epoll_fd;
};

/* Is @word in @list?  Commas separate its words, and it may end with a line feed. */
bool cgroups_has_word(const char *list, const char *word);

/* Where the hierarchy of @controller (NULL: v2) is mounted: proc_pid_mountinfo(5).  Both results
 * have room for @size bytes; @ret_root is the group at the mount's root.  0, or -ENOENT if it is
 * not mounted. */
int cgroups_find_mount(const char *controller, char *ret_mount, char *ret_root, size_t size);

/* The directory of our own group in the hierarchy of @controller (NULL: v2).  0; -ENOENT if it is
 * not mounted; -ENAMETOOLONG. */
int cgroups_own_directory(const char *controller, char *ret_path, size_t size);

/* The directory hatchery-PID of @controller: a descriptor, which @groups owns.  v2 has one for all
 * controllers. */
int cgroups_dir_of(const struct cgroups *groups, enum controller controller);

/* Write @value to @file of the slot's group in @controller's hierarchy.  0 or -errno.  With
 * @optional it is no error if this kernel was built without the file (swap). */
int cgroups_set_limit(struct cgroups *groups, enum controller controller, unsigned slot, const char *file,
                      bool optional, const char *value);

/* Write all of @limits to the slot's group, one after the other.  0, or -errno of the first that
 * the kernel refuses; the limits before it hold. */
int cgroups_set_limits(struct cgroups *groups, unsigned slot, const struct wire_limits *limits);

/* Make the slot's groups, with their limits.  v1 watches them for kills; v2 lets the zygote fork
 * into them.  0, or -errno with a sentence in @error. */
int cgroups_make_slot(struct cgroups *groups, unsigned slot, struct buf *error);

#endif
