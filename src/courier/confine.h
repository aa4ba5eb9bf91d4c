/* SPDX-License-Identifier: Apache-2.0 */
/* What the courier takes from itself before it reads its first order. */
#ifndef HATCHERY_COURIER_CONFINE_H
#define HATCHERY_COURIER_CONFINE_H

/* Give up, for this process and its threads and for good: gaining privileges, being dumped and traced, core files, more
 * than @open_files descriptors, all files but what TLS and the resolver read (landlock(7), where the kernel has it),
 * and every system call that is not in confine.def (seccomp(2)).  Call it once, before there are threads.
 * Returns 0, or -errno with the name of what failed in @ret_what. */
int courier_confine(unsigned open_files, const char **ret_what);

#endif
