/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need all sources: the key file, and rules about several keys.
 *
 * The command calls conf_finish(), once for each reading of the configuration.  What must never
 * happen here: a key that is not the whole first line of its file, a copy of it left on the stack,
 * or a second error about a value that was refused before. */
#include "conf/conf_parts.h"

#include "conf/conf_value.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static bool is_refused(const struct conf *conf, const char *section, const char *key)
{
    return conf->refused[conf_find(section, key) - conf_keys];
}

/* The first line of the key file, ended by NUL, without the white space at its end. */
static int cut_first_line(char *text, size_t n)
{
    char *end = memchr(text, '\n', n);
    size_t len = end ? (size_t) (end - text) : n;

    while (len && strchr(" \t\r", text[len - 1]) && text[len - 1])
        len--;
    text[len] = '\0';
    return strlen(text) == len && len ? 0 : -EINVAL;
}

static int put_key(struct conf *conf, const char *text, const char *path, struct buf *error)
{
    const struct conf_key *api_key = conf_find("server", "api_key");
    size_t mark = error->len;
    char origin[4200];

    buf_addf(error, "the first line of %s: ", path);
    int err = conf_check_text(api_key, text, error);
    if (err)
        return err;
    conf_put_text(conf, api_key, text);
    snprintf(origin, sizeof(origin), "the file %s", path);
    conf_note_origin(conf, api_key, origin);
    error->len = mark;
    return 0;
}

static int read_key_file(struct conf *conf, struct buf *error)
{
    const char *path = conf->server_api_key_file;
    char text[1024]; /* more than a key may have: a longer line is cut here, and then refused for
                      * its length */
    ssize_t n = fd_read_file(AT_FDCWD, path, text, sizeof(text));
    int err = n < 0 ? (int) n : cut_first_line(text, (size_t) n);

    if (n < 0)
        buf_addf(error, "server.api_key_file: cannot read %s: %s", path, strerror((int) -n));
    else if (err)
        buf_addf(error, "server.api_key_file: the first line of %s is no key: it is empty or has a NUL byte", path);
    else
        err = put_key(conf, text, path, error);
    explicit_bzero(text, sizeof(text));
    return err;
}

static int check_timeouts(const struct conf *conf, struct buf *error)
{
    if (conf->limits_timeout_default <= conf->limits_timeout_max || is_refused(conf, "limits", "timeout_default")
        || is_refused(conf, "limits", "timeout_max"))
        return 0;
    buf_adds(error, "limits.timeout_default: it is longer than limits.timeout_max (");
    conf_value_add_number(error, CONF_TIME, conf->limits_timeout_max);
    buf_addc(error, ')');
    return -EINVAL;
}

/* JSON may write each byte of a program as six: \u0041. */
static int check_body(const struct conf *conf, struct buf *error)
{
    int64_t needed = conf->limits_code * 6 + 65536;

    if (needed <= conf->server_max_body || is_refused(conf, "limits", "code") || is_refused(conf, "server", "max_body"))
        return 0;
    buf_adds(error, "server.max_body: a program of limits.code needs ");
    conf_value_add_number(error, CONF_BYTES, needed);
    buf_adds(error, " in JSON");
    return -EINVAL;
}

int conf_finish(struct conf *conf, struct buf *error)
{
    bool has_file = conf->server_api_key_file && *conf->server_api_key_file;
    size_t mark = error->len;

    int timeouts = conf_locate(conf, check_timeouts(conf, error), mark, error);
    mark = error->len;
    int body = conf_locate(conf, check_body(conf, error), mark, error);
    mark = error->len;
    int key = conf_locate(conf, has_file ? read_key_file(conf, error) : 0, mark, error);
    if (timeouts)
        return timeouts;
    return body ? body : key;
}
