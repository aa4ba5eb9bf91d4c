/* SPDX-License-Identifier: Apache-2.0 */
/* Work that would hold up the loop, done in a thread.
 *
 * The loop comes first: if there are few processors, these threads and the store's run while it
 * waits. */
#ifndef HATCHERY_BASE_BESIDE_H
#define HATCHERY_BASE_BESIDE_H

#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

/* A member of the struct that is worked on; belongs to the work until @over has been called. */
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

/* Bytes.  The loop itself reads or writes a text up to this size: starting and ending a thread
 * would take about as long. */
enum { BESIDE_MIN = 65536 };

/* Before the first work: decide how many threads there will be. At most two, and only one if there
 * are at most two processors. */
void beside_prepare(void);

/* Let a thread call @run(@data), which must touch nothing that the loop may change meanwhile.  Then
 * @loop calls @over(@data).  Waiting works take turns by @whose, which is compared and never read:
 * a key that sends many long texts delays any other key by only two of them.  Works of the same
 * @whose begin in their order.  For one loop, and from its thread. */
void beside_begin(uv_loop_t *loop, struct beside *beside, const void *whose, void (*run)(void *data),
                  void (*over)(void *data), void *data);

/* Nice values of a thread compared with the loop's, setpriority(2). */
enum { BESIDE_STORE = 5, BESIDE_WORK = 10 };

/* For a thread of ours that is not the loop's: have this nice value from now on. */
void beside_yield(int nice);

#endif
