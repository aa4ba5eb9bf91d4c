/* SPDX-License-Identifier: Apache-2.0 */
/* What two boxes must not share: the state of random number generators. */
#ifndef HATCHERY_ZYGOTE_RENEW_H
#define HATCHERY_ZYGOTE_RENEW_H

/* Find the generators that imports brought in. In the zygote, once, all imports done. 0, or -1 with a Python exception
 * set. */
int renew_prepare(void);

/* Seed them anew. In a child of the zygote, before its program. Ends the process with 126 if one cannot be seeded: a box
 * that would repeat another's numbers is of no use. */
void renew(void);

#endif
