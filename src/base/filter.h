/* SPDX-License-Identifier: Apache-2.0 */
/* What the filters on system calls of server, courier and boxes have in common. */
#ifndef HATCHERY_BASE_FILTER_H
#define HATCHERY_BASE_FILTER_H

#include <seccomp.h>

/* seccomp_rule_add_array(3) by the call's name.  A call that this architecture hasn't got can't be
 * made either, and needs no rule: 0.  0 or -errno. */
int filter_add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args);

/* From here on this process has no such call: it fails with ENOSYS, as on a kernel without it
 * (seccomp(2)).  For a call that a library makes while it starts, before the process's own filter
 * holds.  Sets no_new_privs.  0 or -errno. */
int filter_without(const char *name);

#endif
