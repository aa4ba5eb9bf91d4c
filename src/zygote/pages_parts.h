/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of pages.h; no other file includes this header.
 *
 * The zygote uses all of it before its first fork.  If the kernel refuses some memory in the form
 * asked for, that memory stays as it was: this is not an error. */
#ifndef HATCHERY_ZYGOTE_PAGES_PARTS_H
#define HATCHERY_ZYGOTE_PAGES_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HUGE = 2 << 20 }; /* bytes of a huge page */

struct span {
    uintptr_t start, end;
};

/* data: the parts of the interpreter's memory that most boxes write to: its allocators' memory and
 * its variables. */
extern struct pages {
    struct span data[32];
    size_t n_data;
    uintptr_t heap; /* beginning of the C library's heap, at a huge page's bound; 0 if it is not at
                     * one */
    bool settled;   /* later allocations are a box's */
} pages;

static inline uintptr_t round_up(uintptr_t address, uintptr_t unit)
{
    return (address + unit - 1) & ~(unit - 1);
}

static inline uintptr_t round_down(uintptr_t address, uintptr_t unit)
{
    return address & ~(unit - 1);
}

/* --- pages.c --- */

/* Add a span to pages.data. If the array is full, the span is left out: its pages are copied one by
 * one. */
void note_data(uintptr_t start, uintptr_t end);

/* --- pages_huge.c --- */

/* A PyObjectArenaAllocator. The arenas of the zygote share huge pages. Arenas of a box,
 * which may stay nearly empty, do not. NULL if there is no memory. */
void *arena_alloc(void *unused, size_t size);
void arena_free(void *unused, void *p, size_t size);

/* Bring the heap into huge pages (MADV_COLLAPSE, Linux 6.1). On older kernels it keeps its small
 * pages. */
void collapse_heap(void);

/* Bring the interpreter, from its code to its variables, into huge pages at its own addresses.
 * fork(2) and exit(2) then count its code and constants as one page, and the processor finds them
 * faster.  Ends the process (abort) if a part cannot take its place. */
void move_interpreter(void);

/* --- pages_holes.c --- */

/* Take all free blocks of CPython's allocator that lie between blocks in use. A box then allocates
 * from pools that are its own from the first byte to the last. */
void fill_pools(void);

/* The same for the C library's allocator. It then allocates from its top, one piece after the
 * other. The rest of the top goes back to the kernel, whose new pages need no copying. */
void fill_holes(void);

#endif
