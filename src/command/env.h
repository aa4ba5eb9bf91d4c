/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery env`: packages for programs, in the state directory. */
#ifndef HATCHERY_COMMAND_ENV_H
#define HATCHERY_COMMAND_ENV_H

#include "conf/conf.h"

/* Make the environment @name: a copy of the directory @from, or what pip installs for the file @requirements; @build: also
 * packages that are no wheels, whose setup code then runs as who calls this. */
int env_add(const struct conf *conf, const char *name, const char *from, const char *requirements, bool build);

/* Print names, and where their packages are. */
int env_list(const struct conf *conf);

int env_remove(const struct conf *conf, const char *name);

/* These return the exit status of the command; sentences about failures go to stderr. */

#endif
