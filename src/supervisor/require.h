/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers of the jail are required, which are missing, and whether that lets us start. */
#ifndef HATCHERY_SUPERVISOR_REQUIRE_H
#define HATCHERY_SUPERVISOR_REQUIRE_H

#include "base/buf.h"
#include "box/layers.h"
#include "conf/conf.h"

/* No pointers: `hatchery doctor` shares it with the process that finds out. */
struct require {
    uint32_t required, missing; /* bits of enum layer */
    struct {
        int err;          /* -errno of a missing one; 0: turned off by its own key */
        char change[512]; /* what to change, for the person who typed the command; a cause a line */
    } why[LAYERS];
    int cgroup_version; /* 0: none */
    int hold_by;        /* enum cgroups_hold_by; only with cgroups */
};

/* Take isolation.require, less what its own key turns off (isolation.mdwe = no, isolation.cgroup = none): such a key
 * names the weaker jail as well as a word would.  Nothing is missing yet, but what is turned off.
 * Returns 0, or -EINVAL with one sentence in @error. */
int require_init(struct require *r, const struct conf *conf, struct buf *error);

/* One that a child of this process can fill in for it, or NULL; munmap(2) gives it back. */
struct require *require_shared(void);

/* @layer can't be had, with -errno; @change says more than the table does about what to change, where not NULL or "". */
void require_missing(struct require *r, enum layer layer, int err, const char *change);

/* The sentence about a required layer that is missing, on stderr. */
void require_say(const struct require *r, enum layer layer);

/* Ask the kernel for what it alone decides. */
void require_probe_kernel(struct require *r);

enum { OFFER_MAX = 8192 };

/* Every layer has been looked for.  Append the line of configuration that would do without the required ones that are
 * missing.  False where none is, or where there is no jail without one of them. */
bool require_offer(const struct require *r, const struct conf *conf, struct buf *out);

/* Every layer has been looked for.  0 where nothing required is missing: what else is missing is logged.
 * Else -ENOTSUP; the sentences, the line of configuration that would do without, and the command that was typed with it
 * in front (but in the journal, where nobody types), are on stderr. */
int require_settle(const struct require *r, const struct conf *conf);

#endif
