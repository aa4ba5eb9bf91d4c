/* SPDX-License-Identifier: Apache-2.0 */
/* The program's system-call filter: seccomp.def plus the rules on arguments.
 *
 * Called once by the zygote, before any fork; libseccomp compiles to BPF, a
 * binary tree because a linear filter of this size costs three times as much a
 * call, and a few instructions of ours before it.  What must never happen here:
 * a 64-bit compare of an argument that the kernel reads as 32 bits
 * (CVE-2019-10063). */
#include "box.h"
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOW32 0xffffffffULL

/* set_mempolicy_home_node(2), and where x86_64 has numbers of x32's own. */
enum { NEWEST_KNOWN = 450, FIRST_X32 = 512 };

struct call {
    const char *name;
    uint32_t action;
};

static const struct call calls[] = {
#define ALLOW(name) { #name, SCMP_ACT_ALLOW },
#define ANSWER(name, error) { #name, SCMP_ACT_ERRNO(error) },
#include "seccomp.def"
#undef ALLOW
#undef ANSWER
};

/* Values that the low half of one argument may have or may not have; otherwise the call is refused with @error. */
struct words {
    const char *name;
    unsigned arg;
    int error;
    bool forbidden; /* the list is of those it may not have */
    const uint32_t *list;
    size_t n;
};

static const uint32_t ioctls[] = { TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX };
static const uint32_t fcntls[] = { F_DUPFD, F_GETFD, F_SETFD,  F_GETFL,         F_SETFL,
                                   F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC, F_GETPIPE_SZ };
static const uint32_t
    prctls[] = { PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE,     PR_SET_NAME,
                 PR_GET_NAME,      PR_CAPBSET_READ,  PR_GET_NO_NEW_PRIVS, 0x53564d41 /* PR_SET_VMA */ };
static const uint32_t arch_prctls[] = { 0x1002 /* ARCH_SET_FS */, 0x1003 /* ARCH_GET_FS */, 0x1021, 0x1022,
                                        0x1023 /* XCOMP: AMX */ };
static const uint32_t madvises[] = { MADV_NORMAL,     MADV_RANDOM,     MADV_SEQUENTIAL, MADV_WILLNEED,
                                     MADV_DONTNEED,   MADV_FREE,       MADV_DONTFORK,   MADV_DOFORK,
                                     MADV_HUGEPAGE,   MADV_NOHUGEPAGE, MADV_DONTDUMP,   MADV_DODUMP,
                                     MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD,       MADV_PAGEOUT };

static const uint32_t control[] = { BOX_CONTROL_FD };

#define WORDS(name, arg, error, forbidden, list)                                                                       \
    {                                                                                                                  \
        name, arg, error, forbidden, list, sizeof(list) / sizeof(*(list))                                              \
    }
static const struct words words[] = {
    WORDS("ioctl", 1, ENOTTY, false, ioctls),
    WORDS("fcntl", 1, EPERM, false, fcntls),
    WORDS("prctl", 0, EPERM, false, prctls),
    WORDS("arch_prctl", 0, EPERM, false, arch_prctls),
    WORDS("madvise", 2, EINVAL, false, madvises),
    /* A program that closes or overwrites every descriptor must not lose its own outcome. */
    WORDS("close", 0, EBADF, true, control),
    WORDS("dup2", 1, EBADF, true, control),
    WORDS("dup3", 1, EBADF, true, control),
    WORDS("write", 0, EBADF, true, control),
    WORDS("writev", 0, EBADF, true, control),
    WORDS("pwrite64", 0, EBADF, true, control),
    WORDS("pwritev", 0, EBADF, true, control),
    WORDS("pwritev2", 0, EBADF, true, control),
    WORDS("shutdown", 0, EBADF, true, control),
};

static int add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *cmp)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR || nr < 0)
        return 0; /* not on this architecture */
    return seccomp_rule_add_array(ctx, action, nr, n, cmp);
}

/* No namespaces, no tracing of the child, and no child that is the zygote's to reap (CLONE_PARENT): it would be
 * woken for each by a program that makes thousands. */
static int add_clone(scmp_filter_ctx ctx)
{
    uint64_t forbidden = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID
                         | CLONE_NEWNET | CLONE_PTRACE | CLONE_UNTRACED | CLONE_PARENT | 0x80 /* CLONE_NEWTIME */;
    struct scmp_arg_cmp none = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, forbidden, 0);
    return add(ctx, SCMP_ACT_ALLOW, "clone", 1, &none);
}

/* No socket of any family but a socketpair of AF_UNIX; nothing out of band on it. */
static int add_sockets(scmp_filter_ctx ctx)
{
    struct scmp_arg_cmp is_unix = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW32, AF_UNIX);
    struct scmp_arg_cmp plain = SCMP_CMP64(3, SCMP_CMP_MASKED_EQ, MSG_OOB | MSG_ERRQUEUE, 0);
    int err = add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 0, NULL);

    if (!err)
        err = add(ctx, SCMP_ACT_ALLOW, "socketpair", 1, &is_unix);
    if (!err)
        err = add(ctx, SCMP_ACT_ALLOW, "sendto", 1, &plain);
    if (!err)
        err = add(ctx, SCMP_ACT_ALLOW, "recvfrom", 1, &plain);
    return err;
}

/* A process's own limits, and of those not the one that keeps the host's core dump handler out of it. */
static int add_limits(scmp_filter_ctx ctx)
{
    int err = 0;

    for (unsigned resource = 0; resource < RLIM_NLIMITS && !err; resource++) {
        struct scmp_arg_cmp cmp[] = { SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW32, 0),
                                      SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, LOW32, resource),
                                      SCMP_CMP64(2, SCMP_CMP_EQ, 0) };
        err = add(ctx, SCMP_ACT_ALLOW, "prlimit64", resource == RLIMIT_CORE ? 3 : 2, cmp);
    }
    return err;
}

/* What came into the kernel after this libseccomp: as on a kernel without it, so that newer libraries take their
 * other way. */
static int add_newer(scmp_filter_ctx ctx)
{
    int err = 0;

    for (int nr = NEWEST_KNOWN + 1; nr < FIRST_X32 && !err; nr++)
        err = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0, NULL);
    return err;
}

/* --- what libseccomp can't say ---
 *
 * It compares 64 bits, and it has no way to refuse "all but these values" with an errno that is not the filter's own.
 * So the calls in words[] are answered by instructions of ours before its program, which all other calls, and other
 * ABIs, fall through to. */

enum { LONGEST_BLOCK = 32 };

static void put(struct sock_fprog *program, uint16_t code, uint32_t k, size_t if_true, size_t if_false)
{
    program->filter[program->len++] =
        (struct sock_filter){ .code = code, .jt = (uint8_t) if_true, .jf = (uint8_t) if_false, .k = k };
}

static void put_load(struct sock_fprog *program, size_t offset)
{
    put(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t) offset, 0, 0);
}

/* One call; the accumulator holds the number, and still does where it is another call's. */
static void put_words(struct sock_fprog *program, const struct words *w)
{
    uint32_t refuse = SECCOMP_RET_ERRNO | (uint32_t) w->error;
    int nr = seccomp_syscall_resolve_name(w->name);

    if (nr < 0)
        return; /* not on this architecture */
    put(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) nr, 0, w->n + 3);
    put_load(program,
             offsetof(struct seccomp_data, args) + w->arg * sizeof(uint64_t)); /* little-endian: the low half */
    for (size_t i = 0; i < w->n; i++)
        put(program, BPF_JMP | BPF_JEQ | BPF_K, w->list[i], w->n - i, 0);
    put(program, BPF_RET | BPF_K, w->forbidden ? SECCOMP_RET_ALLOW : refuse, 0, 0);
    put(program, BPF_RET | BPF_K, w->forbidden ? refuse : SECCOMP_RET_ALLOW, 0, 0);
}

/* @program: what libseccomp made; becomes the whole filter. */
static int put_before(struct sock_fprog *program)
{
    const size_t n_words = sizeof(words) / sizeof(*words);
    struct sock_fprog whole = { 0 };

    whole.filter = calloc(n_words * LONGEST_BLOCK + 4U + program->len, sizeof(*whole.filter));
    if (!whole.filter)
        return -ENOMEM;
    put_load(&whole, offsetof(struct seccomp_data, arch));
    put(&whole, BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 1, 0); /* a token is its AUDIT_ARCH_ */
    put(&whole, BPF_JMP | BPF_JA, 0, 0, 0);
    put_load(&whole, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < n_words; i++)
        put_words(&whole, &words[i]);
    whole.filter[2].k = (uint32_t) whole.len - 3; /* another ABI: straight to libseccomp's program */
    memcpy(whole.filter + whole.len, program->filter, program->len * sizeof(*program->filter));
    whole.len = (unsigned short) (whole.len + program->len);
    free(program->filter);
    *program = whole;
    return 0;
}

/* libseccomp writes BPF to a descriptor only. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *ret_filter)
{
    struct stat st;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int err = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

    if (!err && fstat(fd, &st) < 0)
        err = -errno;
    if (!err) {
        struct sock_filter *code = malloc((size_t) st.st_size);
        if (!code)
            err = -ENOMEM;
        else if (pread(fd, code, (size_t) st.st_size, 0) != st.st_size) {
            free(code);
            err = -EIO;
        } else {
            ret_filter->filter = code;
            ret_filter->len = (unsigned short) ((size_t) st.st_size / sizeof(*code));
        }
    }
    if (fd >= 0)
        close(fd);
    return err;
}

int box_seccomp_compile(struct sock_fprog *ret_filter)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int err = ctx ? 0 : -ENOMEM;

    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && !err; i++)
        err = add(ctx, calls[i].action, calls[i].name, 0, NULL);
    if (!err)
        err = add_clone(ctx);
    if (!err)
        err = add_sockets(ctx);
    if (!err)
        err = add_limits(ctx);
    if (!err)
        err = add_newer(ctx);
    /* mmap: any; executable and writable together is refused by PR_SET_MDWE. */
    if (!err)
        err = add(ctx, SCMP_ACT_ALLOW, "mmap", 0, NULL);
    /* Not guarded by number as close(2) is: callers close one by one then. */
    if (!err)
        err = add(ctx, SCMP_ACT_ERRNO(ENOSYS), "close_range", 0, NULL);
    if (!err)
        err = export(ctx, ret_filter);
    if (!err)
        err = put_before(ret_filter);
    if (ctx)
        seccomp_release(ctx);
    return err;
}
