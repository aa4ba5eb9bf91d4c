/* SPDX-License-Identifier: Apache-2.0 */
/* What a box copies: page faults after a fork cost more than anything else of it.
 *
 * Called by main.c before the first fork, and by spawn.c first of all in a box.  A page that a child writes to is copied (about 2 µs with all that
 * belongs to it, more again when it is given back), and fork(2) and exit(2) count what it has, page by page or huge page
 * by huge page.  What must never happen here: relying on any of it for anything but speed, or memory that can be
 * written to and executed. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/pages.h"

#include <link.h>
#include <malloc.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HUGE = 2 << 20 };

static uintptr_t round_up(uintptr_t address, uintptr_t unit)
{
    return (address + unit - 1) & ~(unit - 1);
}

static uintptr_t round_down(uintptr_t address, uintptr_t unit)
{
    return address & ~(unit - 1);
}

/* Where the interpreter's own data lie, that most boxes write to: its allocators' memory and its variables. */
struct span {
    uintptr_t start, end;
};

static struct span data[32];
static size_t n_data;

static void note_data(uintptr_t start, uintptr_t end)
{
    if (n_data < sizeof(data) / sizeof(*data) && end > start)
        data[n_data++] = (struct span){ start, end };
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
    note_data((uintptr_t) p + before, (uintptr_t) p + before + HUGE);
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

/* Linux 6.1; without it the heap keeps its small pages. */
static void collapse_heap(void)
{
    size_t whole = ((uintptr_t) sbrk(0) - heap) / HUGE * HUGE;

    if (heap && whole)
        madvise((void *) heap, whole, MADV_COLLAPSE);
}

/* Where the parts of the interpreter's shared object begin and end, in whole pages. */
struct layout {
    uintptr_t start, code, code_end, sealed_end, variables_end; /* sealed: PT_GNU_RELRO, at the variables' beginning */
    uintptr_t zeros_end;                                        /* of what is variable and in no file */
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

/* The copy at @from takes the place of what is at @start. */
static void take_place(char *from, uintptr_t start, uintptr_t end, int protection)
{
    if (end > start
        && (mprotect(from, end - start, protection) < 0
            || mremap(from, end - start, end - start, MREMAP_MAYMOVE | MREMAP_FIXED, (void *) start) == MAP_FAILED))
        abort(); /* nobody says what is there now */
}

/* The interpreter, from its code to its variables, moves to huge pages, at its own addresses: what is mapped as one, its
 * code and constants, fork(2) and exit(2) count as one and the processor finds as one.  What is in the same huge pages as
 * code, and can't be written to, becomes code: names and constants, as in any program before linkers kept them apart.  At
 * no time can anything be both written to and executed; nothing here is the interpreter's. */
static void move_interpreter(void)
{
    struct layout l = { .start = 0 };

    if (!dl_iterate_phdr(find_interpreter, &l) || !l.code || l.has_holes || l.sealed_end < l.code_end)
        return;
    note_data(l.sealed_end, l.zeros_end);
    uintptr_t before = round_down(l.code, HUGE), after = round_up(l.code_end, HUGE);
    uintptr_t start = before > l.start ? before : l.start;
    uintptr_t end = after < l.sealed_end ? after : l.sealed_end;
    size_t into = start % HUGE; /* a huge page */
    size_t size = round_up(into + l.variables_end - start, HUGE);
    char *room = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return;
    char *copy = (char *) round_up((uintptr_t) room, HUGE);
    memcpy(copy + into, (const void *) start, l.variables_end - start);
    /* Two answers that the file is kept for: no huge pages here, and no code in such memory (SELinux's execmem). */
    if (madvise(copy, size, MADV_COLLAPSE) == 0 && mprotect(copy + into, end - start, PROT_READ | PROT_EXEC) == 0) {
        take_place(copy + into, start, end, PROT_READ | PROT_EXEC);
        take_place(copy + into + (end - start), end, l.sealed_end, PROT_READ);
        take_place(copy + into + (l.sealed_end - start), l.sealed_end, l.variables_end, PROT_READ | PROT_WRITE);
    }
    munmap(room, size + HUGE); /* what is left of it */
}

void pages_settle(void)
{
    fill_pools();
    fill_holes();
    collapse_heap();
    settled = true;
    move_interpreter();
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

/* The pages that a probe has written to, in the order in which it did. */
enum { PROBED_MAX = 512, PROBE_SECONDS = 5 };

struct probe {
    size_t n;
    uintptr_t pages[PROBED_MAX];
};

static struct probe *probe; /* shared with the child */

/* What each box will write to, in ascending order. */
static struct span taken[PROBED_MAX];
static size_t n_taken;

/* The probe writes to a page for the first time. */
static void on_write(int signal, siginfo_t *info, void *context)
{
    uintptr_t size = (uintptr_t) sysconf(_SC_PAGESIZE);
    uintptr_t page = round_down((uintptr_t) info->si_addr, size);
    bool ours = false;

    (void) signal;
    (void) context;
    for (size_t i = 0; i < n_data && !ours; i++)
        ours = page >= data[i].start && page < data[i].end;
    if (!ours || probe->n == PROBED_MAX || mprotect((void *) page, size, PROT_READ | PROT_WRITE) < 0)
        _exit(EXIT_FAILURE);
    probe->pages[probe->n++] = page;
}

/* What it prints, by what imports have registered for the end, goes where the zygote's standard output goes: nowhere.
 * One that does not end is ended. */
_Noreturn static void be_probe(void (*run)(void))
{
    static char stack[65536];
    const stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
    struct sigaction action = { .sa_sigaction = on_write, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(PROBE_SECONDS);
    if (dup2(1, 2) == 2 && sigaltstack(&other, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0) {
        for (size_t i = 0; i < n_data; i++)
            mprotect((void *) data[i].start, data[i].end - data[i].start, PROT_READ);
        run();
    }
    _exit(EXIT_SUCCESS);
}

static int by_address(const void *one, const void *other)
{
    uintptr_t a = *(const uintptr_t *) one, b = *(const uintptr_t *) other;
    return (a > b) - (a < b);
}

static void note_taken(uintptr_t size)
{
    qsort(probe->pages, probe->n, sizeof(*probe->pages), by_address);
    for (size_t i = 0; i < probe->n; i++)
        if (n_taken && taken[n_taken - 1].end == probe->pages[i])
            taken[n_taken - 1].end += size;
        else
            taken[n_taken++] = (struct span){ probe->pages[i], probe->pages[i] + size };
}

void pages_probe(void (*run)(void))
{
    uintptr_t size = (uintptr_t) sysconf(_SC_PAGESIZE);

    if (heap)
        note_data(heap, round_down((uintptr_t) sbrk(0), size));
    probe = mmap(NULL, sizeof(*probe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED)
        return;
    pid_t pid = fork();
    if (pid == 0)
        be_probe(run);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    note_taken(size);
    munmap(probe, sizeof(*probe));
}

void pages_take(void)
{
    for (size_t i = 0; i < n_taken; i++)
        madvise((void *) taken[i].start, taken[i].end - taken[i].start, MADV_POPULATE_WRITE);
}
