/* SPDX-License-Identifier: Apache-2.0 */
/* The jail of one run, as a list of steps (box.def).
 *
 * The zygote prepares once what all boxes share; the child it forks then walks
 * through box_enter(), which is the security policy of the product: nothing of
 * the program exists before it has returned BOX_READY. */
#ifndef HATCHERY_BOX_BOX_H
#define HATCHERY_BOX_BOX_H

#include "base/wire.h"

#include <linux/filter.h>
#include <stddef.h>

enum box_step {
    BOX_READY = 0,
#define STEP(name, word, hint) BOX_##name,
#include "box/box.def"
#undef STEP
    BOX_STEPS
};
_Static_assert((int) BOX_STEPS <= (int) WIRE_STEPS_MAX, "the times of all steps fit into a message");

/* The outcome socket's number in a box: above every descriptor a program can
 * open, and guarded by the filter (seccomp.c) against close, dup2 and write. */
enum { BOX_CONTROL_FD = 1023 };

/* First host-side-mapped id inside the zygote's user namespace: slot n is BOX_ID_BASE + n. */
enum { BOX_ID_BASE = 1000 };

/* Where things are inside. */
#define SCRATCH_DIR "/run/box"
#define HOME_DIR SCRATCH_DIR "/work"
#define PACKAGES_DIR "/opt/packages" /* of runtimes that have some */

/* Of root's powers in its user namespace the zygote keeps those that making a box takes: clone, setns, unshare and
 * mount (SYS_ADMIN), opening init's namespace though it is not dumpable (SYS_PTRACE), the scratch (CHOWN), the ids,
 * the bounding set and securebits (SETPCAP).  A box then drops these too. */
#define ZYGOTE_CAPABILITIES CAP_CHOWN, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_PTRACE, CAP_SYS_ADMIN

/* What all boxes of a zygote share, made before the first fork. */
struct box {
    const struct wire_zygote_conf *conf;
    struct sock_fprog shared_filter, own_filter;
    int landlock_fd;
    char scratch_options[128];
};

/* Compile the filter and the Landlock ruleset.  Called in the zygote, inside the
 * root that box_root_build() made.  Returns BOX_READY, or the step that can't be
 * had with errno in @ret_error. */
enum box_step box_prepare(struct box *box, const struct wire_zygote_conf *conf, int *ret_error);

/* Take on the shared part of the filter: the last that is done before the first fork, as the zygote can from then on
 * do nothing but make boxes.  0 or -errno. */
int box_share_filter(const struct box *box);

/* One box's own things. */
struct box_slot {
    uint32_t slot, serial;
    int control_fd, stdout_fd, stderr_fd; /* become BOX_CONTROL_FD, 1 and 2 */
    int join_fd;                          /* to the supervisor; closed on the way */
};

/* Become the box: called in the forked child, single-threaded, as root of the zygote's
 * user namespace and already in the box's pid namespace.  Allocates nothing; every step's
 * failure is final: the caller reports @state, which has step, error and the times of the steps, and exits.  On
 * BOX_READY all layers are on. */
enum box_step box_enter(const struct box *box, const struct box_slot *slot, struct wire_box_state *state);

/* Log, at level debug, what making a box took.  In the server. */
void box_log_times(const struct wire_box_state *state);

/* The word and the hint of a step; "?" for numbers outside the table. */
const char *box_step_word(int step);
const char *box_step_hint(int step);

/* What the root shows beside what root.c lists. */
struct box_root {
    int root_fd;     /* the directory whose files are shown; -1: the host's */
    int packages_fd; /* at PACKAGES_DIR; -1: there is none */
    unsigned n_shares;
    const char (*shares)[64];         /* directories of /usr/share */
    const struct wire_limits *limits; /* what the files of /proc tell; NULL: there are none */
};

/* Build the root file system that the zygote and all boxes see, and pivot into it.
 * Called in the supervisor's child after clone(2) with all namespaces and written id maps.
 * On failure returns -errno and what was being done in @ret_what (a static string). */
int box_root_build(const struct box_root *root, const char **ret_what);

/* seccomp.c: the program's filter from seccomp.def, as malloc()ed BPF: the whole of it, or the part that the zygote
 * takes on for all boxes, or the rest, which each box adds.  The two together are the whole.  With @callbacks a program
 * can make memfds, which C callbacks take; with @epoll it can make epolls.  0 or -errno. */
enum box_filter { BOX_FILTER_WHOLE, BOX_FILTER_SHARED, BOX_FILTER_OWN };
int box_seccomp_compile(enum box_filter which, bool callbacks, bool epoll, struct sock_fprog *ret_filter);

/* landlock.c: a ruleset for the root made by box_root_build(). A descriptor or -errno. */
int box_landlock_prepare(void);

#endif
