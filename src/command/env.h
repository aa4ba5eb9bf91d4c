/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery env`: packages for programs, in the state directory. */
#ifndef HATCHERY_COMMAND_ENV_H
#define HATCHERY_COMMAND_ENV_H

#include "command/verb.h"

/* The verb: make, list or remove environments.  Returns the exit status; sentences about failures
 * go to stderr.  May block, as long as pip needs. */
int run_env(const struct verb *verb, int argc, char **argv);

#endif
