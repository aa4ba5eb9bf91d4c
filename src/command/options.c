/* SPDX-License-Identifier: Apache-2.0 */
/* The options of the command line, read by the table verbs.def.
 *
 * Every verb calls this first.  What must never happen here: that an option which the verb does not
 * know silently does nothing. */
#include "command/options.h"

#include "command/help.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* Numbers of the options for getopt_long(3). */
enum {
    NO_OPTION = 256,
#define OPTION(word, field, argument, sentence) OPTION_##field,
#define FLAG(word, field, sentence) OPTION_##field,
#include "command/verbs.def"
};

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

/* Say why @word is refused. @c is getopt_long(3)'s answer: '?' or ':'. */
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

int options_parse(const struct verb *verb, int argc, char **argv, struct options *o)
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
        if (c == 'c')
            c = OPTION_config;
        else if (c == 'v')
            c = OPTION_verbose;
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
