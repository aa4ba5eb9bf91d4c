/* SPDX-License-Identifier: Apache-2.0 */
/* The free memory between pieces in use: taken here, so that a box allocates from new pages.
 *
 * pages.c calls this file in the zygote, when nothing is left to do but to fork.  If a box got a
 * free piece of a page in use, it would write to that page, and the kernel would copy it.  What
 * must never happen here: that anything but speed depends on how an allocator works. */
#include "zygote/pages.h"

#include "zygote/pages_parts.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <malloc.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>

/* obmalloc.c of CPython 3.11: pools of 16 KiB, blocks of 16 to 512 bytes, a header of 48 bytes.
 * With another allocator this code never recognises the beginning of a pool.  Then it wastes
 * FILL_MAX bytes of each size and nothing more. */
enum { POOL_SIZE = 16384, POOL_HEADER = 48, BLOCK_MAX = 512, BLOCK_STEP = 16, FILL_MAX = 1 << 20 };

void fill_pools(void)
{
    for (size_t size = BLOCK_STEP; size <= BLOCK_MAX; size += BLOCK_STEP)
        for (size_t taken = 0; taken < FILL_MAX; taken += size) {
            void *block = PyObject_Malloc(size);
            if (!block || (uintptr_t) block % POOL_SIZE == POOL_HEADER)
                break;
        }
}

void fill_holes(void)
{
    enum { LARGEST = 1 << 17, SMALLEST = 24 };

    malloc_trim(0);
    for (size_t size = LARGEST; size >= SMALLEST; size -= size > 1024 ? size / 8 : 16)
        for (int i = 0; i < 65536; i++) {
            struct mallinfo2 before = mallinfo2();
            if (before.fordblks - before.keepcost < size)
                break;
            void *volatile hole = malloc(size); /* volatile, or the compiler leaves it out */
            struct mallinfo2 after = mallinfo2();
            if (after.keepcost != before.keepcost || after.hblks != before.hblks) {
                free(hole); /* no hole is that large */
                break;
            }
        }
    malloc_trim(0);
}

/* In a child CPython makes its locks anew, from the C library's heap.  A thread's cache there holds
 * seven pieces of a size and gives out the one that was freed last.  Seven pieces allocated one
 * after the other lie on one page or two. */
void pages_gather(void)
{
    enum { CACHED = 7, BEFORE = 64 }; /* BEFORE pieces use up what is free of that size */
    void *pieces[BEFORE + CACHED];

    for (size_t i = 0; i < BEFORE + CACHED; i++)
        pieces[i] = malloc(sizeof(sem_t));
    for (size_t i = 0; i < CACHED; i++)
        free(pieces[BEFORE + i]);
}
