/* SPDX-License-Identifier: Apache-2.0 */
/* The exception that has ended a program, in fields: its name and text, and its place in
 * main.py. */
#ifndef HATCHERY_ZYGOTE_FAILURE_H
#define HATCHERY_ZYGOTE_FAILURE_H

#include "base/buf.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

struct failure {
    struct buf name;  /* as in a traceback: with the module unless that is builtins or __main__ */
    struct buf value; /* its text, all lines */
    struct buf hint;  /* one line, or empty */
    int32_t line;     /* in main.py: of the innermost frame there, or of a syntax error; 0: none */
};

/* Make it empty, with the bounds of wire.h. */
void failure_init(struct failure *f);

/* Make it empty again. */
void failure_reset(struct failure *f);

/* Free what it holds. */
void failure_free(struct failure *f);

/* Fill in @name, @value and @line. @tb may be NULL. @text is the result of show_text(), or NULL:
 * the value is taken from it if otherwise the program's own __str__ would have to run a second
 * time. Runs no Python code of the program; leaves no exception set. */
void failure_describe(struct failure *f, PyObject *type, PyObject *value, PyObject *tb, PyObject *text);

/* Append as much of @text, a str, as fits into @out, as UTF-8. Characters that have no UTF-8 are
 * escaped. @text may be NULL. */
void failure_add_text(struct buf *out, PyObject *text);

#endif
