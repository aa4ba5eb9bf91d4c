/* SPDX-License-Identifier: Apache-2.0 */
/* What a job waits for, in words: the table lack.def.
 *
 * Called by the handlers and the backlog, for replies and the log. */
#include "server/pool/job.h"

static const struct {
    const char *word, *why;
} lacks[] = {
    [LACK_NONE] = { "", "" },
#define LACK(name, word, why) [LACK_##name] = { word, why },
#include "base/lack.def"
};

const char *lack_word(enum lack lack)
{
    return lacks[lack].word;
}

const char *lack_why(enum lack lack)
{
    return lacks[lack].why;
}
