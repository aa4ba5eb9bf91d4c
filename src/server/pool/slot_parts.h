/* SPDX-License-Identifier: Apache-2.0 */
/* The inner header of one box's files; no other file includes it.
 *
 * slot.c has the box's states, from the order to the end.  report.c, output.c and record.c each
 * have one thing beside these.  The loop calls all of it; nothing here blocks. */
#ifndef HATCHERY_SERVER_POOL_SLOT_PARTS_H
#define HATCHERY_SERVER_POOL_SLOT_PARTS_H

#include "server/pool/slot.h"

/* --- slot.c --- */

/* For uv_poll_start() on slot->control. */
void slot_on_control(uv_poll_t *handle, int status, int events);

/* slot->outcome is known: tell the pool, or ask the supervisor first what the cgroup saw. */
void slot_end_or_ask(struct slot *slot);

/* --- report.c --- */

/* Read at most @turns packets, and set slot->strange where one is not of our code.  1: the report
 * is complete, and in slot->outcome; 2: it is complete, and is being checked: slot_end_or_ask()
 * follows; 0: more may come; -1: the program has closed its end. */
int slot_read_report(struct slot *slot, int turns);

/* Let go of a report that is being checked, if there is one: its end changes nothing then. */
void slot_forget_check(struct slot *slot);

/* --- output.c --- */

/* For uv_poll_start() with UV_READABLE on slot->outputs: read a bounded amount, and stop the poll
 * for a while if little comes. */
void slot_on_output(uv_poll_t *handle, int status, int events);

/* Look at the box's socket again only after a while. */
void slot_rest_control(struct slot *slot);

/* Take what is in the two pipes now: a bounded amount of it. */
void slot_drain_outputs(struct slot *slot);

/* --- record.c --- */

/* Observe how long each step of a box took that is ready now. */
void slot_count_steps(const struct slot *slot, const struct wire_box_state *state);

/* Count a run that has ended, and keep what its line in the log says: how slot->outcome ended it,
 * or that it was cancelled. */
void slot_note_end(struct slot *slot);
void slot_note_cancelled(struct slot *slot);

/* Write the run's line in the log, once two things are known: how the run ended, and what it used.
 * It is written once, however often this is called. */
void slot_log(struct slot *slot);

#endif
