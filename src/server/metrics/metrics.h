/* SPDX-License-Identifier: Apache-2.0 */
/* The server's metrics: one table (metrics.def), one array a metric, no memory taken at run time.
 *
 * State of the process, as the log is; for the loop's thread only.  Code counts where things
 * happen; a state of something (how many wait) is set by its owner right before it is shown. */
#ifndef HATCHERY_SERVER_METRICS_METRICS_H
#define HATCHERY_SERVER_METRICS_METRICS_H

#include "base/buf.h"

#include <stdint.h>

#define WORD(id, text) METRIC_##id,
#define LABEL(id, label, words) enum metric_label_##id{ words METRIC_N_##id };
#define LABEL_GIVEN(id, label, max) enum { METRIC_N_##id = max };
#include "server/metrics/metrics.def"

enum metric_label {
#define LABEL(id, label, words) LABEL_##id,
#define LABEL_FROM(id, label) LABEL_##id,
#define LABEL_GIVEN(id, label, max) LABEL_##id,
#include "server/metrics/metrics.def"
    LABEL_NONE
};

/* The phases of a box: of its making, in order, and of its end. */
enum metric_label_BOX_PHASE {
    METRIC_BOX_INIT,
    METRIC_BOX_FORK,
    METRIC_BOX_HOOKS,
#define STEP(name, word, hint) METRIC_BOX_##name,
#include "box/box.def"
    METRIC_BOX_RENEWAL,
    METRIC_BOX_REHEARSAL,
    METRIC_BOX_EXIT,
    METRIC_N_BOX_PHASE
};

/* Why programs waited: enum lack (server/pool/job.h) without its first. */
enum metric_label_LACK {
#define LACK(name, word, why) METRIC_LACK_##name,
#include "base/lack.def"
    METRIC_N_LACK
};

enum metric {
#define METRIC(id, ...) METRIC_##id,
#include "server/metrics/metrics.def"
    METRICS
};

/* The values of a LABEL_GIVEN, in the order of their numbers, from here on: @n words, at most
 * METRIC_N_..., that stay. Call it before anything is counted by that label. */
void metrics_name(enum metric_label label, const char *const *words, unsigned n);

/* The three numbers are the labels' values, in the table's order; 0 if there is no label.  Seconds
 * are microseconds. */
void metric_add(enum metric metric, int64_t n, unsigned a, unsigned b, unsigned c);
void metric_set(enum metric metric, int64_t value, unsigned a, unsigned b, unsigned c);
void metric_observe(enum metric metric, int64_t value, unsigned a, unsigned b, unsigned c);

/* One more. */
void metric_count(enum metric metric, unsigned a);

/* The labels of an INFO: name="value", with commas between; @text has no character that would need
 * to be escaped. */
void metric_info(enum metric metric, const char *text);

/* Prometheus' text format 0.0.4, or OpenMetrics 1.0.0. */
enum metrics_format { METRICS_TEXT, METRICS_OPEN, METRICS_FORMATS };

/* The media type of a format. */
const char *metrics_type(enum metrics_format format);

/* Append all metrics.  @out is large enough if its maximum is METRICS_TEXT_MAX. */
enum { METRICS_TEXT_MAX = 2 << 20 };
void metrics_write(struct buf *out, enum metrics_format format);

/* process.c */

/* Open the files of this process in /proc, while it may still open files; a metric whose file is
 * not there is not shown. */
void metrics_process_init(void);

/* Set the metrics of the process. */
void metrics_process_read(void);

#endif
