/* SPDX-License-Identifier: Apache-2.0 */
/* Job ids: UUID version 7 (RFC 9562, 5.7).
 *
 * Called once for each request that becomes a job.  What must never happen
 * here: an id that can be guessed, as it is all that one needs beside the key. */
#include "uuid.h"

#include <sodium.h>
#include <stdint.h>
#include <time.h>

void uuid_make(char ret[static UUID_SIZE])
{
    unsigned char b[16];
    char hex[33];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
    for (int i = 0; i < 6; i++)
        b[i] = (unsigned char) (ms >> (40 - 8 * i));
    randombytes_buf(b + 6, 10);
    b[6] = (unsigned char) (0x70 | (b[6] & 0x0f));
    b[8] = (unsigned char) (0x80 | (b[8] & 0x3f));
    sodium_bin2hex(hex, sizeof(hex), b, sizeof(b));
    char *out = ret;
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *out++ = '-';
        *out++ = hex[i];
    }
    *out = '\0';
}
