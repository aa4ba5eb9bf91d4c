/* SPDX-License-Identifier: Apache-2.0 */
/* The modules that a runtime imports before any program runs. */
#ifndef HATCHERY_ZYGOTE_IMPORTS_H
#define HATCHERY_ZYGOTE_IMPORTS_H

#include "base/wire.h"

/* Before Python is initialised: note which descriptors are open, and tell libraries by the
 * environment to start no threads. */
void imports_begin(void);

/* Import the modules that @conf lists and does not leave out.  @supervisor_fd hears that each
 * import begins and what is wrong with it (WIRE_IMPORT).  An import that raises an exception is
 * passed over: the supervisor logs it.  An import that leaves a thread or a process behind, or closes
 * descriptors of ours, is logged and ends this process with WIRE_ZYGOTE_FAULT and an enum fault.  0
 * or -errno. */
int imports_run(const struct wire_zygote_conf *conf, int supervisor_fd);

/* Give the environment back to the program.  0, or -1 with a Python exception set. */
int imports_end(const struct wire_limits *limits);

/* Log @msg with @name and the text of the Python exception that is set, and clear it. */
void imports_log_error(const char *msg, const char *name);

#endif
