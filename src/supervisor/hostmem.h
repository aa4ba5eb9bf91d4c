/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of the whole service: the machine's, or the smallest limit of the cgroups around
 * it. */
#ifndef HATCHERY_SUPERVISOR_HOSTMEM_H
#define HATCHERY_SUPERVISOR_HOSTMEM_H

#include "base/wire.h"

struct hostmem {
    int64_t bytes;
    int64_t limit_bytes;        /* the same if it is a cgroup's limit; 0 if it is the machine's */
    int fds[WIRE_MEMORY_FILES]; /* for the server to read; -1: not there */
};

/* Call it before the service makes groups of its own.  A file that can't be opened is -1. */
void hostmem_find(struct hostmem *ret);
void hostmem_close(struct hostmem *memory);

/* The part that boxes may have together: all but the last tenth. */
int64_t hostmem_of_boxes(const struct hostmem *memory);

#endif
