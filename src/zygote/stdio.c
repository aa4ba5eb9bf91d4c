/* SPDX-License-Identifier: Apache-2.0 */
/* Standard streams without a buffer that lose nothing.
 *
 * Without a buffer, Python passes printed text to one write(2) and forgets the rest of a large text
 * that was not written: if a signal with a handler arrives, or if a stopped box continues.  A file
 * with a buffer writes the rest.  This is in C so that no frame of ours is in a traceback, nor
 * below a signal's handler. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/stdio.h"

static PyObject *write_some; /* FileIO.write */

/* Write the rest of @view from @at.  Returns how much of all was written, or -1 with an exception
 * set. */
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
        /* None: the write would block */
        Py_ssize_t n = PyLong_Check(written) ? PyLong_AsSsize_t(written) : 0;
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

    if (!written || !PyLong_Check(written))
        return written;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        Py_DECREF(written);
        return NULL;
    }
    Py_ssize_t n = PyLong_AsSsize_t(written), all = write_rest(file, &view, n);
    PyBuffer_Release(&view);
    if (all == n)
        return written;
    Py_DECREF(written);
    return all < 0 ? NULL : PyLong_FromSsize_t(all);
}

/* A file that an import has put there, or none, stays as it is. */
static int mend(const char *name, PyTypeObject *type)
{
    static PyMethodDef method = { "write", write_all, METH_O, NULL };
    PyObject *text = PySys_GetObject(name);
    PyObject *file = text ? PyObject_GetAttrString(text, "buffer") : NULL;
    int err = 0;

    if (!file)
        PyErr_Clear();
    if (file && Py_IS_TYPE(file, type)) {
        method.ml_doc = ((PyMethodDescrObject *) write_some)->d_method->ml_doc;
        PyObject *whole = PyCFunction_New(&method, file);
        err = whole ? PyObject_SetAttrString(file, "write", whole) : -1;
        Py_XDECREF(whole);
    }
    Py_XDECREF(file);
    return err;
}

int stdio_write_all(void)
{
    static const char *const names[] = { "stdout", "stderr", "__stdout__", "__stderr__" };
    PyObject *io = PyImport_ImportModule("_io");
    PyObject *type = io ? PyObject_GetAttrString(io, "FileIO") : NULL;
    int err = -1;

    write_some = type ? PyObject_GetAttrString(type, "write") : NULL;
    if (write_some && Py_IS_TYPE(write_some, &PyMethodDescr_Type))
        err = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !err; i++)
        err = mend(names[i], (PyTypeObject *) type);
    Py_XDECREF(io);
    Py_XDECREF(type);
    return err;
}
