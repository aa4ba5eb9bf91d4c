/* SPDX-License-Identifier: Apache-2.0 */
/* The one CPython of the zygote: initialised, warmed and frozen before any fork. */
#ifndef HATCHERY_ZYGOTE_WARM_H
#define HATCHERY_ZYGOTE_WARM_H

#include "base/wire.h"

/* Initialise the embedded interpreter as Debian's /usr/bin/python3 running main.py, import the
 * modules that @conf lists (imports.h; @supervisor_fd hears of it), load the run's own code and
 * freeze the heap.  The environment must already be the program's.  Descriptors 1 and 2 are
 * afterwards as before.  Returns 0, or -1 with the reason logged.  It is also -1 if an import has
 * left a thread or a process behind, or closed descriptors of ours. */
int warm_python(const struct wire_zygote_conf *conf, int supervisor_fd);

#endif
