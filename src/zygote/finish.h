/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a program, as a Python process ends. */
#ifndef HATCHERY_ZYGOTE_FINISH_H
#define HATCHERY_ZYGOTE_FINISH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* In the zygote, once, all imports done.  0, or -1 with a Python exception set. */
int finish_prepare(void);

/* What Py_FinalizeEx() does that a program can see: threads are joined, atexit runs, streams are flushed, the
 * objects of __main__ are dropped (their __del__ may print), @main_dict with them.  Blocks as long as the program's
 * threads run.  0, or
 * -1 when what was printed could not be written; no Python exception is set afterwards. */
int finish_python(PyObject **main_dict);

/* Touches what finish_python() will touch and changes nothing, so that its page faults (thirty, a quarter of a short
 * run) come before the request.  Before any program; no Python exception is set afterwards. */
void finish_rehearse(PyObject **main_dict);

#endif
