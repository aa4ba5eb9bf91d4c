/* SPDX-License-Identifier: Apache-2.0 */
/* The jail of one run, as a list of steps (box.def).
 *
 * The zygote prepares once what all boxes share.  The child that it forks then walks through
 * box_enter(), which is the security policy of the product: nothing of the program exists before it
 * has returned BOX_READY. */
#ifndef HATCHERY_BOX_BOX_H
#define HATCHERY_BOX_BOX_H

#include "base/wire.h"

#include <linux/filter.h>
#include <stddef.h>

enum box_step {
    BOX_READY = 0,
#define STEP(name, word, hint) BOX_##name,
#include "box/box.def"
    BOX_STEPS
};
_Static_assert((int) BOX_STEPS <= (int) WIRE_STEPS_MAX, "the times of all steps fit into a message");

/* The outcome socket's number in a box: above every descriptor that a program can open. The filter
 * (seccomp.c) guards it against close, dup2 and write. */
enum { BOX_CONTROL_FD = 1023 };

/* First id of a slot inside the zygote's user namespace: slot n is BOX_ID_BASE + n. */
enum { BOX_ID_BASE = 1000 };

/* Where things are inside. */
#define SCRATCH_DIR "/run/box"
#define HOME_DIR SCRATCH_DIR "/work"
#define PACKAGES_DIR "/opt/packages" /* only in runtimes that have packages */

/* The zygote keeps only those of root's powers in its user namespace that the making of a box
 * takes: clone, setns, unshare and mount (SYS_ADMIN), opening init's namespace although init is not
 * dumpable (SYS_PTRACE), the scratch space (CHOWN), the ids, the bounding set and securebits
 * (SETPCAP).  A box then drops these too. */
#define ZYGOTE_CAPABILITIES CAP_CHOWN, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_PTRACE, CAP_SYS_ADMIN

/* Shared by all boxes of a zygote, made before the first fork. */
struct box {
    const struct wire_zygote_conf *conf;
    struct sock_fprog shared_filter, own_filter;
    int landlock_fd;
    char scratch_options[128];
};

/* Compile the filter and the Landlock ruleset.  Called in the zygote, inside the root that
 * box_root_build() made.  Returns BOX_READY, or the step that the kernel refused, with errno in
 * @ret_error. */
enum box_step box_prepare(struct box *box, const struct wire_zygote_conf *conf, int *ret_error);

/* Install the shared part of the filter.  Call it last before the first fork: from then on the
 * zygote can only make boxes.  0 or -errno. */
int box_share_filter(const struct box *box);

/* The parts of a box that are its own. */
struct box_slot {
    uint32_t slot, serial;
    int control_fd, stdout_fd, stderr_fd; /* become BOX_CONTROL_FD, 1 and 2 */
    int join_fd;                          /* to the supervisor; closed on the way */
};

/* Become the box: called in the forked child, single-threaded, as root of the zygote's user
 * namespace and already in the box's pid namespace.  Allocates nothing.  Every failure is final:
 * the caller reports @state, which has step, error and the times of the steps, and exits.  On
 * BOX_READY all layers are on. */
enum box_step box_enter(const struct box *box, const struct box_slot *slot, struct wire_box_state *state);

/* Log, at level debug, how long the steps of making a box took.  In the server. */
void box_log_times(const struct wire_box_state *state);

/* The word and the hint of a step; "?" for numbers outside the table. */
const char *box_step_word(int step);
const char *box_step_hint(int step);

/* Additions to the lists in root.c that the root shows. */
struct box_root {
    int root_fd;     /* the directory whose files are shown; -1: the host's root */
    int packages_fd; /* mounted at PACKAGES_DIR; -1: there are none */
    unsigned n_shares;
    const char (*shares)[64];         /* directories of /usr/share */
    const struct wire_limits *limits; /* told by the files of /proc; NULL: there are none */
};

/* Build the root file system that the zygote and all boxes see, and pivot into it.  Called in the
 * supervisor's child after clone(2) with all namespaces and written id maps.  On failure returns
 * -errno and in @ret_what (a static string) what failed. */
int box_root_build(const struct box_root *root, const char **ret_what);

/* seccomp.c: the program's filter from seccomp.def, as malloc()ed BPF.  WHOLE: all of it.  SHARED:
 * the part that the zygote installs for all boxes.  OWN: the rest, which each box adds.  SHARED and
 * OWN together decide as WHOLE does.  With @callbacks a program can make memfds, which C callbacks
 * need.  With @epoll it can make epolls.  0 or -errno. */
enum box_filter { BOX_FILTER_WHOLE, BOX_FILTER_SHARED, BOX_FILTER_OWN };
int box_seccomp_compile(enum box_filter which, bool callbacks, bool epoll, struct sock_fprog *ret_filter);

/* landlock.c: a ruleset for the root made by box_root_build(). A descriptor or -errno. */
int box_landlock_prepare(void);

#endif
