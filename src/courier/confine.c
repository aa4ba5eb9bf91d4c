/* SPDX-License-Identifier: Apache-2.0 */
/* The courier's own jail.
 *
 * Called once by main, when libcurl is initialised and nothing that a stranger
 * wrote was read.  The courier talks TLS with whoever a client names, so it is
 * the process most likely to be taken over by bytes from outside: it must then
 * be of no use to run programs, listen, or read the state and the keys of a
 * server that has the same user id (a supervisor without root). */
#include "courier/confine.h"

#include "base/fd.h"
#include "base/filter.h"
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/in.h>

#define LOW32 0xffffffffULL

static const struct {
    const char *name;
    uint32_t action;
} calls[] = {
#define ALLOW(name) { #name, SCMP_ACT_ALLOW },
#define ANSWER(name, error) { #name, SCMP_ACT_ERRNO(error) },
#define END(name) { #name, SCMP_ACT_KILL_PROCESS },
#include "courier/confine.def"
};

/* Certificates and the resolver's files are replaced by renaming new ones over them, so the directories are what has
 * to be readable; the resolver's modules are below /usr. */
static const char *const readable[] = {
    "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman",
};

static const int fcntls[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GET_SEALS, F_DUPFD_CLOEXEC };
static const int ioctls[] = { FIONREAD, FIONBIO };
static const int families[] = { AF_INET, AF_INET6 };
static const struct {
    int type, protocol;
} transports[] = { { SOCK_STREAM, 0 }, { SOCK_STREAM, IPPROTO_TCP }, { SOCK_DGRAM, 0 }, { SOCK_DGRAM, IPPROTO_UDP } };

static int set_limit(int resource, rlim_t value)
{
    const struct rlimit limit = { value, value };
    return setrlimit((__rlimit_resource_t) resource, &limit) < 0 ? -errno : 0;
}

/* --- files --- */

static int add_readable(int ruleset)
{
    for (size_t i = 0; i < sizeof(readable) / sizeof(*readable); i++) {
        _cleanup_fd_ int fd = open(readable[i], O_PATH | O_CLOEXEC);
        const struct kernel_landlock_path path = { .allowed_access = KERNEL_FS_READ_FILE | KERNEL_FS_READ_DIR,
                                                   .parent_fd = fd };
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || kernel_landlock_add_path(ruleset, &path) < 0)
            return -errno;
    }
    return 0;
}

/* A kernel without Landlock leaves the walls of the user id and of the filter. */
static int enter_landlock(void)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);
    struct kernel_landlock_ruleset attr = { .handled_access_fs = KERNEL_FS_REFER - 1 };

    if (abi < 0)
        return 0;
    if (abi >= 2)
        attr.handled_access_fs |= KERNEL_FS_REFER;
    if (abi >= 3)
        attr.handled_access_fs |= KERNEL_FS_TRUNCATE;
    if (abi >= 4)
        attr.handled_access_net = KERNEL_NET_BIND_TCP;
    if (abi >= 6)
        attr.scoped = KERNEL_SCOPE_ABSTRACT_UNIX | KERNEL_SCOPE_SIGNAL;
    _cleanup_fd_ int ruleset = kernel_landlock_create(&attr, sizeof(attr), 0);
    if (ruleset < 0)
        return -errno;
    int err = add_readable(ruleset);
    if (!err && kernel_landlock_restrict_self(ruleset) < 0)
        err = -errno;
    return err;
}

/* --- system calls --- */

static int add_values(scmp_filter_ctx ctx, const char *name, unsigned arg, const int *values, size_t n)
{
    int err = 0;

    for (size_t i = 0; i < n && !err; i++) {
        const struct scmp_arg_cmp is = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, LOW32, (unsigned) values[i]);
        err = filter_add(ctx, SCMP_ACT_ALLOW, name, 1, &is);
    }
    return err;
}

/* Nothing is opened to be written or made. */
static int add_open(scmp_filter_ctx ctx)
{
    const uint64_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
    const struct scmp_arg_cmp open_reads = SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, writing, 0);
    const struct scmp_arg_cmp openat_reads = SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, writing, 0);
    int err = filter_add(ctx, SCMP_ACT_ALLOW, "open", 1, &open_reads);

    return err ? err : filter_add(ctx, SCMP_ACT_ALLOW, "openat", 1, &openat_reads);
}

/* TCP and UDP.  No netlink, which getaddrinfo(3) does without, and no AF_UNIX but a pair: the daemons that answer
 * there (resolved, nscd) are asked over DNS or passed by. */
static int add_sockets(scmp_filter_ctx ctx)
{
    const struct scmp_arg_cmp is_unix = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW32, AF_UNIX);
    int err = filter_add(ctx, SCMP_ACT_ALLOW, "socketpair", 1, &is_unix);

    for (size_t f = 0; f < sizeof(families) / sizeof(*families); f++)
        for (size_t t = 0; t < sizeof(transports) / sizeof(*transports) && !err; t++) {
            const struct scmp_arg_cmp args[] = {
                SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW32, (unsigned) families[f]),
                SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, LOW32 & ~(uint64_t) (SOCK_CLOEXEC | SOCK_NONBLOCK),
                           (unsigned) transports[t].type),
                SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, LOW32, (unsigned) transports[t].protocol),
            };
            err = filter_add(ctx, SCMP_ACT_ALLOW, "socket", 3, args);
        }
    return err;
}

static int enter_seccomp(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int err = ctx ? 0 : -ENOMEM;

    if (!err)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && !err; i++)
        err = filter_add(ctx, calls[i].action, calls[i].name, 0, NULL);
    if (!err)
        err = add_open(ctx);
    if (!err)
        err = filter_add_threads(ctx);
    if (!err)
        err = add_sockets(ctx);
    if (!err)
        err = add_values(ctx, "fcntl", 1, fcntls, sizeof(fcntls) / sizeof(*fcntls));
    if (!err)
        err = add_values(ctx, "ioctl", 1, ioctls, sizeof(ioctls) / sizeof(*ioctls));
    if (!err)
        err = seccomp_load(ctx);
    if (ctx)
        seccomp_release(ctx);
    return err;
}

int confine(unsigned open_files, const char **ret_what)
{
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); /* a second line, Linux 6.3 */
    *ret_what = "no_new_privs";
    int err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
    if (!err) {
        *ret_what = "rlimits";
        err = set_limit(RLIMIT_CORE, 0);
    }
    if (!err)
        err = set_limit(RLIMIT_NOFILE, open_files);
    if (!err) {
        *ret_what = "landlock";
        err = enter_landlock();
    }
    if (!err) {
        *ret_what = "seccomp";
        err = enter_seccomp();
    }
    return err;
}
