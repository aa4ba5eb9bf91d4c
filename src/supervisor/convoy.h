/* SPDX-License-Identifier: Apache-2.0 */
/* Convoys: many processes of programs that stand in line for one lock of the kernel.
 *
 * A lock that sleeps (of a file's mappings, of pages that forks share) is handed on first come,
 * first served.  The next one of the host to come waits until each of the line has had a processor.
 * So boxes are looked at that have run for long.  Where more than a few of their tasks wait
 * uninterruptibly (proc_pid_stat(5): D) at each of four looks within a tenth of a second, the boxes
 * with most of them go on in turns: each runs for five milliseconds, and is held for the rest.  A
 * task that is held finishes the call that it is in, so the line is gone.  At each pause the other
 * boxes are looked at.  After half a second all go on, and where the line is back, the turns last
 * twice as long.
 *
 * Nothing is looked at while no box has run for long, and no task while all boxes together have few
 * or while nothing of the machine runs; then the files of proc(5) and of the cgroups are read, for
 * at most a twentieth of a processor's time while there is no line, and a quarter while there
 * may be one.  Calls block only as long as
 * these files do. */
#ifndef HATCHERY_SUPERVISOR_CONVOY_H
#define HATCHERY_SUPERVISOR_CONVOY_H

#include <stdint.h>

struct cgroups;
struct convoy;

/* Over the slots of @groups, which must outlive it. */
struct convoy *convoy_new(struct cgroups *groups, unsigned n_slots);

/* The slot's box has run for long: look at it until it is over. */
void convoy_watch(struct convoy *convoy, uint32_t slot);

/* Another box is in it. */
void convoy_forget(struct convoy *convoy, uint32_t slot);

/* When convoy_look() is due, on the clock of now_us(); INT64_MAX: there is nothing to look at. */
int64_t convoy_due_us(const struct convoy *convoy);

/* Look, hold boxes, or let them go on; nothing before it is due. */
void convoy_look(struct convoy *convoy);

/* How many boxes were caught since the start, and for how long boxes were held, all together. */
struct convoy_sums {
    unsigned boxes;
    int64_t held_us;
};
struct convoy_sums convoy_sums(const struct convoy *convoy);

void convoy_free(struct convoy *convoy); /* NULL is fine */

#endif
