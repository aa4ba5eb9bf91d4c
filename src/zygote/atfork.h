/* SPDX-License-Identifier: Apache-2.0 */
/* Fork hooks of Python's modules, disabled until a box runs its program. */
#ifndef HATCHERY_ZYGOTE_ATFORK_H
#define HATCHERY_ZYGOTE_ATFORK_H

#include <stdbool.h>

/* From here to atfork_restore(), functions that threading, logging, concurrent.futures and random
 * give to os.register_at_fork() are registered in a form that does nothing until atfork_enable().
 * The hooks of the first three tidy up locks and records of other threads.  The zygote has no other
 * threads, and the hooks would copy a hundred and thirty pages in each box.  run_box() renews
 * random's seed instead. The hooks of any other module run at the zygote's forks, as CPython means
 * them to.  Call atfork_intercept() before anything is imported that could register a hook:
 * atfork_has_others() does not know of earlier ones.  0, or -1 with a Python exception set. */
int atfork_intercept(void);
int atfork_restore(void);

/* Has another module registered a hook?  If not, the zygote need not tell CPython of its forks.
 * PyOS_BeforeFork() would take the import lock, although no other thread competes for it, and call
 * the disabled hooks.  Even these calls write to pages that each box must then copy. */
bool atfork_has_others(void);

/* In a box: from now on all hooks run at each fork, because each fork is now the program's. */
void atfork_enable(void);

#endif
