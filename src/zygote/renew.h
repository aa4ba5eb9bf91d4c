/* SPDX-License-Identifier: Apache-2.0 */
/* State that two boxes must not share: that of random number generators. */
#ifndef HATCHERY_ZYGOTE_RENEW_H
#define HATCHERY_ZYGOTE_RENEW_H

/* Find the generators that imports brought in. In the zygote, once, when all imports are done. 0,
 * or -1 with a Python exception set. */
int renew_prepare(void);

/* Seed them anew. In a child of the zygote, before its program. Ends the process with 126 if a
 * generator cannot be seeded: a box must not repeat another's numbers. */
void renew(void);

#endif
