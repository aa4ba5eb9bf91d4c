/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: every key of the table, and every sentence of the header.
 *
 * Files are read whole and one byte at a time, with the same result.  What was set is compared as text: the keys
 * that differ from the defaults, in the order of the table. */
#include "conf/conf.h"
#include "conf/conf_value.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "s3cr3t"
#define KEY(name) "HATCHERY_" name

static bool is_text(const struct conf_key *key)
{
    return key->type == CONF_STRING || key->type == CONF_SECRET;
}

static const char *text_of(const struct conf *conf, const struct conf_key *key)
{
    return *(char *const *) ((const char *) conf + key->offset);
}

static int64_t number_of(const struct conf *conf, const struct conf_key *key)
{
    const char *field = (const char *) conf + key->offset;
    return key->type == CONF_BOOL ? *(const bool *) field : *(const int64_t *) (const void *) field;
}

/* "limits.memory=1073741824 pool.size=3" */
static const char *set_keys(const struct conf *conf)
{
    static char text[65536];
    struct conf defaults;
    struct buf b;

    conf_init(&defaults);
    buf_init(&b, sizeof(text) - 1);
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        if (is_text(k) && strcmp(text_of(conf, k), text_of(&defaults, k)) != 0)
            buf_addf(&b, "%s%s.%s=%s", b.len ? " " : "", k->section, k->key, text_of(conf, k));
        if (!is_text(k) && number_of(conf, k) != number_of(&defaults, k))
            buf_addf(&b, "%s%s.%s=%" PRId64, b.len ? " " : "", k->section, k->key, number_of(conf, k));
    }
    assert_false(b.full);
    memcpy(text, b.len ? b.data : "", b.len);
    text[b.len] = '\0';
    buf_free(&b);
    conf_free(&defaults);
    return text;
}

/* The sentence as a string. */
static const char *sentence(struct buf *error)
{
    buf_addc(error, '\0');
    error->len--;
    return error->data;
}

/* --- the table --- */

/* A value for @key that is @n: the number, or so many bytes. */
static char *value_of(const struct conf_key *key, int64_t n)
{
    char *text = calloc(1, 64 + (is_text(key) ? (size_t) n : 0));

    if (is_text(key))
        memset(text, 'x', (size_t) n);
    else
        sprintf(text, "%" PRId64 "%s", n, key->type == CONF_TIME ? "ms" : "");
    return text;
}

static bool has_own_syntax(const struct conf_key *key)
{
    char name[64];

    snprintf(name, sizeof(name), "%s.%s", key->section, key->key);
    return strcmp(name, "server.listen") == 0 || strcmp(name, "metrics.listen") == 0
           || strcmp(name, "isolation.cgroup") == 0 || strcmp(name, "log.format") == 0
           || strcmp(name, "log.level") == 0;
}

static void expect_set(const struct conf_key *key, int64_t n, bool good)
{
    char *value = value_of(key, n), name[CONF_ENV_NAME_MAX], start[130], variable[5000];
    struct buf error;
    struct conf conf;

    conf_init(&conf);
    buf_init(&error, 1000);
    int err = conf_set(&conf, key->section, key->key, value, &error);
    if (err != (good ? 0 : -EINVAL))
        fail_msg("%s.%s = %s: %d", key->section, key->key, value, err);
    if (good && is_text(key))
        assert_string_equal(text_of(&conf, key), value);
    else if (good)
        assert_int_equal(number_of(&conf, key), n);
    else {
        snprintf(start, sizeof(start), "%s.%s: ", key->section, key->key);
        assert_memory_equal(sentence(&error), start, strlen(start));
        assert_string_equal(set_keys(&conf), "");
    }
    assert_int_equal(error.len > 0, !good);
    conf_free(&conf);
    /* the same by its variable; an empty one counts as unset for those that have another name */
    conf_init(&conf);
    buf_reset(&error);
    conf_env_name(key, name);
    snprintf(variable, sizeof(variable), "%s=%s", name, value);
    char *envp[] = { variable, NULL };
    assert_int_equal(conf_environ(&conf, envp, &error), err);
    if (!good) {
        snprintf(start, sizeof(start), "%s: %s.%s: ", name, key->section, key->key);
        assert_memory_equal(sentence(&error), start, strlen(start));
    } else if (!is_text(key))
        assert_int_equal(number_of(&conf, key), n);
    conf_free(&conf);
    buf_free(&error);
    free(value);
}

static void test_keys(void **state)
{
    struct conf conf;

    (void) state;
    conf_init(&conf);
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        assert_ptr_equal(conf_find(k->section, k->key), k);
        assert_true(k->min <= k->max);
        size_t doc = strlen(k->doc);
        assert_true(doc > 10 && k->doc[doc - 1] == '.');
        int64_t n = is_text(k) ? (int64_t) strlen(text_of(&conf, k)) : number_of(&conf, k);
        if (n < k->min || n > k->max)
            fail_msg("the default of %s.%s is out of its bounds", k->section, k->key);
        if (k->type == CONF_BOOL || has_own_syntax(k))
            continue;
        expect_set(k, k->min, true);
        expect_set(k, k->max, true);
        if (!is_text(k) || k->min > 0)
            expect_set(k, k->min - 1, false);
        expect_set(k, k->max + 1, false);
    }
    assert_string_equal(set_keys(&conf), "");
    conf_free(&conf);
    conf_free(&conf); /* twice is fine */
    conf_free(NULL);
    assert_null(conf_find("limits", "memry"));
    assert_null(conf_find("", ""));
    assert_null(conf_find("limit", "smemory"));
}

static void test_env_names(void **state)
{
    char name[CONF_ENV_NAME_MAX], other[CONF_ENV_NAME_MAX];

    (void) state;
    conf_env_name(conf_find("limits", "memory"), name);
    assert_string_equal(name, "HATCHERY_LIMITS_MEMORY");
    conf_env_name(conf_find("server", "max_connections_per_address"), name);
    assert_string_equal(name, "HATCHERY_SERVER_MAX_CONNECTIONS_PER_ADDRESS");
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        conf_env_name(k, name);
        assert_int_equal(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), strlen(name));
        for (const struct conf_key *o = conf_keys; o != k; o++) {
            conf_env_name(o, other);
            assert_string_not_equal(name, other);
        }
    }
}

/* --- values --- */

static void test_numbers(void **state)
{
    static const struct {
        enum conf_type type;
        const char *text;
        int64_t number; /* -1: none */
    } cases[] = {
        { CONF_COUNT, "0", 0 },
        { CONF_COUNT, "007", 7 },
        { CONF_COUNT, "9223372036854775807", INT64_MAX },
        { CONF_COUNT, "9223372036854775808", INT64_MAX },
        { CONF_COUNT, "99999999999999999999999999", INT64_MAX },
        { CONF_COUNT, "18446744073709551617", INT64_MAX },
        { CONF_COUNT, "", -1 },
        { CONF_COUNT, "-1", -1 },
        { CONF_COUNT, "+1", -1 },
        { CONF_COUNT, " 1", -1 },
        { CONF_COUNT, "1 ", -1 },
        { CONF_COUNT, "1.5", -1 },
        { CONF_COUNT, "0x10", -1 },
        { CONF_COUNT, "1e3", -1 },
        { CONF_COUNT, "1K", -1 },
        { CONF_COUNT, "\xd9\xa1", -1 },
        { CONF_BYTES, "5", 5 },
        { CONF_BYTES, "1K", 1024 },
        { CONF_BYTES, "1k", 1024 },
        { CONF_BYTES, "2M", 2 << 20 },
        { CONF_BYTES, "3G", 3LL << 30 },
        { CONF_BYTES, "1KiB", 1024 },
        { CONF_BYTES, "1MiB", 1 << 20 },
        { CONF_BYTES, "1GiB", 1 << 30 },
        { CONF_BYTES, "8589934592G", INT64_MAX },
        { CONF_BYTES, "17179869184G", INT64_MAX }, /* 2^64 */
        { CONF_BYTES, "1KB", -1 },
        { CONF_BYTES, "1B", -1 },
        { CONF_BYTES, "1iB", -1 },
        { CONF_BYTES, "1T", -1 },
        { CONF_BYTES, "1 M", -1 },
        { CONF_BYTES, "1.5G", -1 },
        { CONF_BYTES, "M", -1 },
        { CONF_BYTES, "1MM", -1 },
        { CONF_BYTES, "1M ", -1 },
        { CONF_BYTES, "12X", -1 },
        { CONF_TIME, "5", 5000 },
        { CONF_TIME, "0", 0 },
        { CONF_TIME, "250ms", 250 },
        { CONF_TIME, "3s", 3000 },
        { CONF_TIME, "2min", 120000 },
        { CONF_TIME, "1h", 3600000 },
        { CONF_TIME, "9223372036854775807h", INT64_MAX },
        { CONF_TIME, "1m", -1 },
        { CONF_TIME, "1S", -1 },
        { CONF_TIME, "1sec", -1 },
        { CONF_TIME, "1 s", -1 },
        { CONF_TIME, "s", -1 },
        { CONF_TIME, "1d", -1 },
        { CONF_BOOL, "yes", 1 },
        { CONF_BOOL, "NO", 0 },
        { CONF_BOOL, "True", 1 },
        { CONF_BOOL, "false", 0 },
        { CONF_BOOL, "on", 1 },
        { CONF_BOOL, "off", 0 },
        { CONF_BOOL, "1", 1 },
        { CONF_BOOL, "0", 0 },
        { CONF_BOOL, "", -1 },
        { CONF_BOOL, "2", -1 },
        { CONF_BOOL, "y", -1 },
        { CONF_BOOL, "yes ", -1 },
    };

    (void) state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int64_t number = -1;
        int err = conf_value_number(cases[i].type, cases[i].text, &number);
        if (number != cases[i].number || err != (number < 0 ? -EINVAL : 0))
            fail_msg("%s: %d, %" PRId64, cases[i].text, err, number);
    }
}

static void test_listen(void **state)
{
    static const char *const good[] = { "127.0.0.1:8080", "0.0.0.0:0",       "[::1]:8080",
                                        "[::]:65535",     "localhost:80",    "unix:/run/hatchery.sock",
                                        "unix:x",         "[2001:db8::1]:1", "[::ffff:1.2.3.4]:80" };
    static const char *const bad[] = { "",
                                       ":",
                                       ":80",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "127.0.0.1:65536",
                                       "127.0.0.1:-1",
                                       "127.0.0.1:0x50",
                                       "127.0.0.1:80 ",
                                       "127.0.0.1:000080",
                                       "127.1:80",
                                       "::1:80",
                                       "[::1]",
                                       "[::1]:",
                                       "[]:80",
                                       "[127.0.0.1]:80",
                                       "[::1:80",
                                       "::1]:80",
                                       "host:80",
                                       "http://127.0.0.1:80",
                                       "*:80",
                                       "unix:",
                                       "256.0.0.1:80",
                                       "[::g]:80",
                                       "127.0.0.1:80:80",
                                       "LOCALHOST:80" };
    char path[120] = "unix:";

    (void) state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++)
        if (!conf_value_is_listen(good[i]))
            fail_msg("%s is refused", good[i]);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (conf_value_is_listen(bad[i]))
            fail_msg("%s is taken", bad[i]);
    memset(path + 5, 'p', 107); /* unix(7): 108 bytes with the NUL */
    assert_true(conf_value_is_listen(path));
    path[5 + 107] = 'p';
    assert_false(conf_value_is_listen(path));
}

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } cases[] = {
        { "", "", 0 },           { "", "abc", 3 },
        { "abc", "", 3 },        { "abc", "abc", 0 },
        { "abc", "ABC", 0 },     { "memry", "memory", 1 },
        { "abc", "acb", 2 },     { "kitten", "sitting", 3 },
        { "max", "maximum", 4 }, { "timeout", "time_out", 1 },
    };
    char a[200], b[200];

    (void) state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(conf_value_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(conf_value_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    memset(a, 'a', 199);
    memset(b, 'a', 199);
    a[199] = b[199] = '\0';
    a[63] = 'b'; /* behind the 63rd byte nothing counts */
    assert_int_equal(conf_value_distance(a, b), 0);
    a[62] = 'b';
    assert_int_equal(conf_value_distance(a, b), 1);
}

/* What one key's rule says in its sentence. */
static void test_sentences(void **state)
{
    static const struct {
        const char *section, *key, *value;
        int err;
        const char *sentence;
    } cases[] = {
        { "limits", "memory", "12X", -EINVAL, "limits.memory: '12X' is no size (a number with an optional K, M or G)" },
        { "limits", "memory", "1M", -EINVAL, "limits.memory: '1M' is out of bounds (32M to 1024G)" },
        { "limits", "memory", "99999999999999999999G", -EINVAL,
          "limits.memory: '99999999999999999999G' is out of bounds (32M to 1024G)" },
        { "limits", "timeout_max", "301", -EINVAL, "limits.timeout_max: '301' is out of bounds (1s to 5min)" },
        { "limits", "timeout_max", "x\x1b[2J\n", -EINVAL,
          "limits.timeout_max: 'x?[2J?' is no time (a number of seconds, or with ms, s, min or h)" },
        { "limits", "processes", "", -EINVAL, "limits.processes: '' is no number" },
        { "limits", "processes", "0", -EINVAL, "limits.processes: '0' is out of bounds (1 to 32768)" },
        { "pool", "size", "01234567890123456789012345678901234567890123456789012345678901234567890x", -EINVAL,
          "pool.size: '012345678901234567890123456789012345678901234567890123456...' is no number" },
        { "isolation", "mdwe", "maybe", -EINVAL, "isolation.mdwe: 'maybe' is neither yes nor no" },
        { "isolation", "cgroup", "v3", -EINVAL, "isolation.cgroup: 'v3' is none of auto, v1, v2, none" },
        { "log", "format", "xml", -EINVAL, "log.format: 'xml' is none of auto, json, text" },
        { "log", "level", "INFO", -EINVAL, "log.level: 'INFO' is none of debug, info, warn, error" },
        { "server", "listen", "8080", -EINVAL, "server.listen: '8080' is not ADDRESS:PORT, [IPV6]:PORT or unix:PATH" },
        { "server", "listen", "", -EINVAL, "server.listen: '' is out of bounds (1 to 120 bytes)" },
        { "server", "state", "/a\nb", -EINVAL, "server.state: '/a?b' has a control character" },
        { "server", "state", "/a\x7f", -EINVAL, "server.state: '/a?' has a control character" },
        { "server", "api_key", SECRET " x", -EINVAL,
          "server.api_key: the value has a character that is a space or no printable ASCII" },
        { "server", "api_key", SECRET "\xc3\xa9", -EINVAL,
          "server.api_key: the value has a character that is a space or no printable ASCII" },
        { "limits", "memry", "1G", -ENOENT, "limits.memry: there is no such key; the nearest is limits.memory" },
        { "limits", "timeout", "5", -ENOENT,
          "limits.timeout: there is no such key; the nearest is limits.timeout_default" },
        { "limits", "timeout_m", "5", -ENOENT,
          "limits.timeout_m: there is no such key; the nearest is limits.timeout_max" },
        { "limit", "memory", "1G", -ENOENT, "limit.memory: there is no such key; the nearest is limits.memory" },
        { "pool", "memory", "1G", -ENOENT, "pool.memory: there is no such key; the nearest is limits.memory" },
        { "LIMITS", "MEMORY", "1G", -ENOENT, "LIMITS.MEMORY: there is no such key; the nearest is limits.memory" },
        { "server", "api_key " SECRET, "x", -ENOENT,
          "server.api_key...: there is no such key; `hatchery help config` lists them" },
        { "server", "foo", "1", -ENOENT, "server.foo: there is no such key; `hatchery help config` lists them" },
        { "nosuch", "a", "1", -ENOENT, "nosuch.a: there is no such key; `hatchery help config` lists them" },
        { "a\x1b", "\x80", "x", -ENOENT, NULL },
        { "log", "level", "debug", 0, "" },
        { "isolation", "cgroup", "none", 0, "" },
        { "server", "listen", "unix:/x", 0, "" },
        { "server", "state", "/srv/\xc3\xa9 x", 0, "" },
        { "server", "api_key", "~!{}\"\\", 0, "" },
    };

    (void) state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct conf conf;
        struct buf error;
        conf_init(&conf);
        buf_init(&error, 1000);
        assert_int_equal(conf_set(&conf, cases[i].section, cases[i].key, cases[i].value, &error), cases[i].err);
        if (cases[i].sentence)
            assert_string_equal(sentence(&error), cases[i].sentence);
        for (size_t j = 0; j < error.len; j++) /* for a terminal */
            assert_true(error.data[j] >= ' ' && error.data[j] < 0x7f);
        if (cases[i].err)
            assert_string_equal(set_keys(&conf), "");
        conf_free(&conf);
        buf_free(&error);
    }
}

/* The later of key and key file wins; an empty one takes nothing away. */
static void test_key_or_file(void **state)
{
    struct conf conf;
    struct buf error;

    (void) state;
    conf_init(&conf);
    buf_init(&error, 1000);
    assert_int_equal(conf_set(&conf, "server", "api_key", "a", &error), 0);
    assert_int_equal(conf_set(&conf, "server", "api_key_file", "", &error), 0);
    assert_string_equal(set_keys(&conf), "server.api_key=a");
    assert_int_equal(conf_set(&conf, "server", "api_key_file", "/f", &error), 0);
    assert_string_equal(set_keys(&conf), "server.api_key_file=/f");
    assert_int_equal(conf_set(&conf, "server", "api_key", "", &error), 0);
    assert_string_equal(set_keys(&conf), "server.api_key_file=/f");
    assert_int_equal(conf_set(&conf, "server", "api_key", " ", &error), -EINVAL);
    assert_string_equal(set_keys(&conf), "server.api_key_file=/f");
    assert_int_equal(conf_set(&conf, "server", "api_key", "b", &error), 0);
    assert_string_equal(set_keys(&conf), "server.api_key=b");
    conf_free(&conf);
    buf_free(&error);
}

/* --- files --- */

struct source {
    const char *p;
    size_t len, step;
};

static ssize_t read_source(void *cookie, char *to, size_t size)
{
    struct source *source = cookie;
    size_t n = size < source->step ? size : source->step;

    n = n < source->len ? n : source->len;
    memcpy(to, source->p, n);
    source->p += n;
    source->len -= n;
    return (ssize_t) n;
}

/* The file called f whose bytes come @step at a time. */
static int read_text(struct conf *conf, const char *text, size_t len, size_t step, struct buf *error)
{
    struct source source = { text, len, step };
    FILE *stream = fopencookie(&source, "r", (cookie_io_functions_t){ .read = read_source });

    conf_init(conf);
    buf_reset(error);
    int err = conf_read_stream(conf, stream, "f", error);
    fclose(stream);
    return err;
}

#define F(text, set)                                                                                                   \
    {                                                                                                                  \
        text, sizeof(text) - 1, set, NULL                                                                              \
    }
#define BAD(text, sentence)                                                                                            \
    {                                                                                                                  \
        text, sizeof(text) - 1, NULL, sentence                                                                         \
    }
#define NO_INI "the line is neither [section] nor key = value nor a comment (; or #)"
#define NOTHING_ABOVE "an indented line goes on with the value above it, and there is none"

static const struct {
    const char *text;
    size_t len;
    const char *set, *sentence;
} files[] = {
    F("", ""),
    F("\n \n\t\r\n\v\n", ""),
    F("# a = b\n; [c]\n  # d\n\t; e\n", ""),
    F("[limits]\n", ""),
    F("[limits]\nmemory = 1G\n", "limits.memory=1073741824"),
    F("[limits]\nmemory=1G", "limits.memory=1073741824"),
    F("[limits]\r\nmemory = 1G\r\n  \r\nprocesses = 5\r\n", "limits.memory=1073741824 limits.processes=5"),
    F("\xef\xbb\xbf[limits]\nmemory = 1G\n", "limits.memory=1073741824"),
    F("  [limits]  \n\tmemory\t=\t1G  \n  processes = 5\n", "limits.memory=1073741824 limits.processes=5"),
    F("[limits]\n\fmemory = 1G\n\vprocesses = 5\n", "limits.memory=1073741824 limits.processes=5"),
    F("[limits] ; a\nmemory = 1G ; b\nprocesses = 5\t;c = d\n", "limits.memory=1073741824 limits.processes=5"),
    F("[pool]\nsize = 3\n[limits]\nmemory = 1G\n[pool]\nmax_runs = 4\n",
      "pool.size=3 pool.max_runs=4 limits.memory=1073741824"),
    F("[pool]\nsize = 3\nsize = 4\n", "pool.size=4"), /* the later wins */
    F("[server]\napi_key = a\napi_key_file = /f\n", "server.api_key_file=/f"),
    F("[server]\nstate = /a=b:c;d#e\n", "server.state=/a=b:c;d#e"),
    F("[server]\nstate =\n", ""),
    F("[log]\nlevel = debug\n[]\n[whatever]\n", "log.level=debug"), /* sections without keys */
    /* lines that go on */
    F("[python]\nimports = json\n  re math\n\tdatetime  \n", "python.imports=json re math datetime"),
    F("[python]\nimports = json\n\n# a\n  # b\n  re\n\n math", "python.imports=json re math"),
    F("[python]\nimports = json ; a\n  re ; b\n", "python.imports=json re"),
    F("[python]\nimports = json\n  re: math\n", "python.imports=json re: math"),
    F("[python]\nimports =\n  re\n", "python.imports= re"),
    F("[python]\nimports = json\n  re\n[pool]\n size = 3\n", "pool.size=3 python.imports=json re"),
    F("[python]\nimports = a\n  b\n[python]\nimports = c\n  d\n", "python.imports=c d"),
    /* what is wrong, with its line */
    BAD("memory = 1G\n", "f:1: the key stands before the first [section]"),
    BAD("\n\n[]\nmemory = 1G\n", "f:4: the key stands before the first [section]"),
    BAD("[limits]\nmemry = 1G\n", "f:2: limits.memry: there is no such key; the nearest is limits.memory"),
    BAD("[limit]\nmemory = 1G\n", "f:2: limit.memory: there is no such key; the nearest is limits.memory"),
    BAD("[ limits ]\nmemory = 1G\n", NULL),
    BAD("# a\n[limits]\n\nmemory = 12X\n",
        "f:4: limits.memory: '12X' is no size (a number with an optional K, M or G)"),
    BAD("[limits]\nmemory = 1\n", "f:2: limits.memory: '1' is out of bounds (32M to 1024G)"),
    BAD("[limits]\nmemory = 1G # a\n", "f:2: limits.memory: '1G # a' is no size (a number with an optional K, M or G)"),
    BAD("[limits]\nmemory = 1G\n  processes\n",
        "f:3: limits.memory: '1G processes' is no size (a number with an optional K, M or G)"),
    BAD("[limits]\n= 5\n", NULL),
    BAD("[limits]\nmemory\n", "f:2: " NO_INI),
    BAD("[limits]\nmemory: 1G\n", "f:2: " NO_INI),
    BAD("[limits]\nmemory: a = b\n", "f:2: " NO_INI),
    BAD("[limits]\nmemory ; = 1G\n", "f:2: " NO_INI),
    BAD("[limits\nmemory = 1G\n", "f:1: " NO_INI),
    BAD("[limits ; ]\nmemory = 1G\n", "f:1: " NO_INI),
    BAD("[limits] memory = 1G\n", "f:1: " NO_INI),
    BAD("[limits]\n]\n", "f:2: " NO_INI),
    /* all of them, and what follows from a wrong line is not wrong */
    BAD("[limits]\nmemory\nmemry = 1G\n",
        "f:2: " NO_INI "\nf:3: limits.memry: there is no such key; the nearest is limits.memory"),
    BAD("[limits\nmemory = 1\n  2\n[limits]\nmemory = 1\n  2\nprocesses = 0\n",
        "f:1: " NO_INI "\nf:5: limits.memory: '1' is out of bounds (32M to 1024G)\n"
        "f:7: limits.processes: '0' is out of bounds (1 to 32768)"),
    BAD("[limits]\nmemory = 1G\nx\n[pool]\nsize = 3\n", "f:3: " NO_INI),
    BAD("  memory\n", "f:1: " NOTHING_ABOVE),
    BAD("[limits]\n  memory\n", "f:2: " NOTHING_ABOVE),
    BAD("[limits]\nmemory = 1G\n[pool]\n  size\n", "f:4: " NOTHING_ABOVE),
    BAD("[limits]\nmemory = 1G\n[pool]\n  size: 3\n", "f:4: " NOTHING_ABOVE),
    BAD("[limits]\nmemory = 1G\0\n", "f:2: the line has a NUL byte"),
    BAD("[limits]\nmemory = 1G\n\0", "f:3: the line has a NUL byte"),
    BAD("# \0\n", "f:1: the line has a NUL byte"),
    BAD("[server]\nstate = /a\x01\n", "f:2: server.state: '/a?' has a control character"),
};

static void check_file(const char *text, size_t len, const char *set, const char *wanted)
{
    struct buf error, cut_error;
    struct conf conf, cut;

    buf_init(&error, 2000);
    buf_init(&cut_error, 2000);
    int err = read_text(&conf, text, len, len + 1, &error);
    if (err != (set ? 0 : -EINVAL))
        fail_msg("%s: %d %s", text, err, sentence(&error));
    if (set && strcmp(set_keys(&conf), set) != 0)
        fail_msg("%s: %s", text, set_keys(&conf));
    if (set)
        assert_int_equal(error.len, 0);
    else if (wanted && strcmp(sentence(&error), wanted) != 0)
        fail_msg("%s: %s", text, sentence(&error));
    else
        assert_memory_equal(sentence(&error), "f:", 2);
    assert_int_equal(read_text(&cut, text, len, 1, &cut_error), err);
    assert_string_equal(sentence(&cut_error), sentence(&error));
    char *whole = strdup(set_keys(&conf));
    assert_string_equal(set_keys(&cut), whole);
    free(whole);
    conf_free(&conf);
    conf_free(&cut);
    buf_free(&error);
    buf_free(&cut_error);
}

static void test_files(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(files) / sizeof(*files); i++)
        check_file(files[i].text, files[i].len, files[i].set, files[i].sentence);
}

/* Every length of a line is read whole or refused; no rest of one is taken for a line of its own. */
static void test_long_lines(void **state)
{
    static const char *const starts[] = { "[server]\nstate = /", "[server]\n# ", "[server]\nstate = /a ; ", "[" };
    char text[1000], set[1000];

    (void) state;
    for (unsigned i = 0; i < 4; i++) {
        size_t before = strlen(starts[i]);
        size_t line = before - (size_t) (strchr(starts[i], '\n') ? strchr(starts[i], '\n') + 1 - starts[i] : 0);
        for (size_t n = 150; n < 450; n++) {
            char *p = stpcpy(text, starts[i]);
            memset(p, 'x', n - line);
            strcpy(p + (n - line), i == 3 ? "" : "\npool = 3\n");
            if (n > 196) {
                char wanted[200];
                sprintf(wanted, "f:%d: the line is longer than 196 bytes; go on in an indented line below it%s",
                        i == 3 ? 1 : 2,
                        i == 3 ? "" : "\nf:3: server.pool: there is no such key; `hatchery help config` lists them");
                check_file(text, strlen(text), NULL, wanted);
            } else if (i == 3)
                check_file(text, strlen(text), NULL, "f:1: " NO_INI);
            else
                check_file(text, strlen(text), NULL, NULL); /* "pool" is no key of the server's */
            if (n <= 196 && i == 0) {
                p[n - line] = '\0';
                snprintf(set, sizeof(set), "server.state=/%.*s", (int) (n - line), p);
                check_file(text, strlen(text), set, NULL);
            }
        }
    }
}

/* A value of many lines ends at its key's bound. */
static void test_long_value(void **state)
{
    struct buf text, set;

    (void) state;
    for (unsigned lines = 38; lines < 100; lines += 41) {
        buf_init(&text, 100000);
        buf_init(&set, 100000);
        buf_adds(&text, "[python]\nimports = a\n");
        buf_adds(&set, "python.imports=a");
        for (unsigned i = 0; i < lines; i++) {
            buf_addf(&text, "  %0*d\n", 100, 0);
            buf_addf(&set, " %0*d", 100, 0);
        }
        if (lines == 38)
            check_file(text.data, text.len, sentence(&set), NULL);
        else
            check_file(text.data, text.len, NULL, NULL);
        buf_free(&text);
        buf_free(&set);
    }
}

static void test_read(void **state)
{
    char name[] = "/tmp/test_conf_XXXXXX", wanted[200];
    int fd = mkstemp(name);
    struct conf conf;
    struct buf error;

    (void) state;
    conf_init(&conf);
    buf_init(&error, 1000);
    assert_int_equal(write(fd, "[pool]\nsize = 3\nsize = x\n", 25), 25);
    assert_int_equal(conf_read(&conf, name, &error), -EINVAL);
    snprintf(wanted, sizeof(wanted), "%s:3: pool.size: 'x' is no number", name);
    assert_string_equal(sentence(&error), wanted);
    assert_int_equal(ftruncate(fd, 16), 0);
    buf_reset(&error);
    assert_int_equal(conf_read(&conf, name, &error), 0);
    assert_string_equal(set_keys(&conf), "pool.size=3");
    close(fd);
    unlink(name);
    assert_int_equal(conf_read(&conf, name, &error), -ENOENT);
    snprintf(wanted, sizeof(wanted), "%s: cannot be opened: No such file or directory", name);
    assert_string_equal(sentence(&error), wanted);
    buf_reset(&error);
    assert_true(conf_read(&conf, "/", &error) < 0); /* opened, but not read */
    assert_memory_equal(sentence(&error), "/: cannot be read: ", 19);
    conf_free(&conf);
    buf_free(&error);
}

/* --- the environment --- */

static const struct {
    const char *envp[4];
    const char *set, *sentence;
} environments[] = {
    { { "PATH=/bin", "HATCHERY=x", "HATCH=y", "memory=1G" }, "", NULL },
    { { KEY("LIMITS_MEMORY=1G"), KEY("POOL_SIZE=3") }, "pool.size=3 limits.memory=1073741824", NULL },
    { { "API_KEY=a" }, "server.api_key=a", NULL },
    { { "API_KEY_FILE=/f" }, "server.api_key_file=/f", NULL },
    { { "MAX_QUEUE_LENGTH=5" }, "queue.max_length=5", NULL },
    { { "MAX_QUEUE_LENGTH=0" }, "queue.max_length=0", NULL },
    /* the longer name wins */
    { { "API_KEY=a", KEY("SERVER_API_KEY=b") }, "server.api_key=b", NULL },
    { { KEY("QUEUE_MAX_LENGTH=6"), "MAX_QUEUE_LENGTH=5" }, "queue.max_length=6", NULL },
    { { KEY("QUEUE_MAX_LENGTH=6"), "MAX_QUEUE_LENGTH=x" }, "queue.max_length=6", NULL },
    /* empty is unset for these */
    { { "API_KEY=", "API_KEY_FILE=", "MAX_QUEUE_LENGTH=" }, "", NULL },
    { { KEY("SERVER_API_KEY="), "API_KEY=a" }, "server.api_key=a", NULL },
    { { KEY("SERVER_API_KEY="), "API_KEY=a", "API_KEY_FILE=" }, "server.api_key=a", NULL },
    { { "API_KEY=", "API_KEY_FILE=/f" }, "server.api_key_file=/f", NULL },
    { { KEY("SERVER_STATE=") }, "", NULL },
    { { KEY("LIMITS_MEMORY=") },
      NULL,
      "HATCHERY_LIMITS_MEMORY: limits.memory: '' is no size (a number with an optional K, M or G)" },
    /* both */
    { { "API_KEY=a", "API_KEY_FILE=/f" },
      NULL,
      "API_KEY and API_KEY_FILE are both set: which of the two is the key? Unset one" },
    { { KEY("SERVER_API_KEY=a"), "API_KEY_FILE=/f" },
      NULL,
      "HATCHERY_SERVER_API_KEY and API_KEY_FILE are both set: which of the two is the key? Unset one" },
    { { KEY("SERVER_API_KEY_FILE=/f"), "API_KEY=a" },
      NULL,
      "API_KEY and HATCHERY_SERVER_API_KEY_FILE are both set: which of the two is the key? Unset one" },
    /* not known, and not ours */
    { { KEY("LIMITS_MEMRY=1G") },
      NULL,
      "HATCHERY_LIMITS_MEMRY: there is no such variable; the nearest is HATCHERY_LIMITS_MEMORY" },
    { { KEY("MEMORY=1G") }, NULL, "HATCHERY_MEMORY: there is no such variable; the nearest is HATCHERY_LIMITS_MEMORY" },
    { { KEY("STATE=/x") }, NULL, "HATCHERY_STATE: there is no such variable; the nearest is HATCHERY_SERVER_STATE" },
    { { KEY("IMPORTS=x") },
      NULL,
      "HATCHERY_IMPORTS: there is no such variable; the nearest is HATCHERY_PYTHON_IMPORTS" },
    { { KEY("NOTHING=1") }, NULL, "HATCHERY_NOTHING: there is no such variable; `hatchery help config` lists them" },
    { { KEY("API_KEY=a") },
      NULL,
      "HATCHERY_API_KEY: there is no such variable; the nearest is HATCHERY_SERVER_API_KEY" },
    { { KEY("limits_memory=1G") },
      NULL,
      "HATCHERY_limits_memory: there is no such variable; the nearest is HATCHERY_LIMITS_MEMORY" },
    { { KEY("=1") }, NULL, NULL },
    { { KEY("LIMITS_MEMORY") }, "", NULL }, /* no variable at all: it has no value */
    { { KEY("CONFIG=/x"), KEY("SERVICE_HOST=10.0.0.1"), KEY("SERVICE_PORT=80"), KEY("PORT=tcp://10.0.0.1:80") },
      "",
      NULL },
    { { KEY("PORT_8080_TCP_ADDR=10.0.0.1"), KEY("SERVICE_PORT_HTTP=80"), KEY("PORT_8080_TCP=x") }, "", NULL },
    { { KEY("PORTS=1") }, NULL, NULL },
    { { KEY("CONFIGS=1") }, NULL, NULL },
    /* values */
    { { "MAX_QUEUE_LENGTH=x" }, NULL, "MAX_QUEUE_LENGTH: queue.max_length: 'x' is no number" },
    { { "API_KEY=" SECRET " x" },
      NULL,
      "API_KEY: server.api_key: the value has a character that is a space or no printable ASCII" },
};

static void test_environ(void **state)
{
    (void) state;
    for (unsigned i = 0; i < sizeof(environments) / sizeof(*environments); i++) {
        char *envp[5] = { NULL };
        struct conf conf;
        struct buf error;
        for (unsigned j = 0, n = 0; j < 4; j++)
            if (environments[i].envp[j])
                envp[n++] = (char *) (uintptr_t) environments[i].envp[j];
        conf_init(&conf);
        buf_init(&error, 1000);
        int err = conf_environ(&conf, envp, &error);
        if (err != (environments[i].set ? 0 : -EINVAL))
            fail_msg("environment %u: %d %s", i, err, sentence(&error));
        if (environments[i].set)
            assert_string_equal(set_keys(&conf), environments[i].set);
        if (environments[i].sentence)
            assert_string_equal(sentence(&error), environments[i].sentence);
        assert_int_equal(error.len > 0, err < 0);
        conf_free(&conf);
        buf_free(&error);
    }
}

/* Defaults < file < environment, also between the key and its file. */
static void test_precedence(void **state)
{
    static const char text[] = "[server]\napi_key_file = /f\n[pool]\nsize = 3\nmax_runs = 4\n";
    static char *const envp[] = { (char *) (uintptr_t) "API_KEY=a", (char *) (uintptr_t) KEY("POOL_SIZE=5"), NULL };
    struct conf conf;
    struct buf error;

    (void) state;
    buf_init(&error, 1000);
    assert_int_equal(read_text(&conf, text, sizeof(text) - 1, 10, &error), 0);
    assert_int_equal(conf_environ(&conf, envp, &error), 0);
    assert_string_equal(set_keys(&conf), "server.api_key=a pool.size=5 pool.max_runs=4");
    conf_free(&conf);
    buf_free(&error);
}

/* --- all of it --- */

static int finish_with(const char *section, const char *key, const char *value, struct conf *conf, struct buf *error)
{
    conf_init(conf);
    buf_reset(error);
    assert_int_equal(conf_set(conf, section, key, value, error), 0);
    return conf_finish(conf, error);
}

static void test_finish(void **state)
{
    static const struct {
        const char *section, *key, *value, *sentence;
    } cases[] = {
        { "limits", "timeout_default", "300s", NULL },
        { "limits", "timeout_max", "30s", NULL },
        { "limits", "timeout_max", "29s", "limits.timeout_default: it is longer than limits.timeout_max (29s)" },
        { "limits", "code", "2M", "server.max_body: a program of limits.code needs 12352K in JSON" },
        { "server", "max_body", "6208K", NULL }, /* 6 MiB + 64 KiB */
        { "server", "max_body", "6357", "server.max_body: a program of limits.code needs 6208K in JSON" },
    };
    struct conf conf;
    struct buf error;

    (void) state;
    buf_init(&error, 1000);
    conf_init(&conf);
    assert_int_equal(conf_finish(&conf, &error), 0); /* the defaults fit together; no key is no error */
    assert_string_equal(conf.server_api_key, "");
    conf_free(&conf);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int err = finish_with(cases[i].section, cases[i].key, cases[i].value, &conf, &error);
        assert_int_equal(err, cases[i].sentence ? -EINVAL : 0);
        assert_string_equal(sentence(&error), cases[i].sentence ? cases[i].sentence : "");
        conf_free(&conf);
    }
    buf_free(&error);
}

static void test_key_file(void **state)
{
    static char long_key[2000];
    const struct {
        const char *text;
        size_t len;
        const char *key, *rule; /* one of both */
    } cases[] = {
        { "abc", 3, "abc", NULL },
        { "abc\n", 4, "abc", NULL },
        { "abc \t\r\nsecond\n", 14, "abc", NULL },
        { "abc\n\0", 5, "abc", NULL },
        { "", 0, NULL, "is no key: it is empty or has a NUL byte" },
        { "\nabc\n", 5, NULL, "is no key: it is empty or has a NUL byte" },
        { " \t\r\n", 4, NULL, "is no key: it is empty or has a NUL byte" },
        { SECRET "\0x\n", 9, NULL, "is no key: it is empty or has a NUL byte" },
        { SECRET "\0\n", 8, NULL, "is no key: it is empty or has a NUL byte" },
        { " " SECRET "\n", 8, NULL, "server.api_key: the value has a character that is a space or no printable ASCII" },
        { SECRET " x\n", 9, NULL, "server.api_key: the value has a character that is a space or no printable ASCII" },
        { SECRET "\xc3\xa9\n", 9, NULL, "server.api_key: the value has a character" },
        { long_key, 512, long_key, NULL },
        { long_key, 513, NULL, "server.api_key: the value is out of bounds (0 to 512 bytes)" },
        { long_key, 2000, NULL, "server.api_key: the value is out of bounds (0 to 512 bytes)" },
    };
    char name[] = "/tmp/test_conf_XXXXXX";
    int fd = mkstemp(name);
    struct conf conf;
    struct buf error;

    (void) state;
    memset(long_key, 'k', sizeof(long_key));
    buf_init(&error, 1000);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, cases[i].len, 0), cases[i].len);
        int err = finish_with("server", "api_key_file", name, &conf, &error);
        if (err != (cases[i].key ? 0 : -EINVAL))
            fail_msg("key file %u: %d %s", i, err, sentence(&error));
        if (cases[i].key) {
            size_t n = cases[i].key == long_key ? 512 : strlen(cases[i].key);
            assert_int_equal(strlen(conf.server_api_key), n);
            assert_memory_equal(conf.server_api_key, cases[i].key, n);
            assert_int_equal(error.len, 0);
        } else {
            assert_non_null(strstr(sentence(&error), cases[i].rule));
            assert_non_null(strstr(sentence(&error), name));
            assert_null(strstr(sentence(&error), SECRET));
            assert_string_equal(conf.server_api_key, "");
        }
        conf_free(&conf);
    }
    close(fd);
    unlink(name);
    assert_int_equal(finish_with("server", "api_key_file", name, &conf, &error), -ENOENT);
    assert_non_null(strstr(sentence(&error), "cannot read /tmp/test_conf_"));
    conf_free(&conf);
    buf_free(&error);
}

/* However a key is written wrongly, no message has it. */
static void test_secrets(void **state)
{
    static const char *const texts[] = {
        "[server]\napi_key = " SECRET " x\n",    "[server]\napi_key = " SECRET "\x01\n",
        "[server]\napi_key = \x80" SECRET "\n",  "[server]\napi_key " SECRET "==\n",
        "[server]\napi_key: " SECRET "\n",       "[server]\napi_key " SECRET "\n",
        "[server]\napi_key = a\n  " SECRET "\n", "api_key = " SECRET "\n",
        "[server]\napi_kei = " SECRET "\n",      "[server] api_key = " SECRET "\n",
        "[server\napi_key = " SECRET "\n",       "[server]\n  " SECRET "\n",
        "[server]\napi_key\t" SECRET "\t=\n",    "[limits]\napi_key = " SECRET "\n",
        "[server]\napi_key : " SECRET "=\n",
    };
    char line[700], *envp[] = { line, NULL };
    struct conf conf;
    struct buf error;

    (void) state;
    buf_init(&error, 2000);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        int err = read_text(&conf, texts[i], strlen(texts[i]), 1000, &error);
        if (err != -EINVAL || strstr(sentence(&error), SECRET))
            fail_msg("%s: %d %s", texts[i], err, sentence(&error));
        conf_free(&conf);
    }
    for (size_t n = 513; n < 600; n++) {
        snprintf(line, sizeof(line), "API_KEY=%s%0*d", SECRET, (int) (n - strlen(SECRET)), 0);
        conf_init(&conf);
        buf_reset(&error);
        assert_int_equal(conf_environ(&conf, envp, &error), -EINVAL);
        assert_string_equal(sentence(&error), "API_KEY: server.api_key: the value is out of bounds (0 to 512 bytes)");
        conf_free(&conf);
    }
    buf_free(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_env_names), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_listen),      cmocka_unit_test(test_distance),  cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_key_or_file), cmocka_unit_test(test_files),     cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_value),  cmocka_unit_test(test_read),      cmocka_unit_test(test_environ),
        cmocka_unit_test(test_precedence),  cmocka_unit_test(test_finish),    cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
