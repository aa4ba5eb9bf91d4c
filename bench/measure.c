/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock, the list of latencies and the JSON line of bench-load and bench-fork, so that the two are counted alike.
 * A percentile is the nearest rank: a latency that was really seen, never one between two. Failed requests are not
 * in the list, so an error can never make a figure better unnoticed: the line carries their number beside it.
 */
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NUMBER_MAX 1000000000L

uint64_t measure_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

long measure_number(const char *option, const char *text, long min)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && number >= min && number <= NUMBER_MAX)
        return number;
    fprintf(stderr, "--%s %s: a whole number from %ld to %ld is needed\n", option, text, min, NUMBER_MAX);
    exit(2);
}

long measure_seconds_ms(const char *option, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end != text && *end == '\0' && seconds >= 0.001 && seconds <= 1e6)
        return (long) (seconds * 1000);
    fprintf(stderr, "--%s %s: seconds from 0.001 to 1000000 are needed\n", option, text);
    exit(2);
}

uint64_t measure_cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t) used.tv_sec * 1000000000u + (uint64_t) used.tv_nsec;
}

static void reserve(struct latencies *list, size_t count)
{
    if (count <= list->room)
        return;
    list->room = count < 4096 ? 4096 : count * 2;
    list->ns = reallocarray(list->ns, list->room, sizeof(list->ns[0]));
    if (list->ns == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
}

void latencies_add(struct latencies *list, uint64_t ns)
{
    reserve(list, list->count + 1);
    list->ns[list->count++] = ns;
}

void latencies_append(struct latencies *list, const struct latencies *more)
{
    if (more->count == 0)
        return;
    reserve(list, list->count + more->count);
    memcpy(list->ns + list->count, more->ns, more->count * sizeof(more->ns[0]));
    list->count += more->count;
}

void latencies_free(struct latencies *list)
{
    free(list->ns);
    *list = (struct latencies){ 0 };
}

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *) left, b = *(const uint64_t *) right;

    return (a > b) - (a < b);
}

/* The nearest rank: the smallest latency that at least @percent of all do not exceed. 0 for an empty list. */
static double percentile_us(const struct latencies *sorted, unsigned percent)
{
    size_t rank = (sorted->count * percent + 99) / 100;

    return sorted->count == 0 ? 0 : (double) sorted->ns[rank - 1] / 1e3;
}

static void print_cpu(uint64_t cpu_ns, size_t requests, double seconds)
{
    double cpu_us = (double) cpu_ns / 1e3;

    printf(", \"own_cpu_us\": %.1f, \"own_cpu_share\": %.3f", requests > 0 ? cpu_us / (double) requests : 0,
           seconds > 0 ? cpu_us / 1e6 / seconds : 0);
}

int measure_print(const char *name, struct latencies *list, long errors, uint64_t elapsed_ns, uint64_t cpu_ns)
{
    double seconds = (double) elapsed_ns / 1e9;

    if (list->count > 0)
        qsort(list->ns, list->count, sizeof(list->ns[0]), by_size);
    putchar('{');
    if (name != NULL)
        printf("\"workload\": \"%s\", ", name);
    printf("\"requests\": %zu, \"errors\": %ld, \"seconds\": %.3f, \"rps\": %.1f, ", list->count, errors, seconds,
           seconds > 0 ? (double) list->count / seconds : 0);
    printf("\"p50_us\": %.1f, \"p95_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f", percentile_us(list, 50),
           percentile_us(list, 95), percentile_us(list, 99), percentile_us(list, 100));
    if (cpu_ns != 0)
        print_cpu(cpu_ns, list->count, seconds);
    puts("}");
    return errors == 0 && list->count > 0 && fflush(stdout) == 0 ? 0 : 1;
}
