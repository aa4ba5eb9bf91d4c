/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers of the jail are required, which are missing, and whether that lets us start. */
#ifndef HATCHERY_SUPERVISOR_REQUIRE_H
#define HATCHERY_SUPERVISOR_REQUIRE_H

#include "../base/buf.h"
#include "../base/conf.h"
#include "../box/layers.h"

struct require {
    uint32_t required, missing; /* bits of enum layer */
    struct buf sentences;       /* for the person who typed the command: one line for each required and missing layer */
};

/* Take isolation.require, less what its own key turns off (isolation.mdwe = no, isolation.cgroup = none): such a key
 * names the weaker jail as well as a word would.  Nothing is missing yet, but what is turned off.
 * Returns 0, or -EINVAL with one sentence in @error; require_free() is due in either case. */
int require_init(struct require *r, const struct conf *conf, struct buf *error);
void require_free(struct require *r);

/* @layer can't be had, with -errno; @detail (may be empty) says more than the table does about what to change. */
void require_missing(struct require *r, enum layer layer, int err, const struct buf *detail);

/* Ask the kernel for what it alone decides. */
void require_probe_kernel(struct require *r);

/* Every layer has been looked for.  0 where nothing required is missing: what else is missing is logged.
 * Else -ENOTSUP; the sentences, and the line of configuration that would do without, are on stderr. */
int require_settle(const struct require *r, const struct conf *conf);

#endif
