/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics answers in the format that was asked for. */
#include "server/api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_negotiation(void **state)
{
    static const struct {
        const char *accept;
        enum metrics_format format;
    } cases[] = {
        { NULL, METRICS_TEXT },
        { "", METRICS_TEXT },
        { "*/*", METRICS_TEXT },
        { "text/plain", METRICS_TEXT },
        { "application/openmetrics-text", METRICS_OPEN },
        { "Application/OpenMetrics-Text", METRICS_OPEN },
        { "application/openmetrics-text; version=1.0.0", METRICS_OPEN },
        { "application/openmetrics-text;version=\"1.0.0\"", METRICS_OPEN },
        { "application/openmetrics-text; version=0.0.1", METRICS_TEXT },
        { "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
          "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
          METRICS_OPEN },
        { "text/plain, application/openmetrics-text;q=0.9", METRICS_TEXT },
        { "text/plain;q=0.85, application/openmetrics-text;q=0.9", METRICS_OPEN },
        { "application/openmetrics-text;q=0", METRICS_TEXT },
        { "application/openmetrics-text;q=0.000", METRICS_TEXT },
        { "application/openmetrics-text;q=0.001", METRICS_OPEN },
        { "application/openmetrics-textual", METRICS_TEXT },
        { "application/openmetrics-text ;q=1", METRICS_OPEN },
        { " ,,;;q=,application/openmetrics-text", METRICS_OPEN },
        { "text/html;level=1;q", METRICS_TEXT },
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        if (api_metrics_format(cases[i].accept) != cases[i].format)
            fail_msg("Accept: %s", cases[i].accept ? cases[i].accept : "(none)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
