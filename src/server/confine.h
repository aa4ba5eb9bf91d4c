/* SPDX-License-Identifier: Apache-2.0 */
/* What the server takes from itself before it reads a byte of a client's. */
#ifndef HATCHERY_SERVER_CONFINE_H
#define HATCHERY_SERVER_CONFINE_H

/* Give up, for this process, its later threads and for good: all files but those below the directory @state_fd (-1: all;
 * landlock(7), where the kernel has it) and every system call that is not in confine.def (seccomp(2)).  Call it before
 * there are threads.  Returns 0, or -errno with the name of what failed in @ret_what. */
int server_confine(int state_fd, const char **ret_what);

#endif
