/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery key`: the file of keys in the state directory. */
#ifndef HATCHERY_COMMAND_KEY_H
#define HATCHERY_COMMAND_KEY_H

#include "base/keyfile.h"
#include "conf/conf.h"

/* Make a key, store its hash with @key's name and limits, and print it, once.  A running server knows it at once. */
int key_new(const struct conf *conf, struct keyfile_key *key);

/* Print names and limits. */
int key_list(const struct conf *conf);

/* Forget a key: requests with it are refused from now on, its jobs go on. */
int key_revoke(const struct conf *conf, const char *name);

/* Is there any key in the file? */
bool key_any(const struct conf *conf);

/* These return the exit status of the command; sentences about failures go to stderr. */

#endif
