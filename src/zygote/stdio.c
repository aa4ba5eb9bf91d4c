/* SPDX-License-Identifier: Apache-2.0 */
/* Standard streams without a buffer that lose nothing.
 *
 * Python gives what is printed to one write(2) where there is no buffer, and forgets what that has not taken: the rest
 * of a large text, when a signal that has a handler comes, or a box that was stopped goes on.  A file with a buffer
 * writes the rest.  This is in C so that no frame of ours is in a traceback, nor below a signal's handler. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "stdio.h"

static PyObject *write_some; /* FileIO.write */

/* The rest of @view from @at.  Returns how much of all was written, or -1 with an exception set. */
static Py_ssize_t write_rest(PyObject *file, const Py_buffer *view, Py_ssize_t at)
{
    while (at < view->len) {
        if (PyErr_CheckSignals() < 0)
            return -1;
        PyObject *rest = PyMemoryView_FromMemory((char *) view->buf + at, view->len - at, PyBUF_READ);
        PyObject *written = rest ? PyObject_CallFunctionObjArgs(write_some, file, rest, NULL) : NULL;
        Py_XDECREF(rest);
        if (!written)
            return -1;
        Py_ssize_t n = PyLong_Check(written) ? PyLong_AsSsize_t(written) : 0; /* None: it would have to wait */
        Py_DECREF(written);
        if (n <= 0)
            break;
        at += n;
    }
    return at;
}

static PyObject *write_all(PyObject *file, PyObject *data)
{
    PyObject *written = PyObject_CallFunctionObjArgs(write_some, file, data, NULL);
    Py_buffer view;

    if (!written || !PyLong_Check(written) || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return written;
    Py_ssize_t n = PyLong_AsSsize_t(written), all = write_rest(file, &view, n);
    PyBuffer_Release(&view);
    if (all == n)
        return written;
    Py_DECREF(written);
    return all < 0 ? NULL : PyLong_FromSsize_t(all);
}

static int mend(const char *name)
{
    static PyMethodDef method = { "write", write_all, METH_O, NULL };
    PyObject *text = PySys_GetObject(name);
    PyObject *file = text ? PyObject_GetAttrString(text, "buffer") : NULL;

    if (file && !write_some)
        write_some = PyObject_GetAttrString((PyObject *) Py_TYPE(file), "write");
    PyObject *whole = file && write_some ? PyCFunction_New(&method, file) : NULL;
    int err = whole ? PyObject_SetAttrString(file, "write", whole) : -1;
    Py_XDECREF(whole);
    Py_XDECREF(file);
    return err;
}

int stdio_write_all(void)
{
    return mend("stdout") < 0 ? -1 : mend("stderr");
}
