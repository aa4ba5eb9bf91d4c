/* SPDX-License-Identifier: Apache-2.0 */
/* The command's help texts.
 *
 * The command calls this file and then exits.  What must never happen here: that a verb or an
 * option of the table is missing from the help. */
#include "command/help.h"

#include "conf/conf.h"

#include <string.h>

enum { COLUMNS = 80, WORDS_AT = 16 };

static const struct topic {
    const char *word, *arguments, *sentences, *example;
} topics[] = {
#define VERB(word, function, arguments, sentences, example) { word, arguments, sentences, example },
#include "command/verbs.def"
};

static const struct option_text {
    const char *word, *argument, *sentence;
} options[] = {
#define OPTION(word, field, argument, sentence) { word, argument, sentence },
#define FLAG(word, field, sentence) { word, "", sentence },
#include "command/verbs.def"
};

/* Print @n bytes of text in lines that fit a terminal, each but the first behind @indent spaces. */
static void print_wrapped(FILE *to, const char *text, size_t n, int indent)
{
    size_t room = (size_t) (COLUMNS - indent);

    while (n > room) {
        size_t line = room;
        while (line > 1 && text[line] != ' ')
            line--;
        fprintf(to, "%.*s\n%*s", (int) line, text, indent, "");
        line += text[line] == ' ';
        text += line;
        n -= line;
    }
    fprintf(to, "%.*s\n", (int) n, text);
}

bool help_lists_option(const char *arguments, const char *option)
{
    size_t n = strlen(option);

    for (const char *p = arguments; (p = strstr(p, "--")); p += 2)
        if (strncmp(p + 2, option, n) == 0 && strspn(p + 2, "abcdefghijklmnopqrstuvwxyz-") == n)
            return true;
    return false;
}

/* The length of the first sentence, which ends where the next one begins. */
static size_t first_sentence(const char *text)
{
    const char *end = strstr(text, ". ");
    return end ? (size_t) (end - text) + 1 : strlen(text);
}

void help_overview(FILE *to)
{
    fprintf(to,
            "Usage: hatchery VERB [OPTION]...\n\nRuns Python that somebody else wrote, over HTTP, in jails that are "
            "warm before\nthe request comes.\n\n");
    for (size_t i = 0; i < sizeof(topics) / sizeof(*topics); i++) {
        fprintf(to, "  %-*s", WORDS_AT - 2, topics[i].word);
        print_wrapped(to, topics[i].sentences, first_sentence(topics[i].sentences), WORDS_AT);
    }
    fprintf(to, "\n`hatchery help VERB` has a verb's options and an example, `hatchery help config`\n"
                "every key of the configuration, `hatchery --version` the version.\n");
}

static void print_key(const struct conf_key *k)
{
    printf("  %s = %s\n      ", k->key, k->def);
    print_wrapped(stdout, k->doc, strlen(k->doc), 6);
}

static void help_config(void)
{
    const char *section = "";

    printf("Keys of the configuration file, each also as the environment variable\nHATCHERY_SECTION_KEY (and API_KEY, "
           "API_KEY_FILE, MAX_QUEUE_LENGTH):\n");
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        if (strcmp(section, k->section) != 0)
            printf("\n  [%s]\n", section = k->section);
        print_key(k);
    }
    printf("\n  [runtime.NAME]\n");
    for (const struct conf_key *k = conf_runtime_keys; k->section; k++)
        print_key(k);
}

static void help_verb(const struct topic *t)
{
    printf("Usage: hatchery %s %s\n\n", t->word, t->arguments);
    print_wrapped(stdout, t->sentences, strlen(t->sentences), 0);
    printf("\n");
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
        const struct option_text *o = &options[i];
        if (!help_lists_option(t->arguments, o->word))
            continue;
        printf("  --%s%s%s\n      ", o->word, *o->argument ? " " : "", o->argument);
        print_wrapped(stdout, o->sentence, strlen(o->sentence), 6);
    }
    printf("\nExample:\n\n  %s\n", t->example);
}

bool help_topic(const char *topic)
{
    if (strcmp(topic, "config") == 0) {
        help_config();
        return true;
    }
    for (size_t i = 0; i < sizeof(topics) / sizeof(*topics); i++)
        if (strcmp(topic, topics[i].word) == 0) {
            help_verb(&topics[i]);
            return true;
        }
    return false;
}
