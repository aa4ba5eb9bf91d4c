/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery-init: pid 1 of a box's pid namespace.
 *
 * A static program without a C library: each box starts one, and a C library costs ten times as
 * much as the program's own work.  It holds the namespace open until the server closes the other
 * end of descriptor
 * 0.  Then it exits, and the kernel kills and reaps everything in the box.  It ignores SIGCHLD, so
 * the kernel also reaps the children that it inherits.  What must never happen here: that the
 * program gets control of this process.  So it is not dumpable, has no capability and, where ids
 * allow it, another user id than the program. */
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/prctl.h>

#if defined(__x86_64__)
/* The kernel enters with an aligned stack. A function expects a return address on it. */
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

/* The kernel's struct sigaction (rt_sigaction(2)), which differs from the C library's. */
struct kernel_sigaction {
    unsigned long handler, flags, restorer, mask;
};

void _start(void) ENTRY;
void _start(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    struct kernel_sigaction ignore = { SIG_IGN_, 0, 0, 0 };
    char byte;

    call5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    call5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    call5(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
    call5(__NR_capset, (long) &header, (long) none, 0, 0, 0);
    call5(__NR_rt_sigaction, SIGCHLD_, (long) &ignore, 0, 8, 0);
    call5(__NR_close_range, 1, ~0U, 0, 0, 0);
    /* The server never writes: any result but EINTR (-4) means that it let go. */
    while (call5(__NR_read, 0, (long) &byte, 1, 0, 0) == -4)
        ;
    call5(__NR_exit_group, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}
