/* SPDX-License-Identifier: Apache-2.0 */
/* What all engines share: the words for states. */
#include "store.h"

#include <string.h>

static const char *const words[STORE_N_STATES] = {
    [STORE_QUEUED] = "queued", [STORE_RUNNING] = "running",     [STORE_DONE] = "done",
    [STORE_FAILED] = "failed", [STORE_CANCELLED] = "cancelled", [STORE_DEAD] = "dead",
};

const char *store_state_word(enum store_state state)
{
    return words[state];
}

int store_state_of(const char *word)
{
    for (int i = 0; i < STORE_N_STATES; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}
