/* SPDX-License-Identifier: Apache-2.0 */
/* The text of one configuration value: what it means, and how an error shows it.  Pure functions;
 * conf.c and conf_source.c use them. */
#ifndef HATCHERY_CONF_CONF_VALUE_H
#define HATCHERY_CONF_CONF_VALUE_H

#include "conf/conf.h"

/* The number in @text: CONF_COUNT, CONF_BYTES (bytes), CONF_TIME (milliseconds) or CONF_BOOL (0 or
 * 1).  A number that an int64_t cannot hold becomes INT64_MAX, which no bound allows.  Returns 0 or
 * -EINVAL. */
int conf_value_number(enum conf_type type, const char *text, int64_t *ret_number);

/* May server.listen be @text: IPV4:PORT, localhost:PORT, [IPV6]:PORT, unix:PATH? */
bool conf_value_is_listen(const char *text);

/* Append @number in the largest unit that divides it: 32M, 100ms, 5min. */
void conf_value_add_number(struct buf *b, enum conf_type type, int64_t number);

/* Append @text in quotes for an error's sentence: at most 60 bytes, nothing that a terminal
 * obeys. */
void conf_value_add_shown(struct buf *b, const char *text);

/* Append the first word of @name, a key or variable that does not exist, as above.  If an equals
 * sign is missing, the text after a space may be anything, even a secret. */
void conf_value_add_name(struct buf *b, const char *name);

/* How many characters must be inserted, removed or replaced to turn @a into @b (Levenshtein).  Case
 * does not count, nor do bytes after the 63rd. */
unsigned conf_value_distance(const char *a, const char *b);

/* End a sentence about the unknown @name: suggest @nearest if it is near enough to be meant,
 * otherwise tell where all names are listed. */
void conf_value_suggest(struct buf *b, const char *name, unsigned distance, const char *nearest);

#endif
