/* SPDX-License-Identifier: Apache-2.0 */
/* An exception in Python's own words, with the source lines of main.py. */
#ifndef HATCHERY_ZYGOTE_SHOW_H
#define HATCHERY_ZYGOTE_SHOW_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Keep the objects that are needed here before a program can replace them, and make sys.excepthook,
 * sys.unraisablehook and threading.excepthook know main.py.  @open_source is the prelude's.  In the
 * zygote, once.  0, or -1 with a Python exception set. */
int show_prepare(PyObject *open_source);

/* Set the text of main.py, which is borrowed for no longer than the call; NULL for none. */
void show_source(PyObject *source);

/* The text that python3 prints on stderr for this exception: a new str, or NULL with no exception
 * set. @tb may be NULL. Needs the GIL; runs the program's code (an exception's __str__). */
PyObject *show_text(PyObject *type, PyObject *value, PyObject *tb);

#endif
