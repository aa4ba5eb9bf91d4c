/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery-init: pid 1 of a box's pid namespace.
 *
 * A static program without a C library, because it is started for every box
 * and a libc costs ten times what it does: it holds the namespace open until
 * descriptor 0, whose other end the server holds, is closed; then it exits and
 * the kernel kills and reaps everything in the box.  Children it inherits are
 * reaped by ignoring SIGCHLD.  Through descriptor 0 the box, before it is one,
 * gives it the descriptor at which the kernel asks about each epoll that the
 * program makes (seccomp_unotify(2)); it reads numbers there, and no memory.
 * What must never happen here: the program gaining a hold on this process; it is
 * not dumpable, has no capability, and another user id than the program where
 * ids allow it; nor a call that waits for the program, whose end would not be seen. */
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/ioctl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/time_types.h>
#include <stdbool.h>

#if defined(__x86_64__)
/* The kernel enters with an aligned stack, a function expects it to hold a return address. */
#define ENTRY __attribute__((noreturn, force_align_arg_pointer))
static long call5(long nr, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
#define ENTRY __attribute__((noreturn))
static long call5(long nr, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
#else
#error "hatchery-init knows x86_64 and aarch64"
#endif

enum { SIGCHLD_ = 17, SIG_IGN_ = 1 };

/* The kernel's struct sigaction (rt_sigaction(2)), not the C library's. */
struct kernel_sigaction {
    unsigned long handler, flags, restorer, mask;
};

/* poll(2), recvmsg(2) and cmsg(3), as the kernel has them. */
enum { POLLIN_ = 1, SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1 };
enum { EINTR_ = 4, EINVAL_ = 22, EMFILE_ = 24 };
struct kernel_pollfd {
    int fd;
    short events, revents;
};
struct kernel_iovec {
    void *base;
    unsigned long len;
};
struct kernel_msghdr {
    void *name;
    int name_len;
    struct kernel_iovec *iov;
    unsigned long iov_len;
    void *control;
    unsigned long control_len;
    unsigned flags;
};
struct kernel_rights {
    unsigned long len;
    int level, type, fd, unused;
};

/* A program's first epolls are as the kernel makes them.  The others are made here, and watched by one of ours: of what is
 * watched by such the kernel lets a file be in 500 at most (path_limits in fs/eventpoll.c), and no wake-up walks more.  Not
 * the first ones, because whatever is added to such an epoll takes a lock that all of the host share.  Our own one is
 * never waited for.  Many of them cost this process time that nobody is charged for; so then they come slowly. */
enum { KERNELS_OWN = 32, AT_ONCE = 1024, PAUSE_NS = 1000000 };

struct asked {
    unsigned made;
    int above; /* the epoll that watches the others; -1: not yet */
};

/* The whole of a blank struct: no memset(3) here. */
static void blank(void *p, unsigned long size)
{
    for (volatile char *byte = p; size; size--)
        *byte++ = 0;
}

/* An epoll for whoever asks, as the answer to its call; 0 or -errno, where it is still to be answered. */
static long give_epoll(int listener, struct asked *asked, __u64 id, __u32 flags)
{
    struct epoll_event nothing;
    struct seccomp_notif_addfd give;

    blank(&nothing, sizeof(nothing));
    blank(&give, sizeof(give));
    if (asked->above < 0)
        asked->above = (int) call5(__NR_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0, 0);
    int epoll = (int) call5(__NR_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0, 0);
    if (epoll < 0)
        return epoll;
    long err = call5(__NR_epoll_ctl, asked->above, EPOLL_CTL_ADD, epoll, (long) &nothing, 0);
    if (err == 0) {
        give.id = id;
        give.flags = SECCOMP_ADDFD_FLAG_SEND;
        give.srcfd = (__u32) epoll;
        give.newfd_flags = flags;
        err = call5(__NR_ioctl, listener, (long) SECCOMP_IOCTL_NOTIF_ADDFD, (long) &give, 0, 0);
        err = err == -EINVAL_ ? -EMFILE_ : err; /* before Linux 5.14 there are no more than the first ones */
    }
    call5(__NR_close, epoll, 0, 0, 0, 0);
    return err < 0 ? err : 0;
}

/* Would the kernel make one of it? */
static bool is_valid(const struct seccomp_data *call)
{
#ifdef __NR_epoll_create
    if (call->nr == __NR_epoll_create)
        return (int) call->args[0] > 0;
#endif
    return ((__u32) call->args[0] & ~(__u32) EPOLL_CLOEXEC) == 0;
}

/* Somebody of the box makes an epoll.  The call's arguments are numbers, so the kernel may go on with it as it stands. */
static void answer(int listener, struct asked *asked)
{
    struct seccomp_notif question;
    struct seccomp_notif_resp reply;
    bool given = false;

    blank(&question, sizeof(question));
    blank(&reply, sizeof(reply));
    if (call5(__NR_ioctl, listener, (long) SECCOMP_IOCTL_NOTIF_RECV, (long) &question, 0, 0) < 0)
        return; /* killed meanwhile */
    reply.id = question.id;
    if (asked->made < KERNELS_OWN || !is_valid(&question.data))
        reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else {
        __u32 flags = question.data.nr == __NR_epoll_create1 ? (__u32) question.data.args[0] : 0;
        long err = give_epoll(listener, asked, question.id, flags);
        given = err == 0;
        reply.error = (int) err;
    }
    if (!given)
        call5(__NR_ioctl, listener, (long) SECCOMP_IOCTL_NOTIF_SEND, (long) &reply, 0, 0);
    asked->made++;
}

/* What came through descriptor 0: false when the server has let go. */
static bool take(int *listener)
{
    struct kernel_rights rights;
    char byte;
    struct kernel_iovec piece = { &byte, 1 };
    struct kernel_msghdr message = { 0, 0, &piece, 1, &rights, sizeof(rights), 0 };

    blank(&rights, sizeof(rights));
    long n = call5(__NR_recvmsg, 0, (long) &message, 0, 0, 0);
    if (n > 0 && rights.level == SOL_SOCKET_ && rights.type == SCM_RIGHTS_ && *listener < 0)
        *listener = rights.fd;
    return n > 0 || n == -EINTR_;
}

static void serve(void)
{
    struct kernel_pollfd fds[2] = { { 0, POLLIN_, 0 }, { -1, POLLIN_, 0 } };
    struct asked asked = { 0, -1 };
    bool pause = false;

    for (;;) {
        struct __kernel_timespec most = { 0, PAUSE_NS };
        fds[0].revents = fds[1].revents = 0;
        call5(__NR_ppoll, (long) fds, pause ? 1 : 2, pause ? (long) &most : 0, 0, 8);
        pause = false;
        if (fds[0].revents && !take(&fds[1].fd))
            return;
        if (fds[1].revents & POLLIN_) {
            answer(fds[1].fd, &asked);
            pause = asked.made > KERNELS_OWN + AT_ONCE;
        } else if (fds[1].revents) /* nobody is left who could ask */
            fds[1].fd = -1;
    }
}

void _start(void) ENTRY;
void _start(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    struct kernel_sigaction ignore = { SIG_IGN_, 0, 0, 0 };

    call5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    call5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    call5(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
    call5(__NR_capset, (long) &header, (long) none, 0, 0, 0);
    call5(__NR_rt_sigaction, SIGCHLD_, (long) &ignore, 0, 8, 0);
    call5(__NR_close_range, 1, ~0U, 0, 0, 0);
    serve();
    call5(__NR_exit_group, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}
