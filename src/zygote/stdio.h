/* SPDX-License-Identifier: Apache-2.0 */
/* Standard streams without a buffer that lose nothing. */
#ifndef HATCHERY_ZYGOTE_STDIO_H
#define HATCHERY_ZYGOTE_STDIO_H

/* Have sys.stdout and sys.stderr, which must be files without a buffer, write all that they are given as buffered ones
 * do, also where a signal comes between.  Called once, before any fork.  Returns 0, or -1 with an exception set. */
int stdio_write_all(void);

#endif
