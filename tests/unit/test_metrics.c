/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: what is counted is what is shown. */
#include "server/metrics/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *written(enum metrics_format format)
{
    static char text[METRICS_TEXT_MAX + 1];
    struct buf out;

    buf_init(&out, METRICS_TEXT_MAX);
    metrics_write(&out, format);
    assert_false(out.full);
    memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    buf_free(&out);
    return text;
}

static void assert_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    const char *at = text;

    while ((at = strstr(at, line)) && ((at > text && at[-1] != '\n') || at[n] != '\n'))
        at++;
    if (!at)
        fail_msg("there is no line %s", line);
}

static void test_counters(void **state)
{
    static const char *const routes[] = { "/docs", "other" }, *const codes[] = { "200", "404", "other" };

    (void) state;
    metric_add(METRIC_RUNS, 3, METRIC_ASYNC, METRIC_ENDED_OOM, 0);
    metric_add(METRIC_RUNS, -5, METRIC_ASYNC, METRIC_ENDED_OOM, 0);
    metric_count(METRIC_QUEUE_REJECTED, METRIC_REJECTED_STORE);
    metric_add(METRIC_RUN_CPU, 1500000, 0, 0, 0);
    metrics_name(LABEL_ROUTE, routes, 2);
    metrics_name(LABEL_CODE, codes, 3);
    metric_add(METRIC_HTTP_REQUESTS, 1, 1, METRIC_METHOD_OTHER, 2);
    const char *text = written(METRICS_TEXT);
    assert_line(text, "hatchery_runs_total{mode=\"async\",outcome=\"oom\"} 3");
    assert_line(text, "hatchery_runs_total{mode=\"sync\",outcome=\"oom\"} 0");
    assert_line(text, "hatchery_queue_rejected_total{reason=\"store\"} 1");
    assert_line(text, "hatchery_run_cpu_seconds_total 1.5");
    assert_line(text, "hatchery_http_requests_total{route=\"other\",method=\"other\",code=\"other\"} 1");
    assert_null(strstr(text, "code=\"404\""));
    assert_line(text, "# TYPE hatchery_runs_total counter");
    text = written(METRICS_OPEN);
    assert_line(text, "# TYPE hatchery_runs counter");
    assert_line(text, "# UNIT hatchery_run_cpu_seconds seconds");
    assert_line(text, "hatchery_runs_total{mode=\"async\",outcome=\"oom\"} 3");
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
}

static void test_gauges(void **state)
{
    (void) state;
    metric_set(METRIC_PROCESS_FDS, -1, 0, 0, 0);
    metric_set(METRIC_QUEUE_AGE, 1000001, 0, 0, 0);
    const char *text = written(METRICS_TEXT);
    assert_null(strstr(text, "process_open_fds"));
    assert_line(text, "hatchery_queue_oldest_age_seconds 1.000001");
}

/* A value is in the first bucket whose bound is not below it, and in all after that. */
static void test_histograms(void **state)
{
    (void) state;
    metric_observe(METRIC_QUEUE_WAIT, 500, 0, 0, 0);
    metric_observe(METRIC_QUEUE_WAIT, 501, 0, 0, 0);
    metric_observe(METRIC_QUEUE_WAIT, 300000001, 0, 0, 0);
    metric_observe(METRIC_QUEUE_WAIT, -7, 0, 0, 0);
    const char *text = written(METRICS_TEXT);
    assert_line(text, "hatchery_queue_wait_seconds_bucket{le=\"0.0005\"} 2");
    assert_line(text, "hatchery_queue_wait_seconds_bucket{le=\"0.001\"} 3");
    assert_line(text, "hatchery_queue_wait_seconds_bucket{le=\"1\"} 3");
    assert_line(text, "hatchery_queue_wait_seconds_bucket{le=\"300\"} 3");
    assert_line(text, "hatchery_queue_wait_seconds_bucket{le=\"+Inf\"} 4");
    assert_line(text, "hatchery_queue_wait_seconds_count 4");
    assert_line(text, "hatchery_queue_wait_seconds_sum 300.001002");
    assert_line(written(METRICS_OPEN), "hatchery_queue_wait_seconds_bucket{le=\"1.0\"} 3");
    metric_observe(METRIC_RUN_MEMORY, 1 << 20, 0, 0, 0);
    assert_line(written(METRICS_TEXT), "hatchery_run_memory_peak_bytes_bucket{le=\"1048576\"} 1");
    metric_observe(METRIC_RUN_DURATION, 1, METRIC_ASYNC, 0, 0);
    assert_line(written(METRICS_TEXT), "hatchery_run_duration_seconds_bucket{mode=\"async\",le=\"0.0005\"} 1");
}

/* What takes microseconds has buckets for them. */
static void test_phases(void **state)
{
    (void) state;
    metric_observe(METRIC_REQUEST_PHASE, 10, METRIC_PHASE_PARSE, 0, 0);
    metric_observe(METRIC_REQUEST_PHASE, 11, METRIC_PHASE_PARSE, 0, 0);
    metric_observe(METRIC_SANDBOX_PHASE, 300, METRIC_BOX_CGROUP, 0, 0);
    const char *text = written(METRICS_TEXT);
    assert_line(text, "hatchery_request_phase_seconds_bucket{phase=\"parse\",le=\"0.00001\"} 1");
    assert_line(text, "hatchery_request_phase_seconds_bucket{phase=\"parse\",le=\"0.000025\"} 2");
    assert_line(text, "hatchery_request_phase_seconds_sum{phase=\"parse\"} 0.000021");
    assert_line(text, "hatchery_sandbox_phase_seconds_count{phase=\"cgroup\"} 1");
}

/* Every cell of every metric at its longest still fits. */
static void test_the_longest_text(void **state)
{
    static const char *routes[METRIC_N_ROUTE], *codes[METRIC_N_CODE], *ops[METRIC_N_OP];

    (void) state;
    for (unsigned route = 0; route < METRIC_N_ROUTE; route++)
        routes[route] = "/v1/jobs/{id}/deliveries/{id}/attempts";
    for (unsigned code = 0; code < METRIC_N_CODE; code++)
        codes[code] = "other";
    for (unsigned op = 0; op < METRIC_N_OP; op++)
        ops[op] = "outbox_claim";
    metrics_name(LABEL_OP, ops, METRIC_N_OP);
    metrics_name(LABEL_ROUTE, routes, METRIC_N_ROUTE);
    metrics_name(LABEL_CODE, codes, METRIC_N_CODE);
    for (unsigned route = 0; route < METRIC_N_ROUTE; route++) {
        for (unsigned method = 0; method < METRIC_N_METHOD; method++)
            for (unsigned code = 0; code < METRIC_N_CODE; code++)
                metric_add(METRIC_HTTP_REQUESTS, INT64_MAX / 2, route, method, code);
        metric_observe(METRIC_HTTP_DURATION, INT64_MAX / 2, route, 0, 0);
    }
    for (unsigned phase = 0; phase < METRIC_N_BOX_PHASE; phase++)
        metric_observe(METRIC_SANDBOX_PHASE, INT64_MAX / 2, phase, 0, 0);
    for (unsigned op = 0; op < METRIC_N_OP; op++)
        metric_observe(METRIC_STORE_DURATION, INT64_MAX / 2, op, 0, 0);
    written(METRICS_TEXT);
    written(METRICS_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters), cmocka_unit_test(test_gauges),           cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_phases),   cmocka_unit_test(test_the_longest_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
