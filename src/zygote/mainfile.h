/* SPDX-License-Identifier: Apache-2.0 */
/* main.py as a file in the working directory: made when somebody first asks for it. */
#ifndef HATCHERY_ZYGOTE_MAINFILE_H
#define HATCHERY_ZYGOTE_MAINFILE_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the @n bytes at @text, which must stay where they are, are main.py for whoever opens, looks up or executes it by
 * its name in this process. */
void mainfile_offer(const char *text, size_t n);

/* Python itself can't import it: it has a return at top level. Children of multiprocessing's spawn, which do so first of all
 * and are replaced when they fail, are not started: their parent gets a SIGINT instead, and Python a KeyboardInterrupt,
 * of which ending.c makes a RuntimeError with the reason. */
void mainfile_is_no_module(void);

/* Has that happened? */
bool mainfile_has_refused(void);

#endif
