/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the templates of this directory with the tables of the source: `tables TEMPLATE > PAGE`.
 *
 * Runs while Hatchery is built, on our own files only.  A template is the page as it is to be, in the macros of
 * groff_man(7), or a configuration file; @WORD@ in it is what the function of that word prints.  What must never
 * happen: a page that says something else than the code does.  So whatever the code has in a table comes from there. */
#include "conf/conf.h"
#include "server/http/http.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands for itself, and is no macro, no quote of groff's and no typographic hyphen. */
static void text(const char *p)
{
    static const char special[] = "\\-'`\"~^";
    static const char *const escapes[] = { "\\e", "\\-", "\\(aq", "\\(ga", "\\(dq", "\\(ti", "\\(ha" };

    if (*p == '.')
        fputs("\\&", stdout);
    for (; *p; p++) {
        const char *found = strchr(special, *p);
        if (found)
            fputs(escapes[found - special], stdout);
        else
            putchar(*p);
    }
}

/* A macro's argument, which may have spaces. */
static void quoted(const char *p)
{
    putchar('"');
    text(p);
    putchar('"');
}

static void line(const char *p)
{
    text(p);
    putchar('\n');
}

/* A tagged paragraph, its tag in bold but for what is behind @rest. */
static void tag(const char *bold, const char *rest)
{
    printf(".TP\n.BR ");
    quoted(bold);
    if (*rest) {
        putchar(' ');
        quoted(rest);
    }
    putchar('\n');
}

/* --- the command --- */

/* The arguments of a verb, with what is literal in bold: words in small letters, options. */
static void arguments(const char *p)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz-:";

    while (*p) {
        size_t n = strspn(p, letters);
        bool literal = n > 1;
        if (!literal)
            for (n = 1; p[n] && !strchr(letters, p[n]); n++)
                ;
        char *piece = strndup(p, n);
        fputs(literal ? "\\fB" : "\\fR", stdout);
        text(piece);
        free(piece);
        p += n;
    }
    puts("\\fR");
}

static void verbs(void)
{
    static const struct {
        const char *word, *arguments, *sentences, *example;
    } table[] = {
#define VERB(word, function, arguments, sentences, example) { word, arguments, sentences, example },
#include "command/verbs.def"
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        printf(".TP\n\\fBhatchery ");
        text(table[i].word);
        printf("\\fR ");
        arguments(table[i].arguments);
        line(table[i].sentences);
        printf("For example \\fB");
        text(table[i].example);
        puts("\\fR");
    }
}

static void option(const char *word, const char *argument, const char *sentence)
{
    printf(".TP\n\\fB\\-\\-");
    text(word);
    printf("\\fR");
    if (*argument) {
        printf(" \\fI");
        text(argument);
        printf("\\fR");
    }
    putchar('\n');
    line(sentence);
}

static void options(void)
{
#define OPTION(word, field, argument, sentence) option(word, argument, sentence);
#define FLAG(word, field, sentence) option(word, "", sentence);
#include "command/verbs.def"
}

/* --- the configuration --- */

struct key {
    const char *section, *key, *def;
    int64_t min, max;
    const char *doc;
    enum conf_type type;
    bool is_live;
};

static const struct key keys[] = {
#define CONF(section, key, type, def, min, max, check, when, doc)                                                      \
    { #section, #key, def, min, max, doc, CONF_##type, CONF_##when == CONF_LIVE },
#include "conf/conf.def"
#define RUNTIME(key, type, def, min, max, check, doc) { "runtime.NAME", #key, def, min, max, doc, CONF_##type, false },
#include "conf/conf.def"
};

static const size_t n_keys = sizeof(keys) / sizeof(*keys);

struct unit {
    const char *word;
    int64_t value;
};

/* In the largest unit that leaves no rest. */
static void amount(int64_t n, const struct unit *units, const char *smallest)
{
    for (const struct unit *u = units; u->word; u++)
        if (n && n % u->value == 0) {
            printf("%lld%s", (long long) (n / u->value), u->word);
            return;
        }
    printf("%lld%s", (long long) n, n ? smallest : "");
}

static void bound(enum conf_type type, int64_t n)
{
    static const struct unit bytes[] = { { "G", 1 << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { NULL, 0 } };
    static const struct unit times[] = { { "h", 3600000 }, { "min", 60000 }, { "s", 1000 }, { NULL, 0 } };

    if (type == CONF_BYTES)
        amount(n, bytes, "");
    else if (type == CONF_TIME)
        amount(n, times, "ms");
    else
        printf("%lld", (long long) n);
}

static const char *kind(enum conf_type type)
{
    switch (type) {
    case CONF_COUNT: return "A number";
    case CONF_BYTES: return "A size";
    case CONF_TIME: return "A time";
    case CONF_BOOL: return "It is yes or no";
    default: return "";
    }
}

/* Of which type, within which bounds, and when a change takes effect. */
static void rule(const struct key *k)
{
    if (k->type == CONF_BOOL)
        printf("%s.\n", kind(k->type));
    else if (*kind(k->type)) {
        printf("%s from ", kind(k->type));
        bound(k->type, k->min);
        printf(" to ");
        bound(k->type, k->max);
        printf(".\n");
    }
    puts(k->is_live ? "Read again at SIGHUP." : "A change needs a restart.");
}

static void conf_page(void)
{
    const char *section = "";

    for (const struct key *k = keys; k < keys + n_keys; k++) {
        if (strcmp(section, k->section) != 0)
            printf(".SS [%s]\n", k->section);
        section = k->section;
        printf(".TP\n\\fB");
        text(k->key);
        printf("\\fR = ");
        line(k->def);
        line(k->doc);
        rule(k);
    }
}

/* A comment; a line of a file has its limit (conf_read()). */
static void comment(const char *p)
{
    enum { WIDTH = 110 };

    while (*p) {
        size_t n = strlen(p);
        if (n > WIDTH)
            for (n = WIDTH; n > 1 && p[n] != ' '; n--)
                ;
        printf("# %.*s\n", (int) n, p);
        p += n + (p[n] == ' ');
    }
}

/* Every key as a comment, below its sentence. */
static void conf_file(void)
{
    const char *section = "";

    for (const struct key *k = keys; k < keys + CONF_KEYS; k++) { /* no runtime is called NAME */
        if (strcmp(section, k->section) != 0)
            printf("%s[%s]\n", *section ? "\n" : "", k->section);
        section = k->section;
        comment(k->doc);
        printf("#%s =%s%s\n", k->key, *k->def ? " " : "", k->def);
    }
}

static void layers(void)
{
#define LAYER(name, word, kind, what, change)                                                                          \
    tag(word, strcmp(#kind, "ALWAYS") == 0 ? " (always)" : "");                                                        \
    line(what);
#include "box/layers.def"
}

/* --- the API --- */

static const char *path_of(const char *name)
{
    static const struct {
        const char *name, *path;
    } paths[] = {
#define PATH(name, path) { #name, path },
#include "server/api/routes.def"
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (strcmp(paths[i].name, name) == 0)
            return paths[i].path;
    abort();
}

/* The statuses of "200:Success 202:Accepted". */
static void statuses(const char *replies)
{
    const char *between = "";

    while (*replies) {
        size_t n = strcspn(replies, " ");
        printf("%s%.*s", between, (int) strcspn(replies, ": "), replies);
        replies += n + strspn(replies + n, " ");
        between = ", ";
    }
}

static void route(const char *method, const char *path, unsigned flags, const char *id, const char *summary,
                  const char *replies)
{
    printf(".TP\n\\fB%s ", method);
    text(path);
    printf("\\fR\n");
    text(summary);
    printf("%s\n", summary[strlen(summary) - 1] == '?' ? "" : ".");
    printf("%s the operation \\fB%s\\fR; it answers ", flags & ROUTE_KEY ? "Needs a key;" : "Needs no key;", id);
    statuses(replies);
    puts(".");
}

static void routes(void)
{
#define ROUTE(method, path, flags, handler, id, summary, parameters, request, replies)                                 \
    route(method, path_of(#path), flags, id, summary, replies);
#include "server/api/routes.def"
}

static void status(int code, const char *reason, const char *sentence)
{
    char number[16];

    snprintf(number, sizeof(number), "%d", code);
    tag(number, "");
    text(reason);
    putchar('.');
    if (sentence) {
        printf(" Refused before anything is run: ");
        text(sentence);
        putchar('.');
    }
    putchar('\n');
}

static void all_statuses(void)
{
#define STATUS(code, reason, sentence) status(code, reason, sentence);
#include "server/http/status.def"
}

#define WORD(id, text) text,
#define LABEL(id, label, words) static const char *const words_##id[] = { words };
#include "server/metrics/metrics.def"

/* Two of the server's outcomes may be one to a client. */
static void outcome(int code, const char *reason, const char *word)
{
    static const char *before[16];
    size_t n = 0;

    for (; before[n]; n++)
        if (strcmp(before[n], reason) == 0)
            return;
    before[n] = reason;
    tag(*reason ? reason : "none", *reason ? "" : " (exit code 0)");
    printf("Status %d; in the metrics \\fB%s\\fR.\n", code, word);
}

static void outcomes(void)
{
#define OUTCOME(name, code, reason, word) outcome(code, reason, words_OUTCOME[METRIC_ENDED_##word]);
#include "base/outcome.def"
}

static const struct label {
    const char *id, *name;
    const char *const *words;
    size_t n;
} labels[] = {
#define LABEL(id, label, words) { #id, label, words_##id, sizeof(words_##id) / sizeof(char *) },
#define LABEL_FROM(id, label) { #id, label, NULL, 0 },
#define LABEL_GIVEN(id, label, max) { #id, label, NULL, 0 },
#include "server/metrics/metrics.def"
};

static const size_t n_labels = sizeof(labels) / sizeof(*labels);

static const struct label *label_of(const char *id)
{
    for (size_t i = 0; i < n_labels; i++)
        if (strcmp(labels[i].id, id) == 0)
            return &labels[i];
    return NULL;
}

static void metric(const char *name, const char *type, const char *const *ids, const char *help)
{
    static const struct {
        const char *type, *suffix, *word;
    } types[] = { { "COUNTER", "_total", "Counter" },
                  { "GAUGE", "", "Gauge" },
                  { "HISTOGRAM", "", "Histogram" },
                  { "INFO", "_info", "Always 1; what it says is in its labels" } };
    size_t t = 0;
    const char *between = "{";

    while (strcmp(types[t].type, type) != 0)
        t++;
    printf(".TP\n\\fB%s%s\\fR", name, types[t].suffix);
    for (size_t i = 0; i < 3; i++) {
        const struct label *label = label_of(ids[i]);
        if (!label)
            continue;
        printf("%s\\fI%s\\fR", between, label->name);
        between = ", ";
    }
    puts(*between == ',' ? "}" : "");
    line(help);
    printf("%s.\n", types[t].word);
    for (size_t i = 0; i < 3; i++) {
        const struct label *label = label_of(ids[i]);
        if (!label || !label->n)
            continue;
        printf("\\fI%s\\fR is one of ", label->name);
        for (size_t j = 0; j < label->n; j++)
            printf("\\fB%s\\fR%s", label->words[j], j + 1 < label->n ? ", " : ".\n");
    }
}

static void metrics(void)
{
#define METRIC(id, name, type, unit, a, b, c, help) metric(name, #type, (const char *const[]){ #a, #b, #c }, help);
#include "server/metrics/metrics.def"
}

/* --- templates --- */

static void version(void)
{
    printf("%s", VERSION);
}

static void confdir(void)
{
    printf("%s/hatchery", SYSCONFDIR);
}

static const struct {
    const char *word;
    void (*print)(void);
} words[] = {
    { "VERSION", version },       { "CONFDIR", confdir },   { "VERBS", verbs },     { "OPTIONS", options },
    { "KEYS", conf_page },        { "CONF", conf_file },    { "LAYERS", layers },   { "ROUTES", routes },
    { "STATUSES", all_statuses }, { "OUTCOMES", outcomes }, { "METRICS", metrics },
};

/* The line break behind a table is the table's. */
static bool print_word(const char *word, size_t n)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strlen(words[i].word) == n && strncmp(words[i].word, word, n) == 0)
            return words[i].print(), true;
    return false;
}

/* Returns whether every @WORD@ of the line is known. */
static bool fill(const char *p)
{
    bool alone = *p == '@' && strcspn(p + 1, "@") + 3 == strlen(p);

    while (*p) {
        const char *end = *p == '@' ? strchr(p + 1, '@') : NULL;
        if (!end) {
            putchar(*p++);
            continue;
        }
        if (!print_word(p + 1, (size_t) (end - p - 1)))
            return false;
        p = end + 1;
        if (alone)
            return true;
    }
    return true;
}

int main(int argc, char **argv)
{
    FILE *template = argc == 2 ? fopen(argv[1], "re") : NULL;
    char text_line[1024];

    if (!template) {
        fprintf(stderr, "usage: tables TEMPLATE\n");
        return EXIT_FAILURE;
    }
    while (fgets(text_line, sizeof(text_line), template))
        if (!fill(text_line)) {
            fprintf(stderr, "%s: no such word: %s", argv[1], text_line);
            return EXIT_FAILURE;
        }
    fclose(template);
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
