/* SPDX-License-Identifier: Apache-2.0 */
/* User and group ids to give away.
 *
 * The supervisor calls this at its start.  Root in a container is often root by name only: what
 * counts are the capabilities, and the ids that its user namespace has. */
#include "supervisor/ids.h"

#include "base/fd.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    unsigned number;
    const char *name;
} needed[] = {
    { CAP_SETUID, "SETUID" },
    { CAP_SETGID, "SETGID" },
    { CAP_SETPCAP, "SETPCAP" },
    { CAP_KILL, "KILL" },
};

static int check_capabilities(struct buf *error)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { { 0 } };
    int err = 0;

    if (geteuid() != 0)
        return fail(error, -EPERM, "only root can give each box an id of its own: start as root");
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
        if (!(data[0].effective & (1U << needed[i].number))) {
            buf_addf(error, "%s %s", err ? "," : "root lacks the capabilities", needed[i].name);
            err = -EPERM;
        }
    buf_adds(error, err ? " (in a container: --cap-add)" : "");
    return err;
}

/* uid_map has lines of "first inside, first outside, count". */
static bool is_mapped(const char *path, uint64_t first, uint64_t count)
{
    uint64_t inside, outside, n;
    bool found = false;
    _cleanup_file_ FILE *f = fopen(path, "re");

    while (f && !found && fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &n) == 3)
        found = first >= inside && first + count <= inside + n;
    return found;
}

int ids_available(uid_t first, unsigned count, struct buf *error)
{
    int err = check_capabilities(error);

    if (err)
        return err;
    if (!is_mapped("/proc/self/uid_map", first, count) || !is_mapped("/proc/self/gid_map", first, count)) {
        buf_addf(error,
                 "the ids %u to %u are not mapped in our user namespace (/proc/self/uid_map, gid_map): set "
                 "isolation.id_base to the first of %u that are",
                 (unsigned) first, (unsigned) first + count - 1, count);
        return -EINVAL;
    }
    return 0;
}

int ids_of_user(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct buf *error)
{
    const struct passwd *entry = getpwnam(user);

    if (!entry || entry->pw_uid == 0)
        return fail(error, -ENOENT, "server.user: '%s' is no user, or root; leave it empty for an unused number", user);
    *ret_uid = entry->pw_uid;
    *ret_gid = entry->pw_gid;
    return 0;
}
