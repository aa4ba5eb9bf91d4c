/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the other processes.
 *
 * The supervisor's loop calls this file.  The children between fork and exec run here.  Each ends
 * with the supervisor (PR_SET_PDEATHSIG) and lives in a session of its own, so that Ctrl-C reaches
 * only the supervisor. What must never happen here: that a child keeps a descriptor or an id of
 * ours that it is not meant to have. */
#include "supervisor/launch.h"

#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"
#include "box/box.h"
#include "box/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    NAMESPACES =
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
};
enum { FIRST_FD = 3, FDS_MAX = 8 };

static int open_beside(const char *directory, const char *name)
{
    static const char *const places[] = { "", "/../libexec/hatchery" };
    char path[PATH_MAX + 64];
    int fd = -1;

    for (size_t i = 0; i < sizeof(places) / sizeof(*places) && fd < 0; i++) {
        snprintf(path, sizeof(path), "%s%s/%s", directory, places[i], name);
        fd = open(path, O_PATH | O_CLOEXEC);
    }
    return fd;
}

int launch_check_root(const char *root, struct buf *error)
{
    struct stat st;
    _cleanup_fd_ int fd = *root ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

    if (!*root || (fd >= 0 && fstatat(fd, "usr/lib", &st, AT_SYMLINK_NOFOLLOW) == 0))
        return 0;
    /* An existing directory has another use: never suggest a command that would fill it. */
    buf_addf(error,
             "isolation.root: %s%s (%s): make %s with debootstrap --variant=minbase "
             "--include=libpython3.11,libseccomp2 bookworm %s",
             root, fd < 0 ? "" : " has no usr/lib", strerrorname_np(errno), fd < 0 ? "it" : "one",
             fd < 0 ? root : "DIR");
    return -ENOENT;
}

int launch_open(struct launch_files *files, const char *root, struct buf *error)
{
    static const char *const names[] = { "hatchery-server", "hatchery-zygote", "hatchery-init", "hatchery-courier" };
    int *const fds[] = { &files->server_fd, &files->zygote_fd, &files->init_fd, &files->courier_fd };
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0) {
        buf_addf(error, "cannot read /proc/self/exe (%s): /proc must be mounted", strerror(errno));
        return -errno;
    }
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        *fds[i] = open_beside(self, names[i]);
        if (*fds[i] < 0) {
            buf_addf(error, "%s is not beside hatchery in %s (%s): run `make build` or `make install`", names[i], self,
                     strerror(errno));
            return -ENOENT;
        }
    }
    files->root = root;
    return launch_check_root(root, error);
}

/* Put @fds at FIRST_FD and up, whatever their numbers were, and close all others. */
static int place_fds(const int *fds, int n)
{
    int spare[FDS_MAX];

    for (int i = 0; i < n; i++) {
        spare[i] = fcntl(fds[i], F_DUPFD, FIRST_FD + FDS_MAX);
        if (spare[i] < 0)
            return -1;
    }
    for (int i = 0; i < n; i++)
        if (dup2(spare[i], FIRST_FD + i) < 0)
            return -1;
    return kernel_close_range((unsigned) (FIRST_FD + n), ~0U, 0);
}

/* Reset what a process inherits unseen: from the supervisor, or from the shell, nohup or setarch
 * that started it. An ignored signal would stay ignored in every program. */
static void start_afresh(void)
{
    sigset_t none;
    for (int sig = 1; sig < NSIG; sig++)
        kernel_signal_default(sig);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_TIMERSLACK, 50000, 0, 0, 0);
    personality(PER_LINUX);
    setsid();
    umask(077);
}

/* Why a child could not start, in numbers; the parent words it. */
struct trouble {
    int error;
    char what[64];
};

_Noreturn static void give_up(int fd, const char *what, int err)
{
    struct trouble trouble = { .error = err };
    snprintf(trouble.what, sizeof(trouble.what), "%s", what);
    ssize_t n = write(fd, &trouble, sizeof(trouble));
    _exit(n < 0 ? 125 : 126);
}

/* Note a layer that proves to be missing only when a jail is made. */
static int miss(struct require *r, enum layer layer, int err, const char *at, const char *change)
{
    char text[sizeof(r->why[layer].change)];

    snprintf(text, sizeof(text), "at '%s'; %s", at, change);
    require_missing(r, layer, err, text);
    require_say(r, layer);
    return err;
}

/* Wait for the child's word: 0, or -errno and the step that failed. */
static int await_exec(int trouble_fd, struct trouble *ret)
{
    ssize_t n = read(trouble_fd, ret, sizeof(*ret));

    if (n == 0) /* silence: it has been exec'ed */
        return 0;
    ret->what[sizeof(ret->what) - 1] = '\0';
    return n == sizeof(*ret) ? -ret->error : -EPIPE;
}

/* Drop privileges. Returns the step that failed, or NULL. */
static const char *drop_to(const struct launch_ids *ids, uid_t uid, gid_t gid)
{
    for (int cap = 0; ids->root && cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return "capabilities";
    if (ids->root && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
        return "ids";
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? "no_new_privs" : NULL;
}

/* A process without privileges: its executable, its name in /proc and in sentences, and its ids. */
struct plain {
    int exe_fd;
    const char *name, *who;
    uid_t uid;
    gid_t gid;
    const char *nice; /* setpriority(2) in digits; NULL: as we are */
};

/* The server, which serves everybody, goes before the programs that compute.  If sessions share
 * processors (autogroup, sched(7)), a process is nice only within its session, so the session is
 * told too.  Without the privilege it runs as before. */
static void be_nice(const char *nice)
{
    setpriority(PRIO_PROCESS, 0, (int) strtol(nice, NULL, 10));
    fd_write_file(AT_FDCWD, "/proc/self/autogroup", nice);
}

_Noreturn static void become_plain(const struct plain *plain, const struct launch_ids *ids, int supervisor_fd,
                                   int trouble_fd, pid_t parent)
{
    char name[32];
    char *const argv[] = { name, NULL };
    static char *const envp[] = { NULL };
    enum { EXE_FD = FIRST_FD + 1, TROUBLE_FD };
    const int fds[] = { supervisor_fd, plain->exe_fd, trouble_fd };

    snprintf(name, sizeof(name), "%s", plain->name);
    start_afresh();
    if (place_fds(fds, 3) < 0)
        give_up(trouble_fd, "descriptors", errno);
    fcntl(EXE_FD, F_SETFD, FD_CLOEXEC);
    fcntl(TROUBLE_FD, F_SETFD, FD_CLOEXEC);
    if (plain->nice)
        be_nice(plain->nice);
    const char *failed = drop_to(ids, plain->uid, plain->gid);
    if (failed)
        give_up(TROUBLE_FD, failed, errno);
    /* a change of ids clears it */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
        _exit(126);
    kernel_execveat(EXE_FD, argv, envp);
    give_up(TROUBLE_FD, "execveat", errno);
}

static pid_t launch_plain(const struct plain *plain, const struct launch_ids *ids, int supervisor_fd, struct buf *error)
{
    pid_t parent = getpid();
    int word[2];

    if (pipe2(word, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_fd_ int word_read = word[0];
    _cleanup_fd_ int word_write = word[1];
    pid_t pid = fork();
    if (pid == 0)
        become_plain(plain, ids, supervisor_fd, word_write, parent);
    if (pid < 0)
        return -errno;
    fd_close(&word_write);
    struct trouble trouble = { 0 };
    int err = await_exec(word_read, &trouble);
    if (err) {
        buf_addf(error, "%s could not be started, at '%s' (%s)", plain->who, trouble.what, strerror(-err));
        waitpid(pid, NULL, 0);
        return err;
    }
    return pid;
}

pid_t launch_server(const struct launch_files *files, const struct launch_ids *ids, int supervisor_fd,
                    struct buf *error)
{
    const struct plain plain = { files->server_fd, "hatchery-server", "the server",
                                 ids->server_uid,  ids->server_gid,   "-5" };
    return launch_plain(&plain, ids, supervisor_fd, error);
}

pid_t launch_courier(const struct launch_files *files, const struct launch_ids *ids, int supervisor_fd,
                     struct buf *error)
{
    const struct plain plain = {
        files->courier_fd, "hatchery-courier", "the courier", ids->courier, ids->courier, NULL
    };
    return launch_plain(&plain, ids, supervisor_fd, error);
}

struct zygote_args {
    const struct launch_files *files;
    const struct launch_ids *ids;
    int supervisor_fd, server_fd;
    int go_fd;      /* readable when the id maps are written */
    int go_write;   /* the parent's end of it */
    int trouble_fd; /* closed by a successful exec */
    const struct launch_group *group;
    const struct launch_packages *packages; /* NULL: none */
    int packages_fd;                        /* a mount of them, or -1 */
    bool in_group;
};

/* Call it while the host's /proc is still visible, and before a change of ids makes our own files
 * in it another user's.  A container may have /proc read-only, so a failure here is no error.  A
 * machine out of memory kills boxes first (the supervisor gives each 1000 when it joins), then
 * zygotes.  The sysctl is a second wall against user namespaces, behind the filter's.  Programs
 * must not get the keyrings of the user who started us. */
static void prepare_zygote(void)
{
    fd_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "500");
    fd_write_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", "0");
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

/* A mount of its own, from which no `..` leads out, and read-only: clone3(2) does not mind.  -1 if
 * the kernel refuses it: then boxes are forked as elsewhere, and join. */
static int open_groups(const struct zygote_args *args)
{
    struct mount_attr attr = { .attr_set =
                                   MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };

    if (!args->in_group)
        return -1;
    _cleanup_fd_ int tree = kernel_open_tree(AT_FDCWD, args->group->above, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0 || kernel_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) < 0)
        return -1;
    return fd_steal(&tree);
}

static const char packages_word[] = "packages";

/* Open the packages by name, because a mount of another namespace can't be bound.  It must be the
 * same directory that was judged. */
static int open_again(const struct launch_packages *packages)
{
    int fd = open(packages->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat judged, found;

    if (fd < 0 || fstat(fd, &found) < 0 || fstat(packages->fd, &judged) < 0)
        return -1;
    if (found.st_dev == judged.st_dev && found.st_ino == judged.st_ino)
        return fd;
    errno = EPERM;
    return -1;
}

_Noreturn static void become_zygote(const struct zygote_args *args)
{
    static char name[] = "hatchery-zygote";
    static char *const argv[] = { name, NULL };
    /* Resolve every function at the start, not again in each box. The zygote clears its
     * environment. */
    static char bind_now[] = "LD_BIND_NOW=1";
    static char *const envp[] = { bind_now, NULL };
    enum { GROUPS_FD = FIRST_FD + 3, ZYGOTE_FD, TROUBLE_FD };
    int fds[] = { args->supervisor_fd,    args->server_fd, args->files->init_fd, -1,
                  args->files->zygote_fd, args->trouble_fd };
    const char *what = "";
    char go;

    start_afresh();
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    close(args->go_write); /* otherwise the parent's death would not end the read */
    if (read(args->go_fd, &go, 1) != 1)
        _exit(0);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        give_up(args->trouble_fd, "/dev/null", errno);
    /* In the new mount namespace, or it could not be bound. With our own ids, because the jail's
     * may not enter. */
    int root_fd = *args->files->root ? open(args->files->root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (*args->files->root && root_fd < 0)
        give_up(args->trouble_fd, "isolation.root", errno);
    int packages_fd = args->packages_fd;
    if (args->packages && packages_fd < 0) /* an ordinary user can't clone the mount, but may enter
                                            * its own directory */
        packages_fd = open_again(args->packages);
    if (args->packages && packages_fd < 0)
        give_up(args->trouble_fd, packages_word, errno);
    int groups = open_groups(args);
    prepare_zygote();
    if ((args->ids->root && setgroups(0, NULL) < 0) || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        give_up(args->trouble_fd, "ids", errno);
    const struct box_root root = { root_fd, packages_fd, args->files->reach->n, args->files->reach->names,
                                   args->files->limits };
    int err = box_root_build(&root, &what);
    if (err < 0)
        give_up(args->trouble_fd, what, -err);
    fds[3] = groups < 0 ? null : groups; /* no directory: nothing is found below it */
    if (place_fds(fds, 6) < 0)
        give_up(args->trouble_fd, "descriptors", errno);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* a change of ids clears it */
    fcntl(ZYGOTE_FD, F_SETFD, FD_CLOEXEC);
    fcntl(TROUBLE_FD, F_SETFD, FD_CLOEXEC);
    kernel_execveat(ZYGOTE_FD, argv, envp);
    give_up(TROUBLE_FD, "execveat", errno);
}

static int write_map(pid_t pid, const char *file, const char *text)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, file);
    return fd_write_file(AT_FDCWD, path, text);
}

/* user_namespaces(7).  Root maps a range of ids that nobody else has; others map their own id
 * only. */
static int write_maps(pid_t pid, const struct launch_ids *ids, unsigned n_slots)
{
    char uids[128], gids[128];

    if (ids->root) {
        snprintf(uids, sizeof(uids), "0 %u 1\n%d %u %u\n", ids->zygote, BOX_ID_BASE, ids->slots, n_slots);
        snprintf(gids, sizeof(gids), "%s", uids);
    } else {
        snprintf(uids, sizeof(uids), "0 %u 1\n", geteuid());
        snprintf(gids, sizeof(gids), "0 %u 1\n", getegid());
        int denied = write_map(pid, "setgroups", "deny");
        if (denied)
            return denied;
    }
    int err = write_map(pid, "gid_map", gids);
    return err ? err : write_map(pid, "uid_map", uids);
}

/* Sysctls that keep us from making namespaces, and the value that each needs. */
static const struct {
    const char *name, *path, *bad, *good;
} namespace_sysctls[] = {
#define SYSCTL(name, path, bad, good)                                                                                  \
    {                                                                                                                  \
        name, "/proc/sys/" path, bad, good                                                                             \
    }
    SYSCTL("kernel.unprivileged_userns_clone", "kernel/unprivileged_userns_clone", "0", "1"),
    SYSCTL("kernel.apparmor_restrict_unprivileged_userns", "kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    SYSCTL("user.max_user_namespaces", "user/max_user_namespaces", "0", "10000"),
    SYSCTL("user.max_pid_namespaces", "user/max_pid_namespaces", "0", "10000"),
    SYSCTL("user.max_mnt_namespaces", "user/max_mnt_namespaces", "0", "10000"),
    SYSCTL("user.max_net_namespaces", "user/max_net_namespaces", "0", "10000"),
    SYSCTL("user.max_ipc_namespaces", "user/max_ipc_namespaces", "0", "10000"),
    SYSCTL("user.max_uts_namespaces", "user/max_uts_namespaces", "0", "10000"),
    SYSCTL("user.max_cgroup_namespaces", "user/max_cgroup_namespaces", "0", "10000"),
#undef SYSCTL
};

/* Name the very settings, if they can be read. */
static const char *clone_change(int err, char *text, size_t size)
{
    size_t n = 0;
    char value[32];

    if (err == -EINVAL)
        return "the kernel must have user, pid, mount, network, ipc, uts and cgroup namespaces";
    for (size_t i = 0; i < sizeof(namespace_sysctls) / sizeof(*namespace_sysctls) && n < size; i++)
        if (fd_read_file(AT_FDCWD, namespace_sysctls[i].path, value, sizeof(value)) > 0
            && strcspn(value, "\n") == strlen(namespace_sysctls[i].bad)
            && strncmp(value, namespace_sysctls[i].bad, strlen(namespace_sysctls[i].bad)) == 0)
            n += (size_t) snprintf(text + n, size - n, "%s%s=%s", n ? " " : "as root: sysctl -w ",
                                   namespace_sysctls[i].name, namespace_sysctls[i].good);
    if (n)
        return text;
    if (err == -ENOSPC)
        return "raise user.max_user_namespaces and its neighbours (sysctl user)";
    return layers[LAYER_NAMESPACES].change;
}

static int miss_maps(struct require *r, const struct launch_ids *ids, int err)
{
    if (ids->root)
        return miss(r, LAYER_IDS, err, "uid_map", layers[LAYER_IDS].change);
    if (geteuid() == 0)
        return miss(
            r, LAYER_NAMESPACES, err, "uid_map",
            "root without the capability SETFCAP can't be mapped (Linux 5.12): start as another user, or add it");
    return miss(r, LAYER_NAMESPACES, err, "uid_map", layers[LAYER_NAMESPACES].change);
}

/* A raw clone(2) without a stack is a fork into namespaces: glibc's fork() has no such flags. */
static pid_t clone_anywhere(const struct zygote_args *args)
{
    pid_t pid = (pid_t) syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        become_zygote(args);
    return pid < 0 ? -errno : pid;
}

/* Where systemd has mounted v2 (nsdelegate), a process can fork only into groups below the root of
 * its cgroup namespace.  For a new namespace that root would be our own group, and the boxes'
 * groups are not below it.  So each box has a namespace of its own, and the zygote has ours.  A
 * user namespace that does not own the cgroup namespace can't mount the hierarchy. */
static pid_t clone_zygote(struct zygote_args *args)
{
    struct clone_args clone = { .flags = (NAMESPACES & ~CLONE_NEWCGROUP) | CLONE_INTO_CGROUP,
                                .exit_signal = SIGCHLD,
                                .cgroup = (__u64) args->group->fd };
    args->in_group = args->group->fd >= 0;
    pid_t pid = args->in_group ? kernel_clone3(&clone) : -1;
    if (pid == 0)
        become_zygote(args);
    args->in_group = false;
    return pid > 0 ? pid : clone_anywhere(args);
}

pid_t launch_zygote(const struct launch_files *files, const struct launch_ids *ids, unsigned n_slots, int supervisor_fd,
                    int server_fd, const struct launch_group *group, const struct launch_packages *packages,
                    struct require *r)
{
    int go[2], word[2];
    /* With our own ids: the packages may be in the state directory, which only its owner may
     * enter. */
    _cleanup_fd_ int packages_fd =
        packages ? kernel_open_tree(packages->fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH) : -1;

    if (pipe2(go, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_fd_ int go_read = go[0];
    _cleanup_fd_ int go_write = go[1];
    if (pipe2(word, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_fd_ int word_read = word[0];
    _cleanup_fd_ int word_write = word[1];
    struct zygote_args args = { files,      ids,   supervisor_fd, server_fd,   go_read, go_write,
                                word_write, group, packages,      packages_fd, false };
    char change[400];
    pid_t pid = clone_zygote(&args);
    if (pid < 0)
        return miss(r, LAYER_NAMESPACES, pid, "clone", clone_change(pid, change, sizeof(change)));
    fd_close(&word_write);
    int err = write_maps(pid, ids, n_slots);
    if (err)
        miss_maps(r, ids, err);
    else {
        struct trouble trouble = { 0 };
        err = write(go_write, "g", 1) == 1 ? await_exec(word_read, &trouble) : -EPIPE;
        if (err && packages && strcmp(trouble.what, packages_word) == 0)
            log_error("the packages of a runtime are not there",
                      LOG_S("directory", packages->path) LOG_S("errno", strerrorname_np(-err)));
        else if (err) /* AppArmor and containers may allow a user namespace but no mounts in it */
            miss(r, LAYER_FILES, err, trouble.what, layers[LAYER_NAMESPACES].change);
    }
    if (err) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return err;
    }
    return pid;
}
