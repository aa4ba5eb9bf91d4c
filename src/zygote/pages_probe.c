/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that every box writes to: found by a probe, copied at once in each box.
 *
 * main.c runs one probe: a child of the zygote that does what a box does, with the interpreter's
 * data write-protected.  spawn.c asks for the copies first of all in a box, which costs less than a
 * page fault for each.  What must never happen here: that the zygote waits for a probe without end,
 * or that somebody outside notices a probe. */
#include "zygote/pages.h"

#include "zygote/pages_parts.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The pages that the probe has written to, in that order. */
enum { PROBED_MAX = 512, PROBE_SECONDS = 5 };

struct probe {
    size_t n;
    uintptr_t pages[PROBED_MAX];
};

static struct probe *probe; /* shared with the child */

/* The pages that each box will write to, in ascending order. */
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
    for (size_t i = 0; i < pages.n_data && !ours; i++)
        ours = page >= pages.data[i].start && page < pages.data[i].end;
    if (!ours || probe->n == PROBED_MAX || mprotect((void *) page, size, PROT_READ | PROT_WRITE) < 0)
        _exit(EXIT_FAILURE);
    probe->pages[probe->n++] = page;
}

/* Functions that imports registered for the end may print: that goes where the zygote's standard
 * output goes, nowhere. A probe that does not end is killed by SIGALRM. */
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
        for (size_t i = 0; i < pages.n_data; i++)
            mprotect((void *) pages.data[i].start, pages.data[i].end - pages.data[i].start, PROT_READ);
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

    if (pages.heap)
        note_data(pages.heap, round_down((uintptr_t) sbrk(0), size));
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
