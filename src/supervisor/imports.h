/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a runtime's imports, and with the runtime. */
#ifndef HATCHERY_SUPERVISOR_IMPORTS_H
#define HATCHERY_SUPERVISOR_IMPORTS_H

#include "base/buf.h"
#include "base/wire.h"

struct imports {
    unsigned char
        faults[WIRE_IMPORTS_MAX]; /* enum fault, by the places in the list; FAULT_FAILED is imported again each time */
    unsigned killed;              /* the place at which somebody killed an interpreter; WIRE_IMPORTS_MAX: none */
    enum fault fault;             /* with all of it, or FAULT_NONE */
};

/* As nothing were known. */
void imports_forget(struct imports *imports);

/* Is none left out? */
bool imports_all_well(const struct imports *imports);

/* Which of them the next interpreter does without. */
void imports_leave_out(const struct imports *imports, bool ret[static WIRE_IMPORTS_MAX]);

/* An interpreter ended, by the wait status @status, when it was importing what is at @at (WIRE_IMPORTS_MAX: nothing).
 * The fault that this was, which may be everybody's (a SIGKILL, the first time at a place): FAULT_NONE. */
enum fault imports_ended(struct imports *imports, unsigned at, int status);

/* The word at @at in @list, "?" where there is none. */
void imports_name(const char *list, unsigned at, char ret[static 256]);

/* Append a JSON array of {"import", "why"}: those of @list that are left out.  How many there are. */
unsigned imports_add_json(const struct imports *imports, const char *list, struct buf *out);

/* The words of fault.def. */
const char *imports_words(enum fault fault);

#endif
