/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of a runtime's imports, and of the runtime. */
#ifndef HATCHERY_SUPERVISOR_IMPORTS_H
#define HATCHERY_SUPERVISOR_IMPORTS_H

#include "base/buf.h"
#include "base/wire.h"

/* An import that raises an exception, and the exception. */
struct import_why {
    unsigned at; /* its place in the list */
    char text[WIRE_WHY_MAX];
};

enum { IMPORTS_WHYS = 16 }; /* for more imports only the fault is known */

struct imports {
    /* enum fault, by the places in the list; an import with FAULT_FAILED is tried again each time */
    unsigned char faults[WIRE_IMPORTS_MAX];
    unsigned killed; /* where somebody last killed an interpreter; WIRE_IMPORTS_MAX: nowhere */
    struct import_why whys[IMPORTS_WHYS];
    unsigned n_whys;
    enum fault fault; /* of the whole runtime, or FAULT_NONE */
};

/* Forget all faults. */
void imports_forget(struct imports *imports);

/* Is no import left out? */
bool imports_all_well(const struct imports *imports);

/* Which of them the next interpreter leaves out. */
void imports_leave_out(const struct imports *imports, bool ret[static WIRE_IMPORTS_MAX]);

/* The import at @at, below WIRE_IMPORTS_MAX, begins: forget an exception that it raised before. */
void imports_begin_one(struct imports *imports, unsigned at);

/* The import at @at, below WIRE_IMPORTS_MAX, has raised an exception, worded as in struct
 * wire_import. */
void imports_failed(struct imports *imports, unsigned at, const char *why);

/* An interpreter ended, with the wait status @status, while it imported the module at @at
 * (WIRE_IMPORTS_MAX: none). Returns the import's fault.  Returns FAULT_NONE if it may be nobody's
 * fault (a SIGKILL, the first time at a place). */
enum fault imports_ended(struct imports *imports, unsigned at, int status);

/* The word at @at in @list, or "?" if there is none. */
void imports_name(const char *list, unsigned at, char ret[static 256]);

/* Append a JSON array of {"import", "why"} with the modules of @list that are left out.  Returns
 * how many there are. */
unsigned imports_add_json(const struct imports *imports, const char *list, struct buf *out);

/* Append why the import at @at is left out, as the end of a sentence; for WIRE_IMPORTS_MAX why the
 * runtime does not start. */
void imports_add_why(const struct imports *imports, unsigned at, struct buf *out);

/* The words of fault.def. */
const char *imports_words(enum fault fault);

#endif
