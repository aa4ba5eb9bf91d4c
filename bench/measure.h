/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bench programs share: how long to go on, what each request took, and the one line of JSON they print.
 * Times are nanoseconds of CLOCK_MONOTONIC unless a name says otherwise.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* When to stop: after @requests, or after @ms milliseconds where that is above 0. @warmup requests come before,
 * unmeasured. */
struct plan {
    long requests;
    long ms;
    long warmup;
};

/* A growing list of latencies, one for each request that was right. All zero is an empty list. */
struct latencies {
    uint64_t *ns;
    size_t count;
    size_t room;
};

uint64_t measure_now_ns(void);

/* Processor time that this process has used. */
uint64_t measure_cpu_ns(void);

/* The whole number from @min to 1e9 that @text is. Anything else ends the program with status 2 and names @option. */
long measure_number(const char *option, const char *text, long min);

/* The milliseconds of @text, seconds with or without a fraction. Anything else ends the program likewise. */
long measure_seconds_ms(const char *option, const char *text);

/* Ends the program with status 1 when memory runs out. */
void latencies_add(struct latencies *list, uint64_t ns);
void latencies_append(struct latencies *list, const struct latencies *more);
void latencies_free(struct latencies *list);

/* Print {"requests", "errors", "seconds", "rps", "p50_us", ...} as one line on stdout, with "workload" in front where
 * @name is not NULL, and what of @cpu_ns each request took where it is not 0. Sorts @list.
 * Returns the exit status: 0 when there was no error and at least one request, else 1. */
int measure_print(const char *name, struct latencies *list, long errors, uint64_t elapsed_ns, uint64_t cpu_ns);

#endif
