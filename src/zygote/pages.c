/* SPDX-License-Identifier: Apache-2.0 */
/* What a box copies: page faults after a fork cost more than anything else of it.
 *
 * Called once by main.c before the first fork.  A page that a child writes to is copied (about 2 µs with all that
 * belongs to it, more again when it is given back), one of a file that it reads is looked up, and fork(2) and exit(2)
 * count what it has, page by page unless these are parts of a huge one.  What must never happen here: relying on any
 * of it for anything but speed, or memory that can be written to and executed. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pages.h"

#include <link.h>
#include <malloc.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { HUGE = 2 << 20 };

static uintptr_t round_up(uintptr_t address, uintptr_t unit)
{
    return (address + unit - 1) & ~(unit - 1);
}

static bool settled;
static uintptr_t heap; /* where the C library's allocator begins, at a huge page's bound */

/* An aligned piece of HUGE bytes, or NULL. */
static char *map_huge(void)
{
    char *p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = round_up((uintptr_t) p, HUGE) - (uintptr_t) p;
    if (before)
        munmap(p, before);
    munmap(p + before + HUGE, HUGE - before);
    madvise(p + before, HUGE, MADV_HUGEPAGE);
    return p + before;
}

/* The arenas of the zygote share huge pages; those of a box, which may stay nearly empty, do not. */
static void *arena_alloc(void *unused, size_t size)
{
    static char *piece;
    static size_t left;

    (void) unused;
    if (settled || size > HUGE) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    if (left < size) {
        piece = map_huge();
        left = piece ? HUGE : 0;
    }
    if (!piece)
        return NULL;
    left -= size;
    return piece + left;
}

static void arena_free(void *unused, void *p, size_t size)
{
    (void) unused;
    munmap(p, size);
}

void pages_prepare(void)
{
    static PyObjectArenaAllocator arenas = { NULL, arena_alloc, arena_free };
    uintptr_t now = (uintptr_t) sbrk(0);

    PyObject_SetArenaAllocator(&arenas);
    if (sbrk((intptr_t) (round_up(now, HUGE) - now)) != (void *) -1)
        heap = round_up(now, HUGE);
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* <linux/mman.h> of 6.1 */
#endif

/* obmalloc.c of CPython 3.11: pools of 16 KiB, blocks of 16 to 512 bytes, a header of 48 bytes.  Another allocator has
 * no pool whose beginning would be seen: FILL_MAX of each size is all that it loses. */
enum { POOL_SIZE = 16384, POOL_HEADER = 48, BLOCK_MAX = 512, BLOCK_STEP = 16, FILL_MAX = 1 << 20 };

/* Take all free blocks that lie between the blocks in use, so that what a box allocates comes from pools that are
 * its own from the first byte to the last. */
static void fill_pools(void)
{
    for (size_t size = BLOCK_STEP; size <= BLOCK_MAX; size += BLOCK_STEP)
        for (size_t taken = 0; taken < FILL_MAX; taken += size) {
            void *block = PyObject_Malloc(size);
            if (!block || (uintptr_t) block % POOL_SIZE == POOL_HEADER)
                break;
        }
}

/* The same for the C library's allocator: what it then gives comes from its top, one piece after the other.  The
 * rest of the top goes back to the kernel, whose new pages need no copying. */
static void fill_holes(void)
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

/* A mapping of a file that has one page of its own is copied with its page table by fork(2); one that has none is
 * left for the child to find page by page. */
static int own_a_page(struct dl_phdr_info *object, size_t size, void *unused)
{
    long page = sysconf(_SC_PAGESIZE);

    (void) size;
    (void) unused;
    if (*object->dlpi_name && !strstr(object->dlpi_name, "/libpython") && !strstr(object->dlpi_name, "/libc.so"))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
            continue;
        uintptr_t start = (object->dlpi_addr + segment->p_vaddr) & ~((uintptr_t) page - 1);
        size_t length = object->dlpi_addr + segment->p_vaddr + segment->p_memsz - start;
        volatile char *first = (volatile char *) start;
        madvise((void *) start, length, MADV_DONTNEED); /* what only the start needed */
        int kept = PROT_READ | (segment->p_flags & PF_X ? PROT_EXEC : 0);
        /* The whole of it, or it would be two mappings from now on; executable, as this code may lie there. */
        if (mprotect((void *) start, length, PROT_WRITE | kept) < 0)
            continue;
        *first = *first;
        if (mprotect((void *) start, length, kept) < 0)
            abort(); /* code that could be written to would be in every box */
    }
    return 0;
}

/* A part of a shared object, in whole pages, and what may be done with it. */
struct piece {
    uintptr_t start;
    size_t length;
    int protection;
};

struct pieces {
    struct piece list[16];
    size_t n, length;
};

static void add_piece(struct pieces *pieces, uintptr_t start, uintptr_t end, int protection)
{
    uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);

    start &= ~(page - 1);
    end = round_up(end, page);
    if (end <= start || pieces->n == sizeof(pieces->list) / sizeof(*pieces->list))
        return;
    pieces->list[pieces->n++] = (struct piece){ start, end - start, protection };
    pieces->length += end - start;
}

/* The interpreter, from its code to its variables, and the C library's code: what fork(2) would copy page by page.  Not
 * the first segment of either, which is for the loader, and not the C library's variables, which are in use here. */
static int find_pieces(struct dl_phdr_info *object, size_t size, void *data)
{
    bool python = strstr(object->dlpi_name, "/libpython");
    uintptr_t sealed_end = 0; /* of PT_GNU_RELRO, with which the segment of variables begins */

    (void) size;
    if (!python && !strstr(object->dlpi_name, "/libc.so"))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            sealed_end = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr + object->dlpi_phdr[i].p_memsz;
    sealed_end &= ~((uintptr_t) sysconf(_SC_PAGESIZE) - 1);
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        uintptr_t end = start + segment->p_filesz;
        if (segment->p_type != PT_LOAD || segment->p_offset == 0)
            continue;
        if (!(segment->p_flags & PF_W)) {
            add_piece(data, start, end, PROT_READ | (segment->p_flags & PF_X ? PROT_EXEC : 0));
        } else if (python) {
            add_piece(data, start, sealed_end, PROT_READ);
            add_piece(data, sealed_end > start ? sealed_end : start, end, PROT_READ | PROT_WRITE);
        }
    }
    return 0;
}

/* A copy of @piece at @to takes its place.  At no time can anything be both written to and executed, and the place of
 * code that is running here (munmap's own) is never without it.  False: it stays as it was. */
static bool replace(const struct piece *piece, char *to)
{
    memcpy(to, (const void *) piece->start, piece->length);
    if (mprotect(to, piece->length, piece->protection) < 0)
        return false; /* memory that becomes code may be forbidden here: SELinux's execmem */
    if (mremap(to, piece->length, piece->length, MREMAP_MAYMOVE | MREMAP_FIXED, (void *) piece->start) == MAP_FAILED)
        abort(); /* nobody says what is there now */
    return true;
}

/* The small pages of @pieces become parts of huge ones, wherever they lie: fork(2) and exit(2) count those once for all
 * their parts that lie side by side. */
static void gather_pieces(const struct pieces *pieces)
{
    char *room = mmap(NULL, pieces->length + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return;
    char *to = (char *) round_up((uintptr_t) room, HUGE);
    madvise(to, pieces->length / HUGE * HUGE, MADV_HUGEPAGE);
    for (size_t i = 0; i < pieces->n && replace(&pieces->list[i], to); i++)
        to += pieces->list[i].length;
    munmap(room, pieces->length + HUGE); /* what is left of it */
}

/* Linux 6.9 ("mm/memory: optimize fork() with PTE-mapped THP"); what an older kernel counts, it counts page by page. */
static bool knows_parts(void)
{
    unsigned major = 0, minor = 0;
    struct utsname kernel;

    return uname(&kernel) == 0 && sscanf(kernel.release, "%u.%u", &major, &minor) == 2
           && (major > 6 || (major == 6 && minor >= 9));
}

/* Linux 6.1; without it the heap keeps its small pages. */
static void collapse_heap(void)
{
    size_t whole = ((uintptr_t) sbrk(0) - heap) / HUGE * HUGE;

    if (heap && whole)
        madvise((void *) heap, whole, MADV_COLLAPSE);
}

void pages_settle(void)
{
    struct pieces pieces = { .n = 0 };

    fill_pools();
    fill_holes();
    collapse_heap();
    settled = true;
    if (knows_parts()) {
        dl_iterate_phdr(find_pieces, &pieces);
        gather_pieces(&pieces);
    } else {
        dl_iterate_phdr(own_a_page, NULL);
    }
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
