/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cgroup hierarchies are mounted, and which group of each we are in.
 *
 * cgroup_tree.c asks before it makes groups there; hostmem.c asks for the memory limit around us.
 * What must never happen here: a change of any group. This file only reads. */
#include "supervisor/cgroup_parts.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cgroups_has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == '\0' || p[n] == ',' || p[n] == '\n'))
            return true;
    return false;
}

/* Our own group in one hierarchy, from /proc/self/cgroup: "ID:CONTROLLERS:PATH"; v2 has ID 0. */
static int find_own(const char *controller, char *ret_path, size_t size)
{
    char line[PATH_MAX + 256];
    _cleanup_file_ FILE *f = fopen("/proc/self/cgroup", "re");

    while (f && fgets(line, sizeof(line), f)) {
        char *list = strchr(line, ':');
        char *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        bool match = controller ? cgroups_has_word(list + 1, controller) : strncmp(line, "0:", 2) == 0;
        if (match && snprintf(ret_path, size, "%s", path) < (int) size)
            return 0;
    }
    return -ENOENT;
}

int cgroups_find_mount(const char *controller, char *ret_mount, char *ret_root, size_t size)
{
    char line[8192];
    _cleanup_file_ FILE *f = fopen("/proc/self/mountinfo", "re");

    while (f && fgets(line, sizeof(line), f)) {
        char root[PATH_MAX], mount[PATH_MAX], type[64], options[512];
        char *tail = strstr(line, " - ");
        if (!tail || sscanf(line, "%*d %*d %*s %4095s %4095s", root, mount) != 2
            || sscanf(tail, " - %63s %*s %511s", type, options) != 2)
            continue;
        bool match = controller ? strcmp(type, "cgroup") == 0 && cgroups_has_word(options, controller)
                                : strcmp(type, "cgroup2") == 0;
        if (match && strlen(root) < size && strlen(mount) < size) {
            strcpy(ret_mount, mount);
            strcpy(ret_root, root);
            return 0;
        }
    }
    return -ENOENT;
}

int cgroups_own_directory(const char *controller, char *ret_path, size_t size)
{
    char own[PATH_MAX], mount[PATH_MAX], root[PATH_MAX];
    int err = find_own(controller, own, sizeof(own));

    if (err)
        return err;
    err = cgroups_find_mount(controller, mount, root, sizeof(mount));
    if (err)
        return err;
    size_t skip = strcmp(root, "/") != 0 && strncmp(own, root, strlen(root)) == 0 ? strlen(root) : 0;
    const char *below = strcmp(own + skip, "/") == 0 ? "" : own + skip;
    return snprintf(ret_path, size, "%s%s", mount, below) < (int) size ? 0 : -ENAMETOOLONG;
}

/* The smallest number in @file of @path and of the directories above it, up to the mount, which is
 * the first @top bytes of @path. */
static int find_smallest(char *path, size_t top, const char *file, char *ret_path, size_t size, int64_t *ret)
{
    char name[PATH_MAX + 32], text[32];
    int err = -ENOENT;

    *ret = INT64_MAX;
    for (size_t n = strlen(path); n >= top; n = (size_t) (strrchr(path, '/') - path)) {
        path[n] = '\0';
        snprintf(name, sizeof(name), "%s/%s", path, file);
        bool has_limit = fd_read_file(AT_FDCWD, name, text, sizeof(text)) > 0 && text[0] >= '0' && text[0] <= '9';
        if (has_limit && atoll(text) < *ret && snprintf(ret_path, size, "%s", path) < (int) size) {
            *ret = atoll(text);
            err = 0;
        }
        if (!strchr(path, '/'))
            break;
    }
    return err;
}

int cgroups_find_memory_limit(char *ret_path, size_t size, int64_t *ret_limit, bool *ret_v1)
{
    char path[PATH_MAX], mount[PATH_MAX], root[PATH_MAX];

    *ret_v1 = cgroups_own_directory("memory", path, sizeof(path)) == 0;
    if (!*ret_v1 && cgroups_own_directory(NULL, path, sizeof(path)) < 0)
        return -ENOENT;
    if (cgroups_find_mount(*ret_v1 ? "memory" : NULL, mount, root, sizeof(mount)) < 0)
        return -ENOENT;
    return find_smallest(path, strlen(mount), *ret_v1 ? "memory.limit_in_bytes" : "memory.max", ret_path, size,
                         ret_limit);
}
