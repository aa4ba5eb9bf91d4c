/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asks of an installation: does the jail hold here?
 *
 * All block until they are done, print to stdout and return the command's exit status. */
#ifndef HATCHERY_COMMAND_CHECK_CHECK_H
#define HATCHERY_COMMAND_CHECK_CHECK_H

#include "conf/conf.h"

/* Layer by layer, what holds on this host and what to change where something doesn't.  EXIT_SUCCESS only if all that
 * @conf requires holds. */
int doctor(const struct conf *conf, bool json);

/* Make the attempts in @directory whose title contains @only (NULL: all) through a service of our own with @conf,
 * whose limits are set to their defaults.  A line for each that no wall of what is required held, and with @verbose for
 * each; on a terminal, how far it is.  EXIT_SUCCESS only if each ran into its wall. */
int selftest(struct conf *conf, const char *directory, const char *only, bool verbose);

/* Ask the service that has @conf for /readyz; its reply goes to stdout.  EXIT_SUCCESS only if it is ready. */
int health(const struct conf *conf);

#endif
