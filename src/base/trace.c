/* SPDX-License-Identifier: Apache-2.0 */
/* W3C Trace Context: https://www.w3.org/TR/trace-context/ (sections 3.2 and 4.3).
 *
 * The handler of runs calls this with a client's header; every writer of log lines calls it too.
 * What must never happen here: a client's byte that is not a hexadecimal digit in a header or a
 * log. */
#include "base/trace.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 */
enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, LENGTH = 55 };
enum { KNOWN_FLAGS = 0x03 }; /* sampled, random; other flags must be sent as 0 */

static bool is_hex(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f'))
            return false;
    return true;
}

static bool is_id(const char *p, size_t n)
{
    return is_hex(p, n) && strspn(p, "0") < n;
}

/* A later version may append more. */
static bool is_traceparent(const char *p)
{
    size_t n = strlen(p);
    bool ours = n >= LENGTH && strncmp(p, "00", 2) == 0;

    if (n < LENGTH || (ours && n != LENGTH) || (n > LENGTH && p[LENGTH] != '-'))
        return false;
    return is_hex(p, 2) && strncmp(p, "ff", 2) != 0 && p[AT_TRACE - 1] == '-' && is_id(p + AT_TRACE, TRACE_ID_SIZE - 1)
           && p[AT_SPAN - 1] == '-' && is_id(p + AT_SPAN, TRACE_SPAN_SIZE - 1) && p[AT_FLAGS - 1] == '-'
           && is_hex(p + AT_FLAGS, 2);
}

static unsigned digit(char c)
{
    return (unsigned) (c <= '9' ? c - '0' : c - 'a' + 10);
}

bool trace_begin(const char *header, char ret[TRACE_SIZE])
{
    unsigned char bytes[(TRACE_SPAN_SIZE - 1) / 2];
    char span[TRACE_SPAN_SIZE];

    ret[0] = '\0';
    if (!header || !is_traceparent(header))
        return false;
    do
        randombytes_buf(bytes, sizeof(bytes));
    while (sodium_is_zero(bytes, sizeof(bytes)));
    sodium_bin2hex(span, sizeof(span), bytes, sizeof(bytes));
    unsigned flags = (digit(header[AT_FLAGS]) << 4 | digit(header[AT_FLAGS + 1])) & KNOWN_FLAGS;
    snprintf(ret, TRACE_SIZE, "00-%.32s-%s-%02x", header + AT_TRACE, span, flags);
    return true;
}

struct trace_ids trace_ids(const char *traceparent)
{
    struct trace_ids ids = { "", "" };

    if (strlen(traceparent) == LENGTH && is_traceparent(traceparent)) {
        memcpy(ids.trace, traceparent + AT_TRACE, TRACE_ID_SIZE - 1);
        memcpy(ids.span, traceparent + AT_SPAN, TRACE_SPAN_SIZE - 1);
    }
    return ids;
}
