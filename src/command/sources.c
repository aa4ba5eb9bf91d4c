/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration from all its sources, and its errors.
 *
 * Verbs call this at their start; a server calls it again when it reloads.  What must never happen
 * here: a setting that is misread, an error that is found and not told, or a secret in an error. */
#include "command/sources.h"

#include "base/log.h"
#include "box/layers.h"
#include "supervisor/ids.h"
#include "supervisor/launch.h"
#include "supervisor/runtimes.h"
#include "supervisor/webhooks.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Set a key from an option of the command line, if the option was given. */
static int set(struct conf *conf, const char *section, const char *key, const char *value, struct buf *error)
{
    static const char origin[] = "command line";
    size_t mark = error->len;

    if (!value)
        return 0;
    conf_sentence(error);
    buf_addf(error, "%s: ", origin);
    int err = conf_set(conf, section, key, value, error);
    if (err)
        return err;
    error->len = mark;
    conf_note_origin(conf, conf_find(section, key), origin);
    return 0;
}

/* Errors that only the courier's own rules show. */
static int check_webhooks(const struct conf *conf, struct buf *error)
{
    static struct wire_server_conf server;
    static struct courier_conf courier;
    int err = webhooks_fill(conf, &courier, &server, error);

    sodium_memzero(&courier, sizeof(courier));
    return err;
}

static const char generated[] = "--generate-key";

/* Secrets that were in the environment when we started, or a key generated then, still hold.  The
 * environment no longer has them, because it was wiped. */
static void keep_secrets(struct conf *conf, const struct conf *first)
{
    for (const struct conf_key *k = conf_keys; first && k->section; k++) {
        const char *origin = conf_origin(first, k);
        bool wiped = k->type == CONF_SECRET && strncmp(origin, "environment ", 12) == 0;
        if (wiped || (strcmp(origin, generated) == 0 && !*conf->server_api_key && !*conf->server_api_key_file))
            conf_copy(conf, first, k);
        if (wiped && conf_find("server", "api_key") == k) /* the environment is the later source */
            conf_set(conf, "server", "api_key_file", "", NULL);
    }
}

/* At the start every value is new; at a reload, a value that differs from the one at the start. */
static bool is_new(const struct conf *conf, const struct conf *first, const char *section, const char *key)
{
    return !first || !conf_equals(conf, first, conf_find(section, key));
}

/* Returns the first error. */
static int worse(int err, int next)
{
    return err ? err : next;
}

/* Check what else the supervisor will ask of this machine. Some verbs need none of it. */
static int check_host(const struct conf *conf, const struct conf *first, struct buf *error)
{
    size_t mark = error->len;
    struct runtimes found;
    uid_t uid;
    gid_t gid;
    int user = 0, root = 0;

    if (*conf->server_user && is_new(conf, first, "server", "user"))
        user = ids_of_user(conf->server_user, &uid, &gid, error);
    user = conf_locate(conf, user, mark, error);
    mark = error->len;
    if (is_new(conf, first, "isolation", "root"))
        root = launch_check_root(conf->isolation_root, error);
    root = conf_locate(conf, root, mark, error);
    int runtimes = runtimes_find(conf, &found, error);
    runtimes_free(&found);
    return worse(worse(user, root), runtimes);
}

/* Only the words are checked here; the rest is the supervisor's business. */
static int check_layers(const struct conf *conf, struct buf *error)
{
    uint32_t required;
    size_t mark = error->len;

    return conf_locate(conf, layers_parse(conf->isolation_require, &required, error), mark, error);
}

/* The installed file is root's. The server of an ordinary user has a configuration of its own, or
 * none: NULL. */
static const char *find_conf(const struct options *o)
{
    static const char installed[] = SYSCONFDIR "/hatchery/hatchery.conf";
    const char *path = o->config ? o->config : getenv("HATCHERY_CONFIG");

    if (path || geteuid() != 0 || (access(installed, F_OK) < 0 && errno == ENOENT))
        return path;
    return installed;
}

static int read_sources(struct conf *conf, const struct options *o, struct buf *error)
{
    const char *path = find_conf(o);
    int err = path ? conf_read(conf, path, error) : 0;

    err = worse(err, conf_environ(conf, environ, error));
    err = worse(err, set(conf, "server", "listen", o->listen, error));
    err = worse(err, set(conf, "server", "state", o->state, error));
    return worse(err, set(conf, "limits", "timeout_default", o->timeout, error));
}

struct sentence {
    const char *text;
    size_t n, place; /* the line of the file that it is about; sentences without a line come last */
};

/* The line of "FILE:LINE: ...". */
static size_t line_of(const char *text, size_t n)
{
    const char *end = memmem(text, n, ": ", 2), *colon = end ? memrchr(text, ':', (size_t) (end - text)) : NULL;
    size_t line = 0;

    for (const char *p = colon ? colon + 1 : end; p && p < end; p++)
        line = *p >= '0' && *p <= '9' ? line * 10 + (size_t) (*p - '0') : SIZE_MAX / 10;
    return colon && line ? line : SIZE_MAX;
}

/* Sort the sentences of @errors, one a line, by their line in the file, whichever check found
 * them. */
static void order_errors(struct buf *errors)
{
    struct sentence *all = NULL;
    struct buf ordered;
    size_t n = 0;

    for (size_t at = 0; at < errors->len; at += all[n++].n + 1) {
        const char *p = errors->data + at, *stop = memchr(p, '\n', errors->len - at);
        size_t len = stop ? (size_t) (stop - p) : errors->len - at;
        all = xrealloc(all, (n + 1) * sizeof(*all));
        all[n] = (struct sentence){ p, len, line_of(p, len) };
    }
    buf_init(&ordered, errors->max);
    for (size_t done = 0; done < n; done++) {
        struct sentence *first = all;
        for (struct sentence *one = all; one < all + n; one++)
            if (one->text && (!first->text || one->place < first->place))
                first = one;
        conf_sentence(&ordered);
        buf_add(&ordered, first->text, first->n);
        first->text = NULL;
    }
    ordered.full = errors->full;
    free(all);
    buf_free(errors);
    *errors = ordered;
}

void sources_print_errors(const struct buf *errors)
{
    const char *next;

    for (size_t at = 0; at < errors->len; at = (size_t) (next - errors->data) + 1) {
        const char *p = errors->data + at, *end = memchr(p, '\n', errors->len - at);
        next = end ? end : errors->data + errors->len;
        log_sentence("%.*s", (int) (next - p), p);
    }
    if (errors->full)
        log_sentence("and so on: there is no room for all that is wrong");
}

int sources_read(struct conf *conf, const struct options *o, const struct conf *first, bool whole, struct buf *error)
{
    conf_init(conf);
    int err = read_sources(conf, o, error);
    keep_secrets(conf, first);
    err = worse(err, conf_finish(conf, error));
    err = worse(err, check_webhooks(conf, error));
    err = worse(err, check_layers(conf, error));
    if (whole)
        err = worse(err, check_host(conf, first, error));
    if (err) {
        conf_free(conf);
        order_errors(error);
    }
    return err;
}

int sources_load(struct conf *conf, const struct options *o, bool whole)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 65536);
    int err = sources_read(conf, o, NULL, whole, &error);
    if (err)
        sources_print_errors(&error);
    return err;
}

void sources_forget_key(void)
{
    static const char *const names[] = { "API_KEY=", "HATCHERY_SERVER_API_KEY=", "HATCHERY_WEBHOOKS_SECRET=" };
    for (char **p = environ; *p; p++)
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            if (strncmp(*p, names[i], strlen(names[i])) == 0)
                sodium_memzero(*p + strlen(names[i]), strlen(*p + strlen(names[i])));
}

const char *sources_generate_key(struct conf *conf)
{
    static char key[44];
    unsigned char bytes[24];
    _cleanup_buf_ struct buf error;

    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2base64(key, sizeof(key), bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_init(&error, 256);
    conf_set(conf, "server", "api_key", key, &error);
    conf_note_origin(conf, conf_find("server", "api_key"), generated);
    return key;
}
