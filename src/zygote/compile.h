/* SPDX-License-Identifier: Apache-2.0 */
/* From a program's text to its code. */
#ifndef HATCHERY_ZYGOTE_COMPILE_H
#define HATCHERY_ZYGOTE_COMPILE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* In the zygote, once. @compile_program is the prelude's, borrowed for good. 0, or -1 with a Python exception set. */
int compile_prepare(PyObject *compile_program);

/* The code of @source, a str, as a new reference, and in @first a new reference to the dict of names that are set
 * before it runs, or NULL where there are none. NULL with a Python exception set: what `python3 main.py` would say of
 * the text. Tells linecache the lines. What the compiler warns of is shown once, on sys.stderr. */
PyObject *compile_source(PyObject *source, PyObject **first);

/* Takes back what linecache was told. No Python exception is set afterwards. */
void compile_forget(void);

#endif
