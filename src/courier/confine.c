/* SPDX-License-Identifier: Apache-2.0 */
/* The courier's own jail.
 *
 * Called once by main, when libcurl is initialised and nothing that a stranger
 * wrote was read.  The courier talks TLS with whatever host a client names, so
 * it is the process most likely to be taken over by bytes from outside.  It must
 * then be of no use to run programs, listen, or read the state and the keys of a
 * server that has the same user id (a supervisor without root). */
#include "courier/confine.h"

#include "base/confine.h"
#include "base/kernel.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Flags of open(2) that write or make a file. */
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)

static const struct confine_row rows[] = {
#include "courier/confine.def"
};

/* Certificates and the resolver's files are replaced by renaming new ones over them, so the directories have to be
 * readable; the resolver's modules are below /usr. */
#define READABLE(name)                                                                                                 \
    {                                                                                                                  \
        .path = (name), .rights = KERNEL_FS_READ_FILE | KERNEL_FS_READ_DIR                                             \
    }
static const struct confine_path paths[] = {
    READABLE("/etc"),
    READABLE("/usr"),
    READABLE("/lib"),
    READABLE("/lib64"),
    READABLE("/run/systemd/resolve"),
    READABLE("/run/resolvconf"),
    READABLE("/run/NetworkManager"),
    READABLE("/run/connman"),
};

int courier_confine(unsigned open_files, const char **ret_what)
{
    const struct confine_limit limits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_NOFILE, open_files } };
    const struct confine c = {
        .limits = limits,
        .n_limits = sizeof(limits) / sizeof(*limits),
        .paths = paths,
        .n_paths = sizeof(paths) / sizeof(*paths),
        .net = KERNEL_NET_BIND_TCP,
        .rows = rows,
        .n_rows = sizeof(rows) / sizeof(*rows),
    };

    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); /* a second line, Linux 6.3 */
    *ret_what = "no_new_privs";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    return confine(&c, ret_what);
}
