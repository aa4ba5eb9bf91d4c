/* SPDX-License-Identifier: Apache-2.0 */
/* What the command says of itself: `hatchery --help`, `hatchery help TOPIC`, `hatchery VERB --help`; from verbs.def and
 * conf.def. */
#ifndef HATCHERY_COMMAND_HELP_H
#define HATCHERY_COMMAND_HELP_H

#include <stdbool.h>
#include <stdio.h>

/* All verbs, a line each, and where more is: no more than a screen has. */
void help_overview(FILE *to);

/* @topic is a verb, whose arguments and options are explained with an example, or "config": every key.  On stdout.
 * False, and nothing is said, where it is neither. */
bool help_topic(const char *topic);

/* Does a verb with these @arguments (verbs.def) take --@option? */
bool help_lists_option(const char *arguments, const char *option);

#endif
