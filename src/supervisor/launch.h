/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the other processes: fork or clone, ids, descriptors, exec. */
#ifndef HATCHERY_SUPERVISOR_LAUNCH_H
#define HATCHERY_SUPERVISOR_LAUNCH_H

#include "supervisor/reach.h"
#include "supervisor/require.h"

#include "base/buf.h"

#include <sys/types.h>

/* Host ids, for a supervisor that is root; all -1 otherwise. */
struct launch_ids {
    bool root;
    uid_t server_uid;
    gid_t server_gid;
    uid_t courier; /* uid and gid */
    uid_t zygote;  /* uid and gid; slots follow at BOX_ID_BASE inside */
    uid_t slots;
};

/* The executables beside ours: build tree or ../libexec/hatchery. */
struct launch_files {
    int server_fd, zygote_fd, init_fd, courier_fd;
    const char *root;                 /* the directory whose files the jail shows; "": the host's
                                       * root */
    const struct reach *reach;        /* directories of /usr/share that it shows */
    const struct wire_limits *limits; /* what programs read in /proc */
};

/* Is @root "" or a directory that a jail could show?  0, or -errno with a sentence in @error. */
int launch_check_root(const char *root, struct buf *error);

/* Open the executables, and check that @root is "" or a directory that a jail could show.  @root
 * must outlive @files. 0, or -errno with a sentence in @error. */
int launch_open(struct launch_files *files, const char *root, struct buf *error);

/* Start hatchery-server with @supervisor_fd as its descriptor 3, in a session of its own, and
 * without privileges if we have any.  It shares our descriptors 0, 1 and 2.  Returns the pid, or
 * -errno with a sentence in @error. Waits until it has been exec'ed. */
pid_t launch_server(const struct launch_files *files, const struct launch_ids *ids, int supervisor_fd,
                    struct buf *error);

/* The same for hatchery-courier. */
pid_t launch_courier(const struct launch_files *files, const struct launch_ids *ids, int supervisor_fd,
                     struct buf *error);

/* cgroup v2: the group in which a zygote is born, and the path of the group that contains the
 * boxes' groups.  @fd is -1 if there is none. */
struct launch_group {
    int fd;
    const char *above;
};

/* The directory of a runtime's packages: its path, and the directory itself (O_PATH), which was
 * found to be ours alone. */
struct launch_packages {
    const char *path;
    int fd;
};

/* Start hatchery-zygote as pid 1 and root of its own namespaces, in the jail's root file system.
 * Its descriptors are 3 = @supervisor_fd, 4 = @server_fd, 5 = hatchery-init.  If it could be born
 * in @group, 6 = the directory of the groups above, through which it can only read and fork into
 * them.  The root shows @packages if that is not NULL. Returns the pid, or -errno.  If a layer of
 * the jail is missing, @r names it and a sentence is on stderr. Waits until the jail's root
 * stands. */
pid_t launch_zygote(const struct launch_files *files, const struct launch_ids *ids, unsigned n_slots, int supervisor_fd,
                    int server_fd, const struct launch_group *group, const struct launch_packages *packages,
                    struct require *r);

#endif
