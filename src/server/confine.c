/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own jail.
 *
 * Called once by state.c, when it has its configuration and its state
 * directory and no client yet.  The server parses what strangers send.  An
 * attacker who takes it over must find a process that can start nothing,
 * connect to nothing and open nothing but the state that it keeps anyway. */
#include "server/confine.h"

#include "base/confine.h"
#include "base/kernel.h"

#include <fcntl.h>
#include <sched.h>

static const struct confine_row rows[] = {
#include "server/confine.def"
};

int server_confine(int state_fd, const char **ret_what)
{
    const struct confine_path state = {
        .fd = state_fd,
        .rights = (KERNEL_FS_TRUNCATE | (KERNEL_FS_REFER - 1)) & ~KERNEL_FS_EXECUTE,
    };
    const struct confine c = {
        .paths = &state,
        .n_paths = 1,
        .net = KERNEL_NET_BIND_TCP | KERNEL_NET_CONNECT_TCP,
        .rows = rows,
        .n_rows = sizeof(rows) / sizeof(*rows),
    };
    return confine(&c, ret_what);
}
