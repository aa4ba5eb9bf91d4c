/* SPDX-License-Identifier: Apache-2.0 */
/* How a verb ends when it cannot do what it was told.
 *
 * Verbs call this as the last thing before they return to main().  What must never happen here: an
 * end without a sentence, or a suggestion that is not one of the verb's actions. */
#include "command/verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int verb_usage_error(const struct verb *verb)
{
    fprintf(stderr, "Usage: hatchery %s %s\n`hatchery help %s` explains it.\n", verb->name, verb->arguments,
            verb->name);
    return EXIT_USAGE;
}

/* Other tools' words for the actions of key and env. */
static const struct {
    const char *verb, *said, *meant;
} other_words[] = {
    { "key", "add", "new" },       { "key", "create", "new" },    { "key", "make", "new" },
    { "key", "remove", "revoke" }, { "key", "delete", "revoke" }, { "key", "rm", "revoke" },
    { "key", "ls", "list" },       { "env", "new", "add" },       { "env", "create", "add" },
    { "env", "make", "add" },      { "env", "delete", "remove" }, { "env", "rm", "remove" },
    { "env", "revoke", "remove" }, { "env", "ls", "list" },
};

int verb_action_error(const struct verb *verb, const char *action)
{
    for (size_t i = 0; i < sizeof(other_words) / sizeof(*other_words); i++)
        if (strcmp(verb->name, other_words[i].verb) == 0 && strcmp(action, other_words[i].said) == 0)
            fprintf(stderr, "hatchery: '%s' has no '%s': did you mean '%s'?\n", verb->name, action,
                    other_words[i].meant);
    return verb_usage_error(verb);
}

int verb_fail(struct buf *error)
{
    fprintf(stderr, "hatchery: %s\n", buf_text(error));
    buf_free(error);
    return EXIT_FAILURE;
}
