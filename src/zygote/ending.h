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
    struct buf error;       /* text for the caller, UTF-8; long ones keep their beginning and their end */
    struct failure failure; /* the same in fields */
    struct wire_stamps stamps;
};

/* Keep sys.excepthook, as it is before any program, and @limits, borrowed for good. In the zygote, once, after
 * show_prepare(). 0 or -1. */
int ending_prepare(const struct wire_limits *limits);

/* Nothing is known yet. */
void ending_init(struct ending *end);

/* The program has returned @value at top level. */
void ending_by_return(struct ending *end, PyObject *value);

/* The Python exception that is set is the end of the program, whose text is @source (NULL if it was no UTF-8); it is
 * cleared. @compiling: nothing has run, the exception is about the text. Runs the program's sys.excepthook and __str__. */
void ending_by_exception(struct ending *end, PyObject *source, bool compiling);

/* The interpreter's own end (finish_python()), with @main_dict. If what was printed could not be written, the exit code is
 * CPython's: 120. */
void ending_finish(struct ending *end, PyObject **main_dict);

#endif
