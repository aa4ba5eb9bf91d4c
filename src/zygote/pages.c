/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that a box copies: page faults after a fork cost more than anything else that a box
 * does.
 *
 * main.c calls this file before the first fork.  The kernel copies a page when a child writes to it
 * (about 2 µs with all that belongs to it, and more when the page is given back).  fork(2) and
 * exit(2) count the memory of a process, page by page or huge page by huge page.  pages_huge.c,
 * pages_holes.c and pages_probe.c each save some of that; this file has their order.  What must
 * never happen here: that anything but speed depends on them, or memory that is both writable and
 * executable. */
#include "zygote/pages.h"

#include "zygote/pages_parts.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <unistd.h>

struct pages pages;

void note_data(uintptr_t start, uintptr_t end)
{
    if (pages.n_data < sizeof(pages.data) / sizeof(*pages.data) && end > start)
        pages.data[pages.n_data++] = (struct span){ start, end };
}

void pages_prepare(void)
{
    static PyObjectArenaAllocator arenas = { NULL, arena_alloc, arena_free };
    uintptr_t now = (uintptr_t) sbrk(0);

    PyObject_SetArenaAllocator(&arenas);
    if (sbrk((intptr_t) (round_up(now, HUGE) - now)) != (void *) -1)
        pages.heap = round_up(now, HUGE);
}

void pages_settle(void)
{
    fill_pools();
    fill_holes();
    collapse_heap();
    pages.settled = true;
    move_interpreter();
}
