/* SPDX-License-Identifier: Apache-2.0 */
/* The jail that a process of ours makes for itself: limits, files (landlock(7)), system calls (seccomp(2)).
 *
 * Each process has its table of calls (confine.def), whose rows are made by the macros below.  A call that is in no row
 * gets EPERM; a foreign ABI ends the process. */
#ifndef HATCHERY_BASE_CONFINE_H
#define HATCHERY_BASE_CONFINE_H

#include "base/filter.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

enum { CONFINE_CONDITIONS_MAX = 3 };

/* A call, what happens to it, and when. */
struct confine_row {
    const char *call;
    uint32_t action;
    unsigned argument;                                      /* has one of the values, if there are any */
    struct scmp_arg_cmp conditions[CONFINE_CONDITIONS_MAX]; /* all of them hold; one without a mask ends the list */
    const uint32_t *values;
    size_t n_values;
};

/* ALLOW: with any arguments.  ANSWER: refused with this errno.  END: ends the process.  WHEN: allowed if all conditions
 * hold.  VALUES: allowed if the low 32 bits of the argument, all that the kernel reads of it, are one of these.
 * THREADS: allowed for a thread in the caller's namespaces. */
#define ALLOW(name) { #name, SCMP_ACT_ALLOW },
#define ANSWER(name, error) { #name, SCMP_ACT_ERRNO(error) },
#define END(name) { #name, SCMP_ACT_KILL_PROCESS },
#define WHEN(name, ...) { .call = #name, .action = SCMP_ACT_ALLOW, .conditions = { __VA_ARGS__ } },
#define VALUES(name, arg, ...)                                                                                         \
    { .call = #name,                                                                                                   \
      .action = SCMP_ACT_ALLOW,                                                                                        \
      .argument = (arg),                                                                                               \
      .values = (const uint32_t[]){ __VA_ARGS__ },                                                                     \
      .n_values = sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t) },
#define THREADS(name) WHEN(name, { 0, SCMP_CMP_MASKED_EQ, CONFINE_NAMESPACES | CLONE_THREAD, CLONE_THREAD })

#define CONFINE_NAMESPACES                                                                                             \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET         \
     | 0x80ULL /* CLONE_NEWTIME */)

/* What may be done below a path, as far as the kernel knows these rights.  A path that is missing needs no rule. */
struct confine_path {
    const char *path; /* NULL: the directory @fd, which may be -1: none */
    int fd;
    uint64_t rights; /* KERNEL_FS_... */
};

struct confine_limit {
    int resource;
    rlim_t value;
};

struct confine {
    const struct confine_limit *limits;
    size_t n_limits;
    const struct confine_path *paths; /* every other file is refused */
    size_t n_paths;
    uint64_t net; /* KERNEL_NET_...: what it may not do */
    const struct confine_row *rows;
    size_t n_rows;
};

/* For this process, its later threads and for good.  Call it before there are threads.  A kernel without Landlock leaves
 * the walls of the user id and of the filter.  Returns 0, or -errno with the name of what failed in @ret_what. */
int confine(const struct confine *c, const char **ret_what);

#endif
