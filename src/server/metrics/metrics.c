/* SPDX-License-Identifier: Apache-2.0 */
/* Counting, and showing what was counted.
 *
 * Called by the server's rooms to count and by its endpoint to show.  What must never happen here:
 * memory that grows with what strangers send (every label's values are listed in a table), or two
 * lines with the same name and labels. */
#include "server/metrics/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { COUNTER, GAUGE, HISTOGRAM, INFO };
enum unit { NUMBER, SECONDS, SHORT, BYTES };
enum { BUCKETS_MAX = 20, INFO_MAX = 256, LABELS_MAX = 3 };

/* A cell: the value; of a histogram the counts of its buckets (each without those below it), the
 * count of values above all buckets, and the sum.  An INFO has none: its text is kept apart. */
enum { WIDTH_COUNTER = 1, WIDTH_GAUGE = 1, WIDTH_INFO = 1, WIDTH_HISTOGRAM = BUCKETS_MAX + 2 };

enum { METRIC_N_NONE = 1 };

static const char *const words_BOX_PHASE[] = { "init",    "fork",      "hooks",
#define STEP(name, word, hint) word,
#include "box/box.def"
                                               "renewal", "rehearsal", "exit" };
static const char *const words_LACK[] = {
#define LACK(name, word, why) word,
#include "base/lack.def"
};
#define WORD(id, text) text,
#define LABEL(id, label, words) static const char *const words_##id[] = { words };
#include "server/metrics/metrics.def"

static struct label {
    const char *name;
    unsigned n, max;
    const char *const *words;
} labels[] = {
#define LABEL(id, label, words) { label, METRIC_N_##id, METRIC_N_##id, words_##id },
#define LABEL_FROM(id, label) { label, METRIC_N_##id, METRIC_N_##id, words_##id },
#define LABEL_GIVEN(id, label, max) { label, 0, max, NULL },
#include "server/metrics/metrics.def"
    [LABEL_NONE] = { NULL, 1, 1, NULL },
};

#define METRIC(id, name, type, unit, a, b, c, help)                                                                    \
    static int64_t cells_##id[METRIC_N_##a * METRIC_N_##b * METRIC_N_##c][WIDTH_##type];
#include "server/metrics/metrics.def"

static const struct table {
    const char *name;
    enum type type;
    enum unit unit;
    enum metric_label labels[LABELS_MAX];
    unsigned width;
    int64_t *cells;
    const char *help;
} table[] = {
#define METRIC(id, name, type, unit, a, b, c, help)                                                                    \
    { name, type, unit, { LABEL_##a, LABEL_##b, LABEL_##c }, WIDTH_##type, cells_##id[0], help },
#include "server/metrics/metrics.def"
};

static char infos[METRICS][INFO_MAX];

/* A run takes a millisecond or two: the usual buckets for HTTP begin too late. */
static const int64_t bounds_seconds[] = { 500,     1000,     1500,     2000,     3000,     5000,    10000,
                                          25000,   50000,    100000,   250000,   500000,   1000000, 2500000,
                                          5000000, 10000000, 30000000, 60000000, 300000000 };
/* Its parts take less. */
static const int64_t bounds_short[] = { 10,     25,      50,      100,      250,      500,    1000,
                                        2500,   5000,    10000,   25000,    50000,    100000, 250000,
                                        500000, 1000000, 5000000, 30000000, 300000000 };
static const int64_t bounds_bytes[] = {
    1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30, 4LL << 30, 16LL << 30
};
static const int64_t bounds_number[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512 };

static const struct bounds {
    const int64_t *at;
    unsigned n;
} bounds[] = {
    [NUMBER] = { bounds_number, sizeof(bounds_number) / sizeof(int64_t) },
    [SECONDS] = { bounds_seconds, sizeof(bounds_seconds) / sizeof(int64_t) },
    [SHORT] = { bounds_short, sizeof(bounds_short) / sizeof(int64_t) },
    [BYTES] = { bounds_bytes, sizeof(bounds_bytes) / sizeof(int64_t) },
};
_Static_assert(sizeof(bounds_seconds) / sizeof(int64_t) <= BUCKETS_MAX
                   && sizeof(bounds_short) / sizeof(int64_t) <= BUCKETS_MAX,
               "a cell is too narrow");

/* --- labels --- */

void metrics_name(enum metric_label label, const char *const *words, unsigned n)
{
    if (n > labels[label].max)
        abort(); /* the table has too few cells for them */
    labels[label].words = words;
    labels[label].n = n;
}

static unsigned count_cells(const struct table *t)
{
    return labels[t->labels[0]].n * labels[t->labels[1]].n * labels[t->labels[2]].n;
}

/* --- counting --- */

static int64_t *cell(enum metric metric, unsigned a, unsigned b, unsigned c)
{
    const struct table *t = &table[metric];
    unsigned n_b = labels[t->labels[1]].n, n_c = labels[t->labels[2]].n;

    if (a >= labels[t->labels[0]].n || b >= n_b || c >= n_c)
        abort(); /* a label's value that its table has not */
    return t->cells + (size_t) ((a * n_b + b) * n_c + c) * t->width;
}

void metric_add(enum metric metric, int64_t n, unsigned a, unsigned b, unsigned c)
{
    *cell(metric, a, b, c) += n > 0 ? n : 0; /* a counter never goes down, whatever a clock did */
}

void metric_count(enum metric metric, unsigned a)
{
    metric_add(metric, 1, a, 0, 0);
}

void metric_set(enum metric metric, int64_t value, unsigned a, unsigned b, unsigned c)
{
    *cell(metric, a, b, c) = value;
}

void metric_observe(enum metric metric, int64_t value, unsigned a, unsigned b, unsigned c)
{
    const struct bounds *limits = &bounds[table[metric].unit];
    int64_t *p = cell(metric, a, b, c);
    unsigned i = 0;

    while (i < limits->n && value > limits->at[i])
        i++;
    p[i]++;
    p[WIDTH_HISTOGRAM - 1] += value > 0 ? value : 0;
}

void metric_info(enum metric metric, const char *text)
{
    snprintf(infos[metric], INFO_MAX, "%s", text);
}

static const char *const types[] = {
    [METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [METRICS_OPEN] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

const char *metrics_type(enum metrics_format format)
{
    return types[format];
}

/* --- showing --- */

static bool ends_in(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static void add_value(struct buf *out, enum unit unit, int64_t value)
{
    bool is_time = unit == SECONDS || unit == SHORT;

    buf_addf(out, "%" PRId64, is_time ? value / 1000000 : value);
    if (!is_time || value % 1000000 == 0)
        return;
    buf_addf(out, ".%06" PRId64, value % 1000000);
    while (out->len && !out->full && out->data[out->len - 1] == '0')
        out->len--;
}

/* The labels of cell @i, without braces. */
static void add_labels(struct buf *out, const struct table *t, unsigned i)
{
    unsigned at[LABELS_MAX];
    const char *comma = "";

    for (int l = LABELS_MAX - 1; l >= 0; l--) {
        at[l] = i % labels[t->labels[l]].n;
        i /= labels[t->labels[l]].n;
    }
    for (int l = 0; l < LABELS_MAX && t->labels[l] != LABEL_NONE; l++) {
        const struct label *label = &labels[t->labels[l]];
        buf_addf(out, "%s%s=\"%s\"", comma, label->name, label->words[at[l]]);
        comma = ",";
    }
}

static void begin_line(struct buf *out, const struct table *t, const char *suffix, unsigned i)
{
    buf_adds(out, t->name);
    buf_adds(out, suffix);
    if (t->labels[0] == LABEL_NONE)
        return;
    buf_addc(out, '{');
    add_labels(out, t, i);
    buf_addc(out, '}');
}

static void add_bucket(struct buf *out, const struct table *t, unsigned i, enum metrics_format format, unsigned b,
                       int64_t count)
{
    const struct bounds *limits = &bounds[t->unit];

    buf_addf(out, "%s_bucket{", t->name);
    add_labels(out, t, i);
    buf_adds(out, t->labels[0] == LABEL_NONE ? "le=\"" : ",le=\"");
    if (b == limits->n)
        buf_adds(out, "+Inf");
    else {
        size_t mark = out->len;
        add_value(out, t->unit, limits->at[b]);
        if (format == METRICS_OPEN && !out->full && !memchr(out->data + mark, '.', out->len - mark))
            buf_adds(out, ".0"); /* OpenMetrics: a float in its canonical form */
    }
    buf_addf(out, "\"} %" PRId64 "\n", count);
}

static void add_histogram(struct buf *out, const struct table *t, unsigned i, enum metrics_format format)
{
    const int64_t *p = t->cells + (size_t) i * t->width;
    int64_t count = 0;

    for (unsigned b = 0; b <= bounds[t->unit].n; b++)
        add_bucket(out, t, i, format, b, count += p[b]);
    begin_line(out, t, "_sum", i);
    buf_addc(out, ' ');
    add_value(out, t->unit, p[WIDTH_HISTOGRAM - 1]);
    buf_addc(out, '\n');
    begin_line(out, t, "_count", i);
    buf_addf(out, " %" PRId64 "\n", count);
}

static void add_cell(struct buf *out, const struct table *t, unsigned i, enum metrics_format format)
{
    int64_t value = t->cells[(size_t) i * t->width];

    if (t->type == HISTOGRAM) {
        add_histogram(out, t, i, format);
        return;
    }
    if (t->type == GAUGE && value < 0)
        return;
    begin_line(out, t, t->type == COUNTER ? "_total" : "", i);
    buf_addc(out, ' ');
    add_value(out, t->unit, value);
    buf_addc(out, '\n');
}

/* Of a metric with many cells only those that were counted are shown. */
static bool is_shown(const struct table *t, unsigned i)
{
    const int64_t *p = t->cells + (size_t) i * t->width;

    if (count_cells(t) <= (t->type == HISTOGRAM ? 4 : 24) || t->type == GAUGE)
        return true;
    for (unsigned n = 0; n < t->width; n++)
        if (p[n])
            return true;
    return false;
}

static void add_head(struct buf *out, const struct table *t, enum metrics_format format)
{
    static const char *const words[] = { "counter", "gauge", "histogram", "info" };
    const char *suffix = "", *type = words[t->type];

    if (format == METRICS_TEXT && t->type == COUNTER)
        suffix = "_total";
    if (format == METRICS_TEXT && t->type == INFO) {
        suffix = "_info";
        type = "gauge";
    }
    buf_addf(out, "# TYPE %s%s %s\n", t->name, suffix, type);
    if (format == METRICS_OPEN && ends_in(t->name, "_seconds"))
        buf_addf(out, "# UNIT %s seconds\n", t->name);
    if (format == METRICS_OPEN && ends_in(t->name, "_bytes"))
        buf_addf(out, "# UNIT %s bytes\n", t->name);
    buf_addf(out, "# HELP %s%s %s\n", t->name, suffix, t->help);
}

void metrics_write(struct buf *out, enum metrics_format format)
{
    for (unsigned m = 0; m < METRICS; m++) {
        const struct table *t = &table[m];
        unsigned n = count_cells(t);
        if (t->type == GAUGE && n == 1 && t->cells[0] < 0)
            continue;
        add_head(out, t, format);
        if (t->type == INFO)
            buf_addf(out, "%s_info{%s} 1\n", t->name, infos[m]);
        for (unsigned i = 0; i < n && t->type != INFO; i++)
            if (is_shown(t, i))
                add_cell(out, t, i, format);
    }
    if (format == METRICS_OPEN)
        buf_adds(out, "# EOF\n");
}
