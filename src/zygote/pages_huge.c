/* SPDX-License-Identifier: Apache-2.0 */
/* The zygote's memory in huge pages: the interpreter's arenas, the heap, the interpreter itself.
 *
 * pages.c calls this file in the zygote, before the first fork.  fork(2) and exit(2) count a huge
 * page as one page, instead of five hundred small ones.  If the kernel has no huge pages,
 * everything stays where it was.  What must never happen here: memory that is both writable and
 * executable, or a piece of the interpreter that gets lost in the move. */
#include "zygote/pages_parts.h"

#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* <linux/mman.h> of 6.1 */
#endif

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
    note_data((uintptr_t) p + before, (uintptr_t) p + before + HUGE);
    return p + before;
}

void *arena_alloc(void *unused, size_t size)
{
    static char *piece;
    static size_t left;

    (void) unused;
    if (pages.settled || size > HUGE) {
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

void arena_free(void *unused, void *p, size_t size)
{
    (void) unused;
    munmap(p, size);
}

void collapse_heap(void)
{
    size_t whole = ((uintptr_t) sbrk(0) - pages.heap) / HUGE * HUGE;

    if (pages.heap && whole)
        madvise((void *) pages.heap, whole, MADV_COLLAPSE);
}

/* Where the parts of the interpreter's shared object begin and end, in whole pages. */
struct layout {
    /* sealed: PT_GNU_RELRO, at the beginning of the variables */
    uintptr_t start, code, code_end, sealed_end, variables_end;
    /* end of the variables that are in no file (.bss) */
    uintptr_t zeros_end;
    bool has_holes;
};

static int find_interpreter(struct dl_phdr_info *object, size_t size, void *layout)
{
    uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);
    struct layout *l = layout;

    (void) size;
    if (!strstr(object->dlpi_name, "/libpython"))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_GNU_RELRO)
            l->sealed_end = round_down(start + segment->p_memsz, page);
        if (segment->p_type != PT_LOAD)
            continue;
        if (!l->start)
            l->start = l->variables_end = round_down(start, page);
        l->has_holes = l->has_holes || round_down(start, page) != l->variables_end;
        l->variables_end = round_up(start + segment->p_filesz, page);
        l->zeros_end = round_up(start + segment->p_memsz, page);
        if (segment->p_flags & PF_X) {
            l->code = round_down(start, page);
            l->code_end = l->variables_end;
        }
    }
    return 1;
}

/* Move the copy at @from to @start, in place of what is there. */
static void take_place(char *from, uintptr_t start, uintptr_t end, int protection)
{
    if (end > start
        && (mprotect(from, end - start, protection) < 0
            || mremap(from, end - start, end - start, MREMAP_MAYMOVE | MREMAP_FIXED, (void *) start) == MAP_FAILED))
        abort(); /* nobody says what is there now */
}

/* Read-only data that shares huge pages with code becomes executable: names and constants, as in
 * any program before linkers kept them apart.  At no time is anything both writable and executable.
 * This function is not part of the interpreter, so it keeps running while the interpreter moves. */
void move_interpreter(void)
{
    struct layout l = { .start = 0 };

    if (!dl_iterate_phdr(find_interpreter, &l) || !l.code || l.has_holes || l.sealed_end < l.code_end)
        return;
    note_data(l.sealed_end, l.zeros_end);
    uintptr_t before = round_down(l.code, HUGE), after = round_up(l.code_end, HUGE);
    uintptr_t start = before > l.start ? before : l.start;
    uintptr_t end = after < l.sealed_end ? after : l.sealed_end;
    size_t into = start % HUGE; /* offset into the first huge page */
    size_t size = round_up(into + l.variables_end - start, HUGE);
    char *room = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return;
    char *copy = (char *) round_up((uintptr_t) room, HUGE);
    memcpy(copy + into, (const void *) start, l.variables_end - start);
    /* If the kernel has no huge pages, or allows no code in such memory (SELinux's execmem), the
     * file's pages stay. */
    if (madvise(copy, size, MADV_COLLAPSE) == 0 && mprotect(copy + into, end - start, PROT_READ | PROT_EXEC) == 0) {
        take_place(copy + into, start, end, PROT_READ | PROT_EXEC);
        take_place(copy + into + (end - start), end, l.sealed_end, PROT_READ);
        take_place(copy + into + (l.sealed_end - start), l.sealed_end, l.variables_end, PROT_READ | PROT_WRITE);
    }
    munmap(room, size + HUGE); /* the rest of it */
}
