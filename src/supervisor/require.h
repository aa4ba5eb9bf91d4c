/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers of the jail are required, which are missing, and may we start without them? */
#ifndef HATCHERY_SUPERVISOR_REQUIRE_H
#define HATCHERY_SUPERVISOR_REQUIRE_H

#include "base/buf.h"
#include "box/layers.h"
#include "conf/conf.h"

/* No pointers: `hatchery doctor` shares it with a child that fills it in. */
struct require {
    uint32_t required, missing; /* bits of enum layer */
    struct {
        int err;          /* -errno of a missing layer; 0: turned off by its own key */
        char change[512]; /* what to change, for the operator; one cause a line */
    } why[LAYERS];
    int cgroup_version; /* 0: none */
    int hold_by;        /* enum cgroups_hold_by; only with cgroups */
};

/* Take isolation.require, without the layers that keys of their own turn off (isolation.mdwe = no,
 * isolation.cgroup = none): such a key names the weaker jail as well as a word would.  At first
 * only these layers are missing.  Returns 0, or -EINVAL with one sentence in @error. */
int require_init(struct require *r, const struct conf *conf, struct buf *error);

/* A struct that a child of this process can fill in for it, or NULL; munmap(2) gives it back. */
struct require *require_shared(void);

/* @layer is missing, with -errno.  @change, if not NULL or "", says more than the table about what
 * to change. */
void require_missing(struct require *r, enum layer layer, int err, const char *change);

/* Print the sentence about a required layer that is missing, on stderr. */
void require_say(const struct require *r, enum layer layer);

/* Ask the kernel about the layers that depend on it alone. */
void require_probe_kernel(struct require *r);

enum { OFFER_MAX = 8192 };

/* Call it when every layer has been looked for.  Appends the line of configuration that would do
 * without the missing required layers.  False if none is missing, or if there is no jail without
 * one of them. */
bool require_offer(const struct require *r, const struct conf *conf, struct buf *out);

/* Call it when every layer has been looked for.  0 if no required layer is missing; other missing
 * ones are logged. Otherwise -ENOTSUP, and on stderr are the sentences, the line of configuration
 * that would do without, and the typed command with it in front (not in the journal, where nobody
 * types). */
int require_settle(const struct require *r, const struct conf *conf);

#endif
