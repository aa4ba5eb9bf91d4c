/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of the whole service.
 *
 * The supervisor calls this at its start.  The server decides whether there is room for one more
 * program, but it can open no file.  So it gets these descriptors. */
#include "supervisor/hostmem.h"

#include "supervisor/cgroup.h"

#include "base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysinfo.h>

static void open_group(struct hostmem *m, const char *group, bool v1)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", group, v1 ? "memory.usage_in_bytes" : "memory.current");
    m->fds[WIRE_MEMORY_USAGE] = fd_open_file(AT_FDCWD, path);
    snprintf(path, sizeof(path), "%s/memory.stat", group);
    m->fds[WIRE_MEMORY_STAT] = fd_open_file(AT_FDCWD, path);
}

void hostmem_find(struct hostmem *ret)
{
    char group[PATH_MAX - 32];
    struct sysinfo host;
    int64_t limit;
    bool v1;

    sysinfo(&host);
    *ret = (struct hostmem){ .bytes = (int64_t) host.totalram * host.mem_unit, .fds = { -1, -1, -1 } };
    ret->fds[WIRE_MEMORY_HOST] = fd_open_file(AT_FDCWD, "/proc/meminfo");
    if (cgroups_find_memory_limit(group, sizeof(group), &limit, &v1) < 0 || limit >= ret->bytes)
        return;
    ret->bytes = ret->limit_bytes = limit;
    open_group(ret, group, v1);
}

void hostmem_close(struct hostmem *memory)
{
    for (unsigned i = 0; i < WIRE_MEMORY_FILES; i++)
        fd_close(&memory->fds[i]);
}

int64_t hostmem_of_boxes(const struct hostmem *memory)
{
    return memory->bytes - memory->bytes / 10;
}
