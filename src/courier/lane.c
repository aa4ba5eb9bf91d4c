/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: a slow host delays only its own deliveries.
 *
 * The courier's loop calls this file.  What must never happen here: two deliveries to one host that
 * change places, or a host that waits although it has room while another one is served twice. */
#include "courier/lane.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lanes_init(struct lanes *lanes, unsigned per_host, unsigned in_all)
{
    *lanes = (struct lanes){ .per_host = per_host, .in_all = in_all };
    TAILQ_INIT(&lanes->lanes);
}

static struct lane *find(struct lanes *lanes, const char *host)
{
    struct lane *lane;

    TAILQ_FOREACH (lane, &lanes->lanes, link)
        if (strcmp(lane->host, host) == 0)
            return lane;
    lane = xcalloc(1, sizeof(*lane));
    snprintf(lane->host, sizeof(lane->host), "%s", host);
    TAILQ_INIT(&lane->waiting);
    TAILQ_INSERT_TAIL(&lanes->lanes, lane, link);
    return lane;
}

static void drop_if_empty(struct lanes *lanes, struct lane *lane)
{
    if (!lane->n_waiting && !lane->n_running) {
        TAILQ_REMOVE(&lanes->lanes, lane, link);
        free(lane);
    }
}

int lanes_add(struct lanes *lanes, struct delivery *delivery)
{
    struct lane *lane = find(lanes, delivery->url.host);

    if (lane->n_waiting >= LANE_MAX)
        return -EAGAIN;
    delivery->lane = lane;
    TAILQ_INSERT_TAIL(&lane->waiting, delivery, link);
    lane->n_waiting++;
    lanes->n_waiting++;
    return 0;
}

struct delivery *lanes_next(struct lanes *lanes)
{
    struct lane *lane;

    if (lanes->n_running >= lanes->in_all)
        return NULL;
    TAILQ_FOREACH (lane, &lanes->lanes, link)
        if (lane->n_waiting && lane->n_running < lanes->per_host)
            break;
    if (!lane)
        return NULL;
    TAILQ_REMOVE(&lanes->lanes, lane, link);
    TAILQ_INSERT_TAIL(&lanes->lanes, lane, link);
    struct delivery *delivery = TAILQ_FIRST(&lane->waiting);
    TAILQ_REMOVE(&lane->waiting, delivery, link);
    lane->n_waiting--;
    lanes->n_waiting--;
    lane->n_running++;
    lanes->n_running++;
    return delivery;
}

void lanes_done(struct lanes *lanes, struct delivery *delivery)
{
    struct lane *lane = delivery->lane;

    delivery->lane = NULL;
    lane->n_running--;
    lanes->n_running--;
    drop_if_empty(lanes, lane);
}

static void clear(struct lanes *lanes, struct lane *lane)
{
    struct delivery *delivery;

    while ((delivery = TAILQ_FIRST(&lane->waiting))) {
        TAILQ_REMOVE(&lane->waiting, delivery, link);
        delivery_free(delivery, NULL);
    }
    lanes->n_waiting -= lane->n_waiting;
    lane->n_waiting = 0;
    drop_if_empty(lanes, lane);
}

void lanes_clear(struct lanes *lanes)
{
    struct lane *lane = TAILQ_FIRST(&lanes->lanes);

    while (lane) {
        struct lane *next = TAILQ_NEXT(lane, link);
        clear(lanes, lane);
        lane = next;
    }
}
