/* SPDX-License-Identifier: Apache-2.0 */
/* What modules do at a fork, put off where nothing is to be done. */
#ifndef HATCHERY_ZYGOTE_ATFORK_H
#define HATCHERY_ZYGOTE_ATFORK_H

#include <stdbool.h>

/* From here to atfork_restore() the functions that threading, logging, concurrent.futures and random give to
 * os.register_at_fork() are registered so that they do nothing until atfork_enable().  Those of the first three look
 * after the locks and records of other threads, of which the zygote has none, and would copy a hundred and
 * thirty pages in each box; random's seed is renewed by run_box() in its place.  Any other module's run at the
 * zygote's forks as CPython means them to.  The first is called before anything is imported that could register
 * something: of what has been, atfork_has_others() knows nothing.  0, or -1 with a Python exception set. */
int atfork_intercept(void);
int atfork_restore(void);

/* Another module has registered something. Where none has, the zygote need not tell CPython of a fork in advance or
 * after it: PyOS_BeforeFork() would take the import lock, for which there is no other thread to compete, and call the
 * functions above, which do nothing, but to call them writes to pages that each box must then copy. */
bool atfork_has_others(void);

/* In a box: from here on all of them run at each fork, which is now a program's. */
void atfork_enable(void);

#endif
