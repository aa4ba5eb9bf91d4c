/* SPDX-License-Identifier: Apache-2.0 */
/* What a box copies: page faults after a fork cost more than anything else of it. */
#ifndef HATCHERY_ZYGOTE_PAGES_H
#define HATCHERY_ZYGOTE_PAGES_H

/* In the zygote, once, before the interpreter is initialised and before anything large is allocated: let what will be
 * allocated lie in huge pages, which a fork shares and gives back at the cost of one small one. */
void pages_prepare(void);

/* In the zygote, once, when nothing is left to be done but to fork: bring its memory into the state in which a child
 * touches the fewest pages, and fork(2) and exit(2) have the fewest to count.  Costs 8 MiB, which all children share.
 * Cannot fail: what is not to be had stays as it is. */
void pages_settle(void);

/* The last thing before the first fork: what a child allocates for its locks lies side by side. */
void pages_gather(void);

/* In the zygote, after that: @run is called in a child, which ends with it or after five seconds, to see which of the
 * interpreter's own pages it writes to.  Blocks until then. */
void pages_probe(void (*run)(void));

/* In a box, first: have copies of those pages at once, for less than a page fault takes for each (madvise(2),
 * MADV_POPULATE_WRITE, Linux 5.14; without it they are copied one by one, when they are written to). */
void pages_take(void);

#endif
