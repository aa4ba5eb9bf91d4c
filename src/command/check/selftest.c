/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery selftest: programs that try to get out, on the installation as it is.
 *
 * Each attempt is a request to a service of our own, and its reply must show the wall that it ran
 * into. What must never happen here: that an attempt which was never made counts as refused (each
 * prints ATTEMPT first), or that a verdict is read more kindly than it was written. */
#include "command/check/attempt.h"
#include "command/check/check.h"
#include "command/check/service.h"

#include "base/clock.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { RUNS_MAX = 32, GONE_S = 10, TIMEOUT_S = 20, WITHIN_S = 60, FIRST_TURNS = 6 };

/* NOT_HELD: nothing stopped it, but the layer that would is not required here. */
enum verdict { HELD, ACCEPTED, LEFT_OUT, NOT_HELD, GOT_THROUGH };

struct selftest {
    struct conf *conf;
    struct service service;
    const char *server; /* the line of configuration with which the running service was made, or
                         * NULL */
    bool running;
    const char *only;
    bool verbose, terminal;
    unsigned counts[GOT_THROUGH + 1];
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void) sig;
    interrupted = 1;
}

/* --- what a reply shows --- */

/* The last verdict among the lines of stdout, or "". */
static void find_verdict(const char *text, char *ret, size_t size)
{
    static const char *const words[] = { "REFUSED", "THROUGH", "FAULT" };

    ret[0] = '\0';
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
            if (strncmp(line, words[i], strlen(words[i])) == 0)
                snprintf(ret, size, "%.*s", (int) strcspn(line, "\n"), line);
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* The object with stdout and stderr: "response", or the reply itself if the run failed. */
static const json_t *streams(const json_t *reply)
{
    const json_t *response = json_object_get(reply, "response");
    return json_is_object(response) ? response : reply;
}

/* The end of the run in the table's words: "run REASON MESSAGE". */
static void describe_end(const json_t *reply, int status, char *ret, size_t size)
{
    snprintf(ret, size, "run %s %s", status == 200 ? "success" : member(reply, "reason"), member(reply, "message"));
}

/* "run REASON WORDS" needs the same reason, and the words somewhere in the message. */
static bool matches_end(const char *expected, const char *seen)
{
    const char *words = strchr(expected + strlen("run "), ' ');
    size_t n = words ? (size_t) (words - expected) : strlen(expected);

    return strncmp(expected, seen, n) == 0 && seen[n] == ' ' && (!words || strstr(seen + n, words + 1));
}

static bool matches(const char *expected, const json_t *reply, int status, const char *verdict)
{
    char end[1024];

    if (strncmp(expected, "run ", 4) == 0) {
        describe_end(reply, status, end, sizeof(end));
        return matches_end(expected, end);
    }
    if (strncmp(expected, "result ", 7) == 0) {
        char *tame = service_tame(expected + 7);
        json_t *wanted = json_loads(tame, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        free(tame);
        bool same = status == 200 && wanted && json_equal(wanted, json_object_get(streams(reply), "result"));
        json_decref(wanted);
        return same;
    }
    return strcmp(expected, verdict) == 0;
}

/* Does one of the alternatives, separated by " | ", match? */
static bool matches_any(const char *expect, const json_t *reply, int status, const char *verdict)
{
    char copy[512];
    char *rest = copy;

    snprintf(copy, sizeof(copy), "%s", expect);
    while (rest) {
        char *one = rest;
        rest = strstr(rest, " | ");
        if (rest) {
            *rest = '\0';
            rest += 3;
        }
        if (matches(one, reply, status, verdict))
            return true;
    }
    return false;
}

static bool was_cut(const struct attempt *a, const json_t *reply)
{
    char name[64];

    if (!a->truncated)
        return true;
    snprintf(name, sizeof(name), "%s_truncated", a->truncated);
    return json_is_true(json_object_get(streams(reply), name));
}

/* --- one attempt --- */

struct replies {
    unsigned n;
    json_t *json[RUNS_MAX];
    int status[RUNS_MAX]; /* -errno if no reply came */
    char verdict[RUNS_MAX][256];
};

static int number(const char *text, int otherwise)
{
    return text ? atoi(text) : otherwise;
}

static void take_reply(struct replies *r, int fd, const struct attempt *a)
{
    unsigned i = r->n++;

    r->status[i] = fd < 0 ? fd : service_reply(fd, number(a->within, WITHIN_S), &r->json[i]);
    if (r->status[i] >= 0)
        find_verdict(member(streams(r->json[i]), "stdout"), r->verdict[i], sizeof(r->verdict[i]));
}

static void make(const struct selftest *t, const struct attempt *a, struct replies *r)
{
    int timeout = number(a->timeout, TIMEOUT_S);

    if (a->twice) {
        int first = service_ask(&t->service, a->source, timeout);
        int second = service_ask(&t->service, a->source, timeout);
        take_reply(r, first, a);
        take_reply(r, second, a);
        return;
    }
    for (int i = 0; i < number(a->runs, 1) && i < RUNS_MAX; i++)
        take_reply(r, service_ask(&t->service, a->source, timeout), a);
}

/* Do two replies have the same VALUE line? */
static bool same_value(const struct replies *r, unsigned i, unsigned j)
{
    const char *a = strstr(member(streams(r->json[i]), "stdout"), "VALUE ");
    const char *b = strstr(member(streams(r->json[j]), "stdout"), "VALUE ");
    size_t n = a ? strcspn(a, "\n") : 0;

    return a && b && n == strcspn(b, "\n") && memcmp(a, b, n) == 0;
}

static bool has_values(const struct replies *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->status[i] < 0 || !strstr(member(streams(r->json[i]), "stdout"), "VALUE "))
            return false;
    return r->n > 1;
}

static bool compare_values(const struct attempt *a, const struct replies *r)
{
    bool distinct = strcmp(a->expect, "DISTINCT") == 0;

    for (unsigned i = 0; i < r->n; i++)
        for (unsigned j = 0; j < i; j++)
            if (same_value(r, i, j) == distinct)
                return false;
    return has_values(r);
}

/* Every run made its attempt and ended with a reply. */
static bool was_made(const struct replies *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->status[i] < 0 || strncmp(member(streams(r->json[i]), "stdout"), "ATTEMPT\n", 8) != 0)
            return false;
    return true;
}

static bool all_refused(const struct attempt *a, const char *expect, const struct replies *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (!matches_any(expect, r->json[i], r->status[i], r->verdict[i]) || !was_cut(a, r->json[i]))
            return false;
    return true;
}

static bool any_through(const struct attempt *a, const struct replies *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->status[i] >= 0 && strcmp(a->expect, r->verdict[i]) == 0)
            return true;
    return false;
}

static enum verdict judge(const struct attempt *a, const struct replies *r)
{
    if (strcmp(a->expect, "DISTINCT") == 0 || strcmp(a->expect, "SAME") == 0)
        return compare_values(a, r) ? HELD : GOT_THROUGH;
    if (strncmp(a->expect, "THROUGH", 7) == 0) /* a channel that SECURITY.md names */
        return any_through(a, r) ? ACCEPTED : HELD;
    return was_made(r) && all_refused(a, a->expect, r) ? HELD : GOT_THROUGH;
}

/* The layer that holds this attempt, if the service was started without it. */
static const char *layer_it_lacks(const struct selftest *t, const struct attempt *a)
{
    for (int i = 0; i < LAYERS; i++)
        if (a->needs && strcmp(a->needs, layers[i].word) == 0 && (t->service.require->missing & LAYER_BIT(i)))
            return layers[i].word;
    return NULL;
}

/* The attempt did not run into its wall, because this wall's layer is not required here.  Did it
 * run into the substitute?  "instead" names the substitute, then a colon, then what is seen in that
 * case. */
static enum verdict judge_without(const char *layer, const struct attempt *a, const struct replies *r,
                                  struct buf *words)
{
    const char *expect = a->instead ? strstr(a->instead, ": ") : NULL;

    if (!was_made(r))
        return GOT_THROUGH;
    if (expect && all_refused(a, expect + 2, r)) {
        buf_addf(words, "refused by %.*s, as the layer '%s' is not required here: ", (int) (expect - a->instead),
                 a->instead, layer);
        return HELD;
    }
    buf_addf(words, "the layer '%s' is not required here: ", layer);
    return NOT_HELD;
}

/* Is there a process of this name on the host? */
static bool lives(const char *name)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    bool found = false;

    while (proc && !found && (entry = readdir(proc))) {
        char path[300], comm[32], stat[512];
        snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        if (fd_read_file(AT_FDCWD, path, comm, sizeof(comm)) <= 0 || strncmp(comm, name, strlen(name)) != 0
            || comm[strlen(name)] != '\n')
            continue;
        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        if (fd_read_file(AT_FDCWD, path, stat, sizeof(stat)) <= 0)
            continue;
        const char *state = strrchr(stat, ')');
        found = state && state[1] == ' ' && !strchr("ZX", state[2]);
    }
    if (proc)
        closedir(proc);
    return found;
}

static bool is_gone(const char *name)
{
    int64_t end = now_us() + GONE_S * 1000000LL;

    while (lives(name)) {
        if (now_us() > end)
            return false;
        poll(NULL, 0, 10);
    }
    return true;
}

/* --- the lines --- */

/* One line that is written over: how many attempts are done, and which one is being made. */
static void show_progress(const struct selftest *t, unsigned all, const char *title)
{
    unsigned over = 0;

    if (!t->terminal || t->verbose)
        return;
    for (size_t i = 0; i < sizeof(t->counts) / sizeof(*t->counts); i++)
        over += t->counts[i];
    printf("\r\033[K%u/%u %.60s", over, all, title);
    fflush(stdout);
}

static void show_head(const struct selftest *t)
{
    if (t->verbose)
        printf("%-8s %-24s %-40s %s\n", "outcome", "wall", "attempt", "what it saw");
}

static void show(const struct selftest *t, enum verdict v, const struct attempt *a, const char *word,
                 const struct buf *why, const char *seen)
{
    if (!t->verbose && v < NOT_HELD)
        return;
    if (t->terminal && !t->verbose)
        printf("\r\033[K");
    printf("%-8s %-24s %-40s %.*s%s\n", word, a->wall, a->title, why ? (int) why->len : 0,
           why && why->len ? why->data : "", seen);
    fflush(stdout);
}

static const char *left_out_because(const struct attempt *a, bool numpy)
{
    struct utsname host;

    if (a->arch && (uname(&host) < 0 || strcmp(a->arch, host.machine) != 0))
        return "its numbers are another machine's";
    if (a->needs && strcmp(a->needs, "numpy") == 0 && !numpy)
        return "there is no numpy";
    return NULL;
}

static void count(struct selftest *t, const struct attempt *a, const struct replies *r)
{
    static const char *const words[] = {
        [HELD] = "held", [ACCEPTED] = "accepted", [NOT_HELD] = "not held", [GOT_THROUGH] = "THROUGH"
    };
    const char *lacking = layer_it_lacks(t, a);
    enum verdict v = judge(a, r);
    char seen[1024] = "";
    _cleanup_buf_ struct buf why;

    buf_init(&why, 512);
    if (v == GOT_THROUGH && lacking)
        v = judge_without(lacking, a, r, &why);
    if (v != GOT_THROUGH && a->gone && !is_gone(a->gone)) {
        v = GOT_THROUGH;
        snprintf(seen, sizeof(seen), "the process %s is still there", a->gone);
    } else if (r->status[0] < 0)
        snprintf(seen, sizeof(seen), "no reply: %s", strerror(-r->status[0]));
    else if (r->verdict[0][0])
        snprintf(seen, sizeof(seen), "%s", r->verdict[0]);
    else
        describe_end(r->json[0], r->status[0], seen, sizeof(seen));
    t->counts[v]++;
    show(t, v, a, words[v], &why, seen);
    if (v == GOT_THROUGH)
        printf("%-8s %-24s %-40s expected: %s\n", "", "", "", a->expect);
}

/* The status of a program that gets nowhere near a wall. If it is not 200, @why gets a sentence. */
static int run_plain(const struct selftest *t, const char *code, struct buf *why)
{
    json_t *reply = NULL;
    int fd = service_ask(&t->service, code, TIMEOUT_S);
    int status = fd < 0 ? fd : service_reply(fd, WITHIN_S, &reply);

    if (status < 0)
        buf_addf(why, "the program '%s' got no reply (%s)", code, strerror(-status));
    else if (status != 200)
        buf_addf(why, "the program '%s' got %d %s", code, status, member(reply, "message"));
    json_decref(reply);
    return status;
}

/* The same, with patience: a machine that emulates another, or is busy, may need longer for its
 * first box than the server lets a client wait, which then gets a 503. */
static int run_first(const struct selftest *t, const char *code, struct buf *why)
{
    int status = 503;

    for (int i = 0; i < FIRST_TURNS && status == 503; i++) {
        buf_reset(why);
        status = run_plain(t, code, why);
    }
    return status;
}

static bool has_numpy(const struct selftest *t)
{
    _cleanup_buf_ struct buf why;

    buf_init(&why, 1024);
    return run_plain(t, "import numpy", &why) == 200;
}

/* A line is section.key=value. The line of the service before is taken back. */
static int set_line(struct selftest *t, const char *line, struct buf *error)
{
    const char *lines[] = { t->server, line };
    int err = 0;

    for (int i = 0; i < 2 && !err; i++) {
        char section[32], key[64], value[128];
        if (!lines[i] || sscanf(lines[i], "%31[^.].%63[^=]=%127s", section, key, value) != 3)
            continue;
        const struct conf_key *k = conf_find(section, key);
        err = conf_set(t->conf, section, key, i == 0 && k ? k->def : value, error);
    }
    t->server = line;
    return err;
}

static int start_service(struct selftest *t, const char *line, struct buf *error)
{
    int err = set_line(t, line, error);

    t->running = true;
    if (err)
        return err;
    err = service_start(&t->service, t->conf, error);
    if (err)
        return err;
    /* If no program can run, each attempt would count as not refused. */
    if (run_first(t, "pass", error) == 200)
        return 0;
    buf_adds(error, "\n");
    service_log(&t->service, error);
    return -EIO;
}

/* The service that an attempt needs. An attempt that asks for another line of configuration gets a
 * new one. */
static int serve(struct selftest *t, const char *line)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 32768);
    if (t->running && (t->server == line || (t->server && line && strcmp(t->server, line) == 0)))
        return 0;
    if (t->running)
        service_stop(&t->service);
    int err = start_service(t, line, &error);
    if (err)
        printf("hatchery: the service for the attempts does not start: %s\n", buf_text(&error));
    return err;
}

static bool is_asked_for(const struct selftest *t, const struct attempt *a)
{
    return !t->only || strstr(a->title, t->only);
}

static int attempt_all(struct selftest *t, const struct attempts *attempts)
{
    static struct replies r;
    unsigned all = 0;
    int err = serve(t, NULL);
    bool numpy = !err && has_numpy(t);

    for (size_t i = 0; i < attempts->n; i++)
        all += is_asked_for(t, &attempts->list[i]);
    show_head(t);

    for (size_t i = 0; i < attempts->n && !err && !interrupted; i++) {
        const struct attempt *a = &attempts->list[i];
        const char *why = left_out_because(a, numpy);
        if (!is_asked_for(t, a))
            continue;
        show_progress(t, all, a->title);
        if (why) {
            t->counts[LEFT_OUT]++;
            show(t, LEFT_OUT, a, "left out", NULL, why);
            continue;
        }
        err = serve(t, a->server);
        if (err)
            break;
        memset(&r, 0, sizeof(r));
        make(t, a, &r);
        count(t, a, &r);
        for (unsigned k = 0; k < r.n; k++)
            json_decref(r.json[k]);
    }
    if (t->running)
        service_stop(&t->service);
    return err;
}

/* The attempts were written for the default limits, and the pairs need to run at once. */
static int prepare(struct conf *conf, struct buf *error)
{
    int err = 0;

    for (const struct conf_key *k = conf_keys; k->section && !err; k++)
        if (strcmp(k->section, "limits") == 0)
            err = conf_set(conf, k->section, k->key, k->def, error);
    if (err)
        return err;
    if (conf->pool_max_runs < 4)
        err = conf_set(conf, "pool", "max_runs", "4", error);
    if (err)
        return err;
    err = conf_set(conf, "server", "state", "none", error); /* another server may be running on this
                                                             * host */
    return err ? err : conf_set(conf, "log", "level", "error", error);
}

static int make_ready(struct conf *conf, const char *directory, struct attempts *attempts, struct buf *error)
{
    struct require required = { 0 };
    int err = prepare(conf, error);

    if (err)
        return err;
    err = require_init(&required, conf, error);
    return err ? err : attempts_read(attempts, directory, error);
}

int selftest(struct conf *conf, const char *directory, const char *only, bool verbose)
{
    struct selftest t = { .conf = conf, .only = only, .verbose = verbose, .terminal = isatty(STDOUT_FILENO) };
    struct attempts attempts = { 0 };
    _cleanup_buf_ struct buf error;

    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    buf_init(&error, 4096);
    int err = make_ready(conf, directory, &attempts, &error);
    if (err)
        fprintf(stderr, "hatchery: %s\n", buf_text(&error));
    else
        err = attempt_all(&t, &attempts);
    attempts_free(&attempts);
    if (t.terminal && !verbose)
        printf("\r\033[K");
    unsigned made = t.counts[HELD] + t.counts[ACCEPTED] + t.counts[NOT_HELD] + t.counts[GOT_THROUGH];
    printf(
        "\n%u attempts were made: %u ran into their wall, %u are known and accepted (SECURITY.md), %u are held only by "
        "layers that are not required here, %u GOT THROUGH; %u were left out%s.\n",
        made, t.counts[HELD], t.counts[ACCEPTED], t.counts[NOT_HELD], t.counts[GOT_THROUGH], t.counts[LEFT_OUT],
        interrupted ? "; it was interrupted" : "");
    if (!err && !interrupted && only && !made && !t.counts[LEFT_OUT])
        fprintf(stderr, "hatchery: no attempt has '%s' in its name; `hatchery selftest --verbose` names them all\n",
                only);
    return err || interrupted || t.counts[GOT_THROUGH] || !made ? EXIT_FAILURE : EXIT_SUCCESS;
}
