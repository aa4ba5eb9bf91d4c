/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery env`: making, listing and removing environments.
 *
 * main() calls this.  An environment is complete before it gets its name.  The state directory
 * belongs to the server's user, and strangers talk to the server.  So this file reaches what is in
 * the directory by descriptor.  What must never happen here: that the server's user leads us, who
 * may be root, to another place; that a directory of packages, which somebody else may have filled,
 * makes a file of ours readable by every program, or runs code in our place. */
#include "command/env.h"

#include "base/fd.h"
#include "command/action.h"
#include "command/packages.h"
#include "conf/conf_value.h"
#include "supervisor/runtimes.h"
#include "supervisor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char python[] = "/usr/bin/python3.11"; /* the boxes' Python */
/* Without it `-m` looks for the module in the operator's working directory, which may be somebody's
 * packages. */
static const char nothing_from_here[] = "-P";

/* Run a command to its end. Its output goes to stderr, or nowhere if @quiet. 0, or -errno if it
 * failed. */
static int run_command(const char *const *argv, bool quiet)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    if (quiet) {
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    }
    int err = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *) (uintptr_t) argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (err)
        return -err;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

/* Open the directory of environments, and make it if it is missing.  It must belong to us, and only
 * we may write to it.  The lock lets one command in at a time; the commands that it starts inherit
 * the descriptor. */
static int open_envs(const struct conf *conf, struct buf *error)
{
    struct stat st;
    _cleanup_fd_ int state = state_open_configured(conf, true, error);

    if (state < 0)
        return state;
    if (mkdirat(state, RUNTIMES_ENVS, 0755) < 0 && errno != EEXIST)
        return fail(error, -errno, "the directory " RUNTIMES_ENVS " of the state directory cannot be made (%s)",
                    strerror(errno));
    /* the commands below inherit it */
    int fd = openat(state, RUNTIMES_ENVS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    bool ours = fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH));
    if (ours && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    fd_close(&fd);
    if (ours)
        return fail(error, -EBUSY, "another `hatchery env` is at work: try again when it is through");
    return fail(error, -EPERM, "the directory " RUNTIMES_ENVS " of the state directory is not ours alone: remove it");
}

static void remove_tree(int envs, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", envs, name);
    run_command((const char *const[]){ "rm", "-rf", "--", path, NULL }, false);
}

/* Does the link lead to something below @top?  It is in our own copy, so nobody changes it
 * meanwhile. */
static bool stays_below(const char *link, const char *top)
{
    char to[PATH_MAX];
    size_t n = strlen(top);

    return realpath(link, to) && strncmp(to, top, n) == 0 && (!to[n] || to[n] == '/');
}

/* The reason why programs can't get this entry, or NULL. */
static const char *judge(const FTSENT *entry, const char *top)
{
    switch (entry->fts_info) {
    case FTS_D:
    case FTS_DP:
    case FTS_F: return NULL;
    case FTS_SL:
    case FTS_SLNONE:
        return stays_below(entry->fts_path, top)
                   ? NULL
                   : "is a link that leads out of the directory, or nowhere: put what it leads to in its place";
    case FTS_DEFAULT: return "is neither a file nor a directory";
    default: return "cannot be looked at";
    }
}

/* A link that stays in the directory also works in a box.  The target of any other link is not
 * copied: the author of the directory may have no right to read it, and then every program
 * could. */
static int check_copy(const char *copy, struct buf *error)
{
    char *const paths[] = { (char *) (uintptr_t) copy, NULL };
    char top[PATH_MAX];
    const char *reason = NULL;
    FTSENT *entry;

    FTS *walk = realpath(copy, top) ? fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;
    if (!walk)
        return fail(error, -EIO, "--from: the copy cannot be looked at (%s)", strerror(errno));
    while (!reason && (errno = 0, entry = fts_read(walk))) {
        reason = judge(entry, top);
        if (reason) {
            buf_adds(error, "--from: ");
            conf_value_add_shown(error, entry->fts_path + strlen(copy) + (entry->fts_level > 0));
            buf_addf(error, " %s", reason);
        }
    }
    int err = reason ? -EINVAL : -errno;
    if (err && !reason)
        buf_addf(error, "--from: the copy cannot be looked at (%s)", strerror(-err));
    fts_close(walk);
    return err;
}

static int fill_from(const char *from, const char *to, struct buf *error)
{
    char contents[PATH_MAX];

    int err = packages_check_place(from, error);
    if (err)
        return err;
    snprintf(contents, sizeof(contents), "%s/.", from);
    err = run_command((const char *const[]){ "cp", "-RP", "--", contents, to, NULL }, false);
    if (err)
        return fail(error, err, "--from: %s could not be copied; the lines above say why", from);
    err = check_copy(to, error);
    if (err)
        return err;
    /* Without this each start would compile it again. Modules that do not compile are the programs'
     * business. */
    run_command(
        (const char *const[]){ python, nothing_from_here, "-m", "compileall", "-q", "-d", "/opt/packages", to, NULL },
        true);
    return 0;
}

static int fill_by_pip(const char *requirements, bool build, const char *to, struct buf *error)
{
    if (access(requirements, R_OK) < 0)
        return fail(error, -errno, "--requirements: %s cannot be read (%s)", requirements, strerror(errno));
    if (run_command((const char *const[]){ python, nothing_from_here, "-m", "pip", "--version", NULL }, true) < 0)
        return fail(error, -ENOENT,
                    "%s has no pip: apt-get install python3-pip; or install the packages into a directory elsewhere, "
                    "with Python 3.11, and use --from DIR",
                    python);
    int err = run_command((const char *const[]){ python, nothing_from_here, "-m", "pip", "install", "--no-input",
                                                 "--disable-pip-version-check", "--no-warn-script-location",
                                                 "--root-user-action=ignore", "--target", to, "--requirement",
                                                 requirements, build ? NULL : "--only-binary=:all:", NULL },
                          false);
    if (err)
        buf_addf(error, "pip could not install what the file asks for; the lines above say why (is there a network?)%s",
                 build ? ""
                       : "; a package that has no wheel for this Python is not built, as its setup code would run as "
                         "you: allow that with --build");
    return err;
}

/* Everybody must be able to read the packages, because boxes run as everybody; nobody but us may
 * write. */
static int open_to_all(const char *path, struct buf *error)
{
    int err = run_command((const char *const[]){ "chmod", "-R", "u+rwX,go+rX,go-w,a-st", "--", path, NULL }, false);
    if (err)
        buf_adds(error, "the packages could not be made readable for programs");
    return err;
}

static int fill(int envs, const char *fresh, const char *from, const char *requirements, bool build, struct buf *error)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/" RUNTIMES_PACKAGES, fresh);
    if (mkdirat(envs, fresh, 0755) < 0 || mkdirat(envs, path, 0755) < 0)
        return fail(error, -errno, "a directory in " RUNTIMES_ENVS " cannot be made (%s)", strerror(errno));
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s/" RUNTIMES_PACKAGES, envs, fresh);
    int err = from ? fill_from(from, path, error) : fill_by_pip(requirements, build, path, error);
    return err ? err : open_to_all(path, error);
}

static void warn_of_foreign(const struct packages *found)
{
    _cleanup_buf_ struct buf shown;

    buf_init(&shown, 256);
    conf_value_add_shown(&shown, found->foreign);
    fprintf(stderr,
            "hatchery: warning: %u compiled part%s for another Python than 3.11, such as %.*s: programs cannot import "
            "%s; install the package with Debian's Python 3.11\n",
            found->n_foreign, found->n_foreign == 1 ? " is" : "s are", (int) shown.len, shown.data,
            found->n_foreign == 1 ? "it" : "them");
}

/* What has been made, where it is, and what makes it a runtime. */
static int say_added(const struct conf *conf, int envs, const char *name)
{
    struct packages found = { 0 };
    char copy[PATH_MAX];
    _cleanup_buf_ struct buf path;
    _cleanup_buf_ struct buf error;

    buf_init(&path, PATH_MAX);
    buf_init(&error, 1024);
    runtimes_envs_path(conf, &path, &error);
    snprintf(copy, sizeof(copy), "/proc/self/fd/%d/%s/" RUNTIMES_PACKAGES, envs, name);
    packages_look(copy, true, &found);
    if (found.n_foreign)
        warn_of_foreign(&found);
    if (!found.n_modules)
        fprintf(stderr, "hatchery: warning: there is nothing in it that Python could import\n");
    printf("%.*s/%s/" RUNTIMES_PACKAGES " has %u module%s and %u package%s with a version.\n", (int) path.len,
           path.data, name, found.n_modules, found.n_modules == 1 ? "" : "s", found.n_named,
           found.n_named == 1 ? "" : "s");
    printf("Restart the server: a server that runs does not know the runtime '%s'. Then send X-Runtime: %s.\n", name,
           name);
    return EXIT_SUCCESS;
}

/* Make the environment @name: a copy of the directory @from, or the packages that pip installs for
 * the file @requirements.  With @build pip also builds packages that have no wheel: their setup
 * code runs as the user who calls this. */
static int add_env(const struct conf *conf, const struct options *o, const char *name)
{
    char fresh[CONF_RUNTIME_NAME_MAX + 8];
    _cleanup_buf_ struct buf error;
    struct stat st;

    buf_init(&error, 2048);
    if (!conf_runtime_name_ok(name) || strcmp(name, "default") == 0) {
        buf_addf(&error,
                 "an environment's name has 1 to %d small letters, digits, '_' and '-', begins with a letter, and "
                 "is not 'default'",
                 CONF_RUNTIME_NAME_MAX);
        return verb_fail(&error);
    }
    umask(022);
    _cleanup_fd_ int envs = open_envs(conf, &error);
    if (envs < 0)
        return verb_fail(&error);
    if (fstatat(envs, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        buf_addf(&error, "there is an environment '%s' already; to replace it: hatchery env remove %s", name, name);
        return verb_fail(&error);
    }
    snprintf(fresh, sizeof(fresh), ".%s.new", name);
    remove_tree(envs, fresh); /* left by a command that was interrupted */
    int err = fill(envs, fresh, o->from, o->requirements, o->build, &error);
    if (!err && renameat(envs, fresh, envs, name) < 0) {
        err = -errno;
        buf_addf(&error, "the environment could not be given its name (%s)", strerror(-err));
    }
    if (err) {
        remove_tree(envs, fresh);
        return verb_fail(&error);
    }
    return say_added(conf, envs, name);
}

/* For print_env(): the path of the directory, and how many environments it had. */
struct env_list {
    const char *path;
    unsigned n;
};

static void print_env(void *data, const char *name)
{
    struct env_list *list = data;

    list->n++;
    printf("%-32s  %s/%s/" RUNTIMES_PACKAGES "\n", name, list->path, name);
}

/* Print the names, and where their packages are. */
static int list_envs(const struct conf *conf, const struct options *o, const char *name)
{
    _cleanup_buf_ struct buf error;
    _cleanup_buf_ struct buf path;

    (void) o;
    (void) name;
    buf_init(&error, 1024);
    buf_init(&path, PATH_MAX);
    int err = runtimes_envs_path(conf, &path, &error);
    if (err)
        return verb_fail(&error);
    struct env_list list = { .path = buf_text(&path) };
    err = runtimes_each_env(list.path, print_env, &list);
    if (err && err != -EPERM) {
        buf_addf(&error, "%s: %s", list.path, strerror(-err));
        return verb_fail(&error);
    }
    if (!list.n)
        fputs("There is no environment. To make one: hatchery env add NAME --requirements FILE\n", stderr);
    return EXIT_SUCCESS;
}

static int remove_env(const struct conf *conf, const struct options *o, const char *name)
{
    char old[CONF_RUNTIME_NAME_MAX + 8];
    _cleanup_buf_ struct buf error;

    (void) o;
    buf_init(&error, 1024);
    _cleanup_fd_ int envs = open_envs(conf, &error);
    if (envs < 0)
        return verb_fail(&error);
    bool is_name = conf_runtime_name_ok(name);
    snprintf(old, sizeof(old), ".%.32s.old", is_name ? name : "");
    if (is_name)
        remove_tree(envs, old); /* of a command that was interrupted */
    if (!is_name || renameat(envs, name, envs, old) < 0) {
        buf_adds(&error, "there is no environment of this name; `hatchery env list` shows them");
        return verb_fail(&error);
    }
    remove_tree(envs, old);
    printf("The environment '%s' is removed. Restart the server: until then a server that runs still has the runtime, "
           "and its "
           "programs cannot import from it.\n",
           name);
    return EXIT_SUCCESS;
}

static bool has_one_source(const struct options *o)
{
    return !o->from != !o->requirements && (!o->build || o->requirements);
}

static bool has_no_source(const struct options *o)
{
    return !o->from && !o->requirements && !o->build;
}

int run_env(const struct verb *verb, int argc, char **argv)
{
    static const struct action actions[] = {
        { "add", true, has_one_source, add_env },
        { "list", false, has_no_source, list_envs },
        { "remove", true, has_no_source, remove_env },
    };
    return action_run(verb, argc, argv, actions, sizeof(actions) / sizeof(*actions));
}
