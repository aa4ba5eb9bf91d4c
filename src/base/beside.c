/* SPDX-License-Identifier: Apache-2.0 */
/* Work that would hold up the loop, done in libuv's threads.
 *
 * Called by whoever reads or writes much JSON.  What must never happen here:
 * the loop waiting for a processor because long texts keep all of them. */
#include "base/beside.h"

#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Those who send much of it wait for each other, and leave processors to the rest. */
enum { THREADS_MAX = 2 };

static _Thread_local bool has_yielded;

void beside_prepare(void)
{
    cpu_set_t set;
    bool few = sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) <= THREADS_MAX;

    setenv("UV_THREADPOOL_SIZE", few ? "1" : "2", 1);
}

/* Of Linux' threads each is nice by itself.  What can't be nicer is as it was. */
void beside_yield(int nice)
{
    setpriority(PRIO_PROCESS, 0, nice);
}

static void run(uv_work_t *work)
{
    struct beside *beside = work->data;

    if (!has_yielded)
        beside_yield(BESIDE_WORK);
    has_yielded = true;
    beside->run(beside->data);
}

static void on_over(uv_work_t *work, int status)
{
    struct beside *beside = work->data;

    (void) status;
    beside->over(beside->data);
}

void beside_begin(uv_loop_t *loop, struct beside *beside, void (*run_it)(void *data), void (*over)(void *data),
                  void *data)
{
    beside->work.data = beside;
    beside->run = run_it;
    beside->over = over;
    beside->data = data;
    uv_queue_work(loop, &beside->work, run, on_over);
}
