/* SPDX-License-Identifier: Apache-2.0 */
/* The trace that a request belongs to (W3C Trace Context, the header traceparent).
 *
 * A traceparent is 00-TRACE-SPAN-FLAGS, 55 characters.  A client's header is judged strictly and
 * never passed on as it is: the new one names the client's trace and a span of our own. */
#ifndef HATCHERY_BASE_TRACE_H
#define HATCHERY_BASE_TRACE_H

#include <stdbool.h>

enum { TRACE_SIZE = 56, TRACE_ID_SIZE = 33, TRACE_SPAN_SIZE = 17 };

/* Begin a span of the trace that @header names.  False, with @ret empty, if @header is NULL or not
 * a traceparent. */
bool trace_begin(const char *header, char ret[TRACE_SIZE]);

/* The two ids in a traceparent, for the log. */
struct trace_ids {
    char trace[TRACE_ID_SIZE], span[TRACE_SPAN_SIZE]; /* both empty if there is none */
};
struct trace_ids trace_ids(const char *traceparent);

#endif
