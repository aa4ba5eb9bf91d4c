/* SPDX-License-Identifier: Apache-2.0 */
/* One program in one box: compile, run, end as Python ends, report. */
#ifndef HATCHERY_ZYGOTE_RUN_H
#define HATCHERY_ZYGOTE_RUN_H

#include "base/wire.h"

/* Load the prelude and everything else that a run needs, and run a first program to warm the paths.
 * In the zygote, once, when the interpreter is initialised.  0, or -1 with a Python exception
 * set. */
int run_prepare(const struct wire_limits *limits);

/* Run a small program through the real path, to touch the pages that a run will touch.  In the
 * zygote once more after pages_settle(), and in each box before its caller comes. */
void run_rehearse(void);

/* Do everything that every box does around its program.  In a child of the zygote that is not a
 * box. */
void run_probe(void);

/* The life of a box after box_enter(): touch the pages that a run will touch, send @state on
 * BOX_CONTROL_FD, wait for a program, run it, report.  Never returns. */
_Noreturn void run_box(struct wire_box_state *state);

#endif
