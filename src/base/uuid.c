/* SPDX-License-Identifier: Apache-2.0 */
/* Job ids: UUID version 7 (RFC 9562, 5.7).
 *
 * Called once for each request that becomes a job, by the loop's thread alone, and for the ids that
 * clients send.  What must never happen here: an id that can be guessed, because the id and the key
 * are all that a reader of a job needs. */
#include "base/uuid.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

static bool is_dash(int i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

void uuid_format(const unsigned char bytes[static UUID_BYTES], char ret[static UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0, nibble = 0; i < UUID_SIZE - 1; i++) {
        if (is_dash(i)) {
            ret[i] = '-';
            continue;
        }
        ret[i] = digits[nibble % 2 ? bytes[nibble / 2] & 15 : bytes[nibble / 2] >> 4];
        nibble++;
    }
    ret[UUID_SIZE - 1] = '\0';
}

bool uuid_parse(const char *text, size_t len, unsigned char ret[static UUID_BYTES])
{
    unsigned char bytes[UUID_BYTES] = { 0 };

    if (len != UUID_SIZE - 1)
        return false;
    for (int i = 0, nibble = 0; i < UUID_SIZE - 1; i++) {
        char c = text[i];
        if (is_dash(i)) {
            if (c != '-')
                return false;
            continue;
        }
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        unsigned value = (unsigned) (c <= '9' ? c - '0' : c - 'a' + 10);
        bytes[nibble / 2] = (unsigned char) (bytes[nibble / 2] << 4 | value);
        nibble++;
    }
    memcpy(ret, bytes, sizeof(bytes));
    return true;
}

/* Random bytes from the kernel, many at once: a call costs as much as the rest of an id.  Used
 * bytes are wiped. */
static void take_random(unsigned char *ret, size_t n)
{
    static unsigned char pool[640];
    static size_t left;

    if (left < n) {
        randombytes_buf(pool, sizeof(pool));
        left = sizeof(pool);
    }
    left -= n;
    memcpy(ret, pool + left, n);
    sodium_memzero(pool + left, n);
}

void uuid_make(char ret[static UUID_SIZE])
{
    unsigned char b[UUID_BYTES];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
    for (int i = 0; i < 6; i++)
        b[i] = (unsigned char) (ms >> (40 - 8 * i));
    take_random(b + 6, 10);
    b[6] = (unsigned char) (0x70 | (b[6] & 0x0f));
    b[8] = (unsigned char) (0x80 | (b[8] & 0x3f));
    uuid_format(b, ret);
}
