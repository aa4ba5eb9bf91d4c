/* SPDX-License-Identifier: Apache-2.0 */
/* The options of the command line, of all verbs: a field for each row of verbs.def. */
#ifndef HATCHERY_COMMAND_OPTIONS_H
#define HATCHERY_COMMAND_OPTIONS_H

#include "command/verb.h"

#include <stdbool.h>

/* NULL or false if the option is not given.  Texts are argv's. */
struct options {
#define OPTION(word, field, argument, sentence) const char *field;
#define FLAG(word, field, sentence) bool field;
#include "command/verbs.def"
};

/* Read @argv, which begins with the verb's name.  Options stand before or after the arguments;
 * getopt_long(3) moves the arguments to the end.  Returns the first argument's index.  Returns -1
 * if an option is not in @verb's list, lacks its value, or has a value that it does not take.  A
 * sentence about it is then on stderr.  It uses getopt_long(3)'s globals: call it once. */
int options_parse(const struct verb *verb, int argc, char **argv, struct options *o);

#endif
