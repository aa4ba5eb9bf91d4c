/* SPDX-License-Identifier: Apache-2.0 */
/* Standard streams without a buffer that lose nothing. */
#ifndef HATCHERY_ZYGOTE_STDIO_H
#define HATCHERY_ZYGOTE_STDIO_H

/* Have sys.stdout and sys.stderr write all that they are given as files with a buffer do, also where a signal comes
 * between; what an import has put in their place stays as it is.  Called once, before any fork.  Returns 0, or -1 with
 * an exception set. */
int stdio_write_all(void);

#endif
