/* SPDX-License-Identifier: Apache-2.0 */
/* The text of one configuration value: what it means, and how it is shown in an error.
 * Pure functions; used by conf.c and conf_source.c. */
#ifndef HATCHERY_CONF_CONF_VALUE_H
#define HATCHERY_CONF_CONF_VALUE_H

#include "conf/conf.h"

/* The number that @text is: CONF_COUNT, CONF_BYTES (bytes), CONF_TIME (milliseconds) or CONF_BOOL
 * (0 or 1).  More than an int64_t holds is INT64_MAX, which no bound allows.  Returns 0 or -EINVAL. */
int conf_value_number(enum conf_type type, const char *text, int64_t *ret_number);

/* Is @text something server.listen may be: IPV4:PORT, localhost:PORT, [IPV6]:PORT, unix:PATH? */
bool conf_value_is_listen(const char *text);

/* Append @number in the largest unit that divides it: 32M, 100ms, 5min. */
void conf_value_add_number(struct buf *b, enum conf_type type, int64_t number);

/* Append @text in quotes for an error's sentence: at most 60 bytes, nothing a terminal obeys. */
void conf_value_add_shown(struct buf *b, const char *text);

/* Append @name, of a key or a variable that there is not: its first word, as above.  Behind a space may be anything,
 * a secret too, where an equals sign was forgotten. */
void conf_value_add_name(struct buf *b, const char *name);

/* How many characters must be inserted, removed or replaced to make @a of @b (Levenshtein); case does not
 * count, neither do bytes after the 63rd. */
unsigned conf_value_distance(const char *a, const char *b);

/* End a sentence about @name, which is unknown: name @nearest where it is so near that it may have been meant, else
 * where all are listed. */
void conf_value_suggest(struct buf *b, const char *name, unsigned distance, const char *nearest);

#endif
