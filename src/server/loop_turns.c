/* SPDX-License-Identifier: Apache-2.0 */
/* How long everybody else waits for a turn of the loop. */
#include "server/server.h"

#include "server/metrics/metrics.h"

static const uint64_t LONG_TURN_NS = 2000000;

/* The loop's time is when it was woken, in whole milliseconds. */
static void on_events_over(uv_check_t *handle)
{
    struct loop_turns *turns = handle->data;

    turns->events_over_ns = uv_hrtime();
    turns->events_ns = turns->events_over_ns - uv_now(handle->loop) * 1000000;
}

static void on_turn_over(uv_prepare_t *handle)
{
    struct loop_turns *turns = handle->data;
    uint64_t ns = turns->events_ns + uv_hrtime() - turns->events_over_ns;

    if (turns->events_over_ns && ns > LONG_TURN_NS)
        metric_observe(METRIC_LOOP_TURN, (int64_t) (ns / 1000), 0, 0, 0);
}

void loop_turns_watch(struct loop_turns *turns, uv_loop_t *loop)
{
    turns->events_over.data = turns->turn_over.data = turns;
    uv_check_init(loop, &turns->events_over);
    uv_check_start(&turns->events_over, on_events_over);
    uv_prepare_init(loop, &turns->turn_over);
    uv_prepare_start(&turns->turn_over, on_turn_over);
}
