/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the memory is left.
 *
 * Called by the pool when more programs run than cores.  The files were opened by the supervisor,
 * as the server can open none.  What must never happen here: a file that is not as expected
 * stopping all programs. */
#include "server/pool/headroom.h"

#include "base/clock.h"
#include "base/fd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_AGAIN_US = 10000 };

void headroom_init(struct headroom *h, int64_t limit_bytes)
{
    *h = (struct headroom){ .limit_bytes = limit_bytes };
    for (unsigned i = 0; i < WIRE_MEMORY_FILES; i++)
        h->fds[i] = -1;
}

void headroom_take(struct headroom *h, unsigned which, int fd)
{
    if (which < WIRE_MEMORY_FILES) {
        fd_close(&h->fds[which]);
        h->fds[which] = fd;
    } else
        fd_close(&fd);
}

/* The text of one of the files; "" if it is not here.  Valid until the next call. */
static const char *text_of(const struct headroom *h, enum wire_memory which)
{
    static char text[16384];
    ssize_t n = pread(h->fds[which], text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* The number in the line that begins with @name, or 0. */
static int64_t number_of(const char *text, const char *name)
{
    size_t n = strlen(name);

    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, n) == 0)
            return atoll(line + n);
    return 0;
}

static void look_at_host(struct headroom *h)
{
    const char *text = text_of(h, WIRE_MEMORY_HOST);

    h->host.all = number_of(text, "MemTotal:") * 1024;
    h->host.left = number_of(text, "MemAvailable:") * 1024;
}

/* The kernel can take back memory that caches files: memory.stat tells how much that is, for the
 * group and all below it (v1: total_...). */
static void look_at_group(struct headroom *h)
{
    int64_t used = atoll(text_of(h, WIRE_MEMORY_USAGE));
    const char *text = text_of(h, WIRE_MEMORY_STAT);

    if (strstr(text, "\ntotal_inactive_file "))
        used -= number_of(text, "total_inactive_file ") + number_of(text, "total_active_file ");
    else
        used -= number_of(text, "inactive_file ") + number_of(text, "active_file ");
    h->group.all = h->limit_bytes;
    h->group.left = h->limit_bytes - used;
}

int64_t headroom_left(struct headroom *h, unsigned kept)
{
    int64_t now = now_us(), left = INT64_MAX;

    if (!h->looked_us || now - h->looked_us >= LOOK_AGAIN_US) {
        h->looked_us = now;
        look_at_host(h);
        if (h->limit_bytes)
            look_at_group(h);
    }
    if (h->host.all)
        left = h->host.left - h->host.all * kept / 1000;
    if (h->group.all && h->group.left - h->group.all * kept / 1000 < left)
        left = h->group.left - h->group.all * kept / 1000;
    return left;
}
