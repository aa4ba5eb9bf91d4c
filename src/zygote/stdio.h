/* SPDX-License-Identifier: Apache-2.0 */
/* Standard streams without a buffer that lose nothing. */
#ifndef HATCHERY_ZYGOTE_STDIO_H
#define HATCHERY_ZYGOTE_STDIO_H

/* Make sys.stdout and sys.stderr write all that they are given, also if a signal interrupts them,
 * as files with a buffer do.  A file that an import has put in their place stays as it is.  Call it
 * once, before any fork.  Returns 0, or -1 with an exception set. */
int stdio_write_all(void);

#endif
