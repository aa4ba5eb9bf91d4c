/* SPDX-License-Identifier: Apache-2.0 */
/* The Landlock ruleset of all boxes (landlock(7)).  It repeats what the mounts say, so that a
 * mistake in a mount is not a hole.  It also forbids what mounts can't: TCP, and signals and
 * abstract sockets out of the box.
 *
 * The zygote makes it once.  If a box mounts its scratch space below a directory, a rule on that
 * directory holds there too: the kernel walks up through mount points. */
#include "box/box.h"

#include "base/fd.h"
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FS_READ (KERNEL_FS_READ_FILE | KERNEL_FS_READ_DIR)
#define FS_RUN (FS_READ | KERNEL_FS_EXECUTE)
#define FS_DEVICE (KERNEL_FS_READ_FILE | KERNEL_FS_WRITE_FILE)
#define FS_SCRATCH                                                                                                     \
    (FS_READ | KERNEL_FS_WRITE_FILE | KERNEL_FS_REMOVE_DIR | KERNEL_FS_REMOVE_FILE | KERNEL_FS_MAKE_DIR                \
     | KERNEL_FS_MAKE_REG | KERNEL_FS_MAKE_FIFO | KERNEL_FS_MAKE_SYM | KERNEL_FS_REFER | KERNEL_FS_TRUNCATE)

static const struct {
    const char *path;
    __u64 access;
} rules[] = {
    { "/", KERNEL_FS_READ_DIR },  { "/usr/lib", FS_RUN },        { "/usr/lib64", FS_RUN },
    { "/usr/bin", FS_RUN },       { "/usr/share", FS_READ },     { "/etc", FS_READ },
    { "/dev/null", FS_DEVICE },   { "/dev/zero", FS_DEVICE },    { "/dev/full", FS_DEVICE },
    { "/dev/random", FS_DEVICE }, { "/dev/urandom", FS_DEVICE }, { "/run", FS_SCRATCH },
    { "/opt", FS_RUN },           { "/proc", FS_READ },
};

/* A path that this host does not have needs no rule. */
static int add_rule(int ruleset, const char *path, __u64 access)
{
    _cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    const struct kernel_landlock_path rule = { .allowed_access = access, .parent_fd = fd };
    return kernel_landlock_add_path(ruleset, &rule) < 0 ? -errno : 0;
}

int box_landlock_prepare(void)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);
    if (abi < 0)
        return -errno;
    const struct kernel_landlock_ruleset attr = kernel_landlock_known(abi);
    _cleanup_fd_ int ruleset = kernel_landlock_create(&attr, sizeof(attr), 0);
    if (ruleset < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        int err = add_rule(ruleset, rules[i].path, rules[i].access & attr.handled_access_fs);
        if (err)
            return err;
    }
    return fd_steal(&ruleset);
}
