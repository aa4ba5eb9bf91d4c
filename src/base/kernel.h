/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces of the kernel that Debian 12's headers (Linux 6.1) lack, and wrappers that glibc
 * lacks.  The only place for #ifdef.  At run time a call that fails shows what the running kernel
 * lacks. */
#ifndef HATCHERY_BASE_KERNEL_H
#define HATCHERY_BASE_KERNEL_H

#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_MDWE /* prctl(2), Linux 6.3 */
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1UL
#define PR_GET_MDWE 66
#endif

#ifndef PR_SET_MEMORY_MERGE /* prctl(2), Linux 6.4 */
#define PR_SET_MEMORY_MERGE 67
#endif

/* landlock(7).  The header's struct grows with the kernel; this is ABI 6's (Linux 6.12).  An older
 * kernel accepts it if the parts that it does not know are zero. */
struct kernel_landlock_ruleset {
    __u64 handled_access_fs, handled_access_net, scoped;
};
struct kernel_landlock_path {
    __u64 allowed_access;
    __s32 parent_fd;
} __attribute__((packed));

enum {
    KERNEL_LANDLOCK_CREATE_VERSION = 1,
    KERNEL_LANDLOCK_RULE_PATH = 1,
};

#define KERNEL_FS_EXECUTE (1ULL << 0)
#define KERNEL_FS_WRITE_FILE (1ULL << 1)
#define KERNEL_FS_READ_FILE (1ULL << 2)
#define KERNEL_FS_READ_DIR (1ULL << 3)
#define KERNEL_FS_REMOVE_DIR (1ULL << 4)
#define KERNEL_FS_REMOVE_FILE (1ULL << 5)
#define KERNEL_FS_MAKE_CHAR (1ULL << 6)
#define KERNEL_FS_MAKE_DIR (1ULL << 7)
#define KERNEL_FS_MAKE_REG (1ULL << 8)
#define KERNEL_FS_MAKE_SOCK (1ULL << 9)
#define KERNEL_FS_MAKE_FIFO (1ULL << 10)
#define KERNEL_FS_MAKE_BLOCK (1ULL << 11)
#define KERNEL_FS_MAKE_SYM (1ULL << 12)
#define KERNEL_FS_REFER (1ULL << 13)     /* ABI 2, Linux 5.19 */
#define KERNEL_FS_TRUNCATE (1ULL << 14)  /* ABI 3, Linux 6.2 */
#define KERNEL_FS_IOCTL_DEV (1ULL << 15) /* ABI 5, Linux 6.10 */
#define KERNEL_NET_BIND_TCP (1ULL << 0)  /* ABI 4, Linux 6.7 */
#define KERNEL_NET_CONNECT_TCP (1ULL << 1)
#define KERNEL_SCOPE_ABSTRACT_UNIX (1ULL << 0) /* ABI 6, Linux 6.12 */
#define KERNEL_SCOPE_SIGNAL (1ULL << 1)

/* All rights that a kernel of this ABI knows.  It refuses a ruleset with any other. */
static inline struct kernel_landlock_ruleset kernel_landlock_known(int abi)
{
    struct kernel_landlock_ruleset known = { .handled_access_fs = KERNEL_FS_REFER - 1 };

    if (abi >= 2)
        known.handled_access_fs |= KERNEL_FS_REFER;
    if (abi >= 3)
        known.handled_access_fs |= KERNEL_FS_TRUNCATE;
    if (abi >= 4)
        known.handled_access_net = KERNEL_NET_BIND_TCP | KERNEL_NET_CONNECT_TCP;
    if (abi >= 5)
        known.handled_access_fs |= KERNEL_FS_IOCTL_DEV;
    if (abi >= 6)
        known.scoped = KERNEL_SCOPE_ABSTRACT_UNIX | KERNEL_SCOPE_SIGNAL;
    return known;
}

static inline int kernel_landlock_create(const struct kernel_landlock_ruleset *attr, size_t size, __u32 flags)
{
    return (int) syscall(SYS_landlock_create_ruleset, attr, size, flags);
}

static inline int kernel_landlock_add_path(int ruleset, const struct kernel_landlock_path *path)
{
    return (int) syscall(SYS_landlock_add_rule, ruleset, KERNEL_LANDLOCK_RULE_PATH, path, 0);
}

static inline int kernel_landlock_restrict_self(int ruleset)
{
    return (int) syscall(SYS_landlock_restrict_self, ruleset, 0);
}

static inline int kernel_pivot_root(const char *new_root, const char *put_old)
{
    return (int) syscall(SYS_pivot_root, new_root, put_old);
}

/* mount_setattr(2), Linux 5.12: glibc 2.36 has it, musl does not. */
static inline int kernel_mount_setattr(int dir, const char *path, unsigned flags, struct mount_attr *attr)
{
    return (int) syscall(SYS_mount_setattr, dir, path, flags, attr, sizeof(*attr));
}

/* open_tree(2), Linux 5.2: glibc 2.36 has it, musl does not. */
static inline int kernel_open_tree(int dir, const char *path, unsigned flags)
{
    return (int) syscall(SYS_open_tree, dir, path, flags);
}

/* clone3(2), Linux 5.3, without a stack: a fork with flags.  The C library does not notice it
 * (fork(2), handlers). */
static inline pid_t kernel_clone3(struct clone_args *args)
{
    return (pid_t) syscall(SYS_clone3, args, sizeof(*args));
}

/* For any signal: the C library's signal() leaves out its own two (32 and 33). */
static inline int kernel_signal_default(int signal)
{
    static const struct {
        unsigned long handler, flags, restorer, mask;
    } by_default; /* zeros: SIG_DFL */
    return (int) syscall(SYS_rt_sigaction, signal, &by_default, NULL, 8);
}

static inline int kernel_pidfd_open(pid_t pid)
{
    return (int) syscall(SYS_pidfd_open, pid, 0);
}

static inline int kernel_pidfd_send_signal(int pidfd, int signal)
{
    return (int) syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

static inline int kernel_close_range(unsigned first, unsigned last, unsigned flags)
{
    return (int) syscall(SYS_close_range, first, last, flags);
}

static inline int kernel_execveat(int fd, char *const argv[], char *const envp[])
{
    return (int) syscall(SYS_execveat, fd, "", argv, envp, 0x1000 /* AT_EMPTY_PATH */);
}

#endif
