/* SPDX-License-Identifier: Apache-2.0 */
/* A box in its group: it joins, yields, is held, and is asked what happened to it.
 *
 * Only the supervisor (and its convoy.c) calls this file: it is the one process that sees the
 * hierarchy. What must never happen here: that a box is told it has joined and has not, or that the
 * answer is about the slot's last box. */
#include "supervisor/cgroup_parts.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A box's share of a crowded processor: of a new box (the kernel's defaults), and of a box that has
 * run for long.  Twenty long boxes together weigh less than a new one.  Not SCHED_IDLE: a task that
 * is preempted while it holds a lock of the kernel would keep all others from forking, for
 * seconds. */
static const struct {
    const char *file, *whole, *yielding;
} weights[] = { [1] = { "cpu.shares", "1024", "32" }, [2] = { "cpu.weight", "100", "3" } };

enum { LOOKS = 40, LOOK_AGAIN_MS = 5 };
enum { CROWD = 8 };

/* The number after "NAME " in a file of such lines, or 0. */
static int64_t read_counter(int dir, const char *path, const char *name)
{
    char text[1024];
    size_t n = strlen(name);

    if (fd_read_file(dir, path, text, sizeof(text)) < 0)
        return 0;
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, n) == 0 && line[n] == ' ')
            return atoll(line + n + 1);
    return 0;
}

static int64_t read_oom_kills(const struct cgroups *groups, uint32_t slot)
{
    char path[64];

    snprintf(path, sizeof(path), "box-%u/%s", slot, groups->version == 1 ? "memory.oom_control" : "memory.events");
    return read_counter(cgroups_dir_of(groups, MEMORY), path, "oom_kill");
}

static int64_t read_bytes(const struct cgroups *groups, uint32_t slot, const char *file)
{
    char path[64], text[32];

    snprintf(path, sizeof(path), "box-%u/%s", slot, file);
    return fd_read_file(cgroups_dir_of(groups, MEMORY), path, text, sizeof(text)) > 0 ? atoll(text) : 0;
}

/* v1: has the group been near its memory limit since its join?  A large allocation may fail a
 * little below the limit. */
static bool was_at_limit(const struct cgroups *groups, uint32_t slot)
{
    return read_bytes(groups, slot, "memory.max_usage_in_bytes") + (2 << 20)
           >= read_bytes(groups, slot, "memory.limit_in_bytes");
}

/* v1: begin to count that anew. (Its counter of failures stays at 0 on new kernels.) */
static void forget_most(const struct cgroups *groups, uint32_t slot)
{
    char path[64];

    snprintf(path, sizeof(path), "box-%u/memory.max_usage_in_bytes", slot);
    fd_write_file(cgroups_dir_of(groups, MEMORY), path, "0");
}

static struct counters read_counters(const struct cgroups *groups, uint32_t slot)
{
    char pids[64], events[64];
    bool v1 = groups->version == 1;

    snprintf(pids, sizeof(pids), "box-%u/pids.events", slot);
    snprintf(events, sizeof(events), "box-%u/memory.events", slot);
    return (struct counters){ .oom_kills = read_oom_kills(groups, slot),
                              .pid_refusals = read_counter(cgroups_dir_of(groups, PIDS), pids, "max"),
                              .at_limit = v1 ? 0 : read_counter(cgroups_dir_of(groups, MEMORY), events, "oom") };
}

/* Take the event off its eventfd. */
static void hear(const struct oom_watch *watch)
{
    uint64_t times;
    if (watch->event_fd >= 0 && read(watch->event_fd, &times, sizeof(times)) < 0)
        return; /* EAGAIN: there was no event */
}

static void write_weight(struct cgroups *groups, uint32_t slot, bool yielding)
{
    cgroups_set_limit(groups, CPU, slot, weights[groups->version].file, true,
                      yielding ? weights[groups->version].yielding : weights[groups->version].whole);
}

/* A box without a weight is still in its group: no reason to refuse it. */
static void set_weight(struct cgroups *groups, uint32_t slot, bool yielding)
{
    if (groups->yielding[slot] != yielding)
        write_weight(groups, slot, yielding);
    groups->yielding[slot] = yielding;
}

unsigned cgroups_count_tasks(const struct cgroups *groups, uint32_t slot)
{
    char path[64], text[24];

    snprintf(path, sizeof(path), "box-%u/pids.current", slot);
    bool known = fd_read_file(cgroups_dir_of(groups, PIDS), path, text, sizeof(text)) > 0;
    return known ? (unsigned) atoi(text) : 0;
}

ssize_t cgroups_list_tasks(const struct cgroups *groups, uint32_t slot, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "box-%u/%s", slot, groups->version == 1 ? "tasks" : "cgroup.threads");
    return fd_read_file(groups->dirs[0], path, text, size);
}

enum cgroups_hold_by cgroups_hold_by(const struct cgroups *groups)
{
    return groups->hold_by;
}

/* v2: the freezer.  v1: a millisecond of each second; the group continues as soon as its quota is
 * raised. */
static int hold(struct cgroups *groups, uint32_t slot)
{
    if (groups->version == 2)
        return cgroups_set_limit(groups, CPU, slot, "cgroup.freeze", false, "1");
    int err = cgroups_set_limit(groups, CPU, slot, "cpu.cfs_period_us", false, "1000000");
    return err ? err : cgroups_set_limit(groups, CPU, slot, "cpu.cfs_quota_us", false, "1000");
}

static int let_go(struct cgroups *groups, uint32_t slot)
{
    char quota[24];

    if (groups->version == 2)
        return cgroups_set_limit(groups, CPU, slot, "cgroup.freeze", false, "0");
    snprintf(quota, sizeof(quota), "%lld", (long long) groups->quota_us[slot]);
    int err = cgroups_set_limit(groups, CPU, slot, "cpu.cfs_quota_us", false, quota);
    return err ? err : cgroups_set_limit(groups, CPU, slot, "cpu.cfs_period_us", false, CPU_PERIOD);
}

/* A task that has a lock of the kernel gives it back as fast as it gets to run. So a held box
 * yields to nobody. */
int cgroups_hold(struct cgroups *groups, uint32_t slot, bool held)
{
    if (held == groups->held[slot])
        return 0;
    groups->held[slot] = held;
    int err = held ? hold(groups, slot) : 0;
    if (groups->yielding[slot])
        write_weight(groups, slot, !held);
    return held ? err : let_go(groups, slot);
}

/* More processes and threads than a short program has. */
static bool is_crowd(const struct cgroups *groups, uint32_t slot)
{
    return cgroups_count_tasks(groups, slot) > CROWD;
}

bool cgroups_yield(struct cgroups *groups, uint32_t slot, uint32_t serial, bool if_crowd)
{
    if (groups->watches[slot].serial != serial || groups->yielding[slot])
        return false;
    if (if_crowd && !is_crowd(groups, slot))
        return false;
    set_weight(groups, slot, true);
    log_debug("a box yields", LOG_I("slot", slot) LOG_S("as", if_crowd ? "a crowd" : "long"));
    return true;
}

/* Is @pid the first process in the group's list?  A new box's group has no other, or only a few. */
static bool is_in_group(const struct cgroups *groups, uint32_t slot, pid_t pid)
{
    char path[64], text[1024], line[24];

    snprintf(path, sizeof(path), "box-%u/cgroup.procs", slot);
    snprintf(line, sizeof(line), "%d\n", (int) pid);
    return fd_read_file(groups->dirs[0], path, text, sizeof(text)) > 0 && strncmp(text, line, strlen(line)) == 0;
}

static int open_tasks(const struct cgroups *groups, uint32_t slot, int ret_tasks[static WIRE_TASKS_MAX])
{
    char path[64];
    int err = 0;

    snprintf(path, sizeof(path), "box-%u/%s", slot, groups->version == 1 ? "tasks" : "cgroup.procs");
    for (unsigned i = 0; i < groups->n_hierarchies && !err; i++) {
        ret_tasks[i] = openat(groups->dirs[i], path, O_WRONLY | O_CLOEXEC);
        err = ret_tasks[i] < 0 ? -errno : 0;
    }
    for (unsigned i = 0; i < groups->n_hierarchies && err; i++)
        fd_close(&ret_tasks[i]);
    return err;
}

void cgroups_change(struct cgroups *groups, const struct wire_limits *limits)
{
    groups->limits = *limits;
    groups->change++;
}

/* v1: the limit with swap may not be below the limit without. So if both go up, the limit with swap
 * goes first. */
static int change_limits(struct cgroups *groups, uint32_t slot)
{
    char memory[24];

    snprintf(memory, sizeof(memory), "%lld", (long long) groups->limits.memory_bytes);
    if (groups->version == 1)
        (void) cgroups_set_limit(groups, MEMORY, slot, "memory.memsw.limit_in_bytes", true,
                                 memory); /* refused if they go down */
    return cgroups_set_limits(groups, slot, &groups->limits);
}

/* The first box of a slot is never born in its group, because there was none. */
static int make_later_slot(struct cgroups *groups, uint32_t slot)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 1024);
    int err = cgroups_make_slot(groups, slot, &error);
    if (err)
        log_error("a slot has no cgroup", LOG_I("slot", slot) LOG_S("error", buf_text(&error)));
    return err;
}

int cgroups_join(struct cgroups *groups, uint32_t slot, uint32_t serial, pid_t pid,
                 int ret_tasks[static WIRE_TASKS_MAX])
{
    int made = groups->made[slot] ? 0 : make_later_slot(groups, slot);

    if (made < 0)
        return made;
    cgroups_hold(groups, slot, false);
    if (groups->changed_at[slot] != groups->change) {
        int err = change_limits(groups, slot);
        if (err)
            return err;
        groups->changed_at[slot] = groups->change;
    }
    groups->at_join[slot] = read_counters(groups, slot);
    if (groups->version == 1)
        forget_most(groups, slot);
    hear(&groups->watches[slot]); /* of the slot's last box */
    groups->watches[slot].serial = serial;
    groups->watches[slot].looks = 0;
    set_weight(groups, slot, false);
    if (groups->version == 2 && is_in_group(groups, slot, pid))
        return 0;
    return open_tasks(groups, slot, ret_tasks);
}

struct cgroups_usage cgroups_usage(struct cgroups *groups, uint32_t slot)
{
    const struct counters now = read_counters(groups, slot), before = groups->at_join[slot];
    bool killed = now.oom_kills > before.oom_kills;
    bool own = killed && (groups->version == 1 ? was_at_limit(groups, slot) : now.at_limit > before.at_limit);

    return (struct cgroups_usage){ .oom_kills = now.oom_kills - before.oom_kills,
                                   .pid_refusals = now.pid_refusals - before.pid_refusals,
                                   .oom_of_machine = killed && !own };
}

int cgroups_oom_fd(const struct cgroups *groups)
{
    return groups->epoll_fd;
}

/* An event is not a kill, and a group above ours that reaches its limit signals to all groups below
 * it.  So the counter decides. */
bool cgroups_next_oom(struct cgroups *groups, uint32_t *ret_slot, uint32_t *ret_serial, bool *ret_of_machine,
                      int *ret_wait_ms)
{
    struct epoll_event event;

    *ret_wait_ms = 0;
    while (epoll_wait(groups->epoll_fd, &event, 1, 0) == 1) {
        hear(&groups->watches[event.data.u32]);
        groups->watches[event.data.u32].looks = LOOKS;
    }
    for (uint32_t slot = 0; slot < groups->n_slots; slot++) {
        struct oom_watch *watch = &groups->watches[slot];
        if (watch->looks == 0)
            continue;
        watch->looks--;
        if (read_oom_kills(groups, slot) > groups->at_join[slot].oom_kills) {
            watch->looks = 0;
            *ret_slot = slot;
            *ret_serial = watch->serial;
            *ret_of_machine = cgroups_usage(groups, slot).oom_of_machine;
            return true;
        }
        *ret_wait_ms = LOOK_AGAIN_MS;
    }
    return false;
}

int cgroups_version(const struct cgroups *groups)
{
    return groups->version;
}

int cgroups_zygote_fd(const struct cgroups *groups, const char **ret_path)
{
    *ret_path = groups->paths[0];
    return groups->zygote_dir;
}
