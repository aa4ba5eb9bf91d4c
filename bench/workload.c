/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of programs. Each prints something that only its having run explains, so a reply that is right by chance, or
 * another request's, is found out.
 */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEBIBYTE = 1 << 20, SOURCE = 64 * 1024, SUM = 12000, SIDE = 32 };

static char *finished(FILE *out, char **text)
{
    if (out == NULL || fclose(out) != 0) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return *text;
}

char *workload_json(const char *text)
{
    char *json = NULL;
    size_t len;
    FILE *out = open_memstream(&json, &len);

    putc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char) *text;

        if (c == '\n')
            fputs("\\n", out);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            putc(c, out);
    }
    putc('"', out);
    return finished(out, &json);
}

bool workload_stdout_is(const char *body, size_t len, const char *stdout_json)
{
    static const char name[] = "\"stdout\"";
    const char *at = memmem(body, len, name, sizeof(name) - 1);
    size_t expected = strlen(stdout_json);

    if (at == NULL)
        return false;
    at += sizeof(name) - 1;
    at += strspn(at, ": ");
    return (size_t) (body + len - at) >= expected && memcmp(at, stdout_json, expected) == 0;
}

/* Makers: the program and what it prints. */

static char *copy(const char *text)
{
    char *made = strdup(text);

    if (made == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return made;
}

static char *make_hello(char **ret_stdout)
{
    *ret_stdout = copy("Hello, World!\n");
    return copy("print(\"Hello, World!\")");
}

/* Imports, two of which the zygote has not made, and about a millisecond of the interpreter's time. */
static char *make_imports(char **ret_stdout)
{
    long long sum = (long long) (SUM - 1) * SUM * (2 * SUM - 1) / 6;

    if (asprintf(ret_stdout, "[%lld]\n", sum) < 0)
        exit(1);
    return copy("import json, re, datetime, collections, csv, string\n"
                "counts = collections.Counter(re.findall('[a-z]+', 'a word and a word'))\n"
                "assert counts['word'] == 2 and datetime.date(2024, 2, 29).weekday() == 3\n"
                "print(json.dumps([sum(i * i for i in range(12000))]))\n");
}

/* Whole numbers below 2^53: the sum is exact, whatever the order in which a library adds. */
static char *make_numpy(char **ret_stdout)
{
    long long trace = 0;

    for (long long i = 0; i < SIDE; i++)
        for (long long j = 0; j < SIDE; j++)
            trace += (i * SIDE + j) * (j * SIDE + i);
    if (asprintf(ret_stdout, "%lld\n", trace) < 0)
        exit(1);
    return copy("import numpy\n"
                "a = numpy.arange(1024.0).reshape(32, 32)\n"
                "print(int((a @ a).trace()))\n");
}

static char *make_cpu(char **ret_stdout)
{
    *ret_stdout = copy("200 ms\n");
    return copy("import time\n"
                "end = time.process_time() + 0.2\n"
                "while time.process_time() < end:\n"
                "    pass\n"
                "print('200 ms')\n");
}

static char *make_output(char **ret_stdout)
{
    *ret_stdout = malloc(MEBIBYTE + 1);
    if (*ret_stdout == NULL)
        exit(1);
    memset(*ret_stdout, 'x', MEBIBYTE - 1);
    strcpy(*ret_stdout + MEBIBYTE - 1, "\n");
    return copy("print('x' * 1048575)");
}

/* All of it is code: small functions, of which the last is called. */
static char *make_source(char **ret_stdout)
{
    char *code = NULL;
    size_t len;
    FILE *out = open_memstream(&code, &len);
    int n = 0;

    while (out != NULL && ftell(out) < SOURCE - 100) {
        fprintf(out, "def f%d(x):\n    return x + %d\n", n, n);
        n++;
    }
    if (out != NULL)
        fprintf(out, "print(f%d(1))\n#", n - 1);
    while (out != NULL && ftell(out) < SOURCE)
        putc('.', out);
    if (asprintf(ret_stdout, "%d\n", n) < 0)
        exit(1);
    return finished(out, &code);
}

static char *make_timeout(char **ret_stdout)
{
    *ret_stdout = copy("spinning\n");
    return copy("print('spinning')\nwhile True:\n    pass\n");
}

static char *make_crash(char **ret_stdout)
{
    *ret_stdout = copy("falling\n");
    return copy("print('falling')\nimport os\nos.abort()\n");
}

static char *make_memory(char **ret_stdout)
{
    *ret_stdout = copy("eating\n");
    return copy("print('eating')\nheld = []\nwhile True:\n    held.append(bytearray(b'x' * (1 << 20)))\n");
}

static char *make_sleep(char **ret_stdout)
{
    *ret_stdout = NULL;
    return copy("import time\ntime.sleep(30)\n");
}

static const struct maker {
    struct workload fixed;
    char *(*make)(char **ret_stdout);
} makers[] = {
    { { .name = "W1", .status = 200 }, make_hello },
    { { .name = "W2", .status = 200 }, make_imports },
    { { .name = "W3", .status = 200, .numpy = true }, make_numpy },
    { { .name = "W4", .status = 200 }, make_cpu },
    { { .name = "W5", .status = 200 }, make_output },
    { { .name = "W6", .status = 200 }, make_source },
    { { .name = "timeout", .status = 408, .timeout_s = 1, .contains = "\"timeout\"" }, make_timeout },
    { { .name = "crash", .status = 400, .contains = "\"signal\"" }, make_crash },
    { { .name = "memory", .status = 400, .contains = "\"memory\"" }, make_memory },
    { { .name = "cancel", .hangs_up = true }, make_sleep },
};

bool workload_make(const char *name, struct workload *ret)
{
    char *out;

    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        if (strcmp(makers[i].fixed.name, name) != 0)
            continue;
        *ret = makers[i].fixed;
        ret->code = makers[i].make(&out);
        ret->stdout_json = out != NULL ? workload_json(out) : NULL;
        free(out);
        return true;
    }
    return false;
}
