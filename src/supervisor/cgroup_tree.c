/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of groups, v1 and v2: made at the start, removed at the end.
 *
 * The supervisor calls cgroups_new() and cgroups_free(); cgroup.c makes the groups of a later slot
 * when its first box joins.  Every box of a slot uses the same groups, because making one costs
 * more than a run.  What must never happen here: that boxes use a group without its limits, or that
 * a group is removed while its owner lives. */
#include "supervisor/cgroup_parts.h"

#include "base/clock.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *const controllers[HIERARCHIES] = { [MEMORY] = "memory", [PIDS] = "pids", [CPU] = "cpu" };

enum { CPU_PERIOD_US = 100000 }; /* CPU_PERIOD */

#define LEAF "supervisor"
/* v2: beside the boxes' groups, so that a zygote can fork into them without rights on any group
 * above. */
#define ZYGOTE "zygote"

__attribute__((format(printf, 3, 4))) static int fail_with_reason(struct buf *error, int err, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_addf(error, "%s (%s)", text, strerror(-err));
    return err;
}

/* Remove @path, which is or will be empty: the kernel may need a moment after the last process is
 * reaped. */
static void remove_patiently(int dir, const char *path)
{
    int64_t end = now_us() + 2000000;
    while (unlinkat(dir, path, AT_REMOVEDIR) < 0 && errno == EBUSY && now_us() < end)
        poll(NULL, 0, 2);
}

/* Its owner is gone: let held boxes go on, so that killed ones can end. */
static void let_go_stale(int dir, const char *group)
{
    static const char *const words[][2] = { { "cpu.cfs_quota_us", "-1" }, { "cgroup.freeze", "0" } };
    char path[64];

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        snprintf(path, sizeof(path), "%.32s/%s", group, words[i][0]);
        fd_write_file(dir, path, words[i][1]);
    }
}

static void remove_boxes(int dir)
{
    DIR *boxes = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
    struct dirent *child;
    int box;
    char end;

    while (boxes && (child = readdir(boxes)))
        if (sscanf(child->d_name, "box-%d%c", &box, &end) == 1 || strcmp(child->d_name, ZYGOTE) == 0) {
            let_go_stale(dir, child->d_name);
            remove_patiently(dir, child->d_name);
        }
    if (boxes)
        closedir(boxes);
}

/* A supervisor that was killed could not tidy up.  Its pid does not exist here, but in another pid
 * namespace that means nothing.  So each supervisor also holds a lock on its group, which the
 * kernel takes from the dead. */
static void remove_stale(const char *parent)
{
    DIR *dir = opendir(parent);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, "hatchery-", 9) != 0)
            continue;
        _cleanup_fd_ int group = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group < 0 || flock(group, LOCK_EX | LOCK_NB) < 0)
            continue;
        fd_write_file(group, "cgroup.kill", "1"); /* v2, Linux 5.14; its processes died with it, or
                                                   * are about to */
        remove_boxes(group);
        remove_patiently(dirfd(dir), entry->d_name);
    }
    if (dir)
        closedir(dir);
}

/* A supervisor that looks for stale groups lets go of one at once; the owner never does. */
static bool lock_patiently(int dir)
{
    int64_t end = now_us() + 200000;

    while (flock(dir, LOCK_EX | LOCK_NB) < 0) {
        if (now_us() > end)
            return false;
        poll(NULL, 0, 2);
    }
    return true;
}

/* Make, open and lock @path.  Another supervisor that starts now may take it for stale until it is
 * locked, and may have made its own there by the time it is opened here.  The group belongs to the
 * one that has the lock. */
static int make_locked(const char *path, int *ret_dir)
{
    for (int tries = 0; tries < 8; tries++) {
        if (mkdir(path, 0755) < 0)
            return -errno; /* EEXIST: it is not stale, so it belongs to a supervisor with our pid in
                            * another pid namespace */
        _cleanup_fd_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 && errno != ENOENT)
            return -errno;
        if (dir >= 0 && lock_patiently(dir) && faccessat(dir, "cgroup.procs", F_OK, 0) == 0) {
            *ret_dir = fd_steal(&dir);
            return 0;
        }
    }
    return -EAGAIN;
}

/* Make hatchery-PID below @parent, or hatchery-PID-N if a supervisor in another pid namespace has
 * our pid. */
static int make_base(struct cgroups *groups, unsigned i, const char *parent)
{
    char *path = groups->paths[i];

    int n = snprintf(path, PATH_MAX, "%s/hatchery-%d", parent, (int) getpid());
    int err = -EEXIST;

    if (n >= PATH_MAX - 8)
        return -ENAMETOOLONG;
    for (int other = 0; other < 100 && err == -EEXIST; other++) {
        if (other)
            snprintf(path + n, 8, "-%d", other);
        err = make_locked(path, &groups->dirs[i]);
    }
    if (err)
        return err;
    groups->n_hierarchies = i + 1;
    return 0;
}

static int make_v1(struct cgroups *groups, struct buf *error)
{
    char parent[PATH_MAX];

    groups->version = 1;
    groups->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (groups->epoll_fd < 0)
        return -errno;
    for (unsigned i = HIERARCHIES; i--;) /* first the hierarchy where a box may be held, or the box
                                          * could not end */
        if (cgroups_own_directory(controllers[i], parent, sizeof(parent)) == 0)
            remove_stale(parent);
    for (unsigned i = 0; i < HIERARCHIES; i++) {
        int err = cgroups_own_directory(controllers[i], parent, sizeof(parent));
        if (err)
            return fail_with_reason(error, err, "no cgroup v1 hierarchy with the controller %s is mounted",
                                    controllers[i]);
        err = make_base(groups, i, parent);
        if (err)
            return fail_with_reason(error, err, "cannot make a cgroup below %s", parent);
    }
    return 0;
}

static const char all_controllers[] = "+memory +pids +cpu";

/* If a controller is missing, the kernel answers only ENOENT or EINVAL: say which one it was. */
static void note_absent(int dir, const char *path, struct buf *error)
{
    char text[512] = "";

    fd_read_file(dir, "cgroup.controllers", text, sizeof(text));
    for (char *p = text; *p; p++)
        *p = *p == ' ' ? ',' : *p;
    for (unsigned i = 0; i < HIERARCHIES; i++)
        if (!cgroups_has_word(text, controllers[i]))
            buf_addf(error, "%s has not got the controller %s; ", path, controllers[i]);
}

static int move_self(int dir, const char *group)
{
    char path[64], pid[24];

    snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    snprintf(pid, sizeof(pid), "%d", (int) getpid());
    return fd_write_file(dir, path, pid);
}

/* Undo the step into a leaf: leave nothing of ours in a group that somebody else may remove. */
static void leave_leaf(struct cgroups *groups)
{
    if (groups->leaf_parent < 0)
        return;
    fd_write_file(groups->leaf_parent, "cgroup.subtree_control", "-memory -pids -cpu");
    if (move_self(groups->leaf_parent, ".") == 0)
        remove_patiently(groups->leaf_parent, LEAF);
    fd_close(&groups->leaf_parent);
}

/* v2 lets a group have either processes or controllers for its children (cgroups(7), "no internal
 * processes"). So step down into a leaf first if it is our own group, unless it is the root. */
static int divide(struct cgroups *groups, const char *path, bool own, struct buf *error)
{
    _cleanup_fd_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int err = fd_write_file(dir, "cgroup.subtree_control", all_controllers);
    if (err == -EBUSY && own) {
        err = mkdirat(dir, LEAF, 0755) < 0 && errno != EEXIST ? -errno : move_self(dir, LEAF);
        if (err)
            return err;
        groups->leaf_parent = fd_steal(&dir);
        err = fd_write_file(groups->leaf_parent, "cgroup.subtree_control", all_controllers);
        if (err)
            leave_leaf(groups); /* others are in the group with us */
    } else if (err == -ENOENT || err == -EINVAL)
        note_absent(dir, path, error);
    return err;
}

/* Make our group in the first group that can be divided: our own, if we are alone in it (a unit
 * with Delegate=), otherwise the nearest above it that we may write to: the slice of a user's
 * session, or for root any. */
static int make_v2_base(struct cgroups *groups, char *path, size_t mount_len, struct buf *error)
{
    bool own = true;
    int err;

    for (;;) {
        err = divide(groups, path, own, error);
        if (err == 0) {
            remove_stale(path);
            err = make_base(groups, 0, path);
        }
        if (err == 0 || strlen(path) <= mount_len)
            return err;
        own = false;
        *strrchr(path, '/') = '\0';
    }
}

static int make_v2(struct cgroups *groups, struct buf *error)
{
    char own[PATH_MAX], path[PATH_MAX], mount[PATH_MAX], root[PATH_MAX];
    int err = cgroups_own_directory(NULL, own, sizeof(own));

    groups->version = 2;
    if (err || cgroups_find_mount(NULL, mount, root, sizeof(mount)) < 0)
        return fail_with_reason(error, err ? err : -ENOENT, "no cgroup v2 hierarchy is mounted");
    strcpy(path, own);
    err = make_v2_base(groups, path, strlen(mount), error);
    err = err ? err : fd_write_file(groups->dirs[0], "cgroup.subtree_control", all_controllers);
    if (err)
        return fail_with_reason(
            error, err,
            "neither the cgroup %s nor one above it is ours to divide: start in a unit with Delegate=yes, for "
            "example `systemd-run --scope -p Delegate=yes hatchery serve` (a user: systemd-run --user, and "
            "Delegate=cpu memory pids in user@.service)",
            own);
    return 0;
}

int cgroups_dir_of(const struct cgroups *groups, enum controller controller)
{
    return groups->dirs[groups->version == 1 ? controller : 0];
}

int cgroups_set_limit(struct cgroups *groups, enum controller controller, unsigned slot, const char *file,
                      bool optional, const char *value)
{
    char path[96];
    snprintf(path, sizeof(path), "box-%u/%s", slot, file);
    int err = fd_write_file(cgroups_dir_of(groups, controller), path, value);
    return err == -ENOENT && optional ? 0 : err;
}

int cgroups_set_limits(struct cgroups *groups, unsigned slot, const struct wire_limits *limits)
{
    char memory[24], pids[24], quota[24], max[48];

    snprintf(memory, sizeof(memory), "%lld", (long long) limits->memory_bytes);
    snprintf(pids, sizeof(pids), "%lld", (long long) limits->processes);
    groups->quota_us[slot] = limits->cpu_percent * CPU_PERIOD_US / 100;
    snprintf(quota, sizeof(quota), "%lld", (long long) groups->quota_us[slot]);
    snprintf(max, sizeof(max), "%s " CPU_PERIOD, quota);
    const struct {
        int version;
        enum controller controller;
        const char *file, *value;
        bool optional;
    } values[] = {
        { 1, MEMORY, "memory.limit_in_bytes", memory, false },
        { 1, MEMORY, "memory.memsw.limit_in_bytes", memory, true },
        { 1, MEMORY, "memory.swappiness", "0", true },
        { 1, PIDS, "pids.max", pids, false },
        { 1, CPU, "cpu.cfs_period_us", CPU_PERIOD, false },
        { 1, CPU, "cpu.cfs_quota_us", quota, false },
        { 2, MEMORY, "memory.max", memory, false },
        { 2, MEMORY, "memory.swap.max", "0", true },
        { 2, MEMORY, "memory.oom.group", "1", true },
        { 2, PIDS, "pids.max", pids, false },
        { 2, CPU, "cpu.max", max, false },
    };
    int err = 0;
    for (size_t i = 0; i < sizeof(values) / sizeof(*values) && !err; i++)
        if (values[i].version == groups->version)
            err = cgroups_set_limit(groups, values[i].controller, slot, values[i].file, values[i].optional,
                                    values[i].value);
    return err;
}

/* Limit the memory of all boxes together, whatever each may have: this keeps the machine's last
 * tenth free. (Without use_hierarchy, which is always on since Linux 5.11, groups would not count
 * for those above them.) */
static int limit_all(struct cgroups *groups, int64_t bytes, struct buf *error)
{
    char memory[24];

    snprintf(memory, sizeof(memory), "%lld", (long long) bytes);
    const struct {
        const char *file, *value;
        int version;
        bool optional;
    } values[] = {
        { "memory.use_hierarchy", "1", 1, true },
        { "memory.limit_in_bytes", memory, 1, false },
        { "memory.memsw.limit_in_bytes", memory, 1, true },
        { "memory.swappiness", "0", 1, true },
        { "memory.max", memory, 2, false },
        { "memory.swap.max", "0", 2, true },
    };
    int err = 0;
    for (size_t i = 0; i < sizeof(values) / sizeof(*values) && !err; i++)
        if (values[i].version == groups->version) {
            int failed = fd_write_file(cgroups_dir_of(groups, MEMORY), values[i].file, values[i].value);
            err = values[i].optional ? 0 : failed;
        }
    return err ? fail_with_reason(error, err, "cannot limit the memory of the cgroup %s", groups->paths[0]) : 0;
}

/* v1: let the kernel signal an eventfd when the slot's group is at its memory limit
 * (Documentation/admin-guide/cgroup-v1/memory.rst, 10. OOM Control). */
static int watch_slot(struct cgroups *groups, unsigned slot)
{
    struct oom_watch *watch = &groups->watches[slot];
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = slot };
    char path[64], text[48];

    snprintf(path, sizeof(path), "box-%u/memory.oom_control", slot);
    _cleanup_fd_ int control = openat(cgroups_dir_of(groups, MEMORY), path, O_RDONLY | O_CLOEXEC);
    if (control < 0)
        return -errno;
    watch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->event_fd < 0 || epoll_ctl(groups->epoll_fd, EPOLL_CTL_ADD, watch->event_fd, &event) < 0)
        return -errno;
    snprintf(path, sizeof(path), "box-%u/cgroup.event_control", slot);
    snprintf(text, sizeof(text), "%d %d", watch->event_fd, control);
    return fd_write_file(cgroups_dir_of(groups, MEMORY), path, text);
}

static int give_procs(const struct cgroups *groups, const char *group, uid_t zygote)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    return fchownat(groups->dirs[0], path, zygote, (gid_t) -1, 0) < 0 ? -errno : 0;
}

/* clone3(2) with CLONE_INTO_CGROUP asks for the right to write cgroup.procs in the new group, and
 * in the nearest group above the old and the new one.  All other files of a group stay ours. */
static int open_zygote_group(struct cgroups *groups)
{
    if (mkdirat(groups->dirs[0], ZYGOTE, 0755) < 0 && errno != EEXIST)
        return -errno;
    groups->zygote_dir = openat(groups->dirs[0], ZYGOTE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return groups->zygote_dir < 0 ? -errno : give_procs(groups, ".", groups->zygote);
}

static int make_zygote_group(struct cgroups *groups, struct buf *error)
{
    int err = groups->version == 2 ? open_zygote_group(groups) : 0;
    return err ? fail_with_reason(error, err, "cannot make the cgroup %s/" ZYGOTE, groups->paths[0]) : 0;
}

int cgroups_make_slot(struct cgroups *groups, unsigned slot, struct buf *error)
{
    char name[32];

    snprintf(name, sizeof(name), "box-%u", slot);
    for (unsigned i = 0; i < groups->n_hierarchies; i++)
        if (mkdirat(groups->dirs[i], name, 0755) < 0 && errno != EEXIST)
            return fail_with_reason(error, -errno, "cannot make the cgroup %s/%s", groups->paths[i], name);
    int err = cgroups_set_limits(groups, slot, &groups->limits);
    if (err)
        return fail_with_reason(error, err, "cannot set the limits of the cgroup %s/%s", groups->paths[0], name);
    err = groups->version == 2 ? give_procs(groups, name, groups->zygote) : watch_slot(groups, slot);
    if (err)
        return fail_with_reason(error, err, "cannot %s the cgroup %s/%s",
                                groups->version == 2 ? "have boxes born in" : "watch memory.oom_control of",
                                groups->paths[0], name);
    groups->changed_at[slot] = groups->change;
    groups->made[slot] = true;
    return 0;
}

static int make_first_slots(struct cgroups *groups, unsigned n, struct buf *error)
{
    int err = 0;

    for (unsigned slot = 0; slot < n && !err; slot++)
        err = cgroups_make_slot(groups, slot, error);
    return err;
}

static struct cgroups *new_groups(const struct cgroups_conf *conf)
{
    struct cgroups *groups = xcalloc(1, sizeof(*groups));
    unsigned n = conf->n_slots;

    groups->n_slots = n;
    groups->limits = conf->limits;
    groups->zygote = conf->zygote;
    groups->leaf_parent = groups->zygote_dir = groups->epoll_fd = -1;
    groups->made = xcalloc(n, sizeof(*groups->made));
    groups->at_join = xcalloc(n, sizeof(*groups->at_join));
    groups->watches = xcalloc(n, sizeof(*groups->watches));
    groups->yielding = xcalloc(n, sizeof(*groups->yielding));
    groups->held = xcalloc(n, sizeof(*groups->held));
    groups->quota_us = xcalloc(n, sizeof(*groups->quota_us));
    groups->changed_at = xcalloc(n, sizeof(*groups->changed_at));
    for (unsigned slot = 0; slot < n; slot++)
        groups->watches[slot].event_fd = -1;
    return groups;
}

/* v1 has a freezer in a hierarchy of its own: each box would have to join a group there too, and a
 * frozen process can't be killed there.  The quota of a processor holds nobody within the kernel
 * since Linux 6.18. */
static enum cgroups_hold_by find_hold(int version)
{
    struct utsname here;
    int major = 0, minor = 0;

    if (version == 2)
        return CGROUPS_HOLD_BY_FREEZER;
    uname(&here);
    sscanf(here.release, "%d.%d", &major, &minor);
    return major > 6 || (major == 6 && minor >= 18) ? CGROUPS_HOLD_BY_QUOTA : CGROUPS_HOLD_BY_NOTHING;
}

static int make_all(struct cgroups *groups, int version, const struct cgroups_conf *conf, struct buf *error)
{
    int err = version == 2 ? make_v2(groups, error) : make_v1(groups, error);

    if (err)
        return err;
    err = limit_all(groups, conf->memory_bytes, error);
    if (err)
        return err;
    err = make_zygote_group(groups, error);
    return err ? err : make_first_slots(groups, conf->n_first_slots, error);
}

static int try_version(struct cgroups **ret, int version, const struct cgroups_conf *conf, struct buf *error)
{
    struct cgroups *groups = new_groups(conf);

    groups->hold_by = find_hold(version);
    int err = make_all(groups, version, conf, error);
    if (err)
        cgroups_free(groups);
    else
        *ret = groups;
    return err;
}

int cgroups_new(struct cgroups **ret, const char *kind, const struct cgroups_conf *conf, struct buf *error)
{
    int err = -ENOENT;

    if (strcmp(kind, "v1") != 0)
        err = try_version(ret, 2, conf, error);
    if (err && strcmp(kind, "v2") != 0) {
        int v2_err = err;
        size_t mark = error->len;
        buf_adds(error, mark ? "\n" : ""); /* a line each */
        err = try_version(ret, 1, conf, error);
        if (err == -ENOENT && mark) { /* v1 is not even mounted: only v2's error counts */
            error->len = mark;
            err = v2_err;
        }
    }
    if (err)
        return err;
    buf_reset(error);
    return 0;
}

void cgroups_free(struct cgroups *groups)
{
    char name[32];

    if (!groups)
        return;
    if (groups->zygote_dir >= 0)
        remove_patiently(groups->dirs[0], ZYGOTE);
    fd_close(&groups->zygote_dir);
    for (unsigned i = 0; i < groups->n_hierarchies; i++) {
        for (unsigned slot = 0; slot < groups->n_slots; slot++) {
            snprintf(name, sizeof(name), "box-%u", slot);
            cgroups_hold(groups, slot, false);
            remove_patiently(groups->dirs[i], name);
        }
        remove_patiently(AT_FDCWD, groups->paths[i]);
        fd_close(&groups->dirs[i]);
    }
    leave_leaf(groups);
    for (unsigned slot = 0; slot < groups->n_slots; slot++)
        fd_close(&groups->watches[slot].event_fd);
    fd_close(&groups->epoll_fd);
    free(groups->made);
    free(groups->watches);
    free(groups->yielding);
    free(groups->held);
    free(groups->quota_us);
    free(groups->changed_at);
    free(groups->at_join);
    free(groups);
}
