/* SPDX-License-Identifier: Apache-2.0 */
/* The time.  Never blocks; usable after a fork. */
#ifndef HATCHERY_BASE_CLOCK_H
#define HATCHERY_BASE_CLOCK_H

#include <stdint.h>

/* The monotonic clock (clock_gettime(2), CLOCK_MONOTONIC), for spans of time. */
int64_t now_us(void);
int64_t now_ns(void);

/* The wall clock (CLOCK_REALTIME), in microseconds since 1970, for times that are stored and shown.
 * It may jump. */
int64_t wall_us(void);

#endif
