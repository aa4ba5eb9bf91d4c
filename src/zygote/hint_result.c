/* SPDX-License-Identifier: Apache-2.0 */
/* Hints about a result that is no JSON: what the program can return in its place.
 *
 * encode.c calls this file with the type of the value that it cannot encode.  hint.def has the
 * types.  What must never happen here: a question to the value itself, whose methods are the
 * program's code. */
#include "zygote/hint.h"

#include "zygote/cpython.h"
#include "zygote/hint_parts.h"

static const struct {
    const char *module, *name, *instead, *imports;
} results[] = {
#define RESULT_TYPE(module, name, instead, imports) { module, name, instead, imports },
#include "zygote/hint.def"
#undef RESULT_TYPE
};

static bool inherits(PyTypeObject *type, const char *module, const char *name)
{
    PyObject *mro = type->tp_mro;

    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++)
        if (is_called((PyTypeObject *) PyTuple_GET_ITEM(mro, i), module, name))
            return true;
    return false;
}

static bool is_dataclass(PyTypeObject *type)
{
    PyObject *fields = cpython_own(type, "__dataclass_fields__");

    Py_XDECREF(fields);
    return fields;
}

void hint_result(struct buf *out, PyTypeObject *type)
{
    size_t i = 0;

    if (is_dataclass(type)) {
        buf_adds(out, "return dataclasses.asdict(x) in its place (import dataclasses)");
        return;
    }
    while (i < sizeof(results) / sizeof(*results) - 1 && !inherits(type, results[i].module, results[i].name))
        i++;
    buf_addf(out, "return %s in its place", results[i].instead);
    if (*results[i].imports)
        buf_addf(out, " (import %s)", results[i].imports);
}
