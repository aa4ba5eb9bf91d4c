/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that there is for all of the service: the machine's, or the smallest limit of the cgroups around it. */
#ifndef HATCHERY_SUPERVISOR_HOSTMEM_H
#define HATCHERY_SUPERVISOR_HOSTMEM_H

#include "base/wire.h"

struct hostmem {
    int64_t bytes;
    int64_t limit_bytes;        /* the same where it is a cgroup's limit; 0: it is the machine's */
    int fds[WIRE_MEMORY_FILES]; /* to be read by the server; -1: not there */
};

/* Before the service makes groups of its own.  What can't be opened is not there. */
void hostmem_find(struct hostmem *ret);
void hostmem_close(struct hostmem *memory);

/* What boxes may have of it together: all but the last tenth. */
int64_t hostmem_of_boxes(const struct hostmem *memory);

#endif
