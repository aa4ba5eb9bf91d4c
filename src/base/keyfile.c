/* SPDX-License-Identifier: Apache-2.0 */
/* The file of keys, from text to structs and back.
 *
 * The command and the server call this.  What must never happen here: that a line is half
 * understood, because it says who may do what. */
#include "base/keyfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool keyfile_name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n && n <= KEYFILE_NAME_MAX && !name[n];
}

bool keyfile_runtime_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n && n <= KEYFILE_RUNTIME_MAX && !name[n] && *name >= 'a' && *name <= 'z';
}

static int take_hash(const char *hex, unsigned char hash[KEYFILE_HASH])
{
    if (strlen(hex) != 2UL * KEYFILE_HASH || strspn(hex, "0123456789abcdef") != 2UL * KEYFILE_HASH)
        return -EINVAL;
    for (int i = 0; i < KEYFILE_HASH; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * (size_t) i, "%2x", &byte) != 1)
            return -EINVAL;
        hash[i] = (unsigned char) byte;
    }
    return 0;
}

/* The fields that not every key has; each at most once, in this order. */
static int parse_rest(const char *rest, struct keyfile_key *key)
{
    char runtime[KEYFILE_RUNTIME_MAX + 2] = "";
    int end = 0;

    key->max_bytes = 0;
    if (*rest && *rest != ' ')
        return -EINVAL;
    if (sscanf(rest, " %33[^= ]%n", runtime, &end) == 1 && rest[end] != '=')
        rest += end;
    else
        *runtime = '\0';
    end = 0;
    if (sscanf(rest, " max-bytes=%" SCNd64 "%n", &key->max_bytes, &end) == 1)
        rest += end;
    if (*rest || key->max_bytes < 0 || (*runtime && !keyfile_runtime_ok(runtime)))
        return -EINVAL;
    snprintf(key->runtime, sizeof(key->runtime), "%.32s", runtime);
    return 0;
}

static int parse_line(char *line, struct keyfile_key *key)
{
    char name[KEYFILE_NAME_MAX + 2], hex[2 * KEYFILE_HASH + 2];
    int end = -1;

    int n = sscanf(line, "%65s %65s %7u %7u %7u %7u %" SCNd64 "%n", name, hex, &key->weight, &key->max_runs,
                   &key->max_waiting, &key->rate, &key->created_s, &end);
    if (n != 7 || end < 0 || !keyfile_name_ok(name) || strcmp(name, KEYFILE_DEFAULT) == 0 || !key->weight
        || parse_rest(line + end, key) < 0)
        return -EINVAL;
    snprintf(key->name, sizeof(key->name), "%.64s", name);
    return take_hash(hex, key->hash);
}

int keyfile_parse(const char *text, size_t len, void (*on_key)(void *data, const struct keyfile_key *key), void *data,
                  unsigned *ret_line)
{
    struct keyfile_key key = { 0 };
    char line[512];

    for (unsigned number = 1; len; number++) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t) (end - text) : len;
        *ret_line = number;
        if (n >= sizeof(line) || memchr(text, '\0', n))
            return -EINVAL;
        memcpy(line, text, n);
        line[n] = '\0';
        if (n && line[0] != '#') {
            if (parse_line(line, &key) < 0)
                return -EINVAL;
            on_key(data, &key);
        }
        text += n + (end ? 1 : 0);
        len -= n + (end ? 1 : 0);
    }
    return 0;
}

void keyfile_add_line(struct buf *out, const struct keyfile_key *key)
{
    buf_addf(out, "%s ", key->name);
    for (int i = 0; i < KEYFILE_HASH; i++)
        buf_addf(out, "%02x", key->hash[i]);
    buf_addf(out, " %u %u %u %u %" PRId64 "%s%s", key->weight, key->max_runs, key->max_waiting, key->rate,
             key->created_s, *key->runtime ? " " : "", key->runtime);
    if (key->max_bytes)
        buf_addf(out, " max-bytes=%" PRId64, key->max_bytes);
    buf_addc(out, '\n');
}
