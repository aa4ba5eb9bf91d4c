/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks.
 *
 * Called by everybody, in the zygote also between fork and the program. */
#include "base/clock.h"

#include <time.h>

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t now_us(void)
{
    return now_ns() / 1000;
}

int64_t wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
