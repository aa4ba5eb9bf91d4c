/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery-zygote: one warm CPython that forks boxes.
 *
 * The supervisor starts it as pid 1 of its own pid namespace and root of its own user namespace,
 * inside the jail's root file system, with descriptors 3 (supervisor), 4 (server), 5
 * (hatchery-init) and 6 (cgroup v2: the boxes' groups).  When it dies, the kernel kills every box
 * with it.  It serves one server process and exits when that server's socket closes.  What must
 * never be here: a key, a client's data, a second thread. */
#include "zygote/pages.h"
#include "zygote/run.h"
#include "zygote/spawn.h"
#include "zygote/warm.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

enum { SUPERVISOR_FD = 3, SERVER_FD = 4, INIT_FD = 5, GROUPS_FD = 6 };

/* The environment that programs see: nothing of the environment of the user who started the
 * server. */
static void set_environment(void)
{
    static const char *const values[][2] = {
        { "PATH", "/usr/bin:/bin" },        { "HOME", HOME_DIR }, { "LANG", "C.UTF-8" }, { "TMPDIR", "/tmp" },
        { "PYTHONDONTWRITEBYTECODE", "1" },
    };
    clearenv();
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        setenv(values[i][0], values[i][1], 1);
}

static int drop_powers(void)
{
    static const unsigned kept[] = { ZYGOTE_CAPABILITIES };
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct caps[2] = { { 0 } };
    uint64_t mask = 0;

    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        mask |= UINT64_C(1) << kept[i];
    for (unsigned long cap = 0; cap < 64; cap++)
        if (!(mask & UINT64_C(1) << cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return -1;
    caps[0].permitted = caps[0].effective = (uint32_t) mask;
    if (syscall(SYS_capset, &header, caps) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    /* Our parent may have asked the kernel to merge our pages with those of other processes. The
     * timing of merged pages tells what is in them. Older kernels can't merge a whole process, and
     * then this fails. */
    prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0);
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void set_close_on_exec(void)
{
    for (int fd = SUPERVISOR_FD; fd <= GROUPS_FD; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* One in a slot that has a box is no order of a server of ours. */
static void on_spawn(void *data, struct wire_in *in)
{
    const struct wire_of_box *order = in->msg;
    struct zygote *zygote = data;

    if (order->slot < zygote->conf.n_slots && !zygote->slots[order->slot].init && !zygote->slots[order->slot].program)
        spawn_box(zygote, order);
}

static wire_handler *const from_server[WIRE_TYPES] = { [WIRE_SPAWN] = on_spawn };

/* Take orders and reap processes, one at a time, until the server is gone. */
static int serve(struct zygote *zygote, int signal_fd)
{
    struct pollfd fds[2] = { { .fd = zygote->server_fd, .events = POLLIN }, { .fd = signal_fd, .events = POLLIN } };
    struct signalfd_siginfo info;
    struct wire_link link = { .table = &wire_table, .from = PEER_SERVER, .to = PEER_ZYGOTE };
    struct wire_of_box order;
    struct wire_in in = { .msg = &order, .size = sizeof(order) };

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return EXIT_FAILURE;
        if (fds[1].revents && read(signal_fd, &info, sizeof(info)) > 0)
            spawn_reap(zygote);
        if (!fds[0].revents)
            continue;
        int heard = wire_hear(&link, zygote->server_fd, &in, from_server, zygote);
        if (heard <= 0 && heard != -EAGAIN)
            return heard ? EXIT_FAILURE : EXIT_SUCCESS;
    }
}

static int make_signal_fd(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int tell_step(enum box_step step, int error)
{
    log_error("a layer of the jail is missing",
              LOG_S("layer", box_step_word(step)) LOG_S("errno", strerrorname_np(error))
                  LOG_S("hint", box_step_hint(step)));
    return -1;
}

static int prepare(struct zygote *zygote)
{
    int error = 0;

    pages_prepare();
    if (warm_python(&zygote->conf, zygote->supervisor_fd) < 0)
        return -1;
    enum box_step step = box_prepare(&zygote->box, &zygote->conf, &error);
    if (step != BOX_READY)
        return tell_step(step, error);
    pages_settle();
    run_rehearse();
    zygote->self_pidfd = kernel_pidfd_open(getpid());
    if (zygote->self_pidfd < 0)
        return -1;
    int err = box_share_filter(&zygote->box);
    pages_gather();
    pages_probe(run_probe);
    return err < 0 ? tell_step(BOX_SECCOMP, -err) : 0;
}

int main(void)
{
    static struct zygote zygote = {
        .supervisor_fd = SUPERVISOR_FD, .server_fd = SERVER_FD, .init_fd = INIT_FD, .groups_fd = GROUPS_FD
    };
    const struct wire_plain warm = { .type = WIRE_WARM };

    set_close_on_exec();
    set_environment();
    if (drop_powers() < 0)
        return WIRE_ZYGOTE_CANNOT;
    if (fd_recv(SUPERVISOR_FD, &zygote.conf, sizeof(zygote.conf), NULL, 0, NULL) != sizeof(zygote.conf)
        || zygote.conf.type != WIRE_ZYGOTE_CONF || zygote.conf.n_slots > WIRE_SLOTS_MAX)
        return EXIT_FAILURE;
    log_init("zygote", (enum log_format) zygote.conf.log_format, (enum log_level) zygote.conf.log_level);
    int signal_fd = make_signal_fd();
    if (signal_fd < 0 || prepare(&zygote) < 0)
        return WIRE_ZYGOTE_CANNOT;
    if (fd_send(SERVER_FD, &warm, sizeof(warm), NULL, 0) < 0)
        return EXIT_SUCCESS;
    return serve(&zygote, signal_fd);
}
