/* SPDX-License-Identifier: Apache-2.0 */
/* box_enter(): the way of a forked child into its jail.
 *
 * The zygote's spawn.c calls it between fork and the first byte of a program.  This function is the
 * security policy: read it from top to bottom.  What must never happen here: going on after a step
 * that failed, allocating, logging. */
#include "box/box.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Leave the zygote's process group, which kill(0) would reach, and set the file mode that programs
 * expect. */
static int start_session(void)
{
    umask(022);
    return setsid() < 0 ? -1 : 0;
}

/* A thread that moves itself needs no lock against forks (Linux 5.16, v1).  If another process
 * moves it, the kernel waits for all forks of the host, and a fork bomb in one box would hold up
 * the making of all others.  With v2 the box was born in its cgroup.  Otherwise it waits here, and
 * the supervisor does not. */
static int move_into(int *tasks)
{
    bool failed = false;

    for (int i = 0; i < WIRE_TASKS_MAX; i++) {
        failed = failed || (tasks[i] >= 0 && write(tasks[i], "0", 1) != 1);
        fd_close(&tasks[i]);
    }
    return failed ? -1 : 0;
}

/* The cgroup, or the supervisor's watch that stands in for it, must hold before the program can run
 * or allocate.  Only the supervisor sees the hierarchy, so ask it and wait for its word. */
static int join_cgroup(const struct box_slot *slot)
{
    const struct wire_of_box join = { .type = WIRE_JOIN, .slot = slot->slot, .serial = slot->serial };
    struct wire_joined joined = { .error = EPIPE };
    int tasks[WIRE_TASKS_MAX];
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    _cleanup_fd_ int ours = pair[0];
    _cleanup_fd_ int theirs = pair[1];
    int err = fd_send(slot->join_fd, &join, sizeof(join), &theirs, 1);
    fd_close(&theirs);
    ssize_t n = err < 0 ? err : fd_recv(ours, &joined, sizeof(joined), tasks, WIRE_TASKS_MAX, NULL);
    if (n != sizeof(joined) || joined.error) {
        errno = n < 0 ? (int) -n : joined.error;
        return -1;
    }
    return move_into(tasks);
}

/* The scratch space has its own limits on size and inodes. Programs in it cannot be started. */
static int mount_scratch(const struct box *box, const struct box_slot *slot)
{
    uid_t id = box->conf->ids ? BOX_ID_BASE + slot->slot : 0;

    if (mount("scratch", SCRATCH_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, box->scratch_options) < 0)
        return -1;
    static const char *const dirs[] = { SCRATCH_DIR "/tmp", SCRATCH_DIR "/shm", HOME_DIR };
    for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
        if (mkdir(dirs[i], 0700) < 0 || chdir(dirs[i]) < 0 || chown(".", id, id) < 0)
            return -1; /* in this order, because the zygote may not enter another id's
                        * directories */
    return 0;
}

/* Only 0, 1, 2 and the outcome socket stay open. The socket's number is above the limit that
 * set_limits() sets. */
static int arrange_fds(const struct box_slot *slot)
{
    struct rlimit room = { BOX_CONTROL_FD + 1, BOX_CONTROL_FD + 1 };

    if (setrlimit(RLIMIT_NOFILE, &room) < 0 && errno != EPERM)
        return -1;
    if (dup2(slot->stdout_fd, 1) < 0 || dup2(slot->stderr_fd, 2) < 0)
        return -1;
    if (dup3(slot->control_fd, BOX_CONTROL_FD, O_CLOEXEC) < 0)
        return -1;
    if (kernel_close_range(3, BOX_CONTROL_FD - 1, 0) < 0)
        return -1;
    return kernel_close_range(BOX_CONTROL_FD + 1, ~0U, 0);
}

/* Empty the bounding set and lock the securebits while the capability to do so is still there.  The
 * zygote's bounding set has only these capabilities. */
static int lock_capabilities(void)
{
    static const unsigned long left[] = { ZYGOTE_CAPABILITIES };

    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++)
        if (prctl(PR_CAPBSET_DROP, left[i], 0, 0, 0) < 0)
            return -1;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    return prctl(PR_SET_SECUREBITS,
                 SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED
                     | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
                 0, 0, 0);
}

static int become_slot(const struct box *box, const struct box_slot *slot)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };

    if (box->conf->ids) {
        gid_t id = BOX_ID_BASE + slot->slot;
        if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
            return -1;
    }
    if (syscall(SYS_capset, &header, none) < 0)
        return -1;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* A lower limit that is already set stays: sudo(8), for example, allows no core files at all. */
static int set_limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit now, limit;

    if (getrlimit(resource, &now) < 0)
        return -1;
    limit.rlim_max = hard < now.rlim_max ? hard : now.rlim_max;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return setrlimit(resource, &limit);
}

/* The limits that stand in for a cgroup hold for each process, not for the run. SECURITY.md says
 * what that leaves open. */
static int set_stand_ins(const struct box *box)
{
    const struct wire_limits *l = &box->conf->limits;
    rlim_t memory = (rlim_t) l->memory_bytes;
    /* Shared memory does not count as data. Python, numpy and malloc's arenas map this much and
     * never use it. */
    rlim_t space = memory + (2ULL << 30);
    /* Boxes that share an id also share this count, with zygote and inits (the count is of their
     * user namespace: Linux 5.14).  It saves the host, but a bomb in one box keeps its neighbours
     * from forking until its time is up.  As many boxes as there are at first may be full; every
     * other box has room for its two processes. */
    rlim_t shared = ((rlim_t) l->processes + 2) * box->conf->n_first_slots + 2 * (rlim_t) box->conf->n_slots + 1;

    if (set_limit(RLIMIT_DATA, memory, memory) < 0 || set_limit(RLIMIT_AS, space, space) < 0)
        return -1;
    /* Without a cgroup nothing limits its processor time: run it at a lower priority than server
     * and supervisor. */
    if (setpriority(PRIO_PROCESS, 0, 10) < 0)
        return -1;
    return box->conf->ids ? 0 : set_limit(RLIMIT_NPROC, shared, shared);
}

static int set_limits(const struct box *box)
{
    const struct wire_limits *l = &box->conf->limits;
    rlim_t files = (rlim_t) l->open_files;
    /* A little more than the size of the scratch space. Otherwise a full scratch space would be
     * reported as a file that is too large. */
    rlim_t scratch = (rlim_t) l->scratch_bytes + 65536;

    /* 1, not 0: a core_pattern that begins with '|' ignores 0 (core(5)) and would start its
     * handler, as the host's root, on a program's image.  At 1 the kernel writes and starts
     * nothing.  The filter keeps it at 1. */
    if (set_limit(RLIMIT_CORE, 1, 1) < 0 || set_limit(RLIMIT_NOFILE, files, files) < 0
        || set_limit(RLIMIT_FSIZE, scratch, scratch) < 0 || set_limit(RLIMIT_MEMLOCK, 0, 0) < 0
        || set_limit(RLIMIT_MSGQUEUE, 0, 0) < 0 || set_limit(RLIMIT_SIGPENDING, 256, 256) < 0
        || set_limit(RLIMIT_STACK, 8 << 20, 8 << 20) < 0 || set_limit(RLIMIT_RTPRIO, 0, 0) < 0
        || set_limit(RLIMIT_NICE, 0, 0) < 0)
        return -1;
    /* The kernel counts processes by user id, so a box without an id of its own would count its
     * neighbours. If there is a cgroup, its limit comes first, because the supervisor can see
     * afterwards whether it was hit. */
    rlim_t processes = (rlim_t) l->processes + (box->conf->cgroups ? 16 : 0);
    if (box->conf->ids && set_limit(RLIMIT_NPROC, processes, processes) < 0)
        return -1;
    return box->conf->cgroups ? 0 : set_stand_ins(box);
}

/* Note how long a step took, and whether it failed. */
static bool took(struct wire_box_state *state, enum box_step step, bool failed, int64_t *clock_ns)
{
    int err = errno;
    int64_t now = now_ns();

    state->step_ns[step] = (int32_t) (now - *clock_ns);
    *clock_ns = now;
    if (failed) {
        state->step = (int32_t) step;
        state->error = err;
    }
    return failed;
}

enum box_step box_enter(const struct box *box, const struct box_slot *slot, struct wire_box_state *state)
{
    int64_t now = now_ns();

#define STEP(name, failed) took(state, BOX_##name, failed, &now)
    if (STEP(SESSION, start_session() < 0) || STEP(CGROUP, join_cgroup(slot) < 0)
        || STEP(NAMESPACES, unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
        || STEP(SCRATCH, mount_scratch(box, slot) < 0)
        || STEP(HOSTNAME, sethostname("box", 3) < 0 || setdomainname("", 0) < 0)
        || STEP(CAPABILITIES, lock_capabilities() < 0) || STEP(NO_NEW_PRIVS, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        || STEP(LANDLOCK, box->conf->landlock && kernel_landlock_restrict_self(box->landlock_fd) < 0)
        || STEP(DESCRIPTORS, arrange_fds(slot) < 0) || STEP(IDS, become_slot(box, slot) < 0)
        || STEP(MDWE, box->conf->mdwe && prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0)
        || STEP(LIMITS, set_limits(box) < 0)
        || STEP(SECCOMP,
                syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &box->own_filter) != 0))
        return (enum box_step) state->step;
#undef STEP
    state->step = BOX_READY;
    return BOX_READY;
}

static int compile_filters(struct box *box, const struct wire_zygote_conf *conf)
{
    int err = box_seccomp_compile(BOX_FILTER_SHARED, conf->callbacks, conf->epoll, &box->shared_filter);
    return err ? err : box_seccomp_compile(BOX_FILTER_OWN, conf->callbacks, conf->epoll, &box->own_filter);
}

enum box_step box_prepare(struct box *box, const struct wire_zygote_conf *conf, int *ret_error)
{
    int err = compile_filters(box, conf);

    box->conf = conf;
    snprintf(box->scratch_options, sizeof(box->scratch_options), "mode=0711,size=%lld,nr_inodes=%lld",
             (long long) conf->limits.scratch_bytes, (long long) conf->limits.scratch_files + 4);
    if (err < 0) {
        *ret_error = -err;
        return BOX_SECCOMP;
    }
    box->landlock_fd = conf->landlock ? box_landlock_prepare() : -1;
    if (conf->landlock && box->landlock_fd < 0) {
        *ret_error = -box->landlock_fd;
        return BOX_LANDLOCK;
    }
    return BOX_READY;
}

int box_share_filter(const struct box *box)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &box->shared_filter) < 0 ? -errno : 0;
}

static const struct {
    const char *word, *hint;
} steps[BOX_STEPS] = {
    [BOX_READY] = { "ready", "" },
#define STEP(name, word, hint) [BOX_##name] = { word, hint },
#include "box/box.def"
};

const char *box_step_word(int step)
{
    return step >= 0 && step < BOX_STEPS ? steps[step].word : "?";
}

const char *box_step_hint(int step)
{
    return step >= 0 && step < BOX_STEPS ? steps[step].hint : "";
}

void box_log_times(const struct wire_box_state *state)
{
    struct log_field fields[BOX_STEPS + 5] = { LOG_I("init_ns", state->init_ns) LOG_I("fork_ns", state->fork_ns) LOG_I(
        "hooks_ns", state->hooks_ns) LOG_I("renewal_ns", state->renewal_ns) };
    for (int step = BOX_READY + 1; step < BOX_STEPS; step++)
        fields[step + 3] = (struct log_field){ steps[step].word, LOG_T_INT, NULL, state->step_ns[step] };
    log_write(LOG_DEBUG, "box ready", fields);
}
