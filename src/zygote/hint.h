/* SPDX-License-Identifier: Apache-2.0 */
/* A sentence that may help the author of a program that has failed. */
#ifndef HATCHERY_ZYGOTE_HINT_H
#define HATCHERY_ZYGOTE_HINT_H

#include "base/buf.h"
#include "base/wire.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Append to @out what helps with the exception @value, which has ended the program whose text is @source, or nothing.
 * @value's __traceback__ must be set. Says nothing of what the program has raised by its own hand. Runs none of the program's
 * code; leaves no exception set. */
void hint_exception(struct buf *out, PyObject *value, PyObject *source, const struct wire_limits *limits);

/* The same for an error of main.py's own syntax; @source may be NULL. */
void hint_syntax(struct buf *out, PyObject *value, PyObject *source);

/* A sentence for a program that ended well and has probably not done what its author wanted, or NULL. Looks at the text
 * @source and the names of modules. */
const char *hint_success(PyObject *source);

/* What to return in place of a value of @type, which is no JSON. */
void hint_result(struct buf *out, PyTypeObject *type);

#endif
