/* SPDX-License-Identifier: Apache-2.0 */
/* A verb of the command, and how it ends when it cannot do what it was told. */
#ifndef HATCHERY_COMMAND_VERB_H
#define HATCHERY_COMMAND_VERB_H

#include "base/buf.h"

/* The exit status for a wrong command line or configuration; nothing has been done. */
enum { EXIT_USAGE = 2 };

/* A row of verbs.def.  @run gets the command line from the verb on (argv[0] is its name) and
 * returns the exit status. */
struct verb {
    const char *name, *arguments;
    int (*run)(const struct verb *verb, int argc, char **argv);
};

/* Print the verb's usage on stderr, and where its help is.  Returns EXIT_USAGE. */
int verb_usage_error(const struct verb *verb);

/* The same for a verb whose first argument is an action, as in `hatchery key list`.  If @action is
 * another tool's word for one of them, name ours first. */
int verb_action_error(const struct verb *verb, const char *action);

/* Print @error's sentence on stderr, and free @error.  Returns EXIT_FAILURE. */
int verb_fail(struct buf *error);

#endif
