/* SPDX-License-Identifier: Apache-2.0 */
/* A key's value in struct conf, for the files of this room.  No other room includes this header.
 *
 * @key is an entry of the table or of one of @conf's runtimes. */
#ifndef HATCHERY_CONF_CONF_PARTS_H
#define HATCHERY_CONF_CONF_PARTS_H

#include "conf/conf.h"

/* The column `check` of conf.def, as two members of struct conf_key. */
#define ANY conf_check_plain, NULL
#define WORDS(...)                                                                                                     \
    conf_check_word, (const char *const[])                                                                             \
    {                                                                                                                  \
        __VA_ARGS__, NULL                                                                                              \
    }
#define LISTEN conf_check_listen, NULL
#define LISTEN_OR_NONE conf_check_listen_or_none, NULL
#define VISIBLE conf_check_visible, NULL
#define VISIBLE_WORDS conf_check_visible_words, NULL
conf_check conf_check_plain, conf_check_word, conf_check_listen, conf_check_listen_or_none, conf_check_visible,
    conf_check_visible_words;

/* Is the value a text (CONF_STRING, CONF_SECRET)?  Otherwise it is a number. */
bool conf_is_text(const struct conf_key *key);

/* The value of a key that is a text; never NULL.  It belongs to @conf, and may be a secret. */
const char *conf_text_of(const struct conf *conf, const struct conf_key *key);

/* The value of a key that is a number; 0 or 1 for CONF_BOOL. */
int64_t conf_number_of(const struct conf *conf, const struct conf_key *key);

/* Put a copy of @value, or NULL, into the field of a key that is a text, unchecked.  Frees the old
 * value, and wipes it first if it was a secret, because secrets must not stay in freed memory. */
void conf_put_text(struct conf *conf, const struct conf_key *key, const char *value);

/* Is @value allowed for a key that is a text: its length, its characters, its syntax?  Returns 0,
 * or -EINVAL with a sentence as in conf_set(), which shows no secret. */
int conf_check_text(const struct conf_key *key, const char *value, struct buf *error);

#endif
