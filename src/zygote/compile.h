/* SPDX-License-Identifier: Apache-2.0 */
/* From a program's text to its code. */
#ifndef HATCHERY_ZYGOTE_COMPILE_H
#define HATCHERY_ZYGOTE_COMPILE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* @prelude is the prelude's namespace, borrowed for good. In the zygote, once. 0, or -1 with a
 * Python exception set. */
int compile_prepare(PyObject *prelude);

/* The code of @source, a str, as a new reference. NULL with the Python exception set that `python3
 * main.py` would show for the text. Tells linecache the lines. Shows warnings of the compiler once,
 * on sys.stderr. */
PyObject *compile_source(PyObject *source);

/* Does it return at top level? Then Python itself cannot import it as a module. */
bool compile_returns(PyObject *code);

/* Run @code, a result of compile_source(), with @space as its globals. Returns a new reference to
 * the value that it returns at top level, None if it reaches its end, or NULL with a Python
 * exception set. */
PyObject *compile_run(PyObject *code, PyObject *space);

/* Take back what compile_source() told linecache. Leaves no Python exception set. */
void compile_forget(void);

#endif
