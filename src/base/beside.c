/* SPDX-License-Identifier: Apache-2.0 */
/* Work that would hold up the loop, done in libuv's threads.
 *
 * Called by code that reads or writes much JSON.  What must never happen here: the loop waiting for
 * a processor because long texts keep all of them. */
#include "base/beside.h"

#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

/* At most this many threads, so that much work leaves processors to the rest. */
enum { THREADS_MAX = 2 };

static _Thread_local bool has_yielded;

/* Libuv's threads take work in the order of its arrival.  So each thread gets one piece of work,
 * and the others wait here, in the order of their turns. */
static TAILQ_HEAD(line, beside) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static unsigned n_threads = 1, at_work;
static uint64_t turn; /* of the work that began last */

void beside_prepare(void)
{
    cpu_set_t set;
    bool few = sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) <= THREADS_MAX;

    n_threads = few ? 1 : THREADS_MAX;
    setenv("UV_THREADPOOL_SIZE", few ? "1" : "2", 1);
}

/* In Linux each thread has its own nice value.  If the kernel refuses it, the thread stays as it
 * was. */
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

static void begin_next(void);

static void on_over(uv_work_t *work, int status)
{
    struct beside *beside = work->data;

    (void) status;
    at_work--;
    begin_next();
    beside->over(beside->data);
}

static void begin_next(void)
{
    struct beside *next;

    while (at_work < n_threads && (next = TAILQ_FIRST(&waiting))) {
        TAILQ_REMOVE(&waiting, next, link);
        turn = next->turn;
        at_work++;
        uv_queue_work(next->loop, &next->work, run, on_over);
    }
}

/* Its turn is one after the last waiting work of the same owner. It stands behind all works of that
 * turn. */
static void stand_in_line(struct beside *beside)
{
    struct beside *before = TAILQ_LAST(&waiting, line);

    beside->turn = turn + 1;
    for (struct beside *b = before; b; b = TAILQ_PREV(b, line, link))
        if (b->whose == beside->whose) {
            beside->turn = b->turn + 1;
            break;
        }
    while (before && before->turn > beside->turn)
        before = TAILQ_PREV(before, line, link);
    if (before)
        TAILQ_INSERT_AFTER(&waiting, before, beside, link);
    else
        TAILQ_INSERT_HEAD(&waiting, beside, link);
}

void beside_begin(uv_loop_t *loop, struct beside *beside, const void *whose, void (*run_it)(void *data),
                  void (*over)(void *data), void *data)
{
    beside->work.data = beside;
    beside->loop = loop;
    beside->whose = whose;
    beside->run = run_it;
    beside->over = over;
    beside->data = data;
    stand_in_line(beside);
    begin_next();
}
