/* SPDX-License-Identifier: Apache-2.0 */
/* An exception that has ended a program, in fields: what its last line says, and where in main.py it came from. */
#ifndef HATCHERY_ZYGOTE_FAILURE_H
#define HATCHERY_ZYGOTE_FAILURE_H

#include "base/buf.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

struct failure {
    struct buf name;  /* as a traceback has it: without the module where that is builtins or __main__ */
    struct buf value; /* its text, all lines of it */
    struct buf hint;  /* one line, or empty */
    int32_t line;     /* of main.py: of the innermost frame there, or of a syntax error; 0: none */
};

/* Empty, with the bounds that wire.h has. */
void failure_init(struct failure *f);

/* Empty again. */
void failure_reset(struct failure *f);

/* Fill in @name, @value and @line. @tb may be NULL; @text is what show_text() gave, or NULL: it is asked where the program's own
 * __str__ would have to be called a second time. Runs no Python code of the program; leaves no exception set. */
void failure_describe(struct failure *f, PyObject *type, PyObject *value, PyObject *tb, PyObject *text);

/* Append at most what @out takes of @text, a str, as UTF-8 with what has none escaped. NULL is fine. */
void failure_add_text(struct buf *out, PyObject *text);

#endif
