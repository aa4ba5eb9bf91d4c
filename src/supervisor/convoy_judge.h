/* SPDX-License-Identifier: Apache-2.0 */
/* Is there a line at a lock of the kernel, and whose is it?  Pure decisions: convoy.c reads what
 * they rest on.
 *
 * A look asks some tasks of each box whether they wait, others each time, so that nobody knows who
 * is asked.  One that waits stands for itself; two or more stand for their part of the box.  A line
 * is one if several looks in a row find it.  Nothing here blocks or asks for the time. */
#ifndef HATCHERY_SUPERVISOR_CONVOY_JUDGE_H
#define HATCHERY_SUPERVISOR_CONVOY_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

/* How many tasks a look asks: of one box at most (and of one that is suspected), of one box at
 * least, and of all boxes where that lets it. */
enum { JUDGE_ASKED_MAX = 64, JUDGE_ASKED_MIN = 4, JUDGE_ASKED_OF_ALL = 64 };

enum judge_verdict { JUDGE_NONE, JUDGE_PERHAPS, JUDGE_LINE };

struct judge;

/* For boxes in @n_slots slots; @seed chooses who is asked and must not be known to a program. */
struct judge *judge_new(unsigned n_slots, uint64_t seed);

/* Of the slot's box, one of @boxes that are looked at, which of its @tasks are to be asked: their
 * places in ascending order, each below @tasks, each at most once.  Many, where one waited at the
 * last look.  Returns how many. */
unsigned judge_choose(struct judge *judge, uint32_t slot, unsigned tasks, unsigned boxes,
                      unsigned ret_places[static JUDGE_ASKED_MAX]);

/* This look has @asked so many of the slot's @tasks, and so many of them were @waiting. */
void judge_see(struct judge *judge, uint32_t slot, unsigned tasks, unsigned asked, unsigned waiting);

/* The look is over.  @again: there was a line a moment ago, so a shorter one, found less often, is
 * one. */
enum judge_verdict judge_end_look(struct judge *judge, bool again);

/* After JUDGE_LINE and before the next judge_see(): is the line the slot's?  A box that is only in
 * the line of others has less than half of what is one's share.  @ret_waiting: how many of it
 * waited at an average look. */
bool judge_is_of(const struct judge *judge, uint32_t slot, unsigned *ret_waiting);

/* Another box is in the slot: what was seen of the last one is not its own. */
void judge_forget(struct judge *judge, uint32_t slot);

/* What was seen is old: the next look begins anew. */
void judge_forget_all(struct judge *judge);

void judge_free(struct judge *judge); /* NULL is fine */

#endif
