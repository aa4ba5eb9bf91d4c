/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a program, as a Python process ends. */
#ifndef HATCHERY_ZYGOTE_FINISH_H
#define HATCHERY_ZYGOTE_FINISH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* In the zygote, once, when all imports are done.  0, or -1 with a Python exception set. */
int finish_prepare(void);

/* Do the part of Py_FinalizeEx() that a program can see: join threads, run atexit's functions,
 * flush streams, drop the objects of __main__ (their __del__ may print) and @main_dict with them.
 * Blocks as long as the program's threads run.  0, or -1 if printed text could not be written.
 * Leaves no Python exception set. */
int finish_python(PyObject **main_dict);

/* Touch the pages that finish_python() will touch, and change nothing, so that its page faults
 * (thirty, a quarter of a short run) come before the request.  Before any program.  Leaves no
 * Python exception set. */
void finish_rehearse(PyObject **main_dict);

#endif
