/* SPDX-License-Identifier: Apache-2.0 */
/* An operator's questions about an installation: does the jail hold here?
 *
 * All functions block until they are done, print to stdout and return the command's exit status. */
#ifndef HATCHERY_COMMAND_CHECK_CHECK_H
#define HATCHERY_COMMAND_CHECK_CHECK_H

#include "conf/conf.h"

/* Print for each layer whether it holds on this host, and if not, what to change.  EXIT_SUCCESS
 * only if all layers that @conf requires hold. */
int doctor(const struct conf *conf, bool json);

/* Make the attempts in @directory whose title contains @only (NULL: all) through a service of our
 * own with @conf, whose limits are set to their defaults.  Prints a line for each attempt that no
 * required wall stopped, and with @verbose for every attempt; on a terminal also the progress.
 * EXIT_SUCCESS only if each attempt ran into its wall. */
int selftest(struct conf *conf, const char *directory, const char *only, bool verbose);

/* Ask the service that has @conf for /readyz; its reply goes to stdout.  EXIT_SUCCESS only if it is
 * ready. */
int health(const struct conf *conf);

#endif
