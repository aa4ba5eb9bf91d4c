/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a runtime's imports: who is to blame for the end of an interpreter.
 *
 * Called by the supervisor.  What must never happen here: an import that is blamed for what somebody else did. */
#include "supervisor/imports.h"

#include "base/json.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static const char *const words[FAULTS] = {
    "",
#define FAULT(name, words) words,
#include "base/fault.def"
#undef FAULT
};

const char *imports_words(enum fault fault)
{
    return words[(unsigned) fault < FAULTS ? fault : FAULT_NONE];
}

void imports_forget(struct imports *imports)
{
    *imports = (struct imports){ .killed = WIRE_IMPORTS_MAX };
}

bool imports_all_well(const struct imports *imports)
{
    for (unsigned at = 0; at < WIRE_IMPORTS_MAX; at++)
        if (imports->faults[at])
            return false;
    return true;
}

void imports_leave_out(const struct imports *imports, bool ret[static WIRE_IMPORTS_MAX])
{
    for (unsigned at = 0; at < WIRE_IMPORTS_MAX; at++)
        ret[at] = imports->faults[at] > FAULT_FAILED;
}

enum fault imports_ended(struct imports *imports, unsigned at, int status)
{
    enum fault fault = FAULT_ENDED;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) - WIRE_ZYGOTE_FAULT : 0;

    if (code > FAULT_NONE && code < FAULTS)
        fault = (enum fault) code;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && (at == WIRE_IMPORTS_MAX || imports->killed != at)) {
        imports->killed = at; /* memory may have been short */
        return FAULT_NONE;
    }
    if (at < WIRE_IMPORTS_MAX)
        imports->faults[at] = (unsigned char) fault;
    else
        imports->fault = fault;
    return fault;
}

void imports_name(const char *list, unsigned at, char ret[static 256])
{
    const char *p = list + strspn(list, " ,");

    for (; at && *p; at--) {
        p += strcspn(p, " ,");
        p += strspn(p, " ,");
    }
    snprintf(ret, 256, "%.*s", *p ? (int) strcspn(p, " ,") : 1, *p ? p : "?");
}

unsigned imports_add_json(const struct imports *imports, const char *list, struct buf *out)
{
    unsigned n = 0;
    char name[256];

    buf_addc(out, '[');
    for (unsigned at = 0; at < WIRE_IMPORTS_MAX; at++) {
        if (!imports->faults[at])
            continue;
        imports_name(list, at, name);
        buf_adds(out, n++ ? ", {\"import\": " : "{\"import\": ");
        json_add_string(out, name, strlen(name));
        buf_addf(out, ", \"why\": \"%s\"}", imports_words((enum fault) imports->faults[at]));
    }
    buf_addc(out, ']');
    return n;
}
