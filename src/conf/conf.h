/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: one table of keys (conf.def), one struct, one loader.
 *
 * Only the command reads it; other processes receive the parts that they need.  Precedence:
 * defaults < file < environment < command line (the caller's). */
#ifndef HATCHERY_CONF_CONF_H
#define HATCHERY_CONF_CONF_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum conf_type { CONF_STRING, CONF_SECRET, CONF_COUNT, CONF_BYTES, CONF_TIME, CONF_BOOL };

#define CONF_C_STRING char *
#define CONF_C_SECRET char *
#define CONF_C_COUNT int64_t
#define CONF_C_BYTES int64_t
#define CONF_C_TIME int64_t
#define CONF_C_BOOL bool

enum conf_when { CONF_RESTART, CONF_LIVE };

enum {
    CONF_KEYS = 0
#define CONF(...) +1
#include "conf/conf.def"
};

enum { CONF_RUNTIMES_MAX = 15, CONF_RUNTIME_NAME_MAX = 32, CONF_SECTION_MAX = 8 + CONF_RUNTIME_NAME_MAX + 1 };
#define CONF_RUNTIME_PREFIX "runtime."

enum {
    CONF_RUNTIME_KEYS = 0
#define RUNTIME(...) +1
#include "conf/conf.def"
};

struct conf_key;

/* May @value be the text of @key, whose length is right?  0, or -EINVAL with a sentence as in
 * conf_set(). */
typedef int conf_check(const struct conf_key *key, const char *value, struct buf *error);

struct conf_key {
    const char *section, *key;
    enum conf_type type;
    enum conf_when when;
    const char *def;
    int64_t min, max;
    conf_check *check;        /* of a text */
    const char *const *words; /* the only ones that the text may be, up to a NULL; NULL: any text */
    const char *doc;
    size_t offset; /* of its field in struct conf */
};

/* A section [runtime.NAME], and its keys as entries of their own. */
struct conf_runtime {
    char section[CONF_SECTION_MAX];
    struct conf_key keys[CONF_RUNTIME_KEYS + 1]; /* ends like the table */
#define RUNTIME(key, type, def, min, max, check, doc) CONF_C_##type key;
#include "conf/conf.def"
    char *origins[CONF_RUNTIME_KEYS];
};

/* Fields are called section_key: conf->limits_memory. */
struct conf {
#define CONF(section, key, type, def, min, max, check, when, doc) CONF_C_##type section##_##key;
#include "conf/conf.def"
    unsigned n_runtimes;
    struct conf_runtime runtimes[CONF_RUNTIMES_MAX];
    char *origins[CONF_KEYS]; /* in the table's order; NULL: the default */
    bool refused[CONF_KEYS];  /* the last value was wrong, and the field has the one before */
};

/* The table, ended by an entry with section == NULL. */
extern const struct conf_key conf_keys[];

/* The entry of a key, or NULL. */
const struct conf_key *conf_find(const char *section, const char *key);

/* The same, but also in the sections of @conf's runtimes. */
const struct conf_key *conf_find_in(struct conf *conf, const char *section, const char *key);

/* conf_runtime.c: the keys that each runtime has, before it has a name; ends like the table. */
extern const struct conf_key *const conf_runtime_keys;
bool conf_runtime_name_ok(const char *name);
const char *conf_runtime_name(const struct conf_runtime *runtime);
bool conf_is_runtime(const char *section);
struct conf_runtime *conf_runtime_find(struct conf *conf, const char *section); /* or NULL */
int conf_runtime_add(struct conf *conf, const char *section, struct conf_runtime **ret, struct buf *error);
/* or NULL */
const struct conf_key *conf_runtime_key(const struct conf_runtime *runtime, const char *key);
bool conf_runtime_has_key(const char *key);
/* -ENOENT, and a sentence */
int conf_runtime_refuse_key(const char *section, const char *key, struct buf *error);

/* Section and key of HATCHERY_RUNTIME_NAME_KEY.  False if @variable is not such a name. */
bool conf_runtime_of_variable(const char *variable, char ret_section[static CONF_SECTION_MAX], const char **ret_key);

/* Take over @from's runtimes; do both have the same ones? */
void conf_copy_runtimes(struct conf *conf, const struct conf *from);
bool conf_same_runtimes(const struct conf *a, const struct conf *b);

/* The name of its environment variable: HATCHERY_LIMITS_MEMORY. */
enum { CONF_ENV_NAME_MAX = 64 };
void conf_env_name(const struct conf_key *key, char ret_name[CONF_ENV_NAME_MAX]);

/* Fill @conf with the defaults.  conf_free() releases the strings, and wipes secrets. */
void conf_init(struct conf *conf);
void conf_free(struct conf *conf);

/* Errors are gathered: each function appends its sentences to @error.  Each sentence has a line of
 * its own, and this function begins the line. */
void conf_sentence(struct buf *error);

/* A check of the values returned @err, and appended behind @mark a sentence that begins with
 * "SECTION.KEY: ".  Give the sentence a line of its own, and put "FILE:LINE: ", "VARIABLE: " or
 * "command line: " before it if the key's value comes from there.  Without an error, forget what
 * was appended. Returns @err. */
int conf_locate(const struct conf *conf, int err, size_t mark, struct buf *error);

/* Set one key from text.  Returns 0, -ENOENT (no such key) or -EINVAL.  Then @error has one
 * sentence with the key and the rule: "limits.memory: '12X' is no size (a number with an optional
 * K, M or G)".  If a value is out of bounds, the sentence names the bounds.  It never shows a
 * secret. Checks here need only one key: type, bounds, the words of isolation.cgroup, log.format
 * and log.level, listen's syntax, a key's characters (printable ASCII without spaces). A non-empty
 * server.api_key clears server.api_key_file, and the other way round: the later source wins. On
 * failure @conf is untouched but for @refused. */
int conf_set(struct conf *conf, const char *section, const char *key, const char *value, struct buf *error);

/* The source of @key's value in words: "default", "FILE:LINE", "environment NAME", or what was
 * noted. */
const char *conf_origin(const struct conf *conf, const struct conf_key *key);
void conf_note_origin(struct conf *conf, const struct conf_key *key, const char *origin);

/* Copy @from's value and its origin; are both values the same? */
void conf_copy(struct conf *conf, const struct conf *from, const struct conf_key *key);
bool conf_equals(const struct conf *a, const struct conf *b, const struct conf_key *key);

/* Append all keys and the values in effect as the text of a file, each with its origin in a
 * comment.  Of a secret it only says that it is set. */
void conf_print(const struct conf *conf, struct buf *out);

/* Read an INI file (libinih).  Lines are empty, comments (after ; or #), [section] or key = value.
 * An indented line without "=" continues the value above it, after a space.  After a space, ;
 * begins a comment in any line.  A line has at most about 200 bytes (libinih's limit). Unknown
 * keys, wrong values, keys outside a section and lines that are not INI are errors: -EINVAL, and
 * "FILE:LINE: sentence" in @error for each.  For an unknown key the sentence suggests the nearest
 * known key, if one is near.  After a wrong [section] line nothing is judged until the next
 * section. -errno, also with a sentence, if the file can't be read.  May block. */
int conf_read(struct conf *conf, const char *path, struct buf *error);

/* The same from an open stream, which stays the caller's; @name stands for FILE. */
int conf_read_stream(struct conf *conf, FILE *stream, const char *name, struct buf *error);

/* Apply the environment: HATCHERY_SECTION_KEY for every key, HATCHERY_RUNTIME_NAME_KEY, API_KEY,
 * API_KEY_FILE, MAX_QUEUE_LENGTH (the longer name wins).  A key and a key file at once are an
 * error.  If one of these three, or the key, is empty, it counts as unset.  An unknown variable
 * that begins with HATCHERY_ is an error; the sentence names it and the nearest known one.  Ignored
 * are HATCHERY_CONFIG (the command's) and the variables that Kubernetes sets for a service called
 * hatchery (HATCHERY_PORT, HATCHERY_SERVICE_HOST ...). -EINVAL; each sentence of @error begins with
 * the variable's name. */
int conf_environ(struct conf *conf, char *const *envp, struct buf *error);

/* After all sources: resolve server.api_key_file into server.api_key (first line, white space at
 * its end removed), and check rules about several keys (timeout_default <= timeout_max, limits.code
 * * 6 + 64 KiB <= server.max_body).  A key whose own value was refused is not compared.  A missing
 * key is no error here: only serving needs one.  Same errors; -errno if the key file can't be read.
 * May block. */
int conf_finish(struct conf *conf, struct buf *error);

#endif
