/* SPDX-License-Identifier: Apache-2.0 */
/* One layer of the jail at a time, put on in a child.
 *
 * If a layer without which no box is made is missing, doctor.c calls this file, so that the
 * operator hears of all other layers at once.  What must never happen here: a layer put on in the
 * calling process. */
#include "command/check/probe.h"

#include "base/fd.h"
#include "base/kernel.h"
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ALL_NAMESPACES =
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
};
enum { CANT_TELL = 255 }; /* an exit status that is not an errno */

/* Become root of a user namespace with its own mounts, as far as this layer needs them. */
static void enter_namespaces(void)
{
    char uids[32], gids[32];

    snprintf(uids, sizeof(uids), "0 %u 1\n", geteuid());
    snprintf(gids, sizeof(gids), "0 %u 1\n", getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || fd_write_file(AT_FDCWD, "/proc/self/setgroups", "deny") < 0
        || fd_write_file(AT_FDCWD, "/proc/self/gid_map", gids) < 0
        || fd_write_file(AT_FDCWD, "/proc/self/uid_map", uids) < 0)
        _exit(CANT_TELL);
}

static int try_files(void)
{
    const char *what;

    enter_namespaces();
    return box_root_build(&(const struct box_root){ .root_fd = -1, .packages_fd = -1 }, &what);
}

static int try_scratch(void)
{
    enter_namespaces();
    if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        return -errno;
    return mount("scratch", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m") < 0 ? -errno : 0;
}

static int try_capabilities(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };

    enter_namespaces();
    return prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0) < 0 || syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int no_new_privs(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int try_landlock(void)
{
    const struct kernel_landlock_ruleset attr = { .handled_access_fs = KERNEL_FS_EXECUTE };
    int ruleset = no_new_privs() < 0 ? -1 : kernel_landlock_create(&attr, sizeof(attr), 0);

    return ruleset < 0 || kernel_landlock_restrict_self(ruleset) < 0 ? -errno : 0;
}

static int try_limits(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static int try_seccomp(void)
{
    struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
    struct sock_fprog filter = { 1, all };

    if (no_new_privs() < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
        return -errno;
    return 0;
}

static int try(enum layer layer)
{
    switch (layer) {
    case LAYER_NAMESPACES: return unshare(ALL_NAMESPACES) < 0 ? -errno : 0;
    case LAYER_FILES: return try_files();
    case LAYER_SCRATCH: return try_scratch();
    case LAYER_CAPABILITIES: return try_capabilities();
    case LAYER_NO_NEW_PRIVS: return no_new_privs();
    case LAYER_LANDLOCK: return try_landlock();
    case LAYER_MDWE: return prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0 ? -errno : 0;
    case LAYER_LIMITS: return try_limits();
    case LAYER_SECCOMP: return try_seccomp();
    default: return 0;
    }
}

int probe_layer(enum layer layer)
{
    int status, err = layers_probe(layer);

    if (err)
        return err;
    pid_t pid = fork();
    if (pid == 0)
        _exit(-try(layer));
    if (pid < 0)
        return 1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status)) /* a filter killed it */
        return -EPERM;
    return WEXITSTATUS(status) == CANT_TELL ? 1 : -WEXITSTATUS(status);
}
