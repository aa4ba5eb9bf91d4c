/* SPDX-License-Identifier: Apache-2.0 */
/* Two rules of arithmetic.
 *
 * Called by the pool for its queue, and by the store for jobs, bytes and
 * deliveries.  What must never happen here: a key that finds everything taken
 * because another was faster. */
#include "base/fair.h"

enum { TIMES_FREE = 3 };

bool fair_may_wait(int64_t max, int64_t all, int64_t mine, int64_t keys)
{
    if (!max || (max > 0 && all < max))
        return true;
    return max > 0 && mine < (max > keys ? max / keys : 1);
}

int64_t fair_left(int64_t max, int64_t taken, int64_t mine)
{
    int64_t free = max - taken;
    int64_t left = (TIMES_FREE * free - mine) / (TIMES_FREE + 1);

    return left < 1 && !mine && free >= 1 ? 1 : left;
}
