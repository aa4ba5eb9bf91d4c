/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: any bytes as a file, whole and one at a time, then as environment variables.
 *
 * A refusal has a sentence that begins as promised and that a terminal can show; what is taken keeps every bound
 * of the table. */
#include "conf/conf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { VARIABLES_MAX = 64 };

struct source {
    const uint8_t *p;
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

static int read_bytes(struct conf *conf, const uint8_t *data, size_t size, size_t step, struct buf *error)
{
    struct source source = { data, size, step };
    FILE *stream = fopencookie(&source, "r", (cookie_io_functions_t){ .read = read_source });

    conf_init(conf);
    buf_init(error, 1 << 20);
    int err = conf_read_stream(conf, stream, "f", error);
    fclose(stream);
    return err;
}

static const char *text_of(const struct conf *conf, const struct conf_key *k)
{
    return *(char *const *) ((const char *) conf + k->offset);
}

static int64_t number_of(const struct conf *conf, const struct conf_key *k)
{
    const char *field = (const char *) conf + k->offset;
    return k->type == CONF_BOOL ? *(const bool *) field : *(const int64_t *) (const void *) field;
}

static bool is_text(const struct conf_key *k)
{
    return k->type == CONF_STRING || k->type == CONF_SECRET;
}

static void check_conf(const struct conf *conf)
{
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        int64_t n = is_text(k) ? (int64_t) strlen(text_of(conf, k)) : number_of(conf, k);
        assert(n >= k->min && n <= k->max);
    }
    assert(!*conf->server_api_key || !*conf->server_api_key_file);
}

/* Between two sentences. */
static bool is_line_end(const struct buf *error, size_t i)
{
    return error->data[i] == '\n' && i > 0 && error->data[i - 1] != '\n' && (i + 1 < error->len || error->full);
}

static void check_sentence(int err, const struct buf *error)
{
    assert(err == 0 || err == -EINVAL);
    assert((err < 0) == (error->len > 0) && !error->full);
    for (size_t i = 0; i < error->len; i++)
        assert((error->data[i] >= ' ' && error->data[i] < 0x7f) || is_line_end(error, i));
}

static void check_file(const uint8_t *data, size_t size)
{
    struct buf error, cut_error;
    struct conf conf, cut;
    int err = read_bytes(&conf, data, size, size + 1, &error);
    int cut_err = read_bytes(&cut, data, size, 1, &cut_error);

    check_sentence(err, &error);
    check_conf(&conf);
    assert(err == 0 || memcmp(error.data, "f:", 2) == 0);
    assert(err == cut_err && error.len == cut_error.len);
    assert(error.len == 0 || memcmp(error.data, cut_error.data, error.len) == 0);
    for (const struct conf_key *k = conf_keys; k->section; k++)
        assert(is_text(k) ? strcmp(text_of(&conf, k), text_of(&cut, k)) == 0
                          : number_of(&conf, k) == number_of(&cut, k));
    conf_free(&conf);
    conf_free(&cut);
    buf_free(&error);
    buf_free(&cut_error);
}

/* Each line a variable. */
static void check_environment(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *envp[VARIABLES_MAX + 1] = { NULL }, *rest = text;
    struct buf error;
    struct conf conf;

    memcpy(text, data, size);
    text[size] = '\0';
    for (unsigned n = 0; n < VARIABLES_MAX && rest; n++)
        envp[n] = strsep(&rest, "\n");
    conf_init(&conf);
    buf_init(&error, 1 << 20);
    int err = conf_environ(&conf, envp, &error);
    check_sentence(err, &error);
    check_conf(&conf);
    conf_free(&conf);
    buf_free(&error);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file(data, size);
    check_environment(data, size);
    return 0;
}
