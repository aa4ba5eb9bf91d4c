/* SPDX-License-Identifier: Apache-2.0 */
/* From a program's text to its code. */
#ifndef HATCHERY_ZYGOTE_COMPILE_H
#define HATCHERY_ZYGOTE_COMPILE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* In the zygote, once. @prelude is its namespace, borrowed for good. 0, or -1 with a Python exception set. */
int compile_prepare(PyObject *prelude);

/* The code of @source, a str, as a new reference. NULL with a Python exception set: what `python3 main.py` would say of
 * the text. Tells linecache the lines. What the compiler warns of is shown once, on sys.stderr. */
PyObject *compile_source(PyObject *source);

/* Does it return at top level, and is so no module that Python itself can import? */
bool compile_returns(PyObject *code);

/* Run what compile_source() gave with @space as its globals. A new reference to what it returns at top level; None where it
 * reaches its end; NULL with a Python exception set. */
PyObject *compile_run(PyObject *code, PyObject *space);

/* Takes back what linecache was told. No Python exception is set afterwards. */
void compile_forget(void);

#endif
