/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes: forked, watched, reaped.
 *
 * The zygote's loop calls this file.  A box is a pid namespace.  Its pid 1 is hatchery-init.  Its
 * second process is a copy of this interpreter, which goes through box_enter() and runs one
 * program.  What must never happen here: that the child returns into the zygote's loop, or that a
 * slot counts as free while anything of its last box lives. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/spawn.h"

#include "zygote/atfork.h"
#include "zygote/pages.h"
#include "zygote/run.h"

#include "base/fd.h"
#include "base/kernel.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The ends of a box's channels that the zygote holds while it makes them. */
struct ends {
    /* [0] is the server's end (of life: init's), [1] the box's (of life: the server's) */
    int control[2], out[2], err[2], life[2];
};

static void close_ends(struct ends *ends)
{
    int *fds[] = { ends->control, ends->out, ends->err, ends->life };
    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
        fd_close(&fds[i][0]);
        fd_close(&fds[i][1]);
    }
}

static int make_ends(struct ends *ends)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends->control) < 0 || pipe2(ends->out, O_CLOEXEC) < 0
        || pipe2(ends->err, O_CLOEXEC) < 0 || pipe2(ends->life, O_CLOEXEC) < 0)
        return -errno;
    return 0;
}

struct init_args {
    int init_fd, life_fd;
};

/* Shares the zygote's memory until execve(2) (CLONE_VM | CLONE_VFORK), so it makes only system
 * calls. */
static int exec_init(void *data)
{
    static char name[] = "hatchery-init";
    static char *const argv[] = { name, NULL };
    static char *const envp[] = { NULL };
    const struct init_args *args = data;

    if (dup2(args->life_fd, 0) < 0)
        _exit(127);
    kernel_execveat(args->init_fd, argv, envp);
    _exit(127);
}

/* Make a new pid namespace with hatchery-init in it. Our next child will be its second process. */
static int start_init(struct zygote *zygote, const struct ends *ends, pid_t *ret_pid)
{
    static char stack[65536] __attribute__((aligned(16)));
    struct init_args args = { zygote->init_fd, ends->life[0] };
    int pidfd = -1;

    /* clone(2) makes pid namespaces only from the active one. */
    if (setns(zygote->self_pidfd, CLONE_NEWPID) < 0)
        return -errno;
    pid_t pid = clone(exec_init, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_NEWPID | CLONE_PIDFD | SIGCHLD,
                      &args, &pidfd);
    if (pid < 0)
        return -errno;
    int err = setns(pidfd, CLONE_NEWPID) < 0 ? -errno : 0;
    fd_close(&pidfd);
    if (err < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return err;
    }
    *ret_pid = pid;
    return 0;
}

/* The child: from here to run_box() nothing of the program exists. */
_Noreturn static void become_box(const struct zygote *zygote, const struct wire_of_box *order, const struct ends *ends,
                                 struct wire_box_state *state)
{
    const struct box_slot slot = { .slot = order->slot,
                                   .serial = order->serial,
                                   .control_fd = ends->control[1],
                                   .stdout_fd = ends->out[1],
                                   .stderr_fd = ends->err[1],
                                   .join_fd = zygote->supervisor_fd };
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (box_enter(&zygote->box, &slot, state) == BOX_READY)
        run_box(state);
    /* The socket is either still where it was made, or already where box_enter() puts it. */
    if (send(ends->control[1], state, sizeof(*state), MSG_NOSIGNAL) < 0)
        send(BOX_CONTROL_FD, state, sizeof(*state), MSG_NOSIGNAL);
    _exit(126);
}

/* Fork a child that is born in its slot's cgroup (v2).  To move a process into a cgroup, the kernel
 * takes a lock against all forks of the host, and a fork bomb in another box holds that lock up.  A
 * birth in the cgroup does not need it.  fork(2) does more than clone3(2) only for processes that
 * have threads, but the C library must learn the child's number: the kernel writes it to the
 * library's own address. */
static pid_t fork_into_group(struct zygote *zygote, uint32_t slot)
{
    struct clone_args args = { .flags = CLONE_INTO_CGROUP | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                               .exit_signal = SIGCHLD };
    char name[24];

    if (zygote->groups_fd < 0 || prctl(PR_GET_TID_ADDRESS, &args.child_tid, 0, 0, 0) < 0)
        return -1;
    snprintf(name, sizeof(name), "box-%u", slot);
    _cleanup_fd_ int group = openat(zygote->groups_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    args.cgroup = (__u64) group;
    return group < 0 ? -1 : kernel_clone3(&args);
}

/* If the box can't be born in its cgroup, it moves there itself (box_enter()). */
static pid_t fork_anyhow(struct zygote *zygote, uint32_t slot)
{
    pid_t pid = fork_into_group(zygote, slot);
    return pid < 0 ? fork() : pid;
}

static int fork_box(struct zygote *zygote, const struct wire_of_box *order, const struct ends *ends,
                    struct wire_box_state *state, pid_t *ret_pid)
{
    int64_t start = now_ns();
    bool told = atfork_has_others();

    if (told)
        PyOS_BeforeFork();
    pid_t pid = fork_anyhow(zygote, order->slot);
    if (pid == 0) {
        int64_t forked = now_ns();
        state->fork_ns = (int32_t) (forked - start);
        pages_take();
        PyOS_AfterFork_Child();
        state->hooks_ns = (int32_t) (now_ns() - forked);
        become_box(zygote, order, ends, state);
    }
    int err = pid < 0 ? -errno : 0;
    if (told)
        PyOS_AfterFork_Parent();
    *ret_pid = pid;
    return err;
}

static void tell_gone(struct zygote *zygote, uint32_t slot, uint32_t serial, int error)
{
    const struct wire_gone msg = { .type = WIRE_GONE, .slot = slot, .serial = serial, .error = error };
    fd_send(zygote->server_fd, &msg, sizeof(msg), NULL, 0);
}

/* Make the ends and processes of a box.  0 or -errno; then @ends and @brood have what was made. */
static int make_box(struct zygote *zygote, const struct wire_of_box *order, struct ends *ends, struct brood *brood)
{
    struct wire_box_state state = { 0 };
    int64_t start = now_ns();
    int err = make_ends(ends);

    if (err)
        return err;
    err = start_init(zygote, ends, &brood->init);
    if (err)
        return err;
    state.init_ns = (int32_t) (now_ns() - start);
    return fork_box(zygote, order, ends, &state, &brood->program);
}

void spawn_box(struct zygote *zygote, const struct wire_of_box *order)
{
    struct ends ends = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
    struct brood brood = { .serial = order->serial };
    int err = make_box(zygote, order, &ends, &brood);

    if (err) {
        if (brood.init > 0) {
            kill(brood.init, SIGKILL);
            waitpid(brood.init, NULL, 0);
        }
        tell_gone(zygote, order->slot, order->serial, -err);
    } else {
        const struct wire_of_box made = { .type = WIRE_BOX, .slot = order->slot, .serial = order->serial };
        const int fds[] = { ends.control[0], ends.out[0], ends.err[0], ends.life[1] };
        zygote->slots[order->slot] = brood;
        fd_send(zygote->server_fd, &made, sizeof(made), fds, 4);
    }
    close_ends(&ends); /* if the server is gone, init sees its life end now */
}

static void on_program_exit(struct zygote *zygote, uint32_t slot, int status, const struct rusage *used)
{
    struct brood *brood = &zygote->slots[slot];
    const struct wire_exited msg = { .type = WIRE_EXITED,
                                     .slot = slot,
                                     .serial = brood->serial,
                                     .status = status,
                                     .user_us = used->ru_utime.tv_sec * 1000000LL + used->ru_utime.tv_usec,
                                     .system_us = used->ru_stime.tv_sec * 1000000LL + used->ru_stime.tv_usec,
                                     .peak_bytes = used->ru_maxrss * 1024LL };
    brood->program = 0;
    if (brood->init)
        kill(brood->init, SIGKILL); /* this also kills all that the program left behind */
    fd_send(zygote->server_fd, &msg, sizeof(msg), NULL, 0);
}

void spawn_reap(struct zygote *zygote)
{
    struct rusage used;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0)
        for (uint32_t slot = 0; slot < zygote->conf.n_slots; slot++) {
            struct brood *brood = &zygote->slots[slot];
            if (pid == brood->program)
                on_program_exit(zygote, slot, status, &used);
            else if (pid == brood->init)
                brood->init = 0; /* reaped after all other processes of its namespace:
                                  * pid_namespaces(7) */
            else
                continue;
            if (!brood->init && !brood->program)
                tell_gone(zygote, slot, brood->serial, 0);
        }
}
