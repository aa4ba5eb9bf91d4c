/* SPDX-License-Identifier: Apache-2.0 */
/* Watching boxes that have no cgroup.
 *
 * The supervisor's loop calls this file.  The zygote's children are its boxes' inits and programs.
 * The pid namespace of a child tells which box it belongs to, and all processes below it belong to
 * the same box.  What must never happen here: a signal to a process that is not a box (it goes to a
 * pidfd that was opened while the box waited for us), or that a box makes us walk further than its
 * limit. */
#include "supervisor/limit_watch.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct slot {
    pid_t pid; /* the program; 0: none has joined */
    int pidfd;
    ino_t namespace;      /* unique while the pidfd is open, because struct pid holds its
                           * namespace */
    int64_t memory_bytes; /* its memory limit */
    unsigned processes;
    bool oom, crowd;
    pid_t roots[2]; /* the zygote's living children in it: init and the program */
    unsigned n_roots;
};

struct limit_watch {
    unsigned n_slots;
    int64_t memory_bytes; /* limit of later boxes */
    unsigned processes;
    struct slot *slots;
    pid_t *found; /* the processes of the box that is being looked at, at most max_found */
    unsigned n_found, max_found;
};

void limit_watch_change(struct limit_watch *w, const struct wire_limits *limits)
{
    unsigned max = (unsigned) limits->processes + 2; /* init, and one process more than the limit */

    w->memory_bytes = limits->memory_bytes;
    w->processes = (unsigned) limits->processes;
    if (max > w->max_found) {
        w->max_found = max;
        w->found = xrealloc(w->found, max * sizeof(*w->found));
    }
}

struct limit_watch *limit_watch_new(unsigned n_slots, const struct wire_limits *limits)
{
    struct limit_watch *w = xcalloc(1, sizeof(*w));

    w->n_slots = n_slots;
    w->slots = xcalloc(n_slots, sizeof(*w->slots));
    limit_watch_change(w, limits);
    for (unsigned i = 0; i < n_slots; i++)
        w->slots[i].pidfd = -1;
    return w;
}

void limit_watch_free(struct limit_watch *w)
{
    if (!w)
        return;
    for (unsigned i = 0; i < w->n_slots; i++)
        fd_close(&w->slots[i].pidfd);
    free(w->slots);
    free(w->found);
    free(w);
}

static int namespace_of(pid_t pid, ino_t *ret)
{
    char path[48];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int) pid);
    if (stat(path, &st) < 0)
        return -errno;
    *ret = st.st_ino;
    return 0;
}

/* An ending process has no memory any more, and its links in /proc can't be followed. */
static bool is_ending(pid_t pid)
{
    char path[32], text[128];

    snprintf(path, sizeof(path), "/proc/%d/statm", (int) pid);
    return fd_read_file(AT_FDCWD, path, text, sizeof(text)) <= 0 || text[0] == '0';
}

int limit_watch_join(struct limit_watch *w, uint32_t slot, pid_t pid)
{
    struct slot *s = &w->slots[slot];
    struct slot next = {
        .pid = pid, .pidfd = kernel_pidfd_open(pid), .memory_bytes = w->memory_bytes, .processes = w->processes
    };

    if (next.pidfd < 0)
        return -errno;
    int err = namespace_of(pid, &next.namespace);
    if (is_ending(pid)) /* looked at last: it could end in between, and be taken for another
                         * error */
        err = -ESRCH;
    if (err) {
        fd_close(&next.pidfd);
        return err;
    }
    fd_close(&s->pidfd);
    *s = next;
    return 0;
}

void limit_watch_usage(const struct limit_watch *w, uint32_t slot, int64_t *ret_oom_kills, int64_t *ret_pid_refusals)
{
    *ret_oom_kills = w->slots[slot].oom;
    *ret_pid_refusals = w->slots[slot].crowd;
}

/* Add the children of one thread to the list, if there is room. */
static void find_children(struct limit_watch *w, pid_t pid, const char *thread)
{
    char path[PATH_MAX], text[16384];
    char *end;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int) pid, thread);
    if (fd_read_file(AT_FDCWD, path, text, sizeof(text)) < 0)
        return;
    for (char *p = text; w->n_found < w->max_found; p = end) {
        long child = strtol(p, &end, 10);
        if (end == p)
            return;
        w->found[w->n_found++] = (pid_t) child;
    }
}

/* Count the threads of @pid, up to @max + 1, and add their children to the list. */
static unsigned walk_threads(struct limit_watch *w, pid_t pid, unsigned max)
{
    char path[48];
    struct dirent *entry;
    unsigned threads = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir)) && threads <= max)
        if (entry->d_name[0] != '.') {
            find_children(w, pid, entry->d_name);
            threads++;
        }
    if (dir)
        closedir(dir);
    return threads;
}

static int64_t kilobytes_after(const char *text, const char *name)
{
    const char *p = strstr(text, name);
    return p ? atoll(p + strlen(name)) : 0;
}

/* Cheap, but too high: pages that are still the zygote's, and pages that processes share, count for
 * each process. */
static int64_t resident(pid_t pid)
{
    char path[32], text[4096];

    snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof(text)) <= 0)
        return 0;
    return (kilobytes_after(text, "RssAnon:") + kilobytes_after(text, "RssShmem:")) * 1024;
}

/* Expensive, but right: each page is divided among the processes that have it. */
static int64_t proportional(pid_t pid)
{
    char path[48], text[2048];

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int) pid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof(text)) <= 0)
        return resident(pid);
    return (kilobytes_after(text, "Pss_Anon:") + kilobytes_after(text, "Pss_Shmem:")) * 1024;
}

static int64_t sum(const struct limit_watch *w, int64_t (*bytes_of)(pid_t))
{
    int64_t bytes = 0;
    for (unsigned i = 0; i < w->n_found; i++)
        bytes += bytes_of(w->found[i]);
    return bytes;
}

/* The zygote reaps the program and then kills its init, and so all that the program left. */
static void strike(struct slot *s, bool *reason)
{
    *reason = true;
    if (kernel_pidfd_send_signal(s->pidfd, SIGKILL) < 0 && errno != ESRCH)
        log_error("a box over its limits could not be killed", LOG_S("errno", strerrorname_np(errno)));
}

static void look_at(struct limit_watch *w, struct slot *s)
{
    unsigned tasks = 0;

    memcpy(w->found, s->roots, sizeof(s->roots));
    w->n_found = s->n_roots;
    for (unsigned i = 0; i < w->n_found && tasks <= s->processes; i++) {
        unsigned threads = walk_threads(w, w->found[i], s->processes);
        bool is_init = i < s->n_roots && w->found[i] != s->pid;
        tasks += is_init ? 0 : threads;
    }
    if (tasks > s->processes)
        strike(s, &s->crowd);
    else if (sum(w, resident) > s->memory_bytes && sum(w, proportional) > s->memory_bytes)
        strike(s, &s->oom);
}

static struct slot *slot_of(struct limit_watch *w, pid_t pid)
{
    ino_t namespace = 0;

    if (namespace_of(pid, &namespace) < 0)
        return NULL;
    for (unsigned i = 0; i < w->n_slots; i++)
        if (w->slots[i].pid && w->slots[i].namespace == namespace)
            return &w->slots[i];
    return NULL;
}

void limit_watch_look(struct limit_watch *w, pid_t zygote)
{
    char path[64], text[65536];
    char *end;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) zygote, (int) zygote);
    if (fd_read_file(AT_FDCWD, path, text, sizeof(text)) < 0)
        return;
    for (unsigned i = 0; i < w->n_slots; i++)
        w->slots[i].n_roots = 0;
    for (char *p = text;; p = end) {
        pid_t child = (pid_t) strtol(p, &end, 10);
        struct slot *s = end == p ? NULL : slot_of(w, child);
        if (end == p)
            break;
        if (s && s->n_roots < 2)
            s->roots[s->n_roots++] = child;
    }
    for (unsigned i = 0; i < w->n_slots; i++)
        if (w->slots[i].n_roots)
            look_at(w, &w->slots[i]);
}
