/* SPDX-License-Identifier: Apache-2.0 */
/* The command's help: `hatchery --help`, `hatchery help TOPIC`, `hatchery VERB --help`; made from
 * verbs.def and conf.def. */
#ifndef HATCHERY_COMMAND_HELP_H
#define HATCHERY_COMMAND_HELP_H

#include <stdbool.h>
#include <stdio.h>

/* Print all verbs, a line each, and where to find more. It fits a screen. */
void help_overview(FILE *to);

/* @topic is a verb, whose arguments and options are explained with an example, or "config": every
 * key.  On stdout.  False if it is neither; then nothing is printed. */
bool help_topic(const char *topic);

/* Does a verb with these @arguments (verbs.def) take --@option? */
bool help_lists_option(const char *arguments, const char *option);

#endif
