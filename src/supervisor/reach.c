/* SPDX-License-Identifier: Apache-2.0 */
/* What the system's Python packages use outside of /usr/lib: Debian puts data below /usr/share, and
 * the package has a link to it, or a path in its code.
 *
 * The supervisor calls this before it starts a zygote.  What must never happen here: a directory
 * that has anything but a package's public files.  Only names are taken from the files that are
 * read, and they are looked for in /usr/share and nowhere else. */
#include "supervisor/reach.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKAGES "/usr/lib/python3/dist-packages"
#define LISTS "/var/lib/dpkg/info"
#define SHARE "/usr/share/"

enum { DEPTH_MAX = 16 };

/* Every package has some of these and no program looks there, or the jail shows them anyway
 * (root.c). */
static const char *const passed_over[] = {
    "applications", "bash-completion", "bug",   "doc",     "doc-base", "emacs", "fish",
    "fonts",        "icons",           "info",  "lintian", "locale",   "man",   "matplotlib",
    "menu",         "metainfo",        "perl5", "pixmaps", "python3",  "vim",   "zoneinfo",
    "zsh",          "nltk_data",       "tcltk",
};

static bool is_passed_over(const char *name)
{
    for (size_t i = 0; i < sizeof(passed_over) / sizeof(*passed_over); i++)
        if (strcmp(passed_over[i], name) == 0)
            return true;
    return *name == '.' || !*name;
}

/* Only root can change it, and everybody may look into it. */
static bool is_public(const char *root, const char *name)
{
    char path[PATH_MAX + REACH_NAME_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s" SHARE "%s", root, name);
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH))
           && (st.st_mode & (S_IROTH | S_IXOTH)) == (S_IROTH | S_IXOTH);
}

/* If @path leads into a directory of /usr/share, add that directory. */
static void add(struct reach *reach, const char *root, const char *path)
{
    char name[REACH_NAME_MAX];

    if (strncmp(path, SHARE, sizeof(SHARE) - 1) != 0)
        return;
    path += sizeof(SHARE) - 1;
    if (snprintf(name, sizeof(name), "%.*s", (int) strcspn(path, "/\n"), path) >= (int) sizeof(name))
        return;
    for (unsigned i = 0; i < reach->n; i++)
        if (strcmp(reach->names[i], name) == 0)
            return;
    if (reach->n < REACH_MAX && !is_passed_over(name) && is_public(root, name))
        memcpy(reach->names[reach->n++], name, sizeof(name));
}

/* --- links --- */

/* The meaning of @target in the directory @at, by its text alone: links in between are not
 * followed. */
static void resolve(const char *at, const char *target, char ret[static 2 * PATH_MAX])
{
    char text[2 * PATH_MAX], *save = NULL;
    size_t n = 0;

    snprintf(text, sizeof(text), "%s/%s", *target == '/' ? "" : at, target);
    ret[0] = '\0';
    for (char *part = strtok_r(text, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
        if (strcmp(part, "..") == 0)
            n = (size_t) (strrchr(ret, '/') ? strrchr(ret, '/') - ret : 0);
        else if (strcmp(part, ".") != 0)
            n += (size_t) snprintf(ret + n, 2 * PATH_MAX - n, "/%s", part);
        ret[n] = '\0';
    }
}

static void follow(struct reach *reach, const char *root, int dir_fd, const char *at, const char *name)
{
    char target[PATH_MAX], path[2 * PATH_MAX];
    ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);

    if (n <= 0)
        return;
    target[n] = '\0';
    resolve(at, target, path);
    add(reach, root, path);
}

static void walk(struct reach *reach, const char *root, int dir_fd, const char *at, int depth)
{
    DIR *dir = dir_fd < 0 ? NULL : fdopendir(dir_fd);
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        char path[PATH_MAX];
        if (e->d_type == DT_LNK)
            follow(reach, root, dir_fd, at, e->d_name);
        if (e->d_type != DT_DIR || *e->d_name == '.' || strcmp(e->d_name, "__pycache__") == 0 || depth == DEPTH_MAX
            || snprintf(path, sizeof(path), "%s/%s", at, e->d_name) >= (int) sizeof(path))
            continue;
        walk(reach, root, openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), path, depth + 1);
    }
    if (dir)
        closedir(dir);
    else
        fd_close(&dir_fd);
}

/* --- dpkg --- */

/* NAME.list has the paths of a package's files, one a line. */
static void read_list(struct reach *reach, const char *root, int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    char *line = NULL;
    size_t size = 0;
    bool is_python = false;

    while (f && !is_python && getline(&line, &size, f) > 0)
        is_python = strncmp(line, PACKAGES "/", sizeof(PACKAGES)) == 0;
    if (is_python)
        rewind(f);
    while (is_python && getline(&line, &size, f) > 0)
        add(reach, root, line);
    free(line);
    if (f)
        fclose(f);
    else
        fd_close(&fd);
}

static void read_lists(struct reach *reach, const char *root, const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        size_t n = strlen(e->d_name);
        if (strncmp(e->d_name, "python", 6) == 0 && n > 5 && strcmp(e->d_name + n - 5, ".list") == 0)
            read_list(reach, root, dirfd(dir), e->d_name);
    }
    if (dir)
        closedir(dir);
}

/* Has something been installed or removed since? */
static bool has_changed(struct reach *reach, const char *const paths[2])
{
    bool changed = false;

    for (int i = 0; i < 2; i++) {
        struct stat st = { 0 };
        if (stat(paths[i], &st) < 0)
            st.st_mtim = (struct timespec){ -1, 0 };
        changed = changed || memcmp(&st.st_mtim, &reach->seen[i], sizeof(st.st_mtim)) != 0;
        reach->seen[i] = st.st_mtim;
    }
    return changed;
}

void reach_find(struct reach *reach, const char *root)
{
    char packages[PATH_MAX + sizeof(PACKAGES)], lists[PATH_MAX + sizeof(LISTS)];

    snprintf(packages, sizeof(packages), "%s" PACKAGES, root);
    snprintf(lists, sizeof(lists), "%s" LISTS, root);
    if (!has_changed(reach, (const char *const[]){ packages, lists }))
        return;
    reach->n = 0;
    walk(reach, root, open(packages, O_RDONLY | O_DIRECTORY | O_CLOEXEC), PACKAGES, 0);
    read_lists(reach, root, lists);
}
