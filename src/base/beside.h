/* SPDX-License-Identifier: Apache-2.0 */
/* Work that would hold up the loop, done in a thread.
 *
 * The loop comes first: where processors are few, these threads and the store's run while it waits. */
#ifndef HATCHERY_BASE_BESIDE_H
#define HATCHERY_BASE_BESIDE_H

#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

/* Embedded in what is worked on; belongs to the work until @over has been called. */
struct beside {
    uv_work_t work;
    uv_loop_t *loop;
    const void *whose;
    uint64_t turn;
    TAILQ_ENTRY(beside) link;
    void (*run)(void *data);
    void (*over)(void *data);
    void *data;
};

/* Bytes: a text up to this is read or written in the loop, as a thread's start and end take about as long. */
enum { BESIDE_MIN = 65536 };

/* Before the first work: how many threads there will be, at most two, and one fewer than processors where there are two. */
void beside_prepare(void);

/* Have a thread call @run(@data), which must touch nothing that the loop may change meanwhile; then @over(@data) is called
 * from @loop.  Works that wait take turns by @whose, which is compared and never read: so a key that sends many long texts
 * delays any other key by two of them.  Works of the same @whose begin in their order.  For one loop, and from its thread. */
void beside_begin(uv_loop_t *loop, struct beside *beside, const void *whose, void (*run)(void *data),
                  void (*over)(void *data), void *data);

/* How nice a thread is to the loop, setpriority(2). */
enum { BESIDE_STORE = 5, BESIDE_WORK = 10 };

/* For a thread of ours that is not the loop's: be so from here on. */
void beside_yield(int nice);

#endif
