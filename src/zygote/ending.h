/* SPDX-License-Identifier: Apache-2.0 */
/* How a program ends, and what is known about it. */
#ifndef HATCHERY_ZYGOTE_ENDING_H
#define HATCHERY_ZYGOTE_ENDING_H

#include "zygote/failure.h"

#include "base/buf.h"
#include "base/wire.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct ending {
    enum outcome_kind kind;
    int exit_code;
    struct buf result;      /* JSON, at most limits.result_bytes */
    struct buf error;       /* text for the caller, UTF-8; if it is long, only its beginning and
                             * end */
    struct failure failure; /* the exception in fields */
    struct wire_stamps stamps;
};

/* Keep sys.excepthook, as it is before any program, and @limits, borrowed for good. In the zygote,
 * once, after show_prepare(). 0 or -1. */
int ending_prepare(const struct wire_limits *limits);

/* Begin with an end of which nothing is known. */
void ending_init(struct ending *end);

/* The program, whose text is @source, has returned @value at top level. May write a line to sys.stderr. */
void ending_by_return(struct ending *end, PyObject *source, PyObject *value);

/* The program, whose text is @source (NULL if it was not UTF-8), ended with the Python exception
 * that is set. Clears the exception. @compiling: the program did not run, the exception is about
 * its text. Runs the program's sys.excepthook and __str__. */
void ending_by_exception(struct ending *end, PyObject *source, bool compiling);

/* End the interpreter (finish_python()), with @main_dict. If printed text could not be written, the
 * exit code is 120, as with CPython. */
void ending_finish(struct ending *end, PyObject **main_dict);

#endif
