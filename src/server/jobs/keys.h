/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send requests, and how much each may ask for.
 *
 * The key of the configuration is called "default"; the others are in the file `keys` of the state directory, which
 * is read again whenever it changes. */
#ifndef HATCHERY_SERVER_JOBS_KEYS_H
#define HATCHERY_SERVER_JOBS_KEYS_H

#include "base/holder.h"
#include "base/keyfile.h"
#include "server/pool/share.h"

#include <stdint.h>
#include <uv.h>

/* Never freed: requests and jobs point to it. */
struct key {
    struct key *next;
    bool valid; /* false: revoked, or known by its jobs only */
    struct keyfile_key file;
    struct share share;
    struct holder holder;
    double tokens; /* requests it may send at once */
    int64_t tokens_us;
};

struct keys;

/* @default_hash: of the configuration's key; NULL: there is none. */
struct keys *keys_new(const unsigned char *default_hash);

/* The configuration's key is another from here on; NULL: there is none. */
void keys_set_default(struct keys *keys, const unsigned char *hash);

/* Read the file `keys` of the current directory, now and whenever it changes.  0, or -errno where it can't be watched
 * (a file that is not there has no keys; one that is damaged is logged, and the keys before it stay). */
int keys_watch(struct keys *keys, uv_loop_t *loop);
void keys_close(struct keys *keys);

/* The valid key that @text is, or NULL.  Takes the same time for every wrong one. */
struct key *keys_find(const struct keys *keys, const char *text, size_t len);

/* Whose member @holder is; NULL for NULL. */
struct key *keys_of_holder(struct holder *holder);

/* The key of a job's tenant, made up where it is no more. */
struct key *keys_named(struct keys *keys, const char *name);

/* All of them, by ->next. */
struct key *keys_first(const struct keys *keys);

/* One request: may it be served?  @ret_left: how many more now; @ret_wait_s: until the next, or until all, may come. */
bool key_take(struct key *key, int64_t now_us, unsigned *ret_left, unsigned *ret_wait_s);

#endif
