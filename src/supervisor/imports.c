/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of a runtime's imports: which import is to blame for the end of an interpreter.
 *
 * The supervisor calls this file.  What must never happen here: that an import is blamed for
 * something that it did not do. */
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

static void forget_why(struct imports *imports, unsigned at)
{
    for (unsigned i = 0; i < imports->n_whys; i++)
        if (imports->whys[i].at == at)
            imports->whys[i] = imports->whys[--imports->n_whys];
}

void imports_begin_one(struct imports *imports, unsigned at)
{
    forget_why(imports, at);
    if (imports->faults[at] == FAULT_FAILED) /* perhaps it works now */
        imports->faults[at] = FAULT_NONE;
}

void imports_failed(struct imports *imports, unsigned at, const char *why)
{
    forget_why(imports, at);
    imports->faults[at] = FAULT_FAILED;
    if (imports->n_whys < IMPORTS_WHYS && *why) {
        struct import_why *new = &imports->whys[imports->n_whys++];
        new->at = at;
        snprintf(new->text, sizeof(new->text), "%s", why);
    }
}

void imports_add_why(const struct imports *imports, unsigned at, struct buf *out)
{
    enum fault fault = at < WIRE_IMPORTS_MAX ? (enum fault) imports->faults[at] : imports->fault;

    for (unsigned i = 0; fault == FAULT_FAILED && i < imports->n_whys; i++)
        if (imports->whys[i].at == at) {
            buf_addf(out, "it raises %s", imports->whys[i].text);
            return;
        }
    buf_adds(out, imports_words(fault));
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
    struct buf why;

    buf_init(&why, 2 * WIRE_WHY_MAX);
    buf_addc(out, '[');
    for (unsigned at = 0; at < WIRE_IMPORTS_MAX; at++) {
        if (!imports->faults[at])
            continue;
        imports_name(list, at, name);
        buf_adds(out, n++ ? ", {\"import\": " : "{\"import\": ");
        json_add_string(out, name, strlen(name));
        buf_reset(&why);
        imports_add_why(imports, at, &why);
        buf_adds(out, ", \"why\": ");
        json_add_string(out, why.data, why.len);
        buf_addc(out, '}');
    }
    buf_free(&why);
    buf_addc(out, ']');
    return n;
}
