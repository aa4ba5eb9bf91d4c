/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own jail.
 *
 * Called once by main.c, when it has its configuration and its state
 * directory and no client yet.  The server parses what strangers send: whoever
 * takes it over must find a process that can start nothing, connect to nothing
 * and open nothing but the state that it keeps anyway. */
#include "server/confine.h"

#include "base/fd.h"
#include "base/filter.h"
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/resource.h>

static const struct {
    const char *name;
    uint32_t action;
} calls[] = {
#define ALLOW(name) { #name, SCMP_ACT_ALLOW },
#define ANSWER(name, error) { #name, SCMP_ACT_ERRNO(error) },
#define END(name) { #name, SCMP_ACT_KILL_PROCESS },
#include "server/confine.def"
};

/* A kernel without Landlock leaves the walls of the user id and of the filter. */
static int enter_landlock(int state_fd)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);
    struct kernel_landlock_ruleset attr = { .handled_access_fs = KERNEL_FS_REFER - 1 };

    if (abi < 0)
        return 0;
    if (abi >= 3)
        attr.handled_access_fs |= KERNEL_FS_TRUNCATE;
    if (abi >= 4)
        attr.handled_access_net = KERNEL_NET_BIND_TCP | KERNEL_NET_CONNECT_TCP;
    if (abi >= 6)
        attr.scoped = KERNEL_SCOPE_ABSTRACT_UNIX | KERNEL_SCOPE_SIGNAL;
    _cleanup_fd_ int ruleset = kernel_landlock_create(&attr, sizeof(attr), 0);
    const struct kernel_landlock_path state = { .allowed_access = attr.handled_access_fs & ~KERNEL_FS_EXECUTE,
                                                .parent_fd = state_fd };
    if (ruleset < 0 || (state_fd >= 0 && kernel_landlock_add_path(ruleset, &state) < 0)
        || kernel_landlock_restrict_self(ruleset) < 0)
        return -errno;
    return 0;
}

/* No leases: with one on the file of keys, `hatchery key revoke` would wait for a server that was taken over.  flock(2)
 * is missing in the table for the same reason. */
static int add_fcntl(scmp_filter_ctx ctx)
{
    static const uint64_t commands[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,  F_SETFD,     F_GETFL,    F_SETFL,
                                         F_GETLK, F_SETLK,         F_SETLKW, F_ADD_SEALS, F_GET_SEALS };
    int err = 0;

    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands) && !err; i++) {
        const struct scmp_arg_cmp command = SCMP_CMP64(1, SCMP_CMP_EQ, commands[i]);
        err = filter_add(ctx, SCMP_ACT_ALLOW, "fcntl", 1, &command);
    }
    return err;
}

/* A thread may be nicer, or whatever the supervisor left it; no other process is its to change. */
static int add_setpriority(scmp_filter_ctx ctx)
{
    const struct scmp_arg_cmp own[] = { SCMP_CMP64(0, SCMP_CMP_EQ, PRIO_PROCESS), SCMP_CMP64(1, SCMP_CMP_EQ, 0) };
    return filter_add(ctx, SCMP_ACT_ALLOW, "setpriority", 2, own);
}

static int enter_seccomp(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int err = ctx ? 0 : -ENOMEM;

    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && !err; i++)
        err = filter_add(ctx, calls[i].action, calls[i].name, 0, NULL);
    if (!err)
        err = filter_add_threads(ctx);
    if (!err)
        err = add_fcntl(ctx);
    if (!err)
        err = add_setpriority(ctx);
    if (!err)
        err = seccomp_load(ctx);
    if (ctx)
        seccomp_release(ctx);
    return err;
}

int confine(int state_fd, const char **ret_what)
{
    *ret_what = "landlock";
    int err = enter_landlock(state_fd);
    if (err)
        return err;
    *ret_what = "seccomp";
    return enter_seccomp();
}
