/* SPDX-License-Identifier: Apache-2.0 */
/* Job ids: UUID version 7 (RFC 9562), which sort by the time they were made. */
#ifndef HATCHERY_JOBS_UUID_H
#define HATCHERY_JOBS_UUID_H

enum { UUID_SIZE = 37 };

/* Write a new one with its ending NUL.  The random part is libsodium's. */
void uuid_make(char ret[static UUID_SIZE]);

#endif
