/* SPDX-License-Identifier: Apache-2.0 */
/* A Python value as JSON, without running any Python: the encoder never calls what a program may
 * have replaced (json.dumps, __repr__, items()). */
#ifndef HATCHERY_ZYGOTE_ENCODE_H
#define HATCHERY_ZYGOTE_ENCODE_H

#include "base/buf.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum { ENCODE_DEPTH = 500 };

/* Append @value to @out as json.dumps(value, allow_nan=False) would write it: dict, list, tuple,
 * str, int, float, bool, None and their subclasses; keys str, int, float, bool, None. Returns 0, or
 * -EINVAL. Then @reason has the reason (one line, bounded, with the place in the value), and @hint
 * has what to write instead. Needs the GIL; leaves no Python exception set. */
int encode_value(struct buf *out, PyObject *value, char *reason, size_t size, struct buf *hint);

#endif
