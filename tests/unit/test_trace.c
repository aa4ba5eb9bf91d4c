/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent: what is one, what is none, and what of it goes on. */
#include "base/trace.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

static void test_taken(void **state)
{
    static const struct {
        const char *header, *flags;
    } cases[] = {
        { "00-" TRACE "-" SPAN "-01", "01" },
        { "00-" TRACE "-" SPAN "-00", "00" },
        { "00-" TRACE "-" SPAN "-ff", "03" },
        { "01-" TRACE "-" SPAN "-01", "01" },
        { "cc-" TRACE "-" SPAN "-09-what the future will be like", "01" },
        { "fe-" TRACE "-" SPAN "-02-", "02" },
    };
    char one[TRACE_SIZE], other[TRACE_SIZE];

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(trace_begin(cases[i].header, one));
        assert_int_equal(strlen(one), TRACE_SIZE - 1);
        assert_memory_equal(one, "00-" TRACE "-", 36);
        assert_string_equal(one + 53, cases[i].flags);
        struct trace_ids ids = trace_ids(one);
        assert_string_equal(ids.trace, TRACE);
        assert_memory_equal(one + 36, ids.span, 16);
        assert_string_not_equal(ids.span, SPAN);
        assert_true(trace_begin(cases[i].header, other));
        assert_string_not_equal(one, other);
    }
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        NULL,
        "",
        "00",
        "00-" TRACE "-" SPAN,
        "00-" TRACE "-" SPAN "-",
        "00-" TRACE "-" SPAN "-1",
        "00-" TRACE "-" SPAN "-011",
        "00-" TRACE "-" SPAN "-01-",
        "00-" TRACE "-" SPAN "-01-more",
        "01-" TRACE "-" SPAN "-01.more",
        "ff-" TRACE "-" SPAN "-01",
        "FE-" TRACE "-" SPAN "-01",
        "0x-" TRACE "-" SPAN "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-" SPAN "-0A",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        "00-" TRACE "-" SPAN "-0g",
        " 0-" TRACE "-" SPAN "-01",
        "00-0af7651916cd43dd8448eb211c80319-" SPAN "-011",
        "00-0af7651916cd43dd8448eb211c80319c\x80-" SPAN "-01",
        "----------------------------------------------------------------",
    };
    char trace[TRACE_SIZE] = "before";

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (trace_begin(cases[i], trace))
            fail_msg("taken: %s", cases[i]);
        assert_string_equal(trace, "");
        struct trace_ids ids = trace_ids(cases[i] ? cases[i] : "");
        if (cases[i] && strncmp(cases[i], "01", 2) != 0)
            assert_string_equal(ids.trace, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_taken), cmocka_unit_test(test_refused) };

    if (sodium_init() < 0)
        return EXIT_FAILURE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
