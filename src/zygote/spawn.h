/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes: forked, watched, reaped. */
#ifndef HATCHERY_ZYGOTE_SPAWN_H
#define HATCHERY_ZYGOTE_SPAWN_H

#include "base/wire.h"
#include "box/box.h"

#include <sys/types.h>

/* The processes of one slot; 0 if there is none. */
struct brood {
    uint32_t serial;
    pid_t init, program;
};

struct zygote {
    struct wire_zygote_conf conf;
    struct box box;
    int supervisor_fd, server_fd, init_fd;
    int groups_fd; /* cgroup v2: the directory with the boxes' groups; -1: boxes can't be born in
                    * one */
    int self_pidfd;
    struct brood slots[WIRE_SLOTS_MAX]; /* conf.n_slots of them are used */
};

/* Make the box that @order (WIRE_SPAWN) asks for and send the server its ends.  Does not return in
 * the child.  Reports a failure to the server as WIRE_GONE with its errno. */
void spawn_box(struct zygote *zygote, const struct wire_of_box *order);

/* Reap all processes that have ended and tell the server: WIRE_EXITED when the program has ended,
 * WIRE_GONE when nothing of the box is left and its slot can be used again. */
void spawn_reap(struct zygote *zygote);

#endif
