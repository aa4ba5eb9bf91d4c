/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a directory of Python packages.
 *
 * env.c asks before it copies a directory, and looks at what it has copied or what pip has
 * installed.  Only names of files are read.  What must never happen here: an environment that is
 * refused although programs could use it. */
#include "command/packages.h"

#include "conf/conf_value.h"

#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PYTHON_TAG "cpython-311-" /* the boxes' */

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), len = strlen(end);

    return n > len && strcmp(name + n - len, end) == 0;
}

/* The first entry of the directory @path that @is_wanted, in @ret; false if there is none. */
static bool find_entry(const char *path, bool (*is_wanted)(const char *name), char ret[static NAME_MAX + 1])
{
    DIR *d = opendir(path);
    bool found = false;

    for (struct dirent *entry; d && !found && (entry = readdir(d));) {
        found = is_wanted(entry->d_name);
        if (found)
            snprintf(ret, NAME_MAX + 1, "%s", entry->d_name);
    }
    if (d)
        closedir(d);
    return found;
}

static bool is_python_directory(const char *name)
{
    return strncmp(name, "python3.", 8) == 0;
}

static bool is_wheel(const char *name)
{
    return ends_with(name, ".whl");
}

/* A virtual environment has its packages three directories below. */
static bool add_venv(const char *from, struct buf *error)
{
    char path[PATH_MAX], version[NAME_MAX + 1];

    snprintf(path, sizeof(path), "%s/pyvenv.cfg", from);
    bool venv = access(path, F_OK) == 0;
    snprintf(path, sizeof(path), "%s/lib", from);
    if (!find_entry(path, is_python_directory, version))
        return false;
    snprintf(path, sizeof(path), "%s/lib/%s/site-packages", from, version);
    if (access(path, F_OK) < 0)
        return false;
    buf_addf(error, "--from: %s is %s, whose packages are further below: use --from %s", from,
             venv ? "a virtual environment" : "a place where Python is installed", path);
    return true;
}

int packages_check_place(const char *from, struct buf *error)
{
    char path[PATH_MAX], name[NAME_MAX + 1];

    snprintf(path, sizeof(path), "%s/.", from);
    if (is_wheel(from) && access(from, F_OK) == 0 && access(path, F_OK) < 0) {
        buf_addf(error,
                 "--from: %s is a wheel, an archive: write its path into a file and use --requirements with that",
                 from);
        return -ENOTDIR;
    }
    if (access(path, R_OK) < 0) {
        buf_addf(error, "--from: %s is no directory that can be read (%s)", from, strerror(errno));
        return -errno;
    }
    if (add_venv(from, error))
        return -EINVAL;
    struct packages found = { 0 };
    if (packages_look(from, false, &found) < 0 || found.n_modules) /* of what can't be looked at the copy tells */
        return 0;
    if (find_entry(from, is_wheel, name)) {
        buf_addf(error, "--from: %s holds wheels, which are archives, such as ", from);
        conf_value_add_shown(error, name);
        buf_adds(error, ": write their paths into a file and use --requirements with that");
    } else
        buf_addf(
            error,
            "--from: there is nothing in %s that Python could import: give the directory that holds the packages, as "
            "`pip install --target DIR` fills it",
            from);
    return -EINVAL;
}

static bool is_compiled(const char *name)
{
    return ends_with(name, ".so") || ends_with(name, ".pyd");
}

/* Can `import` find it in the directory that is looked at? */
static bool is_module(const FTSENT *entry)
{
    const char *name = entry->fts_name;

    if (entry->fts_info == FTS_D || entry->fts_info == FTS_SL)
        return !strchr(name, '.') && strcmp(name, "__pycache__") != 0 && strcmp(name, "bin") != 0;
    return ends_with(name, ".py") || is_compiled(name) || ends_with(name, ".pth");
}

/* `x.cpython-312-x86_64-linux-gnu.so`, beside which there is none for the boxes' Python. */
static bool is_foreign(const FTSENT *entry)
{
    const char *tag = strchr(entry->fts_name, '.');
    char ours[PATH_MAX];

    if (!tag || !is_compiled(entry->fts_name))
        return false;
    if (!ends_with(entry->fts_name, ".pyd")
        && (strncmp(tag, ".cpython-", 9) != 0 || strncmp(tag + 1, PYTHON_TAG, strlen(PYTHON_TAG)) == 0))
        return false;
    snprintf(ours, sizeof(ours), "%.*s." PYTHON_TAG "x86_64-linux-gnu.so",
             (int) (strlen(entry->fts_path) - strlen(tag)), entry->fts_path);
    return access(ours, F_OK) < 0;
}

static void look_at(const FTSENT *entry, size_t below, struct packages *found)
{
    bool top = entry->fts_level == 1;

    if (top && (ends_with(entry->fts_name, ".dist-info") || ends_with(entry->fts_name, ".egg-info")))
        found->n_named++;
    else if (top && is_module(entry))
        found->n_modules++;
    if (entry->fts_info == FTS_F && is_foreign(entry) && !found->n_foreign++)
        snprintf(found->foreign, sizeof(found->foreign), "%s", entry->fts_path + below);
}

int packages_look(const char *path, bool deep, struct packages *ret)
{
    char top[PATH_MAX];

    snprintf(top, sizeof(top), "%s/", path); /* may be a link */
    char *const paths[] = { top, NULL };
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

    if (!walk)
        return -errno;
    *ret = (struct packages){ 0 };
    for (FTSENT *entry; (errno = 0, entry = fts_read(walk));) {
        if (entry->fts_info != FTS_DP)
            look_at(entry, strlen(top), ret);
        if (!deep && entry->fts_level == 1)
            fts_set(walk, entry, FTS_SKIP);
    }
    int err = -errno;
    fts_close(walk);
    return err;
}
