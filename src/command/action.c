/* SPDX-License-Identifier: Apache-2.0 */
/* The way from a command line to one action of a verb.
 *
 * The verbs key and env call this.  What must never happen here: an action with an option that does
 * nothing there. */
#include "command/action.h"

#include "command/sources.h"

#include <string.h>

static const struct action *find(const struct action *actions, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(actions[i].word, word) == 0)
            return &actions[i];
    return NULL;
}

int action_run(const struct verb *verb, int argc, char **argv, const struct action *actions, size_t n)
{
    struct options o;
    struct conf conf;
    int first = options_parse(verb, argc, argv, &o);
    const char *word = first > 0 && first < argc ? argv[first] : "";
    const struct action *action = find(actions, n, word);

    if (!action || argc - first != 1 + action->has_name || (action->fits && !action->fits(&o)))
        return verb_action_error(verb, word);
    if (sources_load(&conf, &o, false) < 0)
        return EXIT_USAGE;
    int status = action->run(&conf, &o, argv[argc - 1]);
    conf_free(&conf);
    return status;
}
