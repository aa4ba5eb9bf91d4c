/* SPDX-License-Identifier: Apache-2.0 */
/* The free memory between the pieces in use: taken, so that a box allocates from new pages.
 *
 * pages.c calls this file in the zygote, when nothing is left to do but to fork.  A box that got a
 * free piece of a page in use would write to that page, and the kernel would copy it.  What must
 * never happen here: a dependence on how an allocator works for anything but speed. */
#include "zygote/pages.h"

#include "zygote/pages_parts.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <malloc.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>

/* obmalloc.c of CPython 3.11: pools of 16 KiB, blocks of 16 to 512 bytes, a header of 48 bytes.  Another allocator has
 * no pool whose beginning would be seen: FILL_MAX of each size is all that it loses. */
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
            void *volatile hole = malloc(size); /* or the compiler leaves it out */
            struct mallinfo2 after = mallinfo2();
            if (after.keepcost != before.keepcost || after.hblks != before.hblks) {
                free(hole); /* no hole is that large */
                break;
            }
        }
    malloc_trim(0);
}

/* CPython makes its locks anew in a child, of the C library's heap.  A thread's cache there holds seven pieces of a
 * size and gives the one freed last: seven that were taken one after the other are of one page or two. */
void pages_gather(void)
{
    enum { CACHED = 7, BEFORE = 64 }; /* as many as drain what is free of that size */
    void *pieces[BEFORE + CACHED];

    for (size_t i = 0; i < BEFORE + CACHED; i++)
        pieces[i] = malloc(sizeof(sem_t));
    for (size_t i = 0; i < CACHED; i++)
        free(pieces[BEFORE + i]);
}
