/* SPDX-License-Identifier: Apache-2.0 */
/* Which runtimes there are: the default, those of the configuration, and those that `hatchery env
 * add` has made. */
#ifndef HATCHERY_SUPERVISOR_RUNTIMES_H
#define HATCHERY_SUPERVISOR_RUNTIMES_H

#include "base/wire.h"
#include "conf/conf.h"

/* Below the state directory. Each has the directory RUNTIMES_PACKAGES, which programs see. */
#define RUNTIMES_ENVS "envs"
#define RUNTIMES_PACKAGES "packages"

struct runtime_spec {
    struct wire_runtime wire;
    char *packages; /* a directory; "": only the system's */
    bool of_env;    /* its packages are below RUNTIMES_ENVS */
    char *imports;  /* in addition to python.imports */
    bool callbacks; /* its programs can make C callbacks */
    bool epoll;     /* they have epoll */
};

struct runtimes {
    unsigned n; /* at least the default runtime, which is the first */
    struct runtime_spec list[WIRE_RUNTIMES_MAX];
};

/* Find them.  0, or -errno with one sentence a line in @error; a sentence about a key begins with
 * "SECTION.KEY: ".  Then @ret is empty.  runtimes_free() releases the content. */
int runtimes_find(const struct conf *conf, struct runtimes *ret, struct buf *error);
void runtimes_free(struct runtimes *runtimes);

/* Open the directory of @spec's packages (O_PATH), judged again as when it was found: the state
 * directory belongs to the server's user, who can replace it while we run.  The descriptor, or
 * -errno (-EPERM: it is not ours alone). */
int runtimes_open(const struct runtime_spec *spec);

/* Append a JSON array of {"name", "version"} to @out: the packages installed in @spec's directory
 * and in the system's, by the names of the directories with which installers mark them.  None of
 * these is read. */
void runtimes_add_packages(const struct conf *conf, const struct runtime_spec *spec, struct buf *out);

/* Append one sentence a line for each import that has neither a file nor a module in the
 * interpreter itself: it is probably misspelt, or not installed.  Imports nothing. */
void runtimes_doubt_imports(const struct conf *conf, const struct runtimes *runtimes, struct buf *out);

/* Append the path of the directory of `hatchery env add`; nothing if there is no state.  0 or
 * -errno, with a sentence in @error. */
int runtimes_envs_path(const struct conf *conf, struct buf *ret_path, struct buf *error);

/* Call @on_env for each environment in it, by name.  If others than us could have made or can
 * change one, it is skipped, with a sentence on stderr.  0 or -errno. */
int runtimes_each_env(const char *envs, void (*on_env)(void *data, const char *name), void *data);

/* Append the path that @text means: the name of an environment becomes the path of its packages, a
 * path stays as it is. It must be a directory. */
int runtimes_resolve(const char *envs, const char *text, struct buf *ret_path, struct buf *error);

#endif
