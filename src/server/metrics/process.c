/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics that every Prometheus client has of its own process.
 *
 * The server may open nothing once it has confined itself, so what /proc tells is opened before and
 * read again and again. */
#include "server/metrics/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int statm_fd = -1;
static DIR *fds;
static int64_t start_us;

void metrics_process_init(void)
{
    struct timespec now;

    statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    fds = opendir("/proc/self/fd");
    clock_gettime(CLOCK_REALTIME, &now);
    start_us = (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* proc_pid_statm(5): pages in all, and those that are resident. */
static void read_memory(void)
{
    long long all = -1, resident = -1;
    long page = sysconf(_SC_PAGESIZE);
    char text[128];
    ssize_t n = pread(statm_fd, text, sizeof(text) - 1, 0);

    if (n > 0) {
        char *end;
        text[n] = '\0';
        all = strtoll(text, &end, 10);
        resident = strtoll(end, NULL, 10);
    }
    metric_set(METRIC_PROCESS_VIRTUAL, all < 0 ? -1 : all * page, 0, 0, 0);
    metric_set(METRIC_PROCESS_RESIDENT, resident < 0 ? -1 : resident * page, 0, 0, 0);
}

/* Without ".", ".." and the descriptor that we read through. */
static void read_fds(void)
{
    int64_t n = -3;

    if (fds) {
        rewinddir(fds);
        while (readdir(fds))
            n++;
    }
    metric_set(METRIC_PROCESS_FDS, n, 0, 0, 0);
}

static int64_t us_of(struct timeval t)
{
    return (int64_t) t.tv_sec * 1000000 + t.tv_usec;
}

void metrics_process_read(void)
{
    struct rusage usage;
    struct rlimit limit;

    read_memory();
    read_fds();
    getrusage(RUSAGE_SELF, &usage);
    metric_set(METRIC_PROCESS_CPU, us_of(usage.ru_utime) + us_of(usage.ru_stime), 0, 0, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    metric_set(METRIC_PROCESS_MAX_FDS, (int64_t) limit.rlim_cur, 0, 0, 0);
    metric_set(METRIC_PROCESS_START, start_us, 0, 0, 0);
}
