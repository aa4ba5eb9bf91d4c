/* SPDX-License-Identifier: Apache-2.0 */
/* An exception in Python's own words, with the source lines of main.py.
 *
 * ending.c calls this file for the exception that ends a program.  The interpreter calls it through
 * hooks for exceptions in threads and in __del__.  CPython's C code words an exception better than
 * its traceback module (suggestions, tabs) and depends on nothing that a program can break.  But it
 * reads source lines from a file, and main.py is not a file.  So while it works, io.open() is the
 * prelude's.  What must never happen here: that io.open() stays replaced. */
#include "zygote/show.h"

#include "zygote/cpython.h"

#include <stdbool.h>

static struct {
    PyObject *io, *string_io, *open_source;
    PyObject *source;
    PyObject *io_open; /* the original, while it is replaced */
    unsigned depth;    /* a hook may run code that calls a hook, in any thread */
} show;

static void begin(void)
{
    if (show.depth++ > 0)
        return;
    show.io_open = PyObject_GetAttrString(show.io, "open");
    if (!show.io_open)
        PyErr_Clear(); /* a program may have deleted it, and CPython 3.11 crashes without it */
    if ((show.source && PyDict_SetItemString(PyFunction_GetGlobals(show.open_source), "program", show.source) < 0)
        || PyObject_SetAttrString(show.io, "open", show.open_source) < 0)
        PyErr_Clear(); /* then without source lines */
}

/* Keeps an exception that is set. */
static void end(void)
{
    PyObject *type, *value, *tb;

    if (--show.depth > 0)
        return;
    PyErr_Fetch(&type, &value, &tb);
    if (PyObject_SetAttrString(show.io, "open", show.io_open) < 0) /* NULL deletes it */
        PyErr_Clear();
    Py_CLEAR(show.io_open);
    PyErr_Restore(type, value, tb);
}

void show_source(PyObject *source)
{
    Py_XSETREF(show.source, Py_XNewRef(source));
}

PyObject *show_text(PyObject *type, PyObject *value, PyObject *tb)
{
    PyObject *file = PyObject_CallNoArgs(show.string_io);
    PyObject *text = NULL;

    if (file) {
        begin();
        cpython_display(file, type, value, tb);
        end();
        text = PyObject_CallMethod(file, "getvalue", NULL);
        Py_DECREF(file);
    }
    if (text && PyUnicode_GET_LENGTH(text) == 0)
        Py_CLEAR(text);
    PyErr_Clear();
    return text;
}

static PyObject *call_hook(PyObject *original, PyObject *args)
{
    begin();
    PyObject *result = PyObject_CallObject(original, args);
    end();
    return result;
}

static int wrap_hook(const char *module, const char *name, const char *dunder_name, PyMethodDef *def)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *original = m ? PyObject_GetAttrString(m, name) : NULL;
    PyObject *wrapped = original ? PyCFunction_New(def, original) : NULL;
    int err = -1;

    if (wrapped && PyObject_SetAttrString(m, name, wrapped) == 0
        && PyObject_SetAttrString(m, dunder_name, wrapped) == 0)
        err = 0;
    Py_XDECREF(wrapped);
    Py_XDECREF(original);
    Py_XDECREF(m);
    return err;
}

int show_prepare(PyObject *open_source)
{
    static PyMethodDef defs[] = {
        { "excepthook", call_hook, METH_VARARGS, "Show an uncaught exception on sys.stderr." },
        { "unraisablehook", call_hook, METH_VARARGS, "Show an exception that nobody could catch on sys.stderr." },
        { "_excepthook", call_hook, METH_VARARGS, "Show what ended a thread on sys.stderr." },
    };

    show.open_source = open_source;
    show.io = PyImport_ImportModule("io");
    show.string_io = show.io ? PyObject_GetAttrString(show.io, "StringIO") : NULL;
    if (!show.string_io || wrap_hook("sys", "excepthook", "__excepthook__", &defs[0]) < 0
        || wrap_hook("sys", "unraisablehook", "__unraisablehook__", &defs[1]) < 0)
        return -1;
    return wrap_hook("threading", "excepthook", "__excepthook__", &defs[2]);
}
