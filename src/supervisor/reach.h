/* SPDX-License-Identifier: Apache-2.0 */
/* What the system's Python packages use outside of /usr/lib. */
#ifndef HATCHERY_SUPERVISOR_REACH_H
#define HATCHERY_SUPERVISOR_REACH_H

#include <time.h>

enum { REACH_MAX = 32, REACH_NAME_MAX = 64 };

struct reach {
    unsigned n;
    char names[REACH_MAX][REACH_NAME_MAX]; /* directories of /usr/share */
    struct timespec seen[2];               /* when the installed packages last changed */
};

/* Find the targets of links in dist-packages, and the files that dpkg lists for packages with files
 * there, below @root ("": the host's).  Takes only directories that only root can change and
 * everybody may read.  Keeps the result until something is installed or removed.  Blocks for some
 * milliseconds; with thousands of directories and nothing in memory for a second. */
void reach_find(struct reach *reach, const char *root);

#endif
