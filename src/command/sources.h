/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration from all its sources: defaults, file, environment, command line.  The later one wins. */
#ifndef HATCHERY_COMMAND_SOURCES_H
#define HATCHERY_COMMAND_SOURCES_H

#include "command/options.h"
#include "conf/conf.h"

#include <stdbool.h>

/* Read all sources, and check what they say.
 * @first: NULL at the start.  When a server reads its configuration again: what it started with; what was secret in
 * the environment is taken from there, as sources_forget_key() has wiped it.
 * @whole: what this machine has not got (a user, a root directory, a runtime) is wrong, too.
 * Returns 0, and @conf is the caller's to free.  Returns -errno for the first error, and @conf is empty; @error then has
 * everything that is wrong, a sentence a line, in the order of the file.  May block. */
int sources_read(struct conf *conf, const struct options *o, const struct conf *first, bool whole, struct buf *error);

/* sources_read() at the start; the sentences go to stderr.  Returns 0 or -errno. */
int sources_load(struct conf *conf, const struct options *o, bool whole);

/* Write each line of @errors to stderr as a sentence of its own. */
void sources_print_errors(const struct buf *errors);

/* Wipe the secrets in our environment, which /proc/PID/environ shows.  Call it after sources_load(): the configuration
 * has them then. */
void sources_forget_key(void);

/* Make up an API key, and set it in @conf.  Returns it, in static memory that stays as it is until the next call. */
const char *sources_generate_key(struct conf *conf);

#endif
