/* SPDX-License-Identifier: Apache-2.0 */
/* The keys: which there are, which one a request has, how often it may come.
 *
 * Called by the handlers, and by the loop when the file changes.  What must
 * never happen here: a comparison whose time tells of a key, or a damaged file
 * that lets somebody in or everybody out. */
#include "server/jobs/keys.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static const char file_name[] = "keys";

struct keys {
    struct key *first;
    uv_poll_t watch;
    int watch_fd; /* inotify(7); -1: none */
};

static struct key *add(struct keys *keys, const char *name)
{
    struct key *key = xcalloc(1, sizeof(*key));

    snprintf(key->file.name, sizeof(key->file.name), "%s", name);
    key->file.weight = 1;
    key->holder.is_key = true;
    share_init(&key->share);
    key->next = keys->first;
    keys->first = key;
    return key;
}

struct key *keys_named(struct keys *keys, const char *name)
{
    for (struct key *key = keys->first; key; key = key->next)
        if (strcmp(key->file.name, name) == 0)
            return key;
    return add(keys, name);
}

struct key *keys_first(const struct keys *keys)
{
    return keys->first;
}

void keys_set_default(struct keys *keys, const unsigned char *hash)
{
    struct key *key = keys_named(keys, KEYFILE_DEFAULT);

    key->valid = hash != NULL;
    if (hash)
        memcpy(key->file.hash, hash, sizeof(key->file.hash));
}

struct keys *keys_new(const unsigned char *default_hash)
{
    struct keys *keys = xcalloc(1, sizeof(*keys));

    keys->watch_fd = -1;
    keys_set_default(keys, default_hash);
    return keys;
}

struct key *keys_find(const struct keys *keys, const char *text, size_t len)
{
    unsigned char hash[KEYFILE_HASH];
    struct key *found = NULL;

    crypto_generichash(hash, sizeof(hash), (const unsigned char *) text, len, NULL, 0);
    for (struct key *key = keys->first; key; key = key->next) {
        bool same = sodium_memcmp(hash, key->file.hash, sizeof(hash)) == 0;
        if (same && key->valid)
            found = key;
    }
    return found;
}

struct key *keys_of_holder(struct holder *holder)
{
    return holder ? (struct key *) (void *) ((char *) holder - offsetof(struct key, holder)) : NULL;
}

/* --- the file --- */

/* The new set, complete before the old one is touched. */
struct reading {
    struct keyfile_key *list;
    size_t n, cap;
};

static void on_key(void *data, const struct keyfile_key *key)
{
    struct reading *r = data;

    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->list = xrealloc(r->list, r->cap * sizeof(*r->list));
    }
    r->list[r->n++] = *key;
}

static void take(struct keys *keys, const struct reading *r)
{
    for (struct key *key = keys->first; key; key = key->next)
        if (strcmp(key->file.name, KEYFILE_DEFAULT) != 0)
            key->valid = false;
    for (size_t i = 0; i < r->n; i++) {
        struct key *key = keys_named(keys, r->list[i].name);
        if (key->file.rate != r->list[i].rate)
            key->tokens_us = 0;
        key->file = r->list[i];
        key->valid = true;
        key->share.weight = key->file.weight;
        key->share.max_runs = key->file.max_runs;
        key->share.max_waiting = key->file.max_waiting;
    }
}

static void load(struct keys *keys, bool tell)
{
    struct reading r = { 0 };
    unsigned line = 0;
    char *text = xmalloc(KEYFILE_BYTES_MAX);
    ssize_t n = fd_read_file(AT_FDCWD, file_name, text, KEYFILE_BYTES_MAX);

    if (n == -ENOENT)
        n = 0;
    int err = n < 0 ? (int) n : keyfile_parse(text, (size_t) n, on_key, &r, &line);
    if (err)
        log_error("the file of keys cannot be read: the keys before it stay valid",
                  LOG_S("errno", strerrorname_np(-err)) LOG_I("line", line));
    else {
        take(keys, &r);
        if (tell)
            log_info("keys read", LOG_I("keys", r.n));
    }
    free(r.list);
    free(text);
}

/* Is one of the @n bytes of events about our file?  One that was lost (IN_Q_OVERFLOW, without a name) may be. */
static bool is_about_us(const char *events, size_t n)
{
    struct inotify_event event;
    bool found = false;

    for (size_t at = 0; at + sizeof(event) <= n; at += sizeof(event) + event.len) {
        memcpy(&event, events + at, sizeof(event));
        found = found || !event.len || strcmp(events + at + sizeof(event), file_name) == 0;
    }
    return found;
}

static void on_change(uv_poll_t *watch, int status, int poll_events)
{
    struct keys *keys = watch->data;
    bool changed = false;
    char events[4096];
    ssize_t n;

    (void) status, (void) poll_events;
    while ((n = read(keys->watch_fd, events, sizeof(events))) > 0)
        changed = is_about_us(events, (size_t) n) || changed;
    if (changed)
        load(keys, true);
}

/* Not uv_fs_event_t: that one asks for every write as well, and the store's log, which lies in the same directory, is
 * written to all the time. */
static int start_watch(struct keys *keys, uv_loop_t *loop)
{
    keys->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (keys->watch_fd < 0
        || inotify_add_watch(keys->watch_fd, ".", IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0) {
        int err = -errno;
        fd_close(&keys->watch_fd);
        return err;
    }
    keys->watch.data = keys;
    uv_poll_init(loop, &keys->watch, keys->watch_fd);
    return uv_poll_start(&keys->watch, UV_READABLE, on_change);
}

int keys_watch(struct keys *keys, uv_loop_t *loop)
{
    int err = start_watch(keys, loop);
    load(keys, false);
    return err;
}

void keys_close(struct keys *keys)
{
    if (keys->watch_fd < 0)
        return;
    uv_close((uv_handle_t *) &keys->watch, NULL);
    fd_close(&keys->watch_fd);
}

/* --- rates --- */

/* A bucket that holds a minute's requests and is filled evenly. */
bool key_take(struct key *key, int64_t now_us, unsigned *ret_left, unsigned *ret_wait_s)
{
    double rate = key->file.rate;

    key->tokens = key->tokens_us ? fmin(rate, key->tokens + rate * (double) (now_us - key->tokens_us) / 60e6) : rate;
    key->tokens_us = now_us;
    bool ok = key->tokens >= 1;
    if (ok)
        key->tokens -= 1;
    *ret_left = (unsigned) key->tokens;
    double missing = ok ? rate - key->tokens : 1 - key->tokens;
    *ret_wait_s = (unsigned) ceil(missing * 60 / rate);
    return ok;
}
