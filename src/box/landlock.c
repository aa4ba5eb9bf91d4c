/* SPDX-License-Identifier: Apache-2.0 */
/* The Landlock ruleset of all boxes (landlock(7)): it repeats what the mounts
 * say, so that a mistake in a mount is not a hole, and adds what they can't:
 * no TCP, no signal and no abstract socket out of the box.
 *
 * Made once in the zygote.  A rule on a directory below which a box mounts its
 * scratch holds there too: the kernel walks up through mount points. */
#include "box/box.h"

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

/* What a kernel of this ABI knows of ours; the rest must not be in a ruleset. */
static __u64 known_fs(int abi)
{
    __u64 fs = KERNEL_FS_REFER - 1;
    if (abi >= 2)
        fs |= KERNEL_FS_REFER;
    if (abi >= 3)
        fs |= KERNEL_FS_TRUNCATE;
    if (abi >= 5)
        fs |= KERNEL_FS_IOCTL_DEV;
    return fs;
}

int box_landlock_prepare(void)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);
    if (abi < 0)
        return -errno;
    struct kernel_landlock_ruleset attr = { .handled_access_fs = known_fs(abi) };
    if (abi >= 4)
        attr.handled_access_net = KERNEL_NET_BIND_TCP | KERNEL_NET_CONNECT_TCP;
    if (abi >= 6)
        attr.scoped = KERNEL_SCOPE_ABSTRACT_UNIX | KERNEL_SCOPE_SIGNAL;
    int ruleset = kernel_landlock_create(&attr, sizeof(attr), 0);
    if (ruleset < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        struct kernel_landlock_path path = { .allowed_access = rules[i].access & attr.handled_access_fs,
                                             .parent_fd = open(rules[i].path, O_PATH | O_CLOEXEC) };
        if (path.parent_fd < 0 && errno == ENOENT)
            continue;
        int failed = path.parent_fd < 0 || kernel_landlock_add_path(ruleset, &path) < 0;
        int err = -errno;
        if (path.parent_fd >= 0)
            close(path.parent_fd);
        if (failed) {
            close(ruleset);
            return err;
        }
    }
    return ruleset;
}
