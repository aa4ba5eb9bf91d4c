/* SPDX-License-Identifier: Apache-2.0 */
/* What a few looks at some tasks say about the line at a lock.
 *
 * convoy.c calls it in each look.  What must never happen here: that one task that happens to wait
 * condemns a box, or that many tasks that do nothing hide those that wait. */
#include "supervisor/convoy_judge.h"

#include "base/buf.h"

#include <stdlib.h>

/* More than so many wait, in so many looks in a row.  Where there was one a moment ago it need not
 * be one yet, only begin. */
enum { LINE = 4, LOOKS = 4, LINE_AGAIN = 2, LOOKS_AGAIN = 2 };

struct judge {
    unsigned n_slots;
    uint64_t random;
    unsigned looks;  /* in a row that found a line */
    unsigned now;    /* tasks of all boxes that wait at this look */
    bool judged;     /* the last look was the last of its row */
    unsigned *sums;  /* by slot: of the looks of this row */
    bool *suspected; /* by slot: one of its tasks waited at the last look */
};

struct judge *judge_new(unsigned n_slots, uint64_t seed)
{
    struct judge *j = xcalloc(1, sizeof(*j));

    j->n_slots = n_slots;
    j->random = seed | 1;
    j->sums = xcalloc(n_slots, sizeof(*j->sums));
    j->suspected = xcalloc(n_slots, sizeof(*j->suspected));
    return j;
}

void judge_free(struct judge *j)
{
    if (!j)
        return;
    free(j->sums);
    free(j->suspected);
    free(j);
}

/* xorshift64*: G. Marsaglia, Xorshift RNGs, 2003, and S. Vigna, 2016. */
static unsigned below(struct judge *j, unsigned n)
{
    j->random ^= j->random >> 12;
    j->random ^= j->random << 25;
    j->random ^= j->random >> 27;
    return (unsigned) ((j->random * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

/* Each part of the list has one who is asked: those who wait may be next to each other. */
unsigned judge_choose(struct judge *j, uint32_t slot, unsigned tasks, unsigned boxes,
                      unsigned ret_places[static JUDGE_ASKED_MAX])
{
    unsigned n = JUDGE_ASKED_OF_ALL / (boxes ? boxes : 1);

    n = n < JUDGE_ASKED_MIN ? JUDGE_ASKED_MIN : n;
    n = n > JUDGE_ASKED_MAX || j->suspected[slot] ? JUDGE_ASKED_MAX : n;
    n = n > tasks ? tasks : n;
    for (unsigned i = 0; i < n; i++) {
        unsigned begin = i * tasks / n, end = (i + 1) * tasks / n;
        ret_places[i] = begin + below(j, end - begin);
    }
    return n;
}

/* The first look of a row forgets the row before it. */
static void begin_row(struct judge *j)
{
    if (j->judged)
        judge_forget_all(j);
}

void judge_see(struct judge *j, uint32_t slot, unsigned tasks, unsigned asked, unsigned waiting)
{
    unsigned n = waiting >= 2 ? waiting * tasks / asked : waiting;

    begin_row(j);
    j->suspected[slot] = waiting > 0;
    j->sums[slot] += n;
    j->now += n;
}

enum judge_verdict judge_end_look(struct judge *j, bool again)
{
    bool found = j->now > (again ? LINE_AGAIN : LINE);

    begin_row(j);
    j->now = 0;
    if (!found) {
        judge_forget_all(j);
        return JUDGE_NONE;
    }
    j->judged = ++j->looks >= (again ? LOOKS_AGAIN : LOOKS);
    return j->judged ? JUDGE_LINE : JUDGE_PERHAPS;
}

bool judge_is_of(const struct judge *j, uint32_t slot, unsigned *ret_waiting)
{
    unsigned boxes = 0, all = 0, own = j->sums[slot];

    for (unsigned i = 0; i < j->n_slots; i++) {
        boxes += j->sums[i] > 0;
        all += j->sums[i];
    }
    *ret_waiting = j->looks ? own / j->looks : 0;
    return j->judged && own > 0 && own * 2 * boxes >= all;
}

void judge_forget(struct judge *j, uint32_t slot)
{
    j->sums[slot] = 0;
    j->suspected[slot] = false;
}

void judge_forget_all(struct judge *j)
{
    for (unsigned slot = 0; slot < j->n_slots; slot++)
        j->sums[slot] = 0;
    j->looks = j->now = 0;
    j->judged = false;
}
