/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs whose first argument is an action: `hatchery key list`, `hatchery env add NAME`. */
#ifndef HATCHERY_COMMAND_ACTION_H
#define HATCHERY_COMMAND_ACTION_H

#include "command/options.h"
#include "command/verb.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>

struct action {
    const char *word;
    bool has_name;                         /* one argument follows the word */
    bool (*fits)(const struct options *o); /* do these options go with it? NULL: any do */
    /* Returns the exit status. @name is the argument, or the word itself if none follows. */
    int (*run)(const struct conf *conf, const struct options *o, const char *name);
};

/* Read the command line, find its action among the @n in @actions, load the configuration and run
 * the action.  Returns the exit status; sentences about failures go to stderr. */
int action_run(const struct verb *verb, int argc, char **argv, const struct action *actions, size_t n);

#endif
