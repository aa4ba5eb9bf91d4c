/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes: reports that lie, and the words, the status and the JSON of every way a run can end. */
#include "server/pool/outcome.h"

#include "server/api/wording.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RESULT_MAX = 2000, OUTPUT_MAX = 10, DEPTH = 512, ERROR_MAX = 131072, MESSAGE_MAX = 300 };

static const struct wire_limits limits = {
    .memory_bytes = 512 << 20, .output_bytes = OUTPUT_MAX, .result_bytes = RESULT_MAX, .processes = 64
};

static const char broken[] = "The program broke the report of its own result";

static int exit_status(int code)
{
    return code << 8;
}

/* --- taking a report --- */

static struct wire_outcome report(int kind, int exit_code, int64_t result_len, int64_t error_len)
{
    return (struct wire_outcome){ kind, exit_code, result_len, error_len };
}

static bool is(const struct buf *b, const char *text)
{
    return b->len == strlen(text) && (b->len == 0 || memcmp(b->data, text, b->len) == 0);
}

/* Take it from memory of exactly its size. */
static int take(struct outcome *outcome, const struct wire_outcome *head, const char *body, size_t len)
{
    char *copy = malloc(len ? len : 1);

    memcpy(copy, body, len);
    outcome_init(outcome, &limits);
    int err = outcome_take(outcome, head, copy, len);
    free(copy);
    return err;
}

static void expect_broken(int err, struct outcome *outcome, const char *why)
{
    if (err != -EPROTO || outcome->kind != OUTCOME_EXIT || outcome->exit_code != 1 || outcome->result.len
        || !is(&outcome->error, broken))
        fail_msg("%s: %d, kind %d", why, err, (int) outcome->kind);
    outcome_free(outcome);
}

static void test_heads(void **state)
{
    static const struct {
        const char *why;
        struct wire_outcome head;
    } lies[] = {
        { "no kind", { OUTCOME_NONE, 0, 2, 3 } },
        { "a kind below", { -1, 1, 2, 3 } },
        { "the least kind", { INT32_MIN, 1, 2, 3 } },
        { "the largest kind", { INT32_MAX, 1, 2, 3 } },
        { "a signal", { OUTCOME_SIGNAL, 137, 2, 3 } },
        { "a timeout", { OUTCOME_TIMEOUT, 137, 2, 3 } },
        { "our fault", { OUTCOME_INTERNAL, 1, 2, 3 } },
        { "the memory's limit", { OUTCOME_MEMORY, 137, 2, 3 } },
        { "the processes' limit", { OUTCOME_PROCESSES, 1, 2, 3 } },
        { "success with a code", { OUTCOME_OK, 1, 2, 3 } },
        { "an exception with code 0", { OUTCOME_EXCEPTION, 0, 2, 3 } },
        { "a syntax error with code 0", { OUTCOME_SYNTAX, 0, 2, 3 } },
        { "an exit with code 0", { OUTCOME_EXIT, 0, 2, 3 } },
        { "code -1", { OUTCOME_EXIT, -1, 2, 3 } },
        { "code 256", { OUTCOME_EXIT, 256, 2, 3 } },
        { "the least code", { OUTCOME_EXIT, INT32_MIN, 2, 3 } },
        { "the largest code", { OUTCOME_EXIT, INT32_MAX, 2, 3 } },
        { "a result below 0", { OUTCOME_OK, 0, -1, 6 } },
        { "an error below 0", { OUTCOME_OK, 0, 6, -1 } },
        { "the least lengths", { OUTCOME_OK, 0, INT64_MIN, INT64_MIN } },
        { "lengths that wrap to 5", { OUTCOME_OK, 0, INT64_MIN, INT64_MIN + 5 } },
        { "lengths that add up to 5", { OUTCOME_OK, 0, -3, 8 } },
        { "the largest result", { OUTCOME_OK, 0, INT64_MAX, 3 } },
        { "the largest error", { OUTCOME_OK, 0, 2, INT64_MAX } },
        { "more than there is", { OUTCOME_OK, 0, 3, 3 } },
        { "less than there is", { OUTCOME_OK, 0, 2, 2 } },
        { "nothing of it", { OUTCOME_OK, 0, 0, 0 } },
        { "a result that takes it all", { OUTCOME_OK, 0, 6, 0 } },
        { "a boundary within", { OUTCOME_OK, 0, 3, 2 } }, /* "[]e" is no JSON */
    };
    struct outcome outcome;

    (void) state;
    for (unsigned i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        int err = take(&outcome, &lies[i].head, "[]err", 5);
        expect_broken(err, &outcome, lies[i].why);
    }
}

static void test_take(void **state)
{
    static const struct {
        int kind, exit_code;
        const char *result, *error;
    } good[] = {
        { OUTCOME_OK, 0, "[1, 100000000000000000000]", "" },
        { OUTCOME_OK, 0, "", "" },
        { OUTCOME_OK, 0, " null ", "x" },
        { OUTCOME_EXCEPTION, 1, "", "Traceback" },
        { OUTCOME_SYNTAX, 1, "", "SyntaxError" },
        { OUTCOME_EXIT, 255, "", "" },
        { OUTCOME_EXIT, 1, "", "text" },
        { OUTCOME_RESULT, 0, "", "it is NaN" },
        { OUTCOME_RESULT, 1, "", "it is NaN" },
    };
    struct outcome outcome;
    char body[100];

    (void) state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++) {
        size_t result_len = strlen(good[i].result), error_len = strlen(good[i].error);
        strcpy(stpcpy(body, good[i].result), good[i].error);
        struct wire_outcome head = report(good[i].kind, good[i].exit_code, (int64_t) result_len, (int64_t) error_len);
        assert_int_equal(take(&outcome, &head, body, result_len + error_len), 0);
        assert_int_equal(outcome.kind, good[i].kind);
        assert_int_equal(outcome.exit_code, good[i].exit_code);
        assert_true(is(&outcome.result, good[i].result));
        assert_true(is(&outcome.error, good[i].error));
        outcome_free(&outcome);
    }
    struct wire_outcome head = report(OUTCOME_OK, 0, 0, 0);
    outcome_init(&outcome, &limits);
    assert_int_equal(outcome_take(&outcome, &head, NULL, 0), 0);
    outcome_free(&outcome);
}

/* A result is copied into the reply as it is, so nothing that is no JSON may pass. */
static void test_result_json(void **state)
{
    static const char *const bad[] = { "{", "NaN", "[1]}", "\"\n\"", "\"\xff\"", "1, \"forged\": 2", " ", "nul" };
    static char deep[DEPTH * 2 + 2];
    struct outcome outcome;

    (void) state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct wire_outcome head = report(OUTCOME_OK, 0, (int64_t) strlen(bad[i]), 0);
        expect_broken(take(&outcome, &head, bad[i], strlen(bad[i])), &outcome, bad[i]);
        head.kind = OUTCOME_EXCEPTION; /* nor where it is not used */
        head.exit_code = 1;
        expect_broken(take(&outcome, &head, bad[i], strlen(bad[i])), &outcome, bad[i]);
    }
    for (int64_t depth = DEPTH; depth <= DEPTH + 1; depth++) {
        memset(deep, '[', (size_t) depth);
        memset(deep + depth, ']', (size_t) depth);
        struct wire_outcome head = report(OUTCOME_OK, 0, depth * 2, 0);
        int err = take(&outcome, &head, deep, (size_t) depth * 2);
        if (depth > DEPTH)
            expect_broken(err, &outcome, "too deep");
        else {
            assert_int_equal(err, 0);
            outcome_free(&outcome);
        }
    }
}

/* Both parts have a bound of their own. */
static void test_bounds(void **state)
{
    static char body[ERROR_MAX + 1];
    struct outcome outcome;

    (void) state;
    memset(body, '1', sizeof(body));
    for (int64_t over = 0; over < 2; over++) {
        struct wire_outcome head = report(OUTCOME_OK, 0, RESULT_MAX + over, 0);
        int err = take(&outcome, &head, body, (size_t) (RESULT_MAX + over));
        if (over)
            expect_broken(err, &outcome, "a long result");
        else {
            assert_int_equal(outcome.result.len, RESULT_MAX);
            outcome_free(&outcome);
        }
        head = report(OUTCOME_EXIT, 1, 0, ERROR_MAX + over);
        err = take(&outcome, &head, body, (size_t) (ERROR_MAX + over));
        if (over)
            expect_broken(err, &outcome, "a long error");
        else {
            assert_int_equal(outcome.error.len, ERROR_MAX);
            outcome_free(&outcome);
        }
    }
}

/* Each field of an exception has a length that may lie, and a bound. */
static void test_fields(void **state)
{
    static const int64_t bounds[] = { WIRE_NAME_MAX, WIRE_VALUE_MAX, WIRE_HINT_MAX };
    static char body[WIRE_VALUE_MAX + 1];
    struct outcome outcome;

    (void) state;
    struct wire_outcome head = report(OUTCOME_EXCEPTION, 1, 0, 3);
    head.name_len = 1, head.value_len = 2, head.hint_len = 4, head.line = 7;
    assert_int_equal(take(&outcome, &head, "errNVVhint", 10), 0);
    assert_true(is(&outcome.error, "err") && is(&outcome.name, "N") && is(&outcome.value, "VV")
                && is(&outcome.hint, "hint"));
    assert_int_equal(outcome.line, 7);
    outcome_free(&outcome);
    head.line = -1;
    expect_broken(take(&outcome, &head, "errNVVhint", 10), &outcome, "a line below 0");
    memset(body, 'x', sizeof(body));
    for (int i = 0; i < 3; i++)
        for (int64_t over = 0; over < 2; over++) {
            const int64_t lies[] = { -1, INT64_MIN, INT64_MAX, bounds[i] };
            head = report(OUTCOME_EXCEPTION, 1, 0, 0);
            int64_t *len = i == 0 ? &head.name_len : i == 1 ? &head.value_len : &head.hint_len;
            for (unsigned k = 0; k < 4; k++) {
                *len = lies[k];
                expect_broken(take(&outcome, &head, body, 5), &outcome, "a lie about a field");
            }
            *len = bounds[i] + over;
            int err = take(&outcome, &head, body, (size_t) *len);
            if (over)
                expect_broken(err, &outcome, "a long field");
            else
                outcome_free(&outcome);
        }
}

static void test_status(void **state)
{
    struct outcome outcome;

    (void) state;
    for (int code = 0; code < 256; code++) {
        outcome_init(&outcome, &limits);
        outcome_from_status(&outcome, exit_status(code));
        assert_int_equal(outcome.kind, code ? OUTCOME_EXIT : OUTCOME_OK);
        assert_int_equal(outcome.exit_code, code);
        outcome_free(&outcome);
    }
    for (int sig = 1; sig <= 64; sig++)
        for (int core = 0; core <= 0x80; core += 0x80) {
            outcome_init(&outcome, &limits);
            outcome_from_status(&outcome, sig | core);
            assert_int_equal(outcome.kind, OUTCOME_SIGNAL);
            assert_int_equal(outcome.signal, sig);
            assert_int_equal(outcome.exit_code, 128 + sig);
            outcome_free(&outcome);
        }
}

static void test_usage(void **state)
{
    struct outcome outcome;

    (void) state;
    outcome_init(&outcome, &limits);
    outcome_from_status(&outcome, SIGKILL);
    outcome_add_usage(&outcome, 0, false, 0);
    assert_int_equal(outcome.kind, OUTCOME_SIGNAL);
    outcome_add_usage(&outcome, 0, false, 5);
    assert_int_equal(outcome.kind, OUTCOME_PROCESSES);
    assert_int_equal(outcome.exit_code, 137);
    outcome_free(&outcome);
    outcome_init(&outcome, &limits);
    outcome_from_status(&outcome, exit_status(3));
    outcome_add_usage(&outcome, 1, false, 5); /* what was killed may have been a child of it */
    assert_int_equal(outcome.kind, OUTCOME_MEMORY);
    outcome_add_usage(&outcome, 1, true, 0);
    assert_int_equal(outcome.kind, OUTCOME_HOST_MEMORY);
    outcome_add_usage(&outcome, 1, false, 0);
    assert_int_equal(outcome.exit_code, 137);
    assert_int_equal(outcome.signal, SIGKILL);
    outcome_free(&outcome);
}

/* --- telling it --- */

/* An outcome as the table says; what the box and the program said in @error, @out and @err. */
struct telling {
    enum outcome_kind kind;
    int exit_code, signal;
    int64_t timeout_ms;
    const char *error, *err;
    int status;
    const char *reason, *message, *told; /* @told: "error" */
    const char *name, *value, *hint;     /* NULL: the box says none */
};

static const char traceback[] =
    "Traceback (most recent call last):\n  File \"main.py\", line 1\nValueError: \xc3\xa9\n";

#define FULL                                                                                                           \
    "The machine's memory was full, and of all programs this one was ended, which is not its fault: its own limit "    \
    "(512 "                                                                                                            \
    "MiB) was not reached; try again"

#define LOST "The job was lost three times: the server, its sandbox or the machine ended while it ran"

static const struct telling tellings[] = {
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "warning", 400, "exception", "ValueError: \xc3\xa9", traceback,
      "ValueError", "\xc3\xa9", NULL },
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "", 400, "exception", "a.Error: row 3", traceback, "a.Error",
      "row 3\n  see there\nlast line", NULL },
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "", 400, "exception", "LookupError: Resource is missing.", traceback,
      "LookupError", "\n****\r\n  Resource is missing. \n****", NULL },
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "", 400, "exception", "ValueError: ====", traceback, "ValueError",
      "\n ====\n---", NULL },
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "", 400, "exception", "AssertionError", traceback, "AssertionError", " \n",
      NULL },
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "", 400, "exception", "OSError: no (hint: do without)", traceback,
      "OSError", "no", "do without\nforged" },
    { OUTCOME_EXCEPTION, 1, 0, 0, traceback, "", 400, "exception", "one: two", traceback, "one\nforged", "two\n",
      NULL },
    { OUTCOME_EXCEPTION, 1, 0, 0, "no name\nnor text", "", 400, "exception", "no name", "no name\nnor text" },
    { OUTCOME_SYNTAX, 1, 0, 0, "  File\nSyntaxError: x", "", 400, "syntax", "SyntaxError: x (main.py, line 1)",
      "  File\nSyntaxError: x", "SyntaxError", "x (main.py, line 1)", NULL },
    { OUTCOME_EXIT, 3, 0, 0, "", "", 400, "exit", "Exited with code 3", "Execution failed" },
    { OUTCOME_EXIT, 3, 0, 0, " \n\t\r", "", 400, "exit", "Exited with code 3", "Execution failed" },
    { OUTCOME_EXIT, 3, 0, 0, "", "it said why", 400, "exit", "Exited with code 3", "it said why" },
    { OUTCOME_EXIT, 3, 0, 0, "", " \n", 400, "exit", "Exited with code 3", "Execution failed" },
    { OUTCOME_EXIT, 1, 0, 0, "sys.exit's text", "x", 400, "exit", "sys.exit's text", "sys.exit's text" },
    { OUTCOME_EXIT, 1, 0, 0, "two\nlines \n\n", "x", 400, "exit", "two", "two\nlines \n\n", "SystemExit",
      "two\nlines \n\n", NULL },
    { OUTCOME_RESULT, 0, 0, 0, "NaN is no JSON", "x", 500, "result", "Failed to parse execution result: NaN is no JSON",
      "Failed to parse execution result: NaN is no JSON" },
    { OUTCOME_RESULT, 0, 0, 0, "forged\nin two lines", "x", 500, "result", "Failed to parse execution result: forged",
      "Failed to parse execution result: forged\nin two lines" },
    { OUTCOME_SIGNAL, 139, SIGSEGV, 0, "", "x", 400, "signal", "Killed by signal 11 (SIGSEGV)",
      "Killed by signal 11 (SIGSEGV)" },
    { OUTCOME_SIGNAL, 178, 50, 0, "", "x", 400, "signal", "Killed by signal 50 (SIG?)", "Killed by signal 50 (SIG?)" },
    { OUTCOME_TIMEOUT, 137, 0, 30000, "", "x", 408, "timeout", "Execution timed out after 30 seconds",
      "Execution timed out after 30 seconds" },
    { OUTCOME_TIMEOUT, 137, 0, 1000, "", "x", 408, "timeout", "Execution timed out after 1 seconds",
      "Execution timed out after 1 seconds" },
    { OUTCOME_TIMEOUT, 137, 0, 1500, "", "x", 408, "timeout", "Execution timed out after 1.5 seconds",
      "Execution timed out after 1.5 seconds" },
    { OUTCOME_MEMORY, 137, SIGKILL, 0, "MemoryError", "x", 400, "memory", "Memory limit exceeded (512 MiB)",
      "Memory limit exceeded (512 MiB)", NULL, NULL, "files that the program wrote count too (limits.memory)" },
    { OUTCOME_HOST_MEMORY, 137, SIGKILL, 0, "MemoryError", "x", 503, "host_memory", FULL, FULL },
    { OUTCOME_PROCESSES, 1, 0, 0, traceback, "x", 400, "exception", "Too many processes (64)", traceback, NULL, NULL,
      "threads count too (limits.processes)" },
    { OUTCOME_PROCESSES, 2, 0, 0, "", "x", 400, "exception", "Too many processes (64)", "Too many processes (64)", NULL,
      NULL, "threads count too (limits.processes)" },
    { OUTCOME_LOST, 137, 0, 0, "", "", 500, "worker_lost", LOST, LOST },
    { OUTCOME_NO_RUNTIME, 137, 0, 0, "", "", 400, "runtime_gone",
      "The runtime data, which the job was sent for, is not there any more",
      "The runtime data, which the job was sent for, is not there any more", "data", NULL, NULL },
    { OUTCOME_NONE, 0, 0, 0, "", "", 500, "internal", "Exited with code 0", "Execution failed" },
};

static json_t *tell(const struct outcome *outcome)
{
    struct buf text;
    json_error_t why;

    buf_init(&text, 1 << 20);
    buf_addc(&text, '{');
    wording_add_outcome(&text, outcome);
    buf_addc(&text, '}');
    json_t *tree = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!tree)
        fail_msg("%s: %.*s", why.text, (int) text.len, text.data);
    buf_free(&text);
    return tree;
}

static const char *string_of(const json_t *tree, const char *name)
{
    return json_string_value(json_object_get(tree, name));
}

static void make(struct outcome *outcome, const struct telling *t)
{
    outcome_init(outcome, &limits);
    outcome->kind = t->kind;
    outcome->exit_code = t->exit_code;
    outcome->signal = t->signal;
    outcome->timeout_ms = t->timeout_ms;
    buf_adds(&outcome->error, t->error);
    buf_adds(&outcome->name, t->name ? t->name : "");
    buf_adds(&outcome->value, t->value ? t->value : "");
    buf_adds(&outcome->hint, t->hint ? t->hint : "");
    buf_adds(&outcome->out.kept, "printed");
    outcome->out.total = 7;
    outcome->err.kept.max = 1000;
    buf_adds(&outcome->err.kept, t->err);
    outcome->err.total = (int64_t) strlen(t->err);
}

static void test_failures(void **state)
{
    struct outcome outcome;
    struct buf message;

    (void) state;
    buf_init(&message, 1000);
    for (unsigned i = 0; i < sizeof(tellings) / sizeof(*tellings); i++) {
        const struct telling *t = &tellings[i];
        make(&outcome, t);
        assert_int_equal(outcome_status(&outcome), t->status);
        assert_string_equal(outcome_reason(&outcome), t->reason);
        buf_reset(&message);
        outcome_message(&outcome, &limits, &message);
        if (!is(&message, t->message))
            fail_msg("telling %u: %.*s", i, (int) message.len, message.data);
        json_t *tree = tell(&outcome);
        assert_true(json_is_null(json_object_get(tree, "response")));
        assert_string_equal(string_of(tree, "message"), t->message);
        if (strcmp(string_of(tree, "error"), t->told) != 0)
            fail_msg("telling %u: error %s", i, string_of(tree, "error"));
        assert_string_equal(string_of(tree, "reason"), t->reason);
        assert_string_equal(string_of(tree, "stdout"), "printed");
        assert_string_equal(string_of(tree, "stderr"), t->err);
        assert_int_equal(json_integer_value(json_object_get(tree, "exit_code")), t->exit_code);
        assert_true(t->hint ? !strcmp(string_of(tree, "hint"), t->hint) : !json_object_get(tree, "hint"));
        assert_int_equal(json_object_size(tree), t->hint ? 8 : 7);
        json_decref(tree);
        outcome_free(&outcome);
    }
    buf_free(&message);
}

static void test_success(void **state)
{
    struct outcome outcome;
    struct buf text;

    (void) state;
    outcome_init(&outcome, &limits);
    outcome.kind = OUTCOME_OK;
    buf_init(&text, 1000);
    outcome_message(&outcome, &limits, &text);
    assert_true(is(&text, "success"));
    assert_int_equal(outcome_status(&outcome), 200);
    assert_string_equal(outcome_reason(&outcome), "");
    buf_reset(&text);
    wording_add_outcome(&text, &outcome);
    assert_true(is(&text, "\"response\": {\"result\": null, \"stdout\": \"\", \"stderr\": \"\", \"exit_code\": 0}, "
                          "\"message\": \"success\""));
    buf_reset(&text);
    buf_adds(&outcome.result, "[1000000000000000000000000000000, 1.10]"); /* its digits are kept */
    buf_adds(&outcome.out.kept, "a\n\xff");
    outcome.out.total = 3;
    buf_adds(&outcome.err.kept, "0123456789");
    outcome.err.total = 11;
    wording_add_outcome(&text, &outcome);
    assert_true(is(&text, "\"response\": {\"result\": [1000000000000000000000000000000, 1.10], \"stdout\": "
                          "\"a\\n\xef\xbf\xbd\", \"stderr\": \"0123456789\", \"stderr_truncated\": true, "
                          "\"exit_code\": 0}, \"message\": \"success\""));
    buf_free(&text);
    outcome_free(&outcome);
}

static void test_our_fault(void **state)
{
    struct outcome outcome;

    (void) state;
    outcome_init(&outcome, &limits);
    outcome.kind = OUTCOME_INTERNAL;
    json_t *tree = tell(&outcome);
    assert_int_equal(outcome_status(&outcome), 500);
    assert_string_equal(string_of(tree, "reason"), "internal");
    assert_non_null(strstr(string_of(tree, "error"), "not the program's fault"));
    assert_string_equal(string_of(tree, "error"), string_of(tree, "message"));
    json_decref(tree);
    outcome_free(&outcome);
}

static void test_truncated(void **state)
{
    struct outcome outcome;

    (void) state;
    outcome_init(&outcome, &limits);
    outcome.kind = OUTCOME_EXIT;
    outcome.exit_code = 1;
    buf_adds(&outcome.out.kept, "0123456789");
    outcome.out.total = INT64_MAX;
    outcome.err.total = 0;
    json_t *tree = tell(&outcome);
    assert_true(json_is_true(json_object_get(tree, "stdout_truncated")));
    assert_null(json_object_get(tree, "stderr_truncated"));
    json_decref(tree);
    outcome_free(&outcome);
}

/* The message is one line with an end, cut between two characters. */
static void test_long_message(void **state)
{
    struct outcome outcome;
    struct buf message;

    (void) state;
    buf_init(&message, 1000);
    for (size_t before = 0; before < 4; before++) {
        outcome_init(&outcome, &limits);
        outcome.kind = OUTCOME_EXCEPTION;
        buf_adds(&outcome.error, "----\n");
        for (size_t i = 0; i < before; i++)
            buf_addc(&outcome.error, 'x');
        for (int i = 0; i < 200; i++)
            buf_adds(&outcome.error, "\xe2\x82\xac");
        buf_reset(&message);
        outcome_message(&outcome, &limits, &message);
        assert_true(message.len <= MESSAGE_MAX + 3 && message.len > MESSAGE_MAX - 3);
        assert_memory_equal(message.data + message.len - 6, "\xe2\x82\xac...", 6);
        outcome_free(&outcome);
    }
    /* bytes that begin nothing are cut anywhere, but cut */
    outcome_init(&outcome, &limits);
    outcome.kind = OUTCOME_EXCEPTION;
    for (int i = 0; i < 1000; i++)
        buf_addc(&outcome.error, '\x80');
    buf_reset(&message);
    outcome_message(&outcome, &limits, &message);
    assert_true(message.len <= MESSAGE_MAX + 3 && message.len > MESSAGE_MAX - 3);
    outcome_free(&outcome);
    buf_free(&message);
}

/* Whatever the box says, and at its longest: the reply is JSON. */
static void test_any_bytes(void **state)
{
    static const enum outcome_kind kinds[] = { OUTCOME_EXCEPTION, OUTCOME_EXIT, OUTCOME_RESULT, OUTCOME_PROCESSES };
    struct outcome outcome;

    (void) state;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (int c = 0; c < 256; c++) {
            outcome_init(&outcome, &limits);
            outcome.kind = kinds[i];
            memset(buf_room(&outcome.error, ERROR_MAX), c, ERROR_MAX);
            outcome.error.len = c % 3 ? 5 : ERROR_MAX;
            memset(buf_room(&outcome.out.kept, OUTPUT_MAX), c, OUTPUT_MAX);
            outcome.out.kept.len = OUTPUT_MAX;
            outcome.out.total = OUTPUT_MAX;
            json_t *tree = tell(&outcome);
            if (c < 0x80 && !strchr(" \t\r\n", c ? c : 'x')) /* NUL is as good as any */
                assert_true(json_string_length(json_object_get(tree, "error")) >= outcome.error.len);
            json_decref(tree);
            outcome_free(&outcome);
        }
}

static void test_sizes(void **state)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } sizes[] = {
        { 33554432, "Memory limit exceeded (32 MiB)" },
        { 1LL << 40, "Memory limit exceeded (1024 GiB)" },
        { (512LL << 20) + 1024, "Memory limit exceeded (524289 KiB)" },
        { (512LL << 20) + 1, "Memory limit exceeded (536870913 bytes)" },
    };
    struct outcome outcome;
    struct buf message;

    (void) state;
    buf_init(&message, 100);
    outcome_init(&outcome, &limits);
    outcome.kind = OUTCOME_MEMORY;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct wire_limits other = limits;
        other.memory_bytes = sizes[i].bytes;
        buf_reset(&message);
        outcome_message(&outcome, &other, &message);
        assert_true(is(&message, sizes[i].text));
    }
    outcome_free(&outcome);
    buf_free(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),     cmocka_unit_test(test_take),         cmocka_unit_test(test_result_json),
        cmocka_unit_test(test_bounds),    cmocka_unit_test(test_status),       cmocka_unit_test(test_usage),
        cmocka_unit_test(test_failures),  cmocka_unit_test(test_success),      cmocka_unit_test(test_our_fault),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_long_message), cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
