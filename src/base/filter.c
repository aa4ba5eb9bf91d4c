/* SPDX-License-Identifier: Apache-2.0 */
/* What the filters on system calls of server, courier and boxes have in common.
 *
 * Called while a filter is made, before it holds.  What must never happen here:
 * a rule that allows more than its caller says. */
#include "base/filter.h"

#include <errno.h>
#include <stddef.h>

int filter_add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number < 0)
        return 0;
    return seccomp_rule_add_array(ctx, action, number, n, args);
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
