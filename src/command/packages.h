/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a directory of Python packages: can programs import it? */
#ifndef HATCHERY_COMMAND_PACKAGES_H
#define HATCHERY_COMMAND_PACKAGES_H

#include "base/buf.h"

#include <stdbool.h>

/* Is @from, a path that an operator has given, a directory that holds packages? Opens nothing but directories. 0, or
 * -errno and a sentence in @error that says which path to give instead: of a virtual environment, of a wheel, of what is
 * no directory. */
int packages_check_place(const char *from, struct buf *error);

struct packages {
    unsigned n_modules; /* what `import` finds at the top */
    unsigned n_named;   /* packages whose name and version an installer has left */
    unsigned n_foreign; /* compiled parts, at any depth, that are only for another Python */
    char foreign[256];  /* the first of these, below the directory */
};

/* Look into the directory at @path. Unless @deep, n_foreign is of its top alone. 0 or -errno. */
int packages_look(const char *path, bool deep, struct packages *ret);

#endif
