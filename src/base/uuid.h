/* SPDX-License-Identifier: Apache-2.0 */
/* Job ids: UUID version 7 (RFC 9562), which sort by the time they were made. */
#ifndef HATCHERY_BASE_UUID_H
#define HATCHERY_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>

enum { UUID_SIZE = 37, UUID_BYTES = 16 };

/* Write a new one with its ending NUL.  The random part is libsodium's. */
void uuid_make(char ret[static UUID_SIZE]);

/* Text to bytes and back.  Strict: exactly 36 characters, lower-case hexadecimal, dashes in their
 * places. */
bool uuid_parse(const char *text, size_t len, unsigned char ret[static UUID_BYTES]);
void uuid_format(const unsigned char bytes[static UUID_BYTES], char ret[static UUID_SIZE]);

#endif
