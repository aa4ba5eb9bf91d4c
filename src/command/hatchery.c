/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery: the command, a table of verbs.
 *
 * Reads the command line, the configuration file and the environment, then
 * becomes the supervisor.  What must never happen here: a start with a key
 * that nobody chose, or with a setting that was misread. */
#include "command/env.h"
#include "command/help.h"
#include "command/key.h"

#include "base/log.h"
#include "box/layers.h"
#include "command/check/check.h"
#include "conf/conf.h"
#include "conf/conf_value.h"
#include "supervisor/ids.h"
#include "supervisor/inherit.h"
#include "supervisor/launch.h"
#include "supervisor/runtimes.h"
#include "supervisor/supervisor.h"
#include "supervisor/webhooks.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum { EXIT_USAGE = 2 };

struct verb {
    const char *name, *arguments;
    int (*run)(const struct verb *verb, int argc, char **argv);
};

/* What the options of any verb can say. */
struct options {
#define OPTION(word, field, argument, sentence) const char *field;
#define FLAG(word, field, sentence) bool field;
#include "command/verbs.def"
};

/* What getopt_long(3) calls them. */
enum {
    NO_OPTION = 256,
#define OPTION(word, field, argument, sentence) OPTION_##field,
#define FLAG(word, field, sentence) OPTION_##field,
#include "command/verbs.def"
};

static int usage_error(const struct verb *verb)
{
    fprintf(stderr, "Usage: hatchery %s %s\n`hatchery help %s` explains it.\n", verb->name, verb->arguments,
            verb->name);
    return EXIT_USAGE;
}

static void take_option(struct options *o, int option)
{
    switch (option) {
#define OPTION(word, field, argument, sentence)                                                                        \
    case OPTION_##field:                                                                                               \
        o->field = optarg;                                                                                             \
        break;
#define FLAG(word, field, sentence)                                                                                    \
    case OPTION_##field:                                                                                               \
        o->field = true;                                                                                               \
        break;
#include "command/verbs.def"
    default: break;
    }
}

/* What getopt_long(3) says of @word with @c: '?' or ':'. */
static void refuse_option(const struct verb *verb, const struct option *longs, int c, const char *word)
{
    const struct option *option = longs;

    while (option->name && option->val != optopt)
        option++;
    if (!option->name)
        fprintf(stderr, "hatchery: '%s' has no option %.*s\n", verb->name, (int) strcspn(word, "="), word);
    else if (!help_lists_option(verb->arguments, option->name))
        fprintf(stderr, "hatchery: '%s' has no option --%s\n", verb->name, option->name);
    else
        fprintf(stderr, "hatchery: --%s %s\n", option->name, c == ':' ? "needs a value" : "takes no value");
}

/* Options stand before or after the arguments; returns the first argument's index, or -1. */
static int parse_options(const struct verb *verb, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
#define OPTION(word, field, argument, sentence) { word, required_argument, NULL, OPTION_##field },
#define FLAG(word, field, sentence) { word, no_argument, NULL, OPTION_##field },
#include "command/verbs.def"
        { NULL, 0, NULL, 0 },
    };
    int c;

    *o = (struct options){ 0 };
    while ((c = getopt_long(argc, argv, ":c:v", longs, NULL)) != -1) {
        c = c == 'c' ? OPTION_config : c == 'v' ? OPTION_verbose : c;
        const struct option *option = longs;
        while (option->name && option->val != c)
            option++;
        /* An option that this verb does not list would silently do nothing. */
        if (!option->name || !help_lists_option(verb->arguments, option->name)) {
            optopt = option->name ? c : optopt;
            refuse_option(verb, longs, c, argv[optind - 1]);
            return -1;
        }
        take_option(o, c);
    }
    return optind;
}

/* From an option of the command line, or not at all. */
static int set(struct conf *conf, const char *section, const char *key, const char *value, struct buf *error)
{
    static const char origin[] = "command line";
    size_t mark = error->len;

    if (!value)
        return 0;
    conf_sentence(error);
    buf_addf(error, "%s: ", origin);
    int err = conf_set(conf, section, key, value, error);
    if (!err) {
        error->len = mark;
        conf_note_origin(conf, conf_find(section, key), origin);
    }
    return err;
}

/* What only the courier's own rules can judge. */
static int check_webhooks(const struct conf *conf, struct buf *error)
{
    static struct wire_server_conf server;
    static struct courier_conf courier;
    int err = webhooks_fill(conf, &courier, &server, error);

    sodium_memzero(&courier, sizeof(courier));
    return err;
}

static const char generated[] = "--generate-key";

/* What was in the environment when we started, or was made up then, is still so; but it was wiped there. */
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

/* At the start everything is; later what the server does not have from its start. */
static bool is_new(const struct conf *conf, const struct conf *first, const char *section, const char *key)
{
    return !first || !conf_equals(conf, first, conf_find(section, key));
}

/* What else the supervisor will ask of this machine; some verbs need none of it. */
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
    return user ? user : root ? root : runtimes;
}

/* The supervisor's business; here only the words are checked. */
static int check_layers(const struct conf *conf, struct buf *error)
{
    uint32_t required;
    size_t mark = error->len;

    return conf_locate(conf, layers_parse(conf->isolation_require, &required, error), mark, error);
}

/* The first error is the one that is returned. */
static int worse(int err, int next)
{
    return err ? err : next;
}

/* The installed file is root's: an ordinary user's server has a configuration of its own, or none.  NULL: there is none. */
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
    size_t n, place; /* the line of the file that it is about; those that name none come last */
};

/* "FILE:LINE: ..." */
static size_t line_of(const char *text, size_t n)
{
    const char *end = memmem(text, n, ": ", 2), *colon = end ? memrchr(text, ':', (size_t) (end - text)) : NULL;
    size_t line = 0;

    for (const char *p = colon ? colon + 1 : end; p && p < end; p++)
        line = *p >= '0' && *p <= '9' ? line * 10 + (size_t) (*p - '0') : SIZE_MAX / 10;
    return colon && line ? line : SIZE_MAX;
}

/* The sentences of @errors, one a line, in the order of the file, whichever check has found what is wrong. */
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

/* A sentence a line. */
static void print_errors(const struct buf *errors)
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

/* Defaults, file, environment, command line, in this order.  @first: what a server started with, when it reads them
 * again; else NULL.  All that is wrong is told in @error, a sentence a line, and @conf is empty then; with @whole what
 * this machine has not got is wrong, too. */
static int read_conf(struct conf *conf, const struct options *o, const struct conf *first, bool whole,
                     struct buf *error)
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

static int load_conf(struct conf *conf, const struct options *o, bool whole)
{
    struct buf error;

    buf_init(&error, 65536);
    int err = read_conf(conf, o, NULL, whole, &error);
    if (err)
        print_errors(&error);
    buf_free(&error);
    return err;
}

/* The environment's copies of the key are of no more use, and /proc/PID/environ shows them. */
static void forget_key(void)
{
    static const char *const names[] = { "API_KEY=", "HATCHERY_SERVER_API_KEY=", "HATCHERY_WEBHOOKS_SECRET=" };
    for (char **p = environ; *p; p++)
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            if (strncmp(*p, names[i], strlen(names[i])) == 0)
                sodium_memzero(*p + strlen(names[i]), strlen(*p + strlen(names[i])));
}

static const char *generate_key(struct conf *conf)
{
    static char key[44];
    unsigned char bytes[24];
    struct buf error;

    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2base64(key, sizeof(key), bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_init(&error, 256);
    conf_set(conf, "server", "api_key", key, &error);
    conf_note_origin(conf, conf_find("server", "api_key"), generated);
    buf_free(&error);
    return key;
}

/* What serve, run, doctor and selftest begin with: the options, @n arguments, the configuration.  The first argument's
 * index; or -1, and what is wrong has been said. */
static int begin(const struct verb *verb, int argc, char **argv, int n, struct options *o, struct conf *conf)
{
    int first = parse_options(verb, argc, argv, o);

    if (first != argc - n) {
        if (first >= 0 && first < argc - n)
            fprintf(stderr, "hatchery: '%s' takes nothing more: '%s' is too much\n", verb->name, argv[first + n]);
        usage_error(verb);
        return -1;
    }
    return load_conf(conf, o, false) < 0 ? -1 : first;
}

/* What serve needs to read its configuration again. */
struct started {
    const struct options *options;
    const struct conf *conf;
};

static int reload(void *data, struct conf *ret, struct buf *error)
{
    const struct started *started = data;
    int err = read_conf(ret, started->options, started->conf, true, error);

    if (!err && !*ret->server_api_key && !key_any(ret)) {
        buf_adds(error, "there would be no API key");
        conf_free(ret);
        err = -EINVAL;
    }
    return err;
}

static int serve(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct conf conf;
    struct started started = { &o, &conf };
    struct supervisor_options so = { .source_fd = -1, .managed = true, .reload = reload, .reload_data = &started };

    if (begin(verb, argc, argv, 0, &o, &conf) < 0)
        return EXIT_USAGE;
    bool has_key = conf.server_api_key && *conf.server_api_key;
    if (!has_key && !o.generate_key && !key_any(&conf)) {
        log_sentence(
            "there is no API key, and none is made up unasked: set API_KEY or API_KEY_FILE in the "
            "environment or api_key_file in [server] of the configuration, make one with `hatchery key new NAME`, "
            "or start with --generate-key");
        return EXIT_USAGE;
    }
    if (!has_key && o.generate_key)
        so.generated_key = generate_key(&conf);
    forget_key();
    so.conf = &conf;
    int status = supervisor_run(&so);
    conf_free(&conf);
    return status;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct supervisor_options so = { .source_fd = -1 };
    struct options o;
    struct conf conf;
    int first = begin(verb, argc, argv, 1, &o, &conf);

    if (first < 0)
        return EXIT_USAGE;
    so.source_fd =
        strcmp(argv[first], "-") == 0 ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(argv[first], O_RDONLY | O_CLOEXEC);
    if (so.source_fd < 0) {
        fprintf(stderr, "hatchery: cannot open %s: %s\n", argv[first], strerror(errno));
        return EXIT_USAGE;
    }
    so.conf = &conf;
    so.runtime = o.runtime;
    int status = supervisor_run(&so);
    close(so.source_fd);
    conf_free(&conf);
    return status;
}

/* Sockets that a service manager has opened for this start. */
static int check_inherited(struct buf *ret, struct buf *error)
{
    struct inherited given;
    int err = inherit_listeners(&given, error);

    inherit_describe(&given, ret);
    return err;
}

/* What is no error, as it may be there when the server is started. */
static void print_doubts(const struct conf *conf)
{
    struct runtimes found;
    struct buf error, doubts;

    buf_init(&error, 8192);
    buf_init(&doubts, 8192);
    if (runtimes_find(conf, &found, &error) == 0) {
        runtimes_doubt_imports(conf, &found, &doubts);
        printf("%.*s", (int) doubts.len, doubts.len ? doubts.data : "");
        runtimes_free(&found);
    }
    buf_free(&doubts);
    buf_free(&error);
}

static int check_config(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct buf sockets, error;
    struct conf conf;
    int first = parse_options(verb, argc, argv, &o);

    if (first < 0 || argc - first > 1 || (o.config && first < argc))
        return usage_error(verb);
    if (first < argc)
        o.config = argv[first];
    buf_init(&sockets, 4096);
    buf_init(&error, 4096);
    int err = check_inherited(&sockets, &error);
    if (err)
        print_errors(&error);
    err = worse(err, load_conf(&conf, &o, true));
    if (!err) {
        printf("The configuration is valid%s\n",
               conf.server_api_key && *conf.server_api_key ? "." : ", but has no API key yet.");
        if (sockets.len)
            printf("%.*s\n", (int) sockets.len, sockets.data);
        print_doubts(&conf);
    }
    buf_free(&sockets);
    buf_free(&error);
    conf_free(&conf);
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_config(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct conf conf;
    struct buf out;

    if (begin(verb, argc, argv, 0, &o, &conf) < 0)
        return EXIT_USAGE;
    buf_init(&out, 1 << 20);
    conf_print(&conf, &out);
    bool written = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_free(&out);
    conf_free(&conf);
    return written ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A limit of a key from its option; 0, which means unlimited, only where @least is. */
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

/* A runtime can come later, and a server can have another configuration: so this is only said. */
static void warn_of_unknown(const struct conf *conf, const char *runtime)
{
    struct runtimes found;
    struct buf error;
    unsigned i = 0;

    buf_init(&error, 8192);
    int err = runtimes_find(conf, &found, &error);
    buf_free(&error);
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
    /* What is too long is refused, not cut. */
    snprintf(key.name, sizeof(key.name), "%s", strlen(name) < sizeof(key.name) ? name : "");
    if (o->runtime && !keyfile_runtime_ok(o->runtime)) {
        fprintf(stderr, "hatchery: --runtime: '%s' is no runtime's name\n", o->runtime);
        return EXIT_USAGE;
    }
    snprintf(key.runtime, sizeof(key.runtime), "%s",
             o->runtime && strcmp(o->runtime, "default") != 0 ? o->runtime : "");
    int status = key_new(conf, &key);
    if (status == EXIT_SUCCESS && *key.runtime)
        warn_of_unknown(conf, key.runtime);
    return status;
}

/* What others call it, after key and env. */
static const struct {
    const char *verb, *said, *meant;
} other_words[] = {
    { "key", "add", "new" },       { "key", "create", "new" },    { "key", "make", "new" },
    { "key", "remove", "revoke" }, { "key", "delete", "revoke" }, { "key", "rm", "revoke" },
    { "key", "ls", "list" },       { "env", "new", "add" },       { "env", "create", "add" },
    { "env", "make", "add" },      { "env", "delete", "remove" }, { "env", "rm", "remove" },
    { "env", "revoke", "remove" }, { "env", "ls", "list" },
};

static int action_error(const struct verb *verb, const char *action)
{
    for (size_t i = 0; i < sizeof(other_words) / sizeof(*other_words); i++)
        if (strcmp(verb->name, other_words[i].verb) == 0 && strcmp(action, other_words[i].said) == 0)
            fprintf(stderr, "hatchery: '%s' has no '%s': did you mean '%s'?\n", verb->name, action,
                    other_words[i].meant);
    return usage_error(verb);
}

static int key(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct conf conf;
    int first = parse_options(verb, argc, argv, &o);
    const char *action = first > 0 && first < argc ? argv[first] : "";
    bool list = strcmp(action, "list") == 0, revoke = strcmp(action, "revoke") == 0, make = strcmp(action, "new") == 0;
    bool limits = o.weight || o.max_runs || o.max_waiting || o.rate || o.max_bytes || o.runtime;

    if (first < 0 || argc - first != (list ? 1 : 2) || !(list || revoke || make) || (limits && !make))
        return action_error(verb, action);
    if (load_conf(&conf, &o, false) < 0)
        return EXIT_USAGE;
    const char *name = argv[argc - 1];
    int status = list ? key_list(&conf) : revoke ? key_revoke(&conf, name) : make_key(&conf, &o, name);
    conf_free(&conf);
    return status;
}

static int env(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct conf conf;
    int first = parse_options(verb, argc, argv, &o);
    const char *action = first > 0 && first < argc ? argv[first] : "";
    bool list = strcmp(action, "list") == 0, add = strcmp(action, "add") == 0, remove = strcmp(action, "remove") == 0;

    if (first < 0 || argc - first != (list ? 1 : 2) || !(list || add || remove)
        || (add ? !o.from == !o.requirements : o.from || o.requirements) || (o.build && !o.requirements))
        return action_error(verb, action);
    if (load_conf(&conf, &o, false) < 0)
        return EXIT_USAGE;
    const char *name = argv[argc - 1];
    int status = list  ? env_list(&conf)
                 : add ? env_add(&conf, name, o.from, o.requirements, o.build)
                       : env_remove(&conf, name);
    conf_free(&conf);
    return status;
}

static int run_doctor(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct conf conf;

    if (begin(verb, argc, argv, 0, &o, &conf) < 0)
        return EXIT_USAGE;
    int status = doctor(&conf, o.json);
    conf_free(&conf);
    return status;
}

static int run_health(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    struct conf conf;

    if (begin(verb, argc, argv, 0, &o, &conf) < 0)
        return EXIT_USAGE;
    int status = health(&conf);
    conf_free(&conf);
    return status;
}

/* Where the attempts are: installed, or in the tree that we were built in. */
static int find_attempts(char *path, size_t size)
{
    static const char *const places[] = { "/../share/hatchery/attempts", "/../tests/escape/attempts" };
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[n < 0 ? 0 : n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        snprintf(path, size, "%s%s", self, places[i]);
        if (access(path, R_OK) == 0)
            return 0;
    }
    fprintf(stderr, "hatchery: the attempts are not at %s: run `make install`\n", path);
    return -ENOENT;
}

static int run_selftest(const struct verb *verb, int argc, char **argv)
{
    char path[PATH_MAX + 64];
    struct options o;
    struct conf conf;

    if (begin(verb, argc, argv, 0, &o, &conf) < 0 || find_attempts(path, sizeof(path)) < 0)
        return EXIT_USAGE;
    int status = selftest(&conf, path, o.only, o.verbose);
    conf_free(&conf);
    return status;
}

static const struct verb verbs[] = {
#define VERB(word, function, arguments, sentences, example) { word, arguments, function },
#include "command/verbs.def"
};

/* `hatchery help [TOPIC]`, `hatchery --help`. */
static int help(const char *topic)
{
    if (!topic)
        help_overview(stdout);
    else if (!help_topic(topic)) {
        fprintf(stderr, "hatchery: there is no help on '%s'; `hatchery --help` lists the verbs\n", topic);
        return EXIT_USAGE;
    }
    return EXIT_SUCCESS;
}

/* Where 0, 1 or 2 is closed the next descriptor gets its number, and a message for a person goes into it. */
static int open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    return fd < 0 ? -1 : close(fd);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (open_standard_streams() < 0)
        return EXIT_FAILURE;
    umask(umask(0) & 077); /* or what we make could not be opened by us: only root does not notice */
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("hatchery %s\n", VERSION);
        return EXIT_SUCCESS;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(name, verbs[i].name) == 0)
            return asks_for_help(argc, argv) ? help(name) : verbs[i].run(&verbs[i], argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "hatchery: unknown verb '%s'; `hatchery --help` lists them\n", name);
    else
        help_overview(stderr);
    return EXIT_USAGE;
}
