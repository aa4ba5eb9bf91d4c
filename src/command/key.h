/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery key`: the file of keys in the state directory. */
#ifndef HATCHERY_COMMAND_KEY_H
#define HATCHERY_COMMAND_KEY_H

#include "command/verb.h"
#include "conf/conf.h"

#include <stdbool.h>

/* The verb: make, list or revoke keys.  Returns the exit status; sentences about failures go to
 * stderr. May block. */
int run_key(const struct verb *verb, int argc, char **argv);

/* Is there any key in the file?  Also false if the file or the state directory cannot be read. */
bool key_any(const struct conf *conf);

#endif
