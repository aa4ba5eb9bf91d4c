/* SPDX-License-Identifier: Apache-2.0 */
/* The program's system-call filter: seccomp.def plus the rules on arguments.
 *
 * Called once by the zygote, before any fork; libseccomp compiles to BPF, a
 * binary tree because a linear filter of this size costs three times as much a
 * call.  The kernel translates a filter each time it is installed, 0.15 ms for this one; so the zygote takes on what
 * all boxes share of it, except for the calls that making a box takes, and each box a small one for those.  Both hold
 * in a box, and the stricter answer counts.  What must never happen here: a 64-bit compare of an argument that the
 * kernel reads as 32 bits (CVE-2019-10063): those are compared under a 32-bit
 * mask, or by the low half alone in the part that is put in front. */
#include "box/box.h"

#include "base/filter.h"
#include "base/kernel.h"

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

/* The answer where the runtime has no epoll, and where it has. */
struct call {
    const char *name;
    uint32_t action, with_epoll;
};

static const struct call calls[] = {
#define ALLOW(name) { #name, SCMP_ACT_ALLOW, SCMP_ACT_ALLOW },
#define ANSWER(name, error) { #name, SCMP_ACT_ERRNO(error), SCMP_ACT_ERRNO(error) },
#define EPOLL(name) { #name, SCMP_ACT_ERRNO(ENOSYS), SCMP_ACT_ALLOW },
#include "box/seccomp.def"
};

/* Calls refused on the outcome socket only: a program that closes or overwrites every descriptor must not lose its own
 * outcome.  Which argument is the descriptor, and the errno. */
static const struct {
    const char *name;
    unsigned arg;
    int error;
} guarded[] = {
    { "close", 0, EBADF },   { "dup2", 1, EBADF },     { "dup3", 1, EBADF },
    { "write", 0, EBADF },   { "writev", 0, EBADF },   { "pwrite64", 0, EBADF },
    { "pwritev", 0, EBADF }, { "pwritev2", 0, EBADF }, { "shutdown", 0, EBADF },
};

/* Values one argument may have, all else gets the errno; or, in answers[], those that get it. */
struct words {
    const char *name;
    unsigned arg;
    int error;
    const uint64_t *values;
    size_t n;
};

static const uint64_t ioctls[] = { TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX };
/* Not SO_PEERPIDFD: a handle on the zygote, whose socketpair the outcome's is.  Not SO_COOKIE, a count of the host's. */
static const uint64_t socket_options[] = { SO_REUSEADDR, SO_TYPE,       SO_ERROR,    SO_SNDBUF,   SO_RCVBUF,
                                           SO_KEEPALIVE, SO_LINGER,     SO_PASSCRED, SO_PEERCRED, SO_RCVTIMEO,
                                           SO_SNDTIMEO,  SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN };
/* RWF_NOWAIT tells which of the host's pages are in memory, as mincore(2) does. */
static const uint64_t read_flags[] = { 0 };
static const uint64_t fcntls[] = {
    F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_DUPFD_CLOEXEC, F_GETPIPE_SZ
};
static const uint64_t prctls[] = { PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE,    PR_SET_NAME,
                                   PR_GET_NAME,      PR_CAPBSET_READ,  PR_GET_NO_NEW_PRIVS };
/* No huge pages, no seals, no bit that says whether it may be executed: libffi asks for none of these. */
static const uint64_t memfd_flags[] = { 0, MFD_CLOEXEC };
static const uint64_t arch_prctls[] = { 0x1002 /* ARCH_SET_FS */, 0x1003 /* ARCH_GET_FS */, 0x1021, 0x1022,
                                        0x1023 /* XCOMP: AMX */ };
static const uint64_t madvises[] = { MADV_NORMAL,        MADV_RANDOM,     MADV_SEQUENTIAL, MADV_WILLNEED,
                                     MADV_DONTNEED,      MADV_FREE,       MADV_DONTFORK,   MADV_DOFORK,
                                     MADV_HUGEPAGE,      MADV_NOHUGEPAGE, MADV_DONTDUMP,   MADV_DODUMP,
                                     MADV_WIPEONFORK,    MADV_KEEPONFORK, MADV_COLD,       MADV_PAGEOUT,
                                     MADV_POPULATE_WRITE };

#define WORDS(name, arg, error, list)                                                                                  \
    {                                                                                                                  \
        name, arg, error, list, sizeof(list) / sizeof(*(list))                                                         \
    }
static const struct words words[] = {
    WORDS("ioctl", 1, ENOTTY, ioctls),
    WORDS("fcntl", 1, EPERM, fcntls),
    WORDS("prctl", 0, EPERM, prctls),
    WORDS("arch_prctl", 0, EPERM, arch_prctls),
    WORDS("madvise", 2, EINVAL, madvises),
    WORDS("getsockopt", 2, ENOPROTOOPT, socket_options),
    WORDS("preadv2", 5, EOPNOTSUPP, read_flags),
};

/* Values of one argument that are answered before anything else is asked. */
static const uint64_t locks[] = { F_SETLK, F_SETLKW };
static const uint64_t drops[] = { POSIX_FADV_DONTNEED };
static const uint64_t names[] = { 0x53564d41 /* PR_SET_VMA, PR_SET_VMA_ANON_NAME */ };

static const struct words answers[] = {
    WORDS("fcntl", 1, 0, locks),      /* as flock(2) is: seccomp.def */
    WORDS("fadvise64", 3, 0, drops),  /* of pages that the host shares: heard, not followed */
    WORDS("prctl", 0, EINVAL, names), /* nobody is charged for the names; what a kernel without them says */
};

/* What the zygote and box_enter() ask of the kernel and no program may, or not in this way: not in the shared part,
 * all there is in a box's own.  hatchery-init keeps the shared part alone. */
static const char *const setup[] = {
    "capset", "clone",       "clone3",        "close_range", "dup3",      "execveat",    "landlock_restrict_self",
    "mount",  "prctl",       "prlimit64",     "recvmsg",     "seccomp",   "sendmsg",     "setgroups",
    "setns",  "setpriority", "setdomainname", "setresgid",   "setresuid", "sethostname", "unshare",
};

static bool is_setup(const char *name)
{
    for (size_t i = 0; i < sizeof(setup) / sizeof(*setup); i++)
        if (strcmp(setup[i], name) == 0)
            return true;
    return false;
}

/* A filter in the making. */
struct part {
    enum box_filter which;
    bool callbacks;
    scmp_filter_ctx ctx;
};

static int add(const struct part *part, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *cmp)
{
    return part->which == BOX_FILTER_OWN && !is_setup(name) ? 0 : filter_add(part->ctx, action, name, n, cmp);
}

/* No namespaces, no tracing of the child, no pidfd (its number counts the host's processes), and no child that is the
 * zygote's to reap (CLONE_PARENT): it would be woken for each by a program that makes thousands. */
static int add_clone(const struct part *part)
{
    uint64_t forbidden = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID
                         | CLONE_NEWNET | CLONE_PTRACE | CLONE_UNTRACED | CLONE_PARENT | CLONE_PIDFD
                         | 0x80 /* CLONE_NEWTIME */;
    struct scmp_arg_cmp none = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, forbidden, 0);
    return add(part, SCMP_ACT_ALLOW, "clone", 1, &none);
}

/* No socket of any family but a socketpair of AF_UNIX; nothing out of band on it. */
static int add_sockets(const struct part *part)
{
    struct scmp_arg_cmp is_unix = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW32, AF_UNIX);
    struct scmp_arg_cmp plain = SCMP_CMP64(3, SCMP_CMP_MASKED_EQ, MSG_OOB | MSG_ERRQUEUE, 0);
    int err = add(part, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 0, NULL);

    if (!err)
        err = add(part, SCMP_ACT_ALLOW, "socketpair", 1, &is_unix);
    if (!err)
        err = add(part, SCMP_ACT_ALLOW, "sendto", 1, &plain);
    if (!err)
        err = add(part, SCMP_ACT_ALLOW, "recvfrom", 1, &plain);
    return err;
}

/* The call without any of @flag in its argument @arg; with it it is refused with @error. */
static int add_without(const struct part *part, const char *name, unsigned arg, uint64_t flag, int error)
{
    struct scmp_arg_cmp without = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, flag, 0);
    struct scmp_arg_cmp with = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, flag, flag);
    int err = add(part, SCMP_ACT_ALLOW, name, 1, &without);

    return err ? err : add(part, SCMP_ACT_ERRNO(error), name, 1, &with);
}

/* No O_DIRECT: reads past the page cache know no limit but the host's disk.  EINVAL is what a file system answers that
 * hasn't got it. */
static int add_open(const struct part *part)
{
    struct scmp_arg_cmp set_flags = SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, LOW32, F_SETFL);
    struct scmp_arg_cmp without[] = { set_flags, SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, O_DIRECT, 0) };
    struct scmp_arg_cmp with[] = { set_flags, SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, O_DIRECT, O_DIRECT) };
    int err = add_without(part, "open", 1, O_DIRECT, EINVAL);

    if (!err)
        err = add_without(part, "openat", 2, O_DIRECT, EINVAL);
    if (!err)
        err = add(part, SCMP_ACT_ALLOW, "fcntl", 2, without);
    if (!err)
        err = add(part, SCMP_ACT_ERRNO(EINVAL), "fcntl", 2, with);
    for (size_t i = 0; i < sizeof(fcntls) / sizeof(*fcntls) && !err; i++) {
        struct scmp_arg_cmp command = SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, LOW32, fcntls[i]);
        err = fcntls[i] == F_SETFL ? 0 : add(part, SCMP_ACT_ALLOW, "fcntl", 1, &command);
    }
    return err;
}

/* A process's own limits; setting the one that keeps the host's handler of core dumps out of it is answered with
 * success and not done, as programs that want no core dump do it. */
static int add_limits(const struct part *part)
{
    int err = 0;

    for (unsigned resource = 0; resource < RLIM_NLIMITS && !err; resource++) {
        struct scmp_arg_cmp cmp[] = { SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW32, 0),
                                      SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, LOW32, resource),
                                      SCMP_CMP64(2, SCMP_CMP_EQ, 0) };
        err = add(part, SCMP_ACT_ALLOW, "prlimit64", resource == RLIMIT_CORE ? 3 : 2, cmp);
        cmp[2].op = SCMP_CMP_NE;
        if (!err && resource == RLIMIT_CORE)
            err = add(part, SCMP_ACT_ERRNO(0), "prlimit64", 3, cmp);
    }
    return err;
}

/* What came into the kernel after this libseccomp: as on a kernel without it, so that newer libraries take their
 * other way. */
static int add_newer(const struct part *part)
{
    int err = 0;

    for (int nr = NEWEST_KNOWN + 1; nr < FIRST_X32 && !err && part->which != BOX_FILTER_OWN; nr++)
        err = seccomp_rule_add_array(part->ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0, NULL);
    return err;
}

/* What libseccomp cannot say, in front of its program: "any value but one", and "these values, or else this errno",
 * both of the low 32 bits of one argument.  What passes here goes on to libseccomp's part. */
struct front {
    enum box_filter which;
    bool callbacks;
    struct sock_filter code[256];
    unsigned short n;
};

static void put(struct front *f, unsigned code, uint32_t k, size_t jump_true, size_t jump_false)
{
    if (f->n < sizeof(f->code) / sizeof(*f->code))
        f->code[f->n] = (struct sock_filter){ (uint16_t) code, (uint8_t) jump_true, (uint8_t) jump_false, k };
    f->n++;
}

static void put_load(struct front *f, size_t offset)
{
    put(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t) offset, 0, 0);
}

/* If the call is @name (its number is loaded): refuse it where its argument is not among @values, or where it is, as
 * @among says.  The number is loaded again after it. */
static void put_call(struct front *f, const char *name, unsigned arg, int error, bool among, const uint64_t *values,
                     size_t n)
{
    int nr = seccomp_syscall_resolve_name(name);

    if (nr < 0 || (f->which == BOX_FILTER_OWN && !is_setup(name)))
        return; /* not on this architecture, or not in this part */
    put(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) nr, 0, n + 3);
    put_load(f, offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t)
                    + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? sizeof(uint32_t) : 0));
    for (size_t i = 0; i < n; i++) {
        bool last = i == n - 1;
        size_t hit = n - i - 1; /* from here to the refusal */
        put(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) values[i], among ? hit : hit + 1, among && last);
    }
    put(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t) error, 0, 0);
    put_load(f, offsetof(struct seccomp_data, nr));
}

/* What a part says of the calls that it leaves to the other one.  Its last jump is to what follows. */
static void put_share(struct front *f)
{
    int numbers[sizeof(setup) / sizeof(*setup)];
    size_t n = 0;

    for (size_t i = 0; i < sizeof(setup) / sizeof(*setup); i++) {
        int nr = seccomp_syscall_resolve_name(setup[i]);
        if (nr >= 0)
            numbers[n++] = nr;
    }
    for (size_t i = 0; i < n; i++) {
        size_t rest = n - i - 1;
        bool own = f->which == BOX_FILTER_OWN;
        put(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) numbers[i], own ? rest + 1 : rest, own || rest ? 0 : 1);
    }
    put(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

/* Numbers mean other calls in another ABI: those skip this part, and libseccomp's ends them. */
static int build_front(struct front *f)
{
    static const uint64_t ours[] = { BOX_CONTROL_FD };

    put_load(f, offsetof(struct seccomp_data, arch));
    put(f, BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 1, 0);
    put(f, BPF_JMP | BPF_JA, 0, 0, 0);
    put_load(f, offsetof(struct seccomp_data, nr));
    if (f->which != BOX_FILTER_WHOLE)
        put_share(f);
    for (size_t i = 0; i < sizeof(guarded) / sizeof(*guarded); i++)
        put_call(f, guarded[i].name, guarded[i].arg, guarded[i].error, true, ours, 1);
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
        put_call(f, answers[i].name, answers[i].arg, answers[i].error, true, answers[i].values, answers[i].n);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        put_call(f, words[i].name, words[i].arg, words[i].error, false, words[i].values, words[i].n);
    if (f->callbacks)
        put_call(f, "memfd_create", 1, EINVAL, false, memfd_flags, sizeof(memfd_flags) / sizeof(*memfd_flags));
    if (f->n > sizeof(f->code) / sizeof(*f->code))
        return -ENOSPC;
    f->code[2].k = f->n - 3u;
    return 0;
}

/* The calls that build_front() has judged.  close_range gets ENOSYS so that callers close one by one.  A memfd is how
 * libffi makes a C callback where no memory is writable and executable: it maps one twice. */
static int add_judged(const struct part *part)
{
    uint32_t memfd = part->callbacks ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ENOSYS);
    int err = add(part, SCMP_ACT_ERRNO(ENOSYS), "close_range", 0, NULL);

    if (!err)
        err = add(part, memfd, "memfd_create", 0, NULL);
    for (size_t i = 0; i < sizeof(guarded) / sizeof(*guarded) && !err; i++)
        err = add(part, SCMP_ACT_ALLOW, guarded[i].name, 0, NULL);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words) && !err; i++)
        err = strcmp(words[i].name, "fcntl") == 0 ? add_open(part) : add(part, SCMP_ACT_ALLOW, words[i].name, 0, NULL);
    return err;
}

/* Both parts in one block; libseccomp writes BPF to a descriptor only. */
static int export(scmp_filter_ctx ctx, const struct front *front, struct sock_fprog *ret_filter)
{
    size_t front_size = front->n * sizeof(*front->code);
    struct stat st;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int err = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

    if (!err && fstat(fd, &st) < 0)
        err = -errno;
    if (!err) {
        struct sock_filter *code = malloc(front_size + (size_t) st.st_size);
        if (!code)
            err = -ENOMEM;
        else if (pread(fd, code + front->n, (size_t) st.st_size, 0) != st.st_size) {
            free(code);
            err = -EIO;
        } else {
            memcpy(code, front->code, front_size);
            ret_filter->filter = code;
            ret_filter->len = (unsigned short) (front->n + (size_t) st.st_size / sizeof(*code));
        }
    }
    if (fd >= 0)
        close(fd);
    return err;
}

int box_seccomp_compile(enum box_filter which, bool callbacks, bool epoll, struct sock_fprog *ret_filter)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    struct front front = { .which = which, .callbacks = callbacks };
    const struct part part = { which, callbacks, ctx };
    int err = ctx ? build_front(&front) : -ENOMEM;

    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && !err; i++)
        err = add(&part, epoll ? calls[i].with_epoll : calls[i].action, calls[i].name, 0, NULL);
    if (!err)
        err = add_clone(&part);
    if (!err)
        err = add_sockets(&part);
    if (!err)
        err = add_limits(&part);
    if (!err)
        err = add_newer(&part);
    /* Executable and writable together is refused by PR_SET_MDWE.  Huge pages that the operator has set aside for
     * somebody are in no cgroup's memory. */
    if (!err)
        err = add_without(&part, "mmap", 3, MAP_HUGETLB, EINVAL);
    /* To a place of its own choice a program moves up to 65,530 mappings in one call (Linux 6.17), for 0.4 s and more. */
    if (!err)
        err = add_without(&part, "mremap", 3, MREMAP_FIXED, EINVAL);
    if (!err)
        err = add_judged(&part);
    if (!err)
        err = export(ctx, &front, ret_filter);
    if (ctx)
        seccomp_release(ctx);
    return err;
}
