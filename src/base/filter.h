/* SPDX-License-Identifier: Apache-2.0 */
/* What the filters on system calls of server, courier and boxes have in common. */
#ifndef HATCHERY_BASE_FILTER_H
#define HATCHERY_BASE_FILTER_H

#include <seccomp.h>
#include <stdint.h>

/* Conditions on the low 32 bits of an argument: it is this value; it is, apart from these flags; it
 * has none of these flags; it has all of them. */
#define IS(arg, value)                                                                                                 \
    {                                                                                                                  \
        (arg), SCMP_CMP_MASKED_EQ, 0xffffffff, (uint32_t) (value)                                                      \
    }
#define IS_BESIDE(arg, flags, value)                                                                                   \
    {                                                                                                                  \
        (arg), SCMP_CMP_MASKED_EQ, 0xffffffff & ~(uint32_t) (flags), (uint32_t) (value)                                \
    }
#define NONE_OF(arg, flags)                                                                                            \
    {                                                                                                                  \
        (arg), SCMP_CMP_MASKED_EQ, (uint32_t) (flags), 0                                                               \
    }
#define ALL_OF(arg, flags)                                                                                             \
    {                                                                                                                  \
        (arg), SCMP_CMP_MASKED_EQ, (uint32_t) (flags), (uint32_t) (flags)                                              \
    }

/* Conditions on all 64 bits: for addresses. */
#define ZERO(arg)                                                                                                      \
    {                                                                                                                  \
        (arg), SCMP_CMP_EQ, 0, 0                                                                                       \
    }
#define NOT_ZERO(arg)                                                                                                  \
    {                                                                                                                  \
        (arg), SCMP_CMP_NE, 0, 0                                                                                       \
    }

/* seccomp_rule_add_array(3) by the call's name.  A call that this architecture hasn't got can't be
 * made either, and needs no rule: 0.  0 or -errno. */
int filter_add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args);

/* From here on this process has no such call: it fails with ENOSYS, as on a kernel without it
 * (seccomp(2)).  For a call that a library makes while it starts, before the process's own filter
 * holds.  Sets no_new_privs.  0 or -errno. */
int filter_without(const char *name);

#endif
