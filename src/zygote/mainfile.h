/* SPDX-License-Identifier: Apache-2.0 */
/* main.py as a file in the working directory, made when somebody first asks for it. */
#ifndef HATCHERY_ZYGOTE_MAINFILE_H
#define HATCHERY_ZYGOTE_MAINFILE_H

#include <stdbool.h>
#include <stddef.h>

/* From now on, if this process opens, looks up or executes main.py by its name, the file holds the
 * @n bytes at @text. The bytes must stay where they are. */
void mainfile_offer(const char *text, size_t n);

/* Python itself cannot import main.py, because it has a return at top level. Children of
 * multiprocessing's spawn import it first of all, and multiprocessing replaces those that fail, for
 * ever. So such children are not started. Their parent gets a SIGINT instead, and Python a
 * KeyboardInterrupt, which ending.c turns into a RuntimeError with the reason. */
void mainfile_is_no_module(void);

/* Was such a child refused? */
bool mainfile_has_refused(void);

#endif
