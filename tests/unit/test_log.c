/* SPDX-License-Identifier: Apache-2.0 */
/* The log: what a line looks like, and that nothing in it can break it.
 *
 * Lines are taken from stderr, which is another file while a test logs; what a
 * test asserts, it asserts after stderr is back. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINE_MAX_BYTES = 16384 };

static int saved_stderr = -1;
static char logged[65536];

static void redirect(int fd)
{
    saved_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
}

static void restore(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
}

static void begin(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    redirect(fd);
    close(fd);
}

/* What was logged since begin(). */
static const char *end(void)
{
    ssize_t n = pread(STDERR_FILENO, logged, sizeof(logged) - 1, 0);

    restore();
    assert_true(n >= 0);
    logged[n] = '\0';
    return logged;
}

/* The text behind the time, which is "2026-01-02T03:04:05.678Z". */
static const char *after_time(const char *p)
{
    static const char shape[] = "9999-99-99T99:99:99.999Z";

    for (const char *s = shape; *s; s++, p++)
        if (*s == '9' ? *p < '0' || *p > '9' : *p != *s)
            fail_msg("no time: %s", p);
    return p;
}

/* One line of JSON, whole. */
static json_t *parse(const char *line)
{
    size_t n = strlen(line);
    json_error_t why;

    assert_true(n > 0 && n <= LINE_MAX_BYTES);
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    json_t *tree = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    if (!tree)
        fail_msg("%s: %s", why.text, line);
    return tree;
}

static const char *string_of(const json_t *tree, const char *name)
{
    return json_string_value(json_object_get(tree, name));
}

static void test_json(void **state)
{
    (void) state;
    log_init("server", LOG_JSON, LOG_INFO);
    begin();
    log_info("run finished", LOG_S("id", "a\"b\n\x1b\xff") LOG_S("none", NULL) LOG_S("empty", "") LOG_I("n", -7)
                                 LOG_I("big", INT64_MIN) LOG_US("time", 1000250));
    const char *line = end();
    static const char rest[] = "\",\"level\":\"info\",\"logger\":\"server\",\"msg\":\"run finished\","
                               "\"id\":\"a\\\"b\\n\\u001b\xef\xbf\xbd\",\"none\":null,\"empty\":\"\",\"n\":-7,"
                               "\"big\":-9223372036854775808,\"time\":1.000250}\n";
    assert_memory_equal(line, "{\"ts\":\"", 7);
    assert_string_equal(after_time(line + 7), rest);
    json_decref(parse(line));
}

static void test_text(void **state)
{
    (void) state;
    log_init("zygote", LOG_TEXT, LOG_DEBUG);
    begin();
    log_warn("a box ended", LOG_S("bare", "a/b:c-1,2") LOG_S("space", "a b") LOG_S("quote", "a\"b") LOG_S("is", "a=b")
                                LOG_S("line", "a\nb") LOG_S("utf8", "\xc3\xa9") LOG_S("back", "a\\b") LOG_S("empty", "")
                                    LOG_S("none", NULL) LOG_I("n", 5) LOG_US("time", -1));
    const char *line = end();
    assert_string_equal(after_time(line),
                        " warn  zygote: a box ended bare=a/b:c-1,2 space=\"a b\" quote=\"a\\\"b\" is=\"a=b\" "
                        "line=\"a\\nb\" utf8=\"\xc3\xa9\" back=\"a\\\\b\" empty=\"\" none=null n=5 time=-0.000001\n");
    begin();
    log_error("no fields");
    log_info("a\nb\x1b[2J");
    line = after_time(end());
    assert_memory_equal(line, " error zygote: no fields\n", 25);
    assert_string_equal(after_time(line + 25), " info  zygote: \"a\\nb\\u001b[2J\"\n");
}

static void test_levels(void **state)
{
    static const char *const words[] = { "debug", "info", "warn", "error" };

    (void) state;
    for (int least = LOG_DEBUG; least <= LOG_ERROR; least++) {
        log_init("x", LOG_JSON, (enum log_level) least);
        begin();
        log_debug("m");
        log_info("m");
        log_warn("m");
        log_error("m");
        const char *line = end();
        for (int level = least; level <= LOG_ERROR; level++) {
            char *next = strchr(line, '\n') + 1;
            char *one = strndup(line, (size_t) (next - line));
            json_t *tree = parse(one);
            assert_string_equal(string_of(tree, "level"), words[level]);
            json_decref(tree);
            free(one);
            line = next;
        }
        assert_string_equal(line, "");
    }
}

/* Text on a terminal, JSON elsewhere; journald is told the priority. */
static void test_formats(void **state)
{
    int pty = posix_openpt(O_RDWR | O_NOCTTY);

    (void) state;
    unsetenv("JOURNAL_STREAM");
    begin();
    log_init("x", LOG_AUTO, LOG_INFO);
    log_info("m");
    json_decref(parse(end()));
    if (pty >= 0 && grantpt(pty) == 0 && unlockpt(pty) == 0) {
        int terminal = open(ptsname(pty), O_RDWR | O_NOCTTY);
        assert_true(terminal >= 0);
        redirect(terminal);
        log_init("x", LOG_AUTO, LOG_INFO);
        log_info("m");
        restore();
        ssize_t n = read(pty, logged, sizeof(logged) - 1);
        assert_true(n > 0);
        logged[n] = '\0';
        assert_string_equal(after_time(logged), " info  x: m\r\n");
        close(terminal);
    }
    close(pty);
    log_init("x", LOG_TEXT | LOG_JOURNAL, LOG_DEBUG);
    begin();
    log_debug("m");
    log_info("m", LOG_I("n", 1));
    log_warn("m");
    log_error("m");
    assert_string_equal(end(), "<7>x: m\n<6>x: m n=1\n<4>x: m\n<3>x: m\n");
    log_init("x", LOG_JSON | LOG_JOURNAL, LOG_DEBUG);
    begin();
    log_info("m");
    const char *line = end();
    assert_memory_equal(line, "<6>{", 4);
    json_decref(parse(line + 3));
    log_init("x", LOG_AUTO | LOG_JOURNAL, LOG_DEBUG);
    begin();
    log_warn("m");
    line = end();
    assert_memory_equal(line, "<4>{", 4);
    json_decref(parse(line + 3));
}

/* JOURNAL_STREAM counts where it names the stream that stderr is. */
static void test_journal(void **state)
{
    char text[64];
    struct stat stat;

    (void) state;
    unsetenv("JOURNAL_STREAM");
    assert_false(log_is_journal());
    assert_int_equal(fstat(STDERR_FILENO, &stat), 0);
    static const char *const others[] = { "", "8", "8:", "x:y", "0:0" };
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        setenv("JOURNAL_STREAM", others[i], 1);
        assert_false(log_is_journal());
    }
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long) stat.st_dev, (unsigned long long) stat.st_ino + 1);
    setenv("JOURNAL_STREAM", text, 1);
    assert_false(log_is_journal());
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long) stat.st_dev, (unsigned long long) stat.st_ino);
    setenv("JOURNAL_STREAM", text, 1);
    assert_true(log_is_journal());
    unsetenv("JOURNAL_STREAM");
}

/* A field that is empty is left out where that was asked for; a level that is set later counts. */
static void test_some(void **state)
{
    (void) state;
    log_init("x", LOG_TEXT | LOG_JOURNAL, LOG_WARN);
    begin();
    log_info("m");
    log_set_level(LOG_INFO);
    log_info("m", LOG_SOME("a", "") LOG_I("n", 1) LOG_SOME("b", "c"));
    assert_string_equal(end(), "<6>x: m n=1 b=c\n");
}

/* Values of every length around the bound, and many of them: JSON in one line, marked where something is missing. */
static void test_cut(void **state)
{
    static char value[LINE_MAX_BYTES * 2];

    (void) state;
    log_init("server", LOG_JSON, LOG_INFO);
    for (int kind = 0; kind < 3; kind++) {
        /* as it is, six bytes for one, three for one */
        memset(value, "a\x01\xff"[kind], sizeof(value) - 1);
        for (size_t n = 0; n<sizeof(value); n = n> 16000 && n < 16400 ? n + 1 : n + 997) {
            char kept = value[n];
            value[n] = '\0';
            begin();
            log_info("m", LOG_S("first", "kept") LOG_S("long", value) LOG_S("last", "kept"));
            value[n] = kept;
            json_t *tree = parse(end());
            assert_string_equal(string_of(tree, "first"), "kept");
            assert_string_equal(string_of(tree, "msg"), "m");
            bool cut = json_is_true(json_object_get(tree, "cut"));
            const char *last = string_of(tree, "last"), *text = string_of(tree, "long");
            bool whole = last && strcmp(last, "kept") == 0 && text && kind == 0 && strlen(text) == n;
            if (kind == 0)
                assert_int_equal(cut, !whole);
            if (n < 2000)
                assert_false(cut);
            if (n > LINE_MAX_BYTES)
                assert_true(cut && text);
            json_decref(tree);
        }
    }
    value[sizeof(value) - 1] = '\0';
    begin();
    log_info(value, LOG_I("n", 1));
    json_t *tree = parse(end());
    assert_true(json_is_true(json_object_get(tree, "cut")));
    assert_true(strlen(string_of(tree, "msg")) > 0);
    json_decref(tree);
    log_init("server", LOG_TEXT, LOG_INFO);
    memset(value, 'a', sizeof(value) - 1);
    begin();
    log_info("m", LOG_S("long", value));
    const char *line = end();
    size_t n = strlen(line);
    assert_true(n > 8000 && n <= LINE_MAX_BYTES);
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    assert_string_equal(line + n - 7, " (cut)\n");
}

static void test_long_logger(void **state)
{
    (void) state;
    log_init("a name that is far longer than any process has", LOG_JSON, LOG_INFO);
    begin();
    log_info("m");
    json_t *tree = parse(end());
    assert_memory_equal(string_of(tree, "logger"), "a name that is far longer", 25);
    json_decref(tree);
}

/* The caller's errno stays, whether or not there is a reader. */
static void test_no_reader(void **state)
{
    int p[2], errors[3];

    (void) state;
    signal(SIGPIPE, SIG_IGN);
    log_init("server", LOG_JSON, LOG_INFO);
    assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
    redirect(p[1]);
    errno = ENOTTY;
    for (int i = 0; i < 1000; i++) /* more than a pipe holds */
        log_info("m", LOG_S("value", "0123456789012345678901234567890123456789012345678901234567890123456789"));
    errors[0] = errno;
    close(p[0]);
    log_info("nobody");
    errors[1] = errno;
    close(STDERR_FILENO);
    log_info("nowhere");
    errors[2] = errno;
    restore();
    close(p[1]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(errors[i], ENOTTY);
}

/* Lines of which somebody else has as many as he likes: a few in a second, and again in the next. */
static void test_pace(void **state)
{
    struct log_pace pace = { 0 };
    unsigned said = 0;

    (void) state;
    for (unsigned i = 0; i < 100000; i++)
        said += log_may(&pace);
    assert_in_range(said, LOG_PACE, LOG_PACE * 10); /* on a machine that stood still another second has begun */
    pace.since_us -= 1000001;
    assert_true(log_may(&pace));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),    cmocka_unit_test(test_text),        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_formats), cmocka_unit_test(test_journal),     cmocka_unit_test(test_some),
        cmocka_unit_test(test_cut),     cmocka_unit_test(test_long_logger), cmocka_unit_test(test_no_reader),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
