/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the service may still take: what the kernel estimates for the machine
 * (proc_meminfo(5), MemAvailable), or for the cgroup around the service if that is less. */
#ifndef HATCHERY_SERVER_POOL_HEADROOM_H
#define HATCHERY_SERVER_POOL_HEADROOM_H

#include "base/wire.h"

struct headroom {
    int fds[WIRE_MEMORY_FILES]; /* -1: not here */
    int64_t limit_bytes;        /* of the cgroup; 0: none */
    int64_t looked_us;
    struct {
        int64_t left, all;
    } host, group; /* at the last look; both 0 if no file tells */
};

void headroom_init(struct headroom *h, int64_t limit_bytes);

/* Takes @fd, the file @which (enum wire_memory) of a file system of the kernel's. */
void headroom_take(struct headroom *h, unsigned which, int fd);

/* Bytes that are left above a reserve of @kept thousandths of all; INT64_MAX if no file tells.
 * Reads the files at most every ten milliseconds, which takes some 50 us. */
int64_t headroom_left(struct headroom *h, unsigned kept);

#endif
