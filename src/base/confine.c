/* SPDX-License-Identifier: Apache-2.0 */
/* The jail that a process of ours makes for itself.
 *
 * Called once by server and courier, before they read what strangers send.
 * What must never happen here: a call, a right or a path that its table does
 * not have, or a compare of more bits of an argument than the kernel reads
 * (CVE-2019-10063). */
#include "base/confine.h"

#include "base/fd.h"
#include "base/filter.h"
#include "base/kernel.h"

#include <fcntl.h>

static int set_limits(const struct confine *c)
{
    for (size_t i = 0; i < c->n_limits; i++) {
        const struct rlimit limit = { c->limits[i].value, c->limits[i].value };
        if (setrlimit((__rlimit_resource_t) c->limits[i].resource, &limit) < 0)
            return -errno;
    }
    return 0;
}

/* --- files --- */

static int add_path(int ruleset, int fd, uint64_t rights)
{
    const struct kernel_landlock_path path = { .allowed_access = rights, .parent_fd = fd };
    return kernel_landlock_add_path(ruleset, &path) < 0 ? -errno : 0;
}

static int add_named(int ruleset, const char *name, uint64_t rights)
{
    _cleanup_fd_ int fd = open(name, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return add_path(ruleset, fd, rights);
}

static int add_paths(int ruleset, const struct confine *c, uint64_t known)
{
    for (size_t i = 0; i < c->n_paths; i++) {
        const struct confine_path *path = &c->paths[i];
        int err = 0;
        if (path->path)
            err = add_named(ruleset, path->path, path->rights & known);
        else if (path->fd >= 0)
            err = add_path(ruleset, path->fd, path->rights & known);
        if (err)
            return err;
    }
    return 0;
}

static int enter_landlock(const struct confine *c)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);

    if (abi < 0)
        return 0;
    struct kernel_landlock_ruleset attr = kernel_landlock_known(abi);
    attr.handled_access_fs &= ~KERNEL_FS_IOCTL_DEV;
    attr.handled_access_net &= c->net;
    _cleanup_fd_ int ruleset = kernel_landlock_create(&attr, sizeof(attr), 0);
    if (ruleset < 0)
        return -errno;
    int err = add_paths(ruleset, c, attr.handled_access_fs);
    if (err)
        return err;
    return kernel_landlock_restrict_self(ruleset) < 0 ? -errno : 0;
}

/* --- system calls --- */

static int add_row(scmp_filter_ctx ctx, const struct confine_row *row)
{
    unsigned n = 0;

    while (n < CONFINE_CONDITIONS_MAX && row->conditions[n].op)
        n++;
    if (!row->n_values)
        return filter_add(ctx, row->action, row->call, n, row->conditions);
    for (size_t i = 0; i < row->n_values; i++) {
        const struct scmp_arg_cmp is = IS(row->argument, row->values[i]);
        int err = filter_add(ctx, row->action, row->call, 1, &is);
        if (err)
            return err;
    }
    return 0;
}

static int fill_filter(scmp_filter_ctx ctx, const struct confine *c)
{
    int err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (err)
        return err;
    err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < c->n_rows && !err; i++)
        err = add_row(ctx, &c->rows[i]);
    return err;
}

static int enter_seccomp(const struct confine *c)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    if (!ctx)
        return -ENOMEM;
    int err = fill_filter(ctx, c);
    if (!err)
        err = seccomp_load(ctx);
    seccomp_release(ctx);
    return err;
}

int confine(const struct confine *c, const char **ret_what)
{
    static const struct {
        const char *word;
        int (*take)(const struct confine *c);
    } steps[] = { { "rlimits", set_limits }, { "landlock", enter_landlock }, { "seccomp", enter_seccomp } };

    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        *ret_what = steps[i].word;
        int err = steps[i].take(c);
        if (err)
            return err;
    }
    return 0;
}
