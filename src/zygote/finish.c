/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a program, as a Python process ends.
 *
 * Called by run.c in a box.  threading and logging end in Python code, seventy pages of it that a box would copy
 * while its caller waits: where they have nothing to do they are not asked.  What must never happen here: a
 * thread that is not joined, a handler that is not flushed. */
#include "finish.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { HANDLERS_MAX = 8 };

static struct {
    PyObject *run_exitfuncs, *count_exitfuncs;
    Py_ssize_t n_exitfuncs;                   /* when a program begins */
    PyObject *threading, *threading_shutdown; /* the module's dictionary */
    PyObject *logging_shutdown;               /* NULL where no import brought it in */
    PyObject *logging_handlers, *known[HANDLERS_MAX];
    Py_ssize_t n_known; /* the handlers that are there when a program begins: they write what they get at once */
} py;

static PyObject *attribute(const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *value = m ? PyObject_GetAttrString(m, name) : NULL;
    Py_XDECREF(m);
    return value;
}

/* logging.shutdown() is the first that atexit was given and so the last that it calls: we do, in its place. */
static int take_logging(void)
{
    PyObject *name = PyUnicode_FromString("logging");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    PyObject *unregister = attribute("atexit", "unregister");
    PyObject *done = NULL;
    int failed = !name || !unregister || PyErr_Occurred();

    if (!failed && module) {
        py.logging_shutdown = PyObject_GetAttrString(module, "shutdown");
        py.logging_handlers = PyObject_GetAttrString(module, "_handlerList");
        if (py.logging_shutdown && py.logging_handlers && PyList_Check(py.logging_handlers))
            done = PyObject_CallOneArg(unregister, py.logging_shutdown);
        failed = !done;
    }
    if (done) {
        py.n_known = PyList_GET_SIZE(py.logging_handlers);
        for (Py_ssize_t i = 0; i < py.n_known && i < HANDLERS_MAX; i++)
            py.known[i] = Py_NewRef(PyList_GET_ITEM(py.logging_handlers, i));
    }
    Py_XDECREF(done);
    Py_XDECREF(unregister);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return failed ? -1 : 0;
}

static Py_ssize_t count_exitfuncs(void)
{
    PyObject *count = PyObject_CallNoArgs(py.count_exitfuncs);
    Py_ssize_t n = count ? PyLong_AsSsize_t(count) : -1;

    Py_XDECREF(count);
    return n;
}

int finish_prepare(void)
{
    PyObject *module = PyImport_ImportModule("threading");

    if (!module || take_logging() < 0)
        return -1;
    py.threading = Py_NewRef(PyModule_GetDict(module));
    Py_DECREF(module);
    py.threading_shutdown = attribute("threading", "_shutdown");
    py.run_exitfuncs = attribute("atexit", "_run_exitfuncs");
    py.count_exitfuncs = attribute("atexit", "_ncallbacks");
    py.n_exitfuncs = py.count_exitfuncs ? count_exitfuncs() : -1;
    return py.threading_shutdown && py.run_exitfuncs && py.n_exitfuncs >= 0 ? 0 : -1;
}

static bool holds_at_most(const char *name, Py_ssize_t n)
{
    PyObject *value = PyDict_GetItemString(py.threading, name);
    Py_ssize_t size = value ? PyObject_Size(value) : -1;

    PyErr_Clear();
    return size >= 0 && size <= n;
}

/* No thread but the main one was started, or all are joined and forgotten; nothing waits for the main one's end or
 * will be there to see it. */
static bool threads_are_done(void)
{
    return count_exitfuncs() == py.n_exitfuncs && holds_at_most("_active", 1) && holds_at_most("_limbo", 0)
           && holds_at_most("_shutdown_locks", 1) && holds_at_most("_threading_atexits", 0);
}

static bool handlers_are_known(void)
{
    if (py.n_known > HANDLERS_MAX || PyList_GET_SIZE(py.logging_handlers) != py.n_known)
        return false;
    for (Py_ssize_t i = 0; i < py.n_known; i++)
        if (PyList_GET_ITEM(py.logging_handlers, i) != py.known[i])
            return false;
    return true;
}

static void call_quietly(PyObject *function)
{
    PyObject *done = PyObject_CallNoArgs(function);
    if (!done)
        PyErr_WriteUnraisable(function);
    Py_XDECREF(done);
}

static bool is_closed(PyObject *file)
{
    PyObject *closed = PyObject_GetAttrString(file, "closed");
    int yes = closed ? PyObject_IsTrue(closed) : 0;

    Py_XDECREF(closed);
    if (yes < 0 || !closed)
        PyErr_Clear();
    return yes > 0;
}

/* 0, or -1 when what was printed could not be written. */
static int flush_std(const char *name)
{
    PyObject *file = PySys_GetObject(name);
    if (!file || file == Py_None || is_closed(file))
        return 0;
    Py_INCREF(file);
    PyObject *done = PyObject_CallMethod(file, "flush", NULL);
    if (!done && strcmp(name, "stdout") == 0)
        PyErr_WriteUnraisable(file);
    Py_DECREF(file);
    Py_XDECREF(done);
    PyErr_Clear();
    return done ? 0 : -1;
}

int finish_python(PyObject *main_dict)
{
    if (!threads_are_done())
        call_quietly(py.threading_shutdown);
    call_quietly(py.run_exitfuncs);
    if (py.logging_shutdown && !handlers_are_known())
        call_quietly(py.logging_shutdown);
    bool unflushed = flush_std("stdout") < 0;
    unflushed = flush_std("stderr") < 0 || unflushed;
    _PyModule_ClearDict(main_dict);
    PyGC_Collect();
    flush_std("__stdout__");
    flush_std("__stderr__");
    PyErr_Clear();
    fflush(NULL);
    return unflushed ? -1 : 0;
}
