/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration from all its sources: defaults, file, environment, command line.  A later
 * source wins. */
#ifndef HATCHERY_COMMAND_SOURCES_H
#define HATCHERY_COMMAND_SOURCES_H

#include "command/options.h"
#include "conf/conf.h"

#include <stdbool.h>

/* Read all sources, and check them.
 * @first: NULL at the start.  When a server reloads, the configuration that it started with:
 * secrets that were in the environment are taken from there, because sources_forget_key() has wiped
 * them.
 * @whole: it is also an error if this machine lacks something (a user, a root directory, a
 * runtime). Returns 0, and @conf is the caller's to free.  Returns -errno for the first error, and
 * @conf is empty. Then @error has all errors, a sentence a line, in the order of the file.  May
 * block. */
int sources_read(struct conf *conf, const struct options *o, const struct conf *first, bool whole, struct buf *error);

/* sources_read() at the start; the sentences go to stderr.  Returns 0 or -errno. */
int sources_load(struct conf *conf, const struct options *o, bool whole);

/* Write each line of @errors to stderr as a sentence of its own. */
void sources_print_errors(const struct buf *errors);

/* Wipe the secrets in our environment, which /proc/PID/environ shows.  Call it after
 * sources_load(), when the configuration has them. */
void sources_forget_key(void);

/* Make up an API key, and set it in @conf.  Returns it, in static memory that is valid until the
 * next call. */
const char *sources_generate_key(struct conf *conf);

#endif
