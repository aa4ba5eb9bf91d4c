/* SPDX-License-Identifier: Apache-2.0 */
/* The program's filter, twice: interpreted, so that every number of every ABI can be asked, and installed in a
 * child, so that the kernel has its say. */
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct sock_fprog filter, shared, own, no_callbacks, with_epoll;

#define PASS SECCOMP_RET_ALLOW
#define KILL SECCOMP_RET_KILL_PROCESS
#define ERR(error) (SECCOMP_RET_ERRNO | (error))

enum { NR_MAX = 1024 }; /* numbers to ask for: no ABI has as many */
#define ANY_ARG 0xdeadbeefcafef00d

/* --- a machine for classic BPF, as far as seccomp(2) allows it --- */

static bool jumps(uint16_t code, uint32_t a, uint32_t k)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ: return a == k;
    case BPF_JGT: return a > k;
    case BPF_JGE: return a >= k;
    case BPF_JSET: return a & k;
    default: fail_msg("a jump of kind %x", code);
    }
    return false;
}

static uint32_t run_one(const struct sock_fprog *prog, const struct seccomp_data *data)
{
    const struct sock_filter *f = prog->filter;
    uint32_t a = 0;

    for (unsigned pc = 0; pc < prog->len; pc++) {
        uint16_t code = f[pc].code;
        if (code == (BPF_RET | BPF_K))
            return f[pc].k;
        else if (code == (BPF_LD | BPF_W | BPF_ABS)) {
            assert_true(f[pc].k % 4 == 0 && f[pc].k + 4 <= sizeof(*data));
            memcpy(&a, (const char *) data + f[pc].k, sizeof(a));
        } else if (code == (BPF_JMP | BPF_JA))
            pc += f[pc].k;
        else if (code == (BPF_ALU | BPF_AND | BPF_K))
            a &= f[pc].k;
        else if (BPF_CLASS(code) == BPF_JMP && BPF_SRC(code) == BPF_K)
            pc += jumps(code, a, f[pc].k) ? f[pc].jt : f[pc].jf;
        else
            fail_msg("instruction %u has code %x", pc, code);
    }
    fail_msg("the filter has no end");
    return 0;
}

/* Lower is stricter, as signed numbers (seccomp(2)); of two errnos the kernel takes the newer filter's. */
static uint32_t stricter(uint32_t newer, uint32_t older)
{
    return (int32_t) (older & SECCOMP_RET_ACTION_FULL) < (int32_t) (newer & SECCOMP_RET_ACTION_FULL) ? older : newer;
}

/* Whatever is asked of the whole filter, its two parts, as a box has them, give the same answer. */
static uint32_t run_filter(const struct seccomp_data *data)
{
    uint32_t answer = run_one(&filter, data);

    assert_int_equal(stricter(run_one(&own, data), run_one(&shared, data)), answer);
    return answer;
}

static uint32_t native_arch(void)
{
    return seccomp_arch_native();
}

static uint32_t ask(uint32_t arch, int nr, unsigned arg, uint64_t value)
{
    struct seccomp_data data = { .nr = nr, .arch = arch };

    for (unsigned i = 0; i < 6; i++)
        data.args[i] = i == arg ? value : ANY_ARG;
    return run_filter(&data);
}

/* The filter's answer to the call @name with its argument @arg, counted from 0, being @value. */
static uint32_t answer(const char *name, unsigned arg, uint64_t value)
{
    int nr = seccomp_syscall_resolve_name(name);

    assert_true(nr >= 0);
    return ask(native_arch(), nr, arg, value);
}

/* Is it on this architecture? */
static bool exists(const char *name)
{
    return seccomp_syscall_resolve_name(name) >= 0;
}

/* --- interpreted --- */

static const struct {
    const char *name;
    uint32_t action;
} plain[] = {
#define ALLOW(name) { #name, PASS },
#define ANSWER(name, error) { #name, ERR(error) },
#define EPOLL(name) { #name, ERR(ENOSYS) },
#include "box/seccomp.def"
    { "socket", ERR(EAFNOSUPPORT) },
    { "close_range", ERR(ENOSYS) },
};

/* With arguments: the low 32 bits decide, whatever is above them. */
static const struct {
    const char *name;
    unsigned arg;
    uint64_t value;
    uint32_t action;
    bool low32;
} cases[] = {
    { "clone", 0, SIGCHLD, PASS, false },
    { "clone", 0, CLONE_VM | CLONE_VFORK | SIGCHLD, PASS, false },
    { "clone", 0, 0x3d0f00, PASS, false },                                            /* pthread_create(3) */
    { "clone", 0, CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD, PASS, false }, /* fork(3) */
    { "clone", 0, CLONE_NEWUSER | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_NEWNS | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_NEWPID | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_NEWNET | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_NEWIPC | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_NEWUTS | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_NEWCGROUP | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, 0x80, ERR(EPERM), true }, /* CLONE_NEWTIME */
    { "clone", 0, CLONE_PARENT | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_PTRACE | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_UNTRACED | SIGCHLD, ERR(EPERM), true },
    { "clone", 0, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_NEWUSER, ERR(EPERM), true },
    { "socketpair", 0, AF_UNIX, PASS, true },
    { "socketpair", 0, AF_INET, ERR(EPERM), true },
    { "socketpair", 0, AF_TIPC, ERR(EPERM), true },
    { "sendto", 3, 0, PASS, true },
    { "sendto", 3, MSG_NOSIGNAL | MSG_DONTWAIT, PASS, true },
    { "sendto", 3, MSG_OOB, ERR(EPERM), true },
    { "sendto", 3, MSG_OOB | MSG_NOSIGNAL, ERR(EPERM), true },
    { "recvfrom", 3, MSG_PEEK, PASS, true },
    { "recvfrom", 3, MSG_OOB, ERR(EPERM), true },
    { "recvfrom", 3, MSG_ERRQUEUE, ERR(EPERM), true },
    { "ioctl", 1, TCGETS, PASS, true },
    { "ioctl", 1, TIOCGWINSZ, PASS, true },
    { "ioctl", 1, FIONREAD, PASS, true },
    { "ioctl", 1, FIONBIO, PASS, true },
    { "ioctl", 1, FIOCLEX, PASS, true },
    { "ioctl", 1, FIONCLEX, PASS, true },
    { "ioctl", 1, TIOCSTI, ERR(ENOTTY), true }, /* CVE-2019-10063 */
    { "ioctl", 1, TIOCLINUX, ERR(ENOTTY), true },
    { "ioctl", 1, TCSETS, ERR(ENOTTY), true },
    { "ioctl", 1, TIOCSCTTY, ERR(ENOTTY), true },
    { "ioctl", 1, 0, ERR(ENOTTY), true },
    { "fcntl", 1, F_DUPFD, PASS, true },
    { "fcntl", 1, F_DUPFD_CLOEXEC, PASS, true },
    { "fcntl", 1, F_GETFD, PASS, true },
    { "fcntl", 1, F_SETFD, PASS, true },
    { "fcntl", 1, F_GETFL, PASS, true },
    { "fcntl", 1, F_SETFL, ERR(EINVAL), true }, /* ANY_ARG has O_DIRECT's bit: test_direct() */
    { "fcntl", 1, F_GETLK, PASS, true },
    { "fcntl", 1, F_SETLK, ERR(0), true },
    { "fcntl", 1, F_SETLKW, ERR(0), true },
    { "fcntl", 1, 37 /* F_OFD_SETLK */, ERR(EPERM), true },
    { "fcntl", 1, 38 /* F_OFD_SETLKW */, ERR(EPERM), true },
    { "fcntl", 1, F_SETPIPE_SZ, ERR(EPERM), true },
    { "fcntl", 1, F_SETOWN, ERR(EPERM), true },
    { "fcntl", 1, F_SETSIG, ERR(EPERM), true },
    { "fcntl", 1, F_NOTIFY, ERR(EPERM), true },
    { "fcntl", 1, F_SETLEASE, ERR(EPERM), true },
    { "prctl", 0, PR_SET_NAME, PASS, true },
    { "prctl", 0, PR_GET_NAME, PASS, true },
    { "prctl", 0, PR_GET_DUMPABLE, PASS, true },
    { "prctl", 0, PR_SET_PDEATHSIG, PASS, true },
    { "prctl", 0, PR_SET_DUMPABLE, ERR(EPERM), true },
    { "prctl", 0, PR_SET_SECCOMP, ERR(EPERM), true },
    { "prctl", 0, PR_SET_PTRACER, ERR(EPERM), true },
    { "prctl", 0, PR_SET_MM, ERR(EPERM), true },
    { "prctl", 0, 0x53564d41 /* PR_SET_VMA */, ERR(EINVAL), true },
    { "prctl", 0, PR_SET_CHILD_SUBREAPER, ERR(EPERM), true },
    { "prctl", 0, PR_CAP_AMBIENT, ERR(EPERM), true },
    { "prctl", 0, PR_SET_SECUREBITS, ERR(EPERM), true },
    { "prctl", 0, 67 /* PR_SET_MEMORY_MERGE */, ERR(EPERM), true },
    { "madvise", 2, MADV_DONTNEED, PASS, true },
    { "madvise", 2, MADV_FREE, PASS, true },
    { "madvise", 2, MADV_MERGEABLE, ERR(EINVAL), true },
    { "madvise", 2, MADV_HWPOISON, ERR(EINVAL), true },
    { "madvise", 2, 101 /* MADV_SOFT_OFFLINE */, ERR(EINVAL), true },
    { "clone", 0, CLONE_PIDFD | SIGCHLD, ERR(EPERM), true },
    { "mremap", 3, MREMAP_MAYMOVE, PASS, true },
    { "mremap", 3, MREMAP_MAYMOVE | MREMAP_FIXED, ERR(EINVAL), true },
    { "mmap", 3, MAP_PRIVATE | MAP_ANONYMOUS, PASS, true },
    { "mmap", 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, ERR(EINVAL), true },
    { "mmap", 3, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | 30U << 26, ERR(EINVAL), true },
    { "open", 1, O_RDWR | O_CREAT | O_CLOEXEC, PASS, true },
    { "open", 1, O_RDONLY | O_DIRECT, ERR(EINVAL), true },
    { "openat", 2, O_RDWR | O_CREAT | O_CLOEXEC, PASS, true },
    { "openat", 2, O_RDONLY | O_DIRECT, ERR(EINVAL), true },
    { "preadv2", 5, 0, PASS, true },
    { "preadv2", 5, 0x8 /* RWF_NOWAIT */, ERR(EOPNOTSUPP), true },
    { "preadv2", 5, 0x80 /* RWF_DONTCACHE */, ERR(EOPNOTSUPP), true },
    { "getsockopt", 2, SO_ERROR, PASS, true },
    { "getsockopt", 2, SO_TYPE, PASS, true },
    { "getsockopt", 2, 57 /* SO_COOKIE */, ERR(ENOPROTOOPT), true },
    { "getsockopt", 2, 77 /* SO_PEERPIDFD */, ERR(ENOPROTOOPT), true },
    { "memfd_create", 1, 0, PASS, true },
    { "memfd_create", 1, MFD_CLOEXEC, PASS, true },
    { "memfd_create", 1, MFD_ALLOW_SEALING, ERR(EINVAL), true },
    { "memfd_create", 1, MFD_CLOEXEC | MFD_HUGETLB, ERR(EINVAL), true },
    { "memfd_create", 1, MFD_CLOEXEC | 0x8 /* MFD_NOEXEC_SEAL */, ERR(EINVAL), true },
    { "memfd_create", 1, MFD_CLOEXEC | 0x10 /* MFD_EXEC */, ERR(EINVAL), true },
    { "arch_prctl", 0, 0x1002, PASS, true },
    { "arch_prctl", 0, 0x1001 /* ARCH_SET_GS */, ERR(EPERM), true },
    { "arch_prctl", 0, 0x4001 /* ARCH_ENABLE_TAGGED_ADDR and its like */, ERR(EPERM), true },
};

/* The outcome socket's number, and others, where a descriptor is an argument. */
static const struct {
    const char *name;
    unsigned arg;
} guarded[] = {
    { "close", 0 },    { "dup2", 1 },    { "dup3", 1 },     { "write", 0 },    { "writev", 0 },
    { "pwrite64", 0 }, { "pwritev", 0 }, { "pwritev2", 0 }, { "shutdown", 0 },
};

static void test_plain(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
        if (!exists(plain[i].name))
            continue;
        uint32_t got = answer(plain[i].name, 0, ANY_ARG);
        if (got != plain[i].action)
            fail_msg("%s: %x instead of %x", plain[i].name, got, plain[i].action);
    }
}

static void test_arguments(void **state)
{
    static const uint64_t above[] = { 0, 1ULL << 32, 0xffffffffULL << 32 };

    (void) state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (unsigned j = 0; j < (cases[i].low32 ? 3 : 1); j++) {
            if (!exists(cases[i].name))
                continue;
            uint32_t got = answer(cases[i].name, cases[i].arg, cases[i].value | above[j]);
            if (got != cases[i].action)
                fail_msg("%s(%lx): %x instead of %x", cases[i].name, (unsigned long) (cases[i].value | above[j]), got,
                         cases[i].action);
        }
}

static void test_guards(void **state)
{
    static const uint64_t others[] = {
        0, 1, 3, 255, 1022, 1024, 0x3ff0000, 0x7fffffff, 0xffffffff, UINT64_MAX, (1ULL << 32) | 3
    };

    (void) state;
    for (unsigned i = 0; i < sizeof(guarded) / sizeof(*guarded); i++) {
        if (!exists(guarded[i].name))
            continue;
        for (unsigned j = 0; j < sizeof(others) / sizeof(*others); j++)
            if (answer(guarded[i].name, guarded[i].arg, others[j]) != PASS)
                fail_msg("%s of %lx is refused", guarded[i].name, (unsigned long) others[j]);
        for (uint64_t above = 0; above < 3; above++)
            if (answer(guarded[i].name, guarded[i].arg, above << 32 | BOX_CONTROL_FD) != ERR(EBADF))
                fail_msg("%s reaches the outcome's socket (%lu above it)", guarded[i].name, (unsigned long) above);
    }
    assert_int_equal(answer("dup2", 0, BOX_CONTROL_FD), PASS); /* what it is copied from is its own affair */
}

static uint32_t ask_limit(uint64_t pid, uint64_t resource, uint64_t value)
{
    struct seccomp_data data = { .nr = SYS_prlimit64,
                                 .arch = native_arch(),
                                 .args = { pid, resource, value, ANY_ARG } };
    return run_filter(&data);
}

/* A process's own limits may be read and set, but the one that keeps the host's core dump handler out only read. */
static void test_limits(void **state)
{
    (void) state;
    for (uint64_t above = 0; above < 3; above++)
        for (uint64_t resource = 0; resource < RLIM_NLIMITS + 3; resource++) {
            uint32_t known = resource < RLIM_NLIMITS ? PASS : ERR(EPERM);
            uint64_t high = above << 32;
            assert_int_equal(ask_limit(high, high | resource, 0), known);
            assert_int_equal(ask_limit(high, high | resource, ANY_ARG), resource == RLIMIT_CORE ? ERR(0) : known);
            assert_int_equal(ask_limit(high, high | resource, 1ULL << 32), resource == RLIMIT_CORE ? ERR(0) : known);
            assert_int_equal(ask_limit(high | 1, high | resource, 0), ERR(EPERM));
            assert_int_equal(ask_limit(high | 0xffffffff, high | resource, ANY_ARG), ERR(EPERM));
        }
}

/* O_DIRECT does not come in by fcntl(2) either; the other commands' third argument may have any bit. */
static void test_direct(void **state)
{
    struct seccomp_data data = { .nr = SYS_fcntl, .arch = native_arch(), .args = { 3, F_SETFL, O_NONBLOCK } };

    (void) state;
    assert_int_equal(run_filter(&data), PASS);
    data.args[2] |= O_DIRECT;
    assert_int_equal(run_filter(&data), ERR(EINVAL));
    data.args[1] |= 1ULL << 32;
    assert_int_equal(run_filter(&data), ERR(EINVAL));
    data.args[1] = F_GETLK;
    assert_int_equal(run_filter(&data), PASS);
}

/* isolation.callbacks = no: as on a kernel that has no such call. */
static void test_without_callbacks(void **state)
{
    struct seccomp_data data = { .arch = native_arch(), .args = { 0, MFD_CLOEXEC } };

    (void) state;
    data.nr = SYS_memfd_create;
    assert_int_equal(run_one(&no_callbacks, &data), ERR(ENOSYS));
    data.nr = SYS_read;
    assert_int_equal(run_one(&no_callbacks, &data), PASS);
}

/* isolation.epoll = yes: the kernel's own epolls, and nothing else that the filter does not let through by itself. */
static void test_with_epoll(void **state)
{
    static const char *const names[] = {
#define EPOLL(name) #name,
#include "box/seccomp.def"
    };
    struct seccomp_data data = { .arch = native_arch() };

    (void) state;
    for (data.nr = 0; data.nr < NR_MAX; data.nr++) {
        bool of_epoll = false;
        for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
            of_epoll |= seccomp_syscall_resolve_name(names[i]) == data.nr;
        assert_int_equal(run_one(&with_epoll, &data), of_epoll ? PASS : run_one(&filter, &data));
    }
}

static bool is_listed(int nr)
{
    for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        if (seccomp_syscall_resolve_name(plain[i].name) == nr)
            return true;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        if (seccomp_syscall_resolve_name(cases[i].name) == nr)
            return true;
    for (unsigned i = 0; i < sizeof(guarded) / sizeof(*guarded); i++)
        if (seccomp_syscall_resolve_name(guarded[i].name) == nr)
            return true;
    return false;
}

/* Calls of kernels to come: libraries take their other way as on a kernel without them.  Above, x86_64 has x32's. */
enum { FIRST_NEW = 451, LAST_NEW = 511 };

/* What nobody has thought of is refused, now and with kernels to come. */
static void test_everything_else(void **state)
{
    static const char *const never[] = { "ptrace",
                                         "mount",
                                         "umount2",
                                         "pivot_root",
                                         "chroot",
                                         "setns",
                                         "unshare",
                                         "bpf",
                                         "perf_event_open",
                                         "userfaultfd",
                                         "kexec_load",
                                         "init_module",
                                         "keyctl",
                                         "add_key",
                                         "request_key",
                                         "process_vm_readv",
                                         "process_vm_writev",
                                         "personality",
                                         "connect",
                                         "bind",
                                         "listen",
                                         "accept",
                                         "accept4",
                                         "sendmsg",
                                         "recvmsg",
                                         "sendmmsg",
                                         "setsockopt",
                                         "mknod",
                                         "mknodat",
                                         "setuid",
                                         "setresuid",
                                         "setgroups",
                                         "capset",
                                         "seccomp",
                                         "prctl",
                                         "execveat",
                                         "name_to_handle_at",
                                         "open_by_handle_at",
                                         "splice",
                                         "tee",
                                         "vmsplice",
                                         "mlock",
                                         "mlockall",
                                         "shmget",
                                         "semget",
                                         "msgget",
                                         "mq_open",
                                         "fanotify_init",
                                         "reboot",
                                         "swapon",
                                         "clock_settime",
                                         "settimeofday",
                                         "acct",
                                         "quotactl",
                                         "iopl",
                                         "ioperm",
                                         "modify_ldt",
                                         "timer_create",
                                         "fsopen",
                                         "open_tree",
                                         "move_mount",
                                         "mount_setattr",
                                         "kcmp",
                                         "pkey_mprotect",
                                         "process_madvise",
                                         "syslog" };

    (void) state;
    for (int nr = 0; nr < NR_MAX; nr++)
        if (!is_listed(nr) && ask(native_arch(), nr, 0, 0) != ERR(nr >= FIRST_NEW && nr <= LAST_NEW ? ENOSYS : EPERM))
            fail_msg("call %d is not refused", nr);
    for (unsigned i = 0; i < sizeof(never) / sizeof(*never); i++)
        if (exists(never[i]) && answer(never[i], 0, ANY_ARG) != ERR(EPERM))
            fail_msg("%s is not refused", never[i]);
}

static void test_foreign(void **state)
{
    static const uint32_t arches[] = { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_ARM,     AUDIT_ARCH_AARCH64,
                                       AUDIT_ARCH_MIPS, AUDIT_ARCH_S390,   AUDIT_ARCH_RISCV64, 0 };

    (void) state;
    for (unsigned i = 0; i < sizeof(arches) / sizeof(*arches); i++)
        for (int nr = -1; nr < NR_MAX && arches[i] != native_arch(); nr++)
            assert_int_equal(ask(arches[i], nr, 0, 0), KILL);
    if (native_arch() == AUDIT_ARCH_X86_64)
        for (int nr = 0; nr < NR_MAX; nr++)
            assert_int_equal(ask(AUDIT_ARCH_X86_64, nr | 0x40000000, 0, 0), KILL); /* x32 */
}

/* --- the two parts, each alone --- */

/* The calls that the zygote makes for a box, and whose rules are in a box's own part. */
static const char *const setup[] = {
    "capset", "clone",       "clone3",        "close_range", "dup3",      "execveat",    "landlock_restrict_self",
    "mount",  "prctl",       "prlimit64",     "recvmsg",     "seccomp",   "sendmsg",     "setgroups",
    "setns",  "setpriority", "setdomainname", "setresgid",   "setresuid", "sethostname", "unshare",
};

static bool is_setup(int nr)
{
    for (unsigned i = 0; i < sizeof(setup) / sizeof(*setup); i++)
        if (seccomp_syscall_resolve_name(setup[i]) == nr)
            return true;
    return false;
}

/* Values of arguments that one rule or another looks for, among others that none does. */
static const uint64_t probes[] = { 0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   AF_UNIX | SOCK_STREAM,
                                   SIGCHLD,
                                   BOX_CONTROL_FD,
                                   BOX_CONTROL_FD | 1ULL << 32,
                                   PR_SET_NAME,
                                   PR_SET_DUMPABLE,
                                   PR_SET_SECCOMP,
                                   F_SETFL,
                                   O_DIRECT,
                                   MAP_HUGETLB,
                                   CLONE_NEWUSER,
                                   CLONE_NEWPID | CLONE_PIDFD | CLONE_VM | CLONE_VFORK | SIGCHLD,
                                   MSG_OOB,
                                   TCGETS,
                                   0x1002,
                                   ANY_ARG,
                                   UINT64_MAX };

static void check_parts(const struct seccomp_data *data)
{
    uint32_t by_shared = run_one(&shared, data), by_own = run_one(&own, data), by_whole = run_one(&filter, data);
    bool of_setup = is_setup(data->nr);

    if (by_shared != (of_setup ? PASS : by_whole))
        fail_msg("the shared part answers call %d with %x", data->nr, by_shared);
    if (by_own != (of_setup ? by_whole : PASS))
        fail_msg("a box's own part answers call %d with %x", data->nr, by_own);
}

/* What zygote and init are held by is the whole filter but for these calls; what a box adds is those and no more. */
static void test_parts(void **state)
{
    enum { N = sizeof(probes) / sizeof(*probes) };
    struct seccomp_data data = { .arch = native_arch() };

    (void) state;
    for (data.nr = 0; data.nr < NR_MAX; data.nr++)
        for (unsigned i = 0; i < N; i++)
            for (unsigned arg = 0; arg < 6; arg++) {
                for (unsigned other = 0; other < 6; other++)
                    data.args[other] = probes[(i + other) % N];
                data.args[arg] = probes[i];
                check_parts(&data);
            }
    for (unsigned i = 0; i < sizeof(setup) / sizeof(*setup); i++)
        assert_true(exists(setup[i]));
}

/* A call of another ABI ends the process by either part; x32's numbers are no calls that a box is made with. */
static void test_parts_foreign(void **state)
{
    struct seccomp_data data = { 0 };

    (void) state;
    for (data.nr = -1; data.nr < NR_MAX; data.nr++) {
        data.arch = native_arch() == AUDIT_ARCH_X86_64 ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64;
        assert_int_equal(run_one(&shared, &data), KILL);
        assert_int_equal(run_one(&own, &data), KILL);
        data.arch = AUDIT_ARCH_X86_64;
        struct seccomp_data x32 = data;
        x32.nr |= 0x40000000;
        if (data.nr >= 0)
            assert_int_equal(run_one(&shared, &x32), KILL);
    }
}

/* --- installed --- */

/* A child under the filter: what it returned, or minus the signal that ended it. */
static int in_jail(int (*try)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (dup2(STDOUT_FILENO, BOX_CONTROL_FD) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &shared) != 0
            || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &own) != 0)
            _exit(255);
        _exit(try());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#define TRY(name, call)                                                                                                \
    static int try_##name(void)                                                                                        \
    {                                                                                                                  \
        errno = 0;                                                                                                     \
        return (call) == -1 ? errno : 0;                                                                               \
    }

static int pair[2];
static char byte;
static struct rlimit limit;

TRY(getpid, syscall(SYS_getpid))
TRY(open, syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0))
TRY(socketpair, syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair))
TRY(socketpair_inet, syscall(SYS_socketpair, AF_INET, SOCK_STREAM, 0, pair))
TRY(socket_unix, syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0))
TRY(socket_inet, syscall(SYS_socket, AF_INET, SOCK_STREAM, 0))
TRY(socket_vsock, syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0))
TRY(unshare, syscall(SYS_unshare, CLONE_NEWUSER))
TRY(clone_user, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0))
TRY(clone3, syscall(SYS_clone3, NULL, 0))
TRY(io_uring, syscall(SYS_io_uring_setup, 1, NULL))
TRY(ptrace, syscall(SYS_ptrace, 0, 0, 0, 0))
TRY(seccomp, syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL))
TRY(memfd, syscall(SYS_memfd_create, "x", MFD_CLOEXEC))
TRY(memfd_huge, syscall(SYS_memfd_create, "x", MFD_HUGETLB))
TRY(memfd_sealed, syscall(SYS_memfd_create, "x", MFD_CLOEXEC | MFD_ALLOW_SEALING))
TRY(memfd_executed, syscall(SYS_execveat, syscall(SYS_memfd_create, "x", 0), "", NULL, NULL, AT_EMPTY_PATH))
TRY(xattr, syscall(SYS_getxattr, "/", "user.x", &byte, 1))
TRY(tiocsti, syscall(SYS_ioctl, 0, TIOCSTI, &byte))
TRY(tiocsti_high, syscall(SYS_ioctl, 0, TIOCSTI | 1UL << 32, &byte))
TRY(close_range, syscall(SYS_close_range, 3, ~0U, 0))
TRY(dumpable, syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0))
TRY(name, syscall(SYS_prctl, PR_SET_NAME, "x", 0, 0, 0))
TRY(merge, syscall(SYS_madvise, 0, 0, MADV_MERGEABLE))
TRY(prlimit_other, syscall(SYS_prlimit64, 1, 0, NULL, NULL))
TRY(prlimit_self, syscall(SYS_prlimit64, 0, 0, NULL, NULL))
TRY(prlimit_core_get, syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &limit))
TRY(prlimit_core_set, syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limit, NULL))
TRY(newer, syscall(LAST_NEW))
TRY(unknown, syscall(1000))
TRY(close, syscall(SYS_close, BOX_CONTROL_FD))
TRY(close_high, syscall(SYS_close, BOX_CONTROL_FD | 1UL << 32))
TRY(close_other, syscall(SYS_close, 1))
TRY(close_none, syscall(SYS_close, -1))
TRY(dup2, syscall(SYS_dup2, 1, BOX_CONTROL_FD))
TRY(dup3, syscall(SYS_dup3, 1, BOX_CONTROL_FD, 0))
TRY(dup3_high, syscall(SYS_dup3, 1, BOX_CONTROL_FD | 1UL << 32, 0))
TRY(write, syscall(SYS_write, BOX_CONTROL_FD, &byte, 0))
TRY(write_high, syscall(SYS_write, BOX_CONTROL_FD | 1UL << 32, &byte, 0))
TRY(write_other, syscall(SYS_write, 1, &byte, 0))

static int try_child(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(7);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : 1;
}

/* After every attempt to close it the socket's number still works, by sendto(2) or whatever else. */
static int try_close_all(void)
{
    for (int fd = 3; fd < 2000; fd++)
        syscall(SYS_close, fd);
    return fcntl(BOX_CONTROL_FD, F_GETFD) < 0;
}

#ifdef __x86_64__
static int try_int80(void)
{
    long r = 20; /* getpid(2) of i386 */
    __asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
    return r > 0 ? 0 : 1;
}

TRY(x32, syscall(0x40000000 | SYS_getpid))
#endif

static const struct {
    const char *name;
    int (*try)(void);
    int result;
} tries[] = {
#define R(name, result)                                                                                                \
    {                                                                                                                  \
#name, try_##name, result                                                                                      \
    }
    R(getpid, 0),
    R(open, 0),
    R(child, 0),
    R(socketpair, 0),
    R(socketpair_inet, EPERM),
    R(socket_unix, EAFNOSUPPORT),
    R(socket_inet, EAFNOSUPPORT),
    R(socket_vsock, EAFNOSUPPORT),
    R(unshare, EPERM),
    R(clone_user, EPERM),
    R(clone3, ENOSYS),
    R(io_uring, ENOSYS),
    R(ptrace, EPERM),
    R(seccomp, EPERM),
    R(memfd, 0),
    R(memfd_huge, EINVAL),
    R(memfd_sealed, EINVAL),
    R(memfd_executed, EPERM),
    R(xattr, EOPNOTSUPP),
    R(tiocsti, ENOTTY),
    R(tiocsti_high, ENOTTY),
    R(close_range, ENOSYS),
    R(dumpable, EPERM),
    R(name, 0),
    R(merge, EINVAL),
    R(prlimit_other, EPERM),
    R(prlimit_self, 0),
    R(prlimit_core_get, 0),
    R(prlimit_core_set, 0), /* answered and not done */
    R(newer, ENOSYS),
    R(unknown, EPERM),
    R(close, EBADF),
    R(close_high, EBADF),
    R(close_other, 0),
    R(close_none, EBADF),
    R(dup2, EBADF),
    R(dup3, EBADF),
    R(dup3_high, EBADF),
    R(write, EBADF),
    R(write_high, EBADF),
    R(write_other, 0),
    R(close_all, 0),
#ifdef __x86_64__
    R(x32, -SIGSYS),
#endif
#undef R
};

static void test_kernel(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
        int got = in_jail(tries[i].try);
        if (got != tries[i].result)
            fail_msg("%s: %d instead of %d", tries[i].name, got, tries[i].result);
    }
}

#ifdef __x86_64__
/* A kernel without i386 answers the instruction itself with SIGSEGV; then there is nothing to close off. */
static void test_int80(void **state)
{
    int status;
    pid_t pid = fork();

    (void) state;
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(try_int80());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        skip();
    assert_int_equal(in_jail(try_int80), -SIGSYS);
}
#endif

/* The steps' words, which logs and `doctor` show. */
static void test_steps(void **state)
{
    (void) state;
    assert_string_equal(box_step_word(BOX_READY), "ready");
    assert_string_equal(box_step_word(BOX_SECCOMP), "seccomp");
    assert_string_equal(box_step_word(-1), "?");
    assert_string_equal(box_step_word(BOX_STEPS), "?");
    assert_string_equal(box_step_hint(BOX_READY), "");
    assert_string_equal(box_step_hint(BOX_STEPS), "");
    for (int step = 1; step < BOX_STEPS; step++) {
        assert_true(*box_step_word(step) && *box_step_hint(step));
        for (int other = 0; other < step; other++)
            assert_string_not_equal(box_step_word(step), box_step_word(other));
    }
}

static int compile(void **state)
{
    (void) state;
    return box_seccomp_compile(BOX_FILTER_WHOLE, true, false, &filter)
           || box_seccomp_compile(BOX_FILTER_SHARED, true, false, &shared)
           || box_seccomp_compile(BOX_FILTER_OWN, true, false, &own)
           || box_seccomp_compile(BOX_FILTER_WHOLE, false, false, &no_callbacks)
           || box_seccomp_compile(BOX_FILTER_WHOLE, true, true, &with_epoll);
}

static int release(void **state)
{
    (void) state;
    free(filter.filter);
    free(shared.filter);
    free(own.filter);
    free(no_callbacks.filter);
    free(with_epoll.filter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_guards),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_direct),        cmocka_unit_test(test_everything_else),
        cmocka_unit_test(test_foreign),       cmocka_unit_test(test_parts),
        cmocka_unit_test(test_parts_foreign), cmocka_unit_test(test_kernel),
#ifdef __x86_64__
        cmocka_unit_test(test_int80),
#endif
        cmocka_unit_test(test_steps),         cmocka_unit_test(test_without_callbacks),
        cmocka_unit_test(test_with_epoll),
    };
    return cmocka_run_group_tests(tests, compile, release);
}
