/* SPDX-License-Identifier: Apache-2.0 */
/* What a runtime has imported before any program runs. */
#ifndef HATCHERY_ZYGOTE_IMPORTS_H
#define HATCHERY_ZYGOTE_IMPORTS_H

#include "base/wire.h"

/* Before Python is initialised: note what is open, and tell libraries by the environment to start no threads. */
void imports_begin(void);

/* Import what @conf lists and does not leave out; @supervisor_fd hears of each (WIRE_IMPORT): that it begins, and what is
 * wrong with it.  One that raises an exception is logged and passed over; one that has left a
 * thread or a process, or closed descriptors of ours, is logged and ends the process with WIRE_ZYGOTE_FAULT and an enum
 * fault.  0 or -errno. */
int imports_run(const struct wire_zygote_conf *conf, int supervisor_fd);

/* The environment is the program's again.  0, or -1 with a Python exception set. */
int imports_end(const struct wire_limits *limits);

/* Log @msg with @name and the text of the Python exception that is set, and clear it. */
void imports_log_error(const char *msg, const char *name);

#endif
