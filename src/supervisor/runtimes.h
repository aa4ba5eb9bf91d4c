/* SPDX-License-Identifier: Apache-2.0 */
/* Which runtimes there are: the default, those of the configuration, and what `hatchery env add` has prepared. */
#ifndef HATCHERY_SUPERVISOR_RUNTIMES_H
#define HATCHERY_SUPERVISOR_RUNTIMES_H

#include "base/wire.h"
#include "conf/conf.h"

/* Below the state directory; each has the directory RUNTIMES_PACKAGES, which is what programs see. */
#define RUNTIMES_ENVS "envs"
#define RUNTIMES_PACKAGES "packages"

struct runtime_spec {
    struct wire_runtime wire;
    char *packages; /* a directory; "": only the system's */
    bool of_env;    /* it is one of those below RUNTIMES_ENVS */
    char *imports;  /* in addition to python.imports */
    bool callbacks; /* its programs can make C callbacks */
    bool epoll;     /* they have epoll */
};

struct runtimes {
    unsigned n; /* at least the default's, which is the first */
    struct runtime_spec list[WIRE_RUNTIMES_MAX];
};

/* Find them.  0, or -errno and a sentence a line in @error, each beginning with "SECTION.KEY: " where it is about one;
 * @ret is then empty.  runtimes_free() releases what is in it. */
int runtimes_find(const struct conf *conf, struct runtimes *ret, struct buf *error);
void runtimes_free(struct runtimes *runtimes);

/* Open the directory of @spec's packages as a place (O_PATH), judged as when it was found: the state directory is the
 * server's, who can put another in its place while we run.  The descriptor, or -errno (-EPERM: it is not ours alone). */
int runtimes_open(const struct runtime_spec *spec);

/* Append a JSON array of {"name", "version"} to @out: what is installed in @spec's packages and in the system's, by the
 * names of the directories with which installers mark it.  Nothing of these is read. */
void runtimes_add_packages(const struct conf *conf, const struct runtime_spec *spec, struct buf *out);

/* Append a sentence a line for each word of the imports for which there is no file of a module, and no module in the
 * interpreter itself: it is probably misspelt, or not installed.  Nothing is imported. */
void runtimes_doubt_imports(const struct conf *conf, const struct runtimes *runtimes, struct buf *out);

/* Append the path of the directory with what `hatchery env add` makes; nothing where there is no state.  0 or -errno,
 * with a sentence in @error. */
int runtimes_envs_path(const struct conf *conf, struct buf *ret_path, struct buf *error);

/* Call @on_env for each environment in it, by name.  One that others than us could have made or can change is passed
 * over, with a sentence on stderr.  0 or -errno. */
int runtimes_each_env(const char *envs, void (*on_env)(void *data, const char *name), void *data);

/* Append what @text names: a name of an environment becomes the path of its packages, a path stays one.  It must be a directory. */
int runtimes_resolve(const char *envs, const char *text, struct buf *ret_path, struct buf *error);

#endif
