/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery key`: making, listing and revoking keys.
 *
 * main() calls this, beside a running server or without one.  It writes the whole file under
 * another name and renames it, so the server never reads half of it.  Two commands at once wait for
 * each other.  What must never happen here: a key on disk (only its hash is stored), or a file that
 * the server's user cannot read. */
#include "command/key.h"

#include "base/fd.h"
#include "base/keyfile.h"
#include "command/action.h"
#include "conf/conf_value.h"
#include "supervisor/runtimes.h"
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

static int read_list(int dir_fd, struct list *ret, struct buf *error)
{
    char *text = xmalloc(KEYFILE_BYTES_MAX);
    unsigned line = 0;
    ssize_t n = fd_read_file(dir_fd, file_name, text, KEYFILE_BYTES_MAX);
    int err = n < 0 ? 0 : keyfile_parse(text, (size_t) n, on_key, ret, &line);

    free(text);
    if (n < 0 && n != -ENOENT)
        return fail(error, (int) n, "the file keys of the state directory cannot be read (%s)", strerror((int) -n));
    if (err)
        return fail(error, err,
                    "the file keys of the state directory is damaged in line %u: correct or remove that line", line);
    return 0;
}

/* Write the file for the server's user, who owns the directory. */
static int write_file(int dir_fd, const struct buf *text)
{
    struct stat st;

    unlinkat(dir_fd, fresh_name, 0); /* left by an earlier command, or put there by a server that an
                                      * attacker has taken over */
    _cleanup_fd_ int fd = openat(dir_fd, fresh_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(dir_fd, &st) < 0 || (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0))
        return -errno;
    ssize_t n = write(fd, buf_text(text), text->len);
    if (n < 0)
        return -errno;
    if ((size_t) n != text->len)
        return -EIO;
    return fsync(fd) < 0 || renameat(dir_fd, fresh_name, dir_fd, file_name) < 0 || fsync(dir_fd) < 0 ? -errno : 0;
}

static int write_list(int dir_fd, const struct list *list, struct buf *error)
{
    _cleanup_buf_ struct buf text;

    buf_init(&text, KEYFILE_BYTES_MAX);
    for (size_t i = 0; i < list->n; i++)
        keyfile_add_line(&text, &list->keys[i]);
    int err = text.full ? -EFBIG : write_file(dir_fd, &text);
    return err ? fail(error, err, "the file keys of the state directory cannot be written (%s)", strerror(-err)) : 0;
}

static size_t find(const struct list *list, const char *name)
{
    size_t i = 0;
    while (i < list->n && strcmp(list->keys[i].name, name) != 0)
        i++;
    return i;
}

/* Make a key, store its hash with @key's name and limits, and print the key, once.  A running
 * server accepts it at once. */
static int add_key(const struct conf *conf, struct keyfile_key *key)
{
    struct list list = { 0 };
    unsigned char bytes[32];
    char text[48] = "hk_";
    _cleanup_buf_ struct buf error;
    _cleanup_buf_ struct buf path;

    buf_init(&error, 1024);
    buf_init(&path, 4096);
    if (!keyfile_name_ok(key->name) || strcmp(key->name, KEYFILE_DEFAULT) == 0) {
        buf_addf(&error,
                 "a key's name has 1 to %d letters, digits, '.', '_' and '-', and is not '%s', which is API_KEY's",
                 KEYFILE_NAME_MAX, KEYFILE_DEFAULT);
        return verb_fail(&error);
    }
    _cleanup_fd_ int fd = state_open_configured(conf, true, &error);
    if (fd < 0 || read_list(fd, &list, &error) < 0)
        return verb_fail(&error);
    if (find(&list, key->name) < list.n) {
        buf_addf(&error, "there is a key called '%s' already; to replace it: hatchery key revoke %s", key->name,
                 key->name);
        return verb_fail(&error);
    }
    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2base64(text + 3, sizeof(text) - 3, bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_generichash(key->hash, sizeof(key->hash), (const unsigned char *) text, strlen(text), NULL, 0);
    key->created_s = time(NULL);
    on_key(&list, key);
    int err = write_list(fd, &list, &error);
    free(list.keys);
    if (err)
        return verb_fail(&error);
    state_path(conf->server_state, &path, &error); /* cannot fail: the directory was opened by this
                                                    * name */
    fprintf(stderr, "The key '%s', shown this once; a server whose state directory is %s knows it from now on:\n",
            key->name, buf_text(&path));
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

/* Print names and limits. */
static int list_keys(const struct conf *conf, const struct options *o, const char *name)
{
    struct list list = { 0 };
    _cleanup_buf_ struct buf error;
    char created[32];

    (void) o;
    (void) name;
    buf_init(&error, 1024);
    _cleanup_fd_ int fd = state_open_configured(conf, false, &error);
    if (fd < 0 || read_list(fd, &list, &error) < 0)
        return verb_fail(&error);
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

/* Forget a key: requests with it are refused from now on; its jobs go on. */
static int revoke_key(const struct conf *conf, const struct options *o, const char *name)
{
    struct list list = { 0 };
    _cleanup_buf_ struct buf error;

    (void) o;
    buf_init(&error, 1024);
    _cleanup_fd_ int fd = state_open_configured(conf, true, &error);
    if (fd < 0 || read_list(fd, &list, &error) < 0)
        return verb_fail(&error);
    size_t i = find(&list, name);
    if (!list.keys || i == list.n) {
        buf_adds(&error, strcmp(name, KEYFILE_DEFAULT) == 0
                             ? "the key 'default' is API_KEY's: start the server without it"
                             : "there is no key of this name; `hatchery key list` shows them");
        free(list.keys);
        return verb_fail(&error);
    }
    list.n--;
    memmove(&list.keys[i], &list.keys[i + 1], (list.n - i) * sizeof(*list.keys));
    int err = write_list(fd, &list, &error);
    free(list.keys);
    if (err)
        return verb_fail(&error);
    printf("Revoked.\n");
    return EXIT_SUCCESS;
}

/* Read a key's limit from its option. 0 means unlimited, and is allowed only if @least is 0. */
static int take_limit(const char *option, const char *text, unsigned least, unsigned *ret)
{
    int64_t n;

    if (!text)
        return 0;
    if (conf_value_number(CONF_COUNT, text, &n) < 0 || n < least || n > KEYFILE_LIMIT_MAX) {
        fprintf(stderr, "hatchery: %s: must be a number from %u to %d\n", option, least, KEYFILE_LIMIT_MAX);
        return -EINVAL;
    }
    *ret = (unsigned) n;
    return 0;
}

static int take_bytes(const char *option, const char *text, int64_t *ret)
{
    if (!text || conf_value_number(CONF_BYTES, text, ret) == 0)
        return 0;
    fprintf(stderr, "hatchery: %s: must be a number of bytes, or one with K, M or G\n", option);
    return -EINVAL;
}

/* Only a warning: the runtime may come later, or the server may have another configuration. */
static void warn_of_unknown(const struct conf *conf, const char *runtime)
{
    struct runtimes found;
    _cleanup_buf_ struct buf error;
    unsigned i = 0;

    buf_init(&error, 8192);
    int err = runtimes_find(conf, &found, &error);
    while (!err && i < found.n && strcmp(found.list[i].wire.name, runtime) != 0)
        i++;
    if (!err && i == found.n)
        fprintf(stderr,
                "hatchery: the key is made, but there is no runtime '%s' here yet: its requests get 400 until the "
                "server has one, or name another in X-Runtime\n",
                runtime);
    runtimes_free(&found);
}

static int make_key(const struct conf *conf, const struct options *o, const char *name)
{
    struct keyfile_key key = { .weight = 1 };

    if (take_limit("--weight", o->weight, 1, &key.weight) < 0
        || take_limit("--max-runs", o->max_runs, 0, &key.max_runs) < 0
        || take_limit("--max-waiting", o->max_waiting, 0, &key.max_waiting) < 0
        || take_limit("--rate", o->rate, 0, &key.rate) < 0
        || take_bytes("--max-bytes", o->max_bytes, &key.max_bytes) < 0)
        return EXIT_USAGE;
    /* A name that is too long is refused, not cut. */
    snprintf(key.name, sizeof(key.name), "%s", strlen(name) < sizeof(key.name) ? name : "");
    if (o->runtime && !keyfile_runtime_ok(o->runtime)) {
        fprintf(stderr, "hatchery: --runtime: '%s' is no runtime's name\n", o->runtime);
        return EXIT_USAGE;
    }
    snprintf(key.runtime, sizeof(key.runtime), "%s",
             o->runtime && strcmp(o->runtime, "default") != 0 ? o->runtime : "");
    int status = add_key(conf, &key);
    if (status == EXIT_SUCCESS && *key.runtime)
        warn_of_unknown(conf, key.runtime);
    return status;
}

static bool sets_no_limit(const struct options *o)
{
    return !o->weight && !o->max_runs && !o->max_waiting && !o->rate && !o->max_bytes && !o->runtime;
}

int run_key(const struct verb *verb, int argc, char **argv)
{
    static const struct action actions[] = {
        { "new", true, NULL, make_key },
        { "list", false, sets_no_limit, list_keys },
        { "revoke", true, sets_no_limit, revoke_key },
    };
    return action_run(verb, argc, argv, actions, sizeof(actions) / sizeof(*actions));
}

bool key_any(const struct conf *conf)
{
    struct list list = { 0 };
    _cleanup_buf_ struct buf error;

    buf_init(&error, 1024);
    _cleanup_fd_ int fd = state_open_configured(conf, false, &error);
    bool any = fd >= 0 && read_list(fd, &list, &error) == 0 && list.n > 0;
    free(list.keys);
    return any;
}
