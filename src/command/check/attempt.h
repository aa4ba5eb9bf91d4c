/* SPDX-License-Identifier: Apache-2.0 */
/* The attempts to escape that `hatchery selftest` makes: files of programs with header lines.
 *
 * tests/escape/table.py describes the format; the same files are the escape tests. */
#ifndef HATCHERY_COMMAND_CHECK_ATTEMPT_H
#define HATCHERY_COMMAND_CHECK_ATTEMPT_H

#include "base/buf.h"

#include <stdbool.h>

struct attempt {
    char *title;  /* file/name */
    char *source; /* the whole program */
    /* Values of the header's lines; NULL if a line is missing. */
    char *wall, *expect, *server, *timeout, *within, *twice, *runs, *gone, *truncated, *needs, *arch, *instead;
};

struct attempts {
    struct attempt *list;
    size_t n;
};

/* Read all attempts of the *.py files in @directory, in the order of their names.  Each program
 * gets prologue.py in front.  0, or -errno with a sentence in @error.  attempts_free() releases the
 * attempts. */
int attempts_read(struct attempts *attempts, const char *directory, struct buf *error);
void attempts_free(struct attempts *attempts);

#endif
