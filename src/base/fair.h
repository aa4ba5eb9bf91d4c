/* SPDX-License-Identifier: Apache-2.0 */
/* How much one key may have of what all keys share, whoever came first.
 *
 * Two rules.  Places in a queue are cheap, so a full queue still takes in a key that has less than
 * its part of it.  Bytes on disk and attempts under way are not cheap, so each key leaves a part
 * free for the next. Neither rule needs the operator to know how many keys there are.  Pure
 * functions. */
#ifndef HATCHERY_BASE_FAIR_H
#define HATCHERY_BASE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

/* A queue is for @max (0: unlimited; below 0: nobody).  It holds @all jobs, @mine of them from the
 * key that brings one more.  @keys have something in the queue, that key included.  May the job
 * come in?  Yes if the queue is not full, or if the key has less than @max / @keys in it.  So the
 * queue holds at most @max times 1 + 1/2 + ... + 1/@keys. */
bool fair_may_wait(int64_t max, int64_t all, int64_t mine, int64_t keys);

/* Of @max, all keys have taken @taken, and this key @mine of that.  How much more may this key
 * take?  A key has at most three times what is left free: alone it gets 3/4; two keys get 3/7 each
 * once both have had their turns.  So the next key finds a free part.  A key that has nothing gets
 * at least 1 if 1 is left. */
int64_t fair_left(int64_t max, int64_t taken, int64_t mine);

#endif
