/* SPDX-License-Identifier: Apache-2.0 */
/* What the system's Python packages reach for outside of /usr/lib. */
#ifndef HATCHERY_SUPERVISOR_REACH_H
#define HATCHERY_SUPERVISOR_REACH_H

#include <time.h>

enum { REACH_MAX = 32, REACH_NAME_MAX = 64 };

struct reach {
    unsigned n;
    char names[REACH_MAX][REACH_NAME_MAX]; /* directories of /usr/share */
    struct timespec seen[2];               /* when what is installed had changed last */
};

/* Find what links in dist-packages lead to, and what dpkg says that packages with files there have, below @root ("": the
 * host's).  Only directories that root alone can change and everybody may read.  What was found is kept until something is
 * installed or removed.  Blocks for some milliseconds, with thousands of directories and nothing in memory for a second. */
void reach_find(struct reach *reach, const char *root);

#endif
