/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery: the command, a table of verbs.
 *
 * It finds the verb on the command line and runs it; `serve` and `run` become the supervisor.  What
 * must never happen here: a start with a key that nobody chose. */
#include "command/env.h"
#include "command/help.h"
#include "command/key.h"
#include "command/options.h"
#include "command/sources.h"
#include "command/verb.h"

#include "base/log.h"
#include "command/check/check.h"
#include "conf/conf.h"
#include "supervisor/inherit.h"
#include "supervisor/runtimes.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The beginning of serve, run, doctor and selftest: the options, @n arguments, the configuration.
 * Returns the first argument's index, or -1 after it has told what is wrong. */
static int begin(const struct verb *verb, int argc, char **argv, int n, struct options *o, struct conf *conf)
{
    int first = options_parse(verb, argc, argv, o);

    if (first != argc - n) {
        if (first >= 0 && first < argc - n)
            fprintf(stderr, "hatchery: '%s' takes nothing more: '%s' is too much\n", verb->name, argv[first + n]);
        verb_usage_error(verb);
        return -1;
    }
    return sources_load(conf, o, false) < 0 ? -1 : first;
}

/* All that serve needs to read its configuration again. */
struct started {
    const struct options *options;
    const struct conf *conf;
};

static int reload(void *data, struct conf *ret, struct buf *error)
{
    const struct started *started = data;
    int err = sources_read(ret, started->options, started->conf, true, error);

    if (err)
        return err;
    if (*ret->server_api_key || key_any(ret))
        return 0;
    conf_free(ret);
    return fail(error, -EINVAL, "there would be no API key");
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
        so.generated_key = sources_generate_key(&conf);
    sources_forget_key();
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

/* Check the sockets that a service manager has opened for this start. */
static int check_inherited(struct buf *ret, struct buf *error)
{
    struct inherited given;
    int err = inherit_listeners(&given, error);

    inherit_describe(&given, ret);
    return err;
}

/* Print what may be wrong: it is no error, because it may be right when the server is started. */
static void print_doubts(const struct conf *conf)
{
    struct runtimes found;
    _cleanup_buf_ struct buf error;
    _cleanup_buf_ struct buf doubts;

    buf_init(&error, 8192);
    buf_init(&doubts, 8192);
    if (runtimes_find(conf, &found, &error) == 0) {
        runtimes_doubt_imports(conf, &found, &doubts);
        fputs(buf_text(&doubts), stdout);
        runtimes_free(&found);
    }
}

static int check_config(const struct verb *verb, int argc, char **argv)
{
    struct options o;
    _cleanup_buf_ struct buf sockets;
    _cleanup_buf_ struct buf error;
    struct conf conf;
    int first = options_parse(verb, argc, argv, &o);

    buf_init(&sockets, 4096);
    buf_init(&error, 4096);
    if (first < 0 || argc - first > 1 || (o.config && first < argc))
        return verb_usage_error(verb);
    if (first < argc)
        o.config = argv[first];
    bool refused = check_inherited(&sockets, &error) < 0;
    if (refused)
        sources_print_errors(&error);
    if (sources_load(&conf, &o, true) < 0)
        return EXIT_FAILURE;
    if (!refused) {
        printf("The configuration is valid%s\n",
               conf.server_api_key && *conf.server_api_key ? "." : ", but has no API key yet.");
        if (sockets.len)
            printf("%s\n", buf_text(&sockets));
        print_doubts(&conf);
    }
    conf_free(&conf);
    return refused ? EXIT_FAILURE : EXIT_SUCCESS;
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

/* Find the attempts: installed, or in the tree in which we were built. */
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

/* If 0, 1 or 2 is closed, the next descriptor gets its number, and a message to the operator would
 * go into it. */
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
    umask(umask(0) & 077); /* otherwise we could not open what we make; only root would not
                            * notice */
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
