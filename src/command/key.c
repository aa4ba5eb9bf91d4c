/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery key`: making, listing and revoking keys.
 *
 * Called by the command, beside a running server or without one.  The file is
 * written whole under another name and renamed, so that the server never reads
 * half of it; two commands at once wait for each other.  What must never
 * happen here: a key on disk (only its hash is), or a file that the server's
 * user cannot read. */
#include "command/key.h"

#include "base/fd.h"
#include "supervisor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char file_name[] = "keys", fresh_name[] = "keys.new";

struct list {
    struct keyfile_key *keys;
    size_t n;
};

static void on_key(void *data, const struct keyfile_key *key)
{
    struct list *list = data;

    list->keys = xrealloc(list->keys, (list->n + 1) * sizeof(*list->keys));
    list->keys[list->n++] = *key;
}

static int fail(struct buf *error)
{
    fprintf(stderr, "hatchery: %.*s\n", (int) error->len, error->data ? error->data : "");
    buf_free(error);
    return EXIT_FAILURE;
}

static int read_list(int dir_fd, struct list *ret, struct buf *error)
{
    char *text = xmalloc(KEYFILE_BYTES_MAX);
    unsigned line = 0;
    ssize_t n = fd_read_file(dir_fd, file_name, text, KEYFILE_BYTES_MAX);
    int err = n == -ENOENT ? 0 : n < 0 ? (int) n : keyfile_parse(text, (size_t) n, on_key, ret, &line);

    free(text);
    if (n < 0 && n != -ENOENT)
        buf_addf(error, "the file keys of the state directory cannot be read (%s)", strerror((int) -n));
    else if (err)
        buf_addf(error, "the file keys of the state directory is damaged in line %u: correct or remove that line",
                 line);
    return err;
}

/* As the server's user, whom the directory belongs to. */
static int write_list(int dir_fd, const struct list *list, struct buf *error)
{
    struct stat st = { 0 };
    struct buf text;

    unlinkat(dir_fd, fresh_name, 0); /* what an earlier command left, or a server that was taken over has put there */
    _cleanup_fd_ int fd = openat(dir_fd, fresh_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    buf_init(&text, KEYFILE_BYTES_MAX);
    for (size_t i = 0; i < list->n; i++)
        keyfile_add_line(&text, &list->keys[i]);
    int err = fd < 0 || fstat(dir_fd, &st) < 0 ? -errno : text.full ? -EFBIG : 0;
    if (!err && geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
        err = -errno;
    if (!err && text.len && write(fd, text.data, text.len) != (ssize_t) text.len)
        err = errno ? -errno : -EIO;
    if (!err && (fsync(fd) < 0 || renameat(dir_fd, fresh_name, dir_fd, file_name) < 0 || fsync(dir_fd) < 0))
        err = -errno;
    buf_free(&text);
    if (err)
        buf_addf(error, "the file keys of the state directory cannot be written (%s)", strerror(-err));
    return err;
}

static size_t find(const struct list *list, const char *name)
{
    size_t i = 0;
    while (i < list->n && strcmp(list->keys[i].name, name) != 0)
        i++;
    return i;
}

int key_new(const struct conf *conf, struct keyfile_key *key)
{
    struct list list = { 0 };
    unsigned char bytes[32];
    char text[48] = "hk_";
    struct buf error, path;

    buf_init(&error, 1024);
    buf_init(&path, 4096);
    if (!keyfile_name_ok(key->name) || strcmp(key->name, KEYFILE_DEFAULT) == 0) {
        buf_addf(&error,
                 "a key's name has 1 to %d letters, digits, '.', '_' and '-', and is not '%s', which is API_KEY's",
                 KEYFILE_NAME_MAX, KEYFILE_DEFAULT);
        return fail(&error);
    }
    _cleanup_fd_ int fd = state_open_configured(conf, true, &error);
    if (fd < 0 || read_list(fd, &list, &error) < 0)
        return fail(&error);
    if (find(&list, key->name) < list.n) {
        buf_addf(&error, "there is a key called '%s' already; to replace it: hatchery key revoke %s", key->name,
                 key->name);
        return fail(&error);
    }
    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2base64(text + 3, sizeof(text) - 3, bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_generichash(key->hash, sizeof(key->hash), (const unsigned char *) text, strlen(text), NULL, 0);
    key->created_s = time(NULL);
    on_key(&list, key);
    int err = write_list(fd, &list, &error);
    free(list.keys);
    if (err)
        return fail(&error);
    state_path(conf->server_state, &path, &error); /* it was opened by this name */
    fprintf(stderr, "The key '%s', shown this once; a server whose state directory is %.*s knows it from now on:\n",
            key->name, (int) path.len, path.data);
    buf_free(&path);
    printf("%s\n", text);
    sodium_memzero(text, sizeof(text));
    return EXIT_SUCCESS;
}

static void print_limit(int64_t limit)
{
    if (limit)
        printf("  %11lld", (long long) limit);
    else
        printf("  %11s", "unlimited");
}

int key_list(const struct conf *conf)
{
    struct list list = { 0 };
    struct buf error;
    char created[32];

    buf_init(&error, 1024);
    _cleanup_fd_ int fd = state_open_configured(conf, false, &error);
    if (fd < 0 || read_list(fd, &list, &error) < 0)
        return fail(&error);
    printf("%-24s  %6s  %11s  %11s  %11s  %11s  %-20s  %s\n", "name", "weight", "max-runs", "max-waiting", "rate",
           "max-bytes", "created", "runtime");
    for (size_t i = 0; i < list.n; i++) {
        const struct keyfile_key *key = &list.keys[i];
        struct tm tm;
        time_t s = key->created_s;
        gmtime_r(&s, &tm);
        strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm);
        printf("%-24s  %6u", key->name, key->weight);
        print_limit(key->max_runs);
        print_limit(key->max_waiting);
        print_limit(key->rate);
        print_limit(key->max_bytes);
        printf("  %-20s  %s\n", created, *key->runtime ? key->runtime : "default");
    }
    free(list.keys);
    return EXIT_SUCCESS;
}

int key_revoke(const struct conf *conf, const char *name)
{
    struct list list = { 0 };
    struct buf error;

    buf_init(&error, 1024);
    _cleanup_fd_ int fd = state_open_configured(conf, true, &error);
    if (fd < 0 || read_list(fd, &list, &error) < 0)
        return fail(&error);
    size_t i = find(&list, name);
    int err = 0;
    if (!list.keys || i == list.n) {
        buf_adds(&error, strcmp(name, KEYFILE_DEFAULT) == 0
                             ? "the key 'default' is API_KEY's: start the server without it"
                             : "there is no key of this name; `hatchery key list` shows them");
        err = -ENOENT;
    } else {
        list.n--;
        memmove(&list.keys[i], &list.keys[i + 1], (list.n - i) * sizeof(*list.keys));
        err = write_list(fd, &list, &error);
    }
    free(list.keys);
    if (err)
        return fail(&error);
    printf("Revoked.\n");
    return EXIT_SUCCESS;
}

bool key_any(const struct conf *conf)
{
    struct list list = { 0 };
    struct buf error;

    buf_init(&error, 1024);
    _cleanup_fd_ int fd = state_open_configured(conf, false, &error);
    bool any = fd >= 0 && read_list(fd, &list, &error) == 0 && list.n > 0;
    free(list.keys);
    buf_free(&error);
    return any;
}
