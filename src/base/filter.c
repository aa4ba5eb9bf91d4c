/* SPDX-License-Identifier: Apache-2.0 */
/* What the filters on system calls of server, courier and boxes have in common.
 *
 * Called while a filter is made, before it holds.  What must never happen here:
 * a rule that allows more than its caller says. */
#include "base/filter.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>

int filter_add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number < 0)
        return 0;
    return seccomp_rule_add_array(ctx, action, number, n, args);
}

int filter_add_threads(scmp_filter_ctx ctx)
{
    const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER
                                | CLONE_NEWPID | CLONE_NEWNET | 0x80 /* CLONE_NEWTIME */;
    const struct scmp_arg_cmp thread = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, namespaces | CLONE_THREAD, CLONE_THREAD);

    return filter_add(ctx, SCMP_ACT_ALLOW, "clone", 1, &thread);
}

int filter_without(const char *name)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int err = ctx ? filter_add(ctx, SCMP_ACT_ERRNO(ENOSYS), name, 0, NULL) : -ENOMEM;

    if (!err)
        err = seccomp_load(ctx);
    seccomp_release(ctx);
    return err;
}
