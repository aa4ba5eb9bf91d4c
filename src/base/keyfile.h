/* SPDX-License-Identifier: Apache-2.0 */
/* The file `keys` of the state directory: one line for each key, hashes only.
 *
 *   NAME HASH WEIGHT MAX_RUNS MAX_WAITING RATE CREATED [RUNTIME] [max-bytes=BYTES]
 *
 * HASH is the BLAKE2b-256 of the key in hexadecimal, CREATED is seconds since 1970, and a limit of
 * 0 means unlimited.  The command (`hatchery key`) writes the whole file and renames it into place;
 * the server reads it. */
#ifndef HATCHERY_BASE_KEYFILE_H
#define HATCHERY_BASE_KEYFILE_H

#include "base/buf.h"

#include <stdint.h>

enum {
    KEYFILE_NAME_MAX = 64,
    KEYFILE_RUNTIME_MAX = 32,
    KEYFILE_HASH = 32,
    KEYFILE_BYTES_MAX = 4 << 20,
    KEYFILE_LIMIT_MAX = 1000000
};

struct keyfile_key {
    char name[KEYFILE_NAME_MAX + 1];
    unsigned char hash[KEYFILE_HASH];
    unsigned weight, max_runs, max_waiting, rate; /* rate: requests a minute */
    int64_t created_s;
    int64_t max_bytes;                     /* space that its jobs may take in the store */
    char runtime[KEYFILE_RUNTIME_MAX + 1]; /* of requests that name none; "": the default runtime */
};

/* The name of the key that comes from API_KEY or the configuration; the file has no key of this
 * name. */
#define KEYFILE_DEFAULT "default"

/* May a runtime have this name?  Small letters, digits, '_', '-', beginning with a letter. */
bool keyfile_runtime_ok(const char *name);

/* May a key have this name?  Letters, digits, '.', '_', '-', at most KEYFILE_NAME_MAX. */
bool keyfile_name_ok(const char *name);

/* Call @on_key for every line of @text. 0, or -EINVAL with the line's number in @ret_line; nothing
 * is skipped. */
int keyfile_parse(const char *text, size_t len, void (*on_key)(void *data, const struct keyfile_key *key), void *data,
                  unsigned *ret_line);

void keyfile_add_line(struct buf *out, const struct keyfile_key *key);

#endif
