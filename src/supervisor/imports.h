/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a runtime's imports, and with the runtime. */
#ifndef HATCHERY_SUPERVISOR_IMPORTS_H
#define HATCHERY_SUPERVISOR_IMPORTS_H

#include "base/buf.h"
#include "base/wire.h"

/* An import that raises an exception, and which. */
struct import_why {
    unsigned at; /* its place in the list */
    char text[WIRE_WHY_MAX];
};

enum { IMPORTS_WHYS = 16 }; /* of the others only the fault is known */

struct imports {
    unsigned char
        faults[WIRE_IMPORTS_MAX]; /* enum fault, by the places in the list; FAULT_FAILED is imported again each time */
    unsigned killed;              /* the place at which somebody killed an interpreter; WIRE_IMPORTS_MAX: none */
    struct import_why whys[IMPORTS_WHYS];
    unsigned n_whys;
    enum fault fault; /* with all of it, or FAULT_NONE */
};

/* As nothing were known. */
void imports_forget(struct imports *imports);

/* Is none left out? */
bool imports_all_well(const struct imports *imports);

/* Which of them the next interpreter does without. */
void imports_leave_out(const struct imports *imports, bool ret[static WIRE_IMPORTS_MAX]);

/* The import at @at, below WIRE_IMPORTS_MAX, begins: of an exception that it raised before nothing is known. */
void imports_begin_one(struct imports *imports, unsigned at);

/* The import at @at, below WIRE_IMPORTS_MAX, has raised an exception, worded as in struct wire_import. */
void imports_failed(struct imports *imports, unsigned at, const char *why);

/* An interpreter ended, by the wait status @status, when it was importing what is at @at (WIRE_IMPORTS_MAX: nothing).
 * The fault that this was, which may be everybody's (a SIGKILL, the first time at a place): FAULT_NONE. */
enum fault imports_ended(struct imports *imports, unsigned at, int status);

/* The word at @at in @list, "?" where there is none. */
void imports_name(const char *list, unsigned at, char ret[static 256]);

/* Append a JSON array of {"import", "why"}: those of @list that are left out.  How many there are. */
unsigned imports_add_json(const struct imports *imports, const char *list, struct buf *out);

/* Append why the import at @at is left out, as the end of a sentence; WIRE_IMPORTS_MAX: why the runtime does not start. */
void imports_add_why(const struct imports *imports, unsigned at, struct buf *out);

/* The words of fault.def. */
const char *imports_words(enum fault fault);

#endif
