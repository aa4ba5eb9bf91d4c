/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that a box copies: page faults after a fork cost more than anything else that a box
 * does. */
#ifndef HATCHERY_ZYGOTE_PAGES_H
#define HATCHERY_ZYGOTE_PAGES_H

/* In the zygote, once, before the interpreter is initialised and before anything large is
 * allocated: make later allocations lie in huge pages. A fork shares a huge page, and gives it
 * back, at the cost of one small page. */
void pages_prepare(void);

/* In the zygote, once, when nothing is left to do but to fork: bring its memory into the state in
 * which a child touches the fewest pages, and fork(2) and exit(2) have the fewest to count.  Costs
 * 8 MiB, which all children share.  Cannot fail: memory for which the kernel refuses something
 * stays as it is. */
void pages_settle(void);

/* Just before the first fork: arrange that the locks that a child allocates lie side by side. */
void pages_gather(void);

/* In the zygote, after pages_gather(): call @run in a child, to see which of the interpreter's own
 * pages it writes to.  The child ends with @run, or after five seconds.  Blocks until then. */
void pages_probe(void (*run)(void));

/* In a box, first: copy those pages at once, which costs less than a page fault for each
 * (madvise(2), MADV_POPULATE_WRITE, Linux 5.14).  On older kernels each page is copied when the box
 * writes to it. */
void pages_take(void);

#endif
