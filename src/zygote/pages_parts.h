/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of pages.h share; nobody else includes this header.
 *
 * The zygote uses all of it before its first fork.  Memory that the kernel does not give in the way
 * asked for stays as it was: that is no error. */
#ifndef HATCHERY_ZYGOTE_PAGES_PARTS_H
#define HATCHERY_ZYGOTE_PAGES_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HUGE = 2 << 20 }; /* bytes of a huge page */

struct span {
    uintptr_t start, end;
};

/* data: the interpreter's own, that most boxes write to: its allocators' memory and its variables. */
extern struct pages {
    struct span data[32];
    size_t n_data;
    uintptr_t heap; /* where the C library's allocator begins, at a huge page's bound; 0 if it does not begin at one */
    bool settled;   /* what is allocated from here on is a box's */
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

/* Add a span to pages.data. One too many is left out: its pages are copied one by one. */
void note_data(uintptr_t start, uintptr_t end);

/* --- pages_huge.c --- */

/* A PyObjectArenaAllocator. The arenas of the zygote share huge pages; those of a box, which may stay nearly empty, do
 * not. NULL if there is no memory. */
void *arena_alloc(void *unused, size_t size);
void arena_free(void *unused, void *p, size_t size);

/* Bring the heap into huge pages (MADV_COLLAPSE, Linux 6.1). Without it the heap keeps its small pages. */
void collapse_heap(void);

/* Bring the interpreter, from its code to its variables, into huge pages at its own addresses: fork(2) and exit(2) count
 * its code and constants as one, and the processor finds them as one. Ends the process (abort) if a part cannot take its place. */
void move_interpreter(void);

/* --- pages_holes.c --- */

/* Take all free blocks of CPython's allocator that lie between the blocks in use, so that what a box allocates comes from
 * pools that are its own from the first byte to the last. */
void fill_pools(void);

/* The same for the C library's allocator: what it then gives comes from its top, one piece after the other. The rest of
 * the top goes back to the kernel, whose new pages need no copying. */
void fill_holes(void);

#endif
