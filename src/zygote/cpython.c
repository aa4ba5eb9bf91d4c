/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between versions of CPython: see cpython.h.
 *
 * finish.c and show.c call this file; failure.c and the hints use its header.  What must never
 * happen here: a version whose way is only guessed.  Where a version is newer than those of
 * cpython.h, the way of the newest is taken, by names that are looked up when the zygote starts.  A
 * name that is gone costs speed and not correctness. */
#include "zygote/cpython.h"

#if PY_VERSION_HEX < 0x030c0000
extern void _PyErr_Display(PyObject *file, PyObject *type, PyObject *value, PyObject *tb);

void cpython_display(PyObject *file, PyObject *type, PyObject *value, PyObject *tb)
{
    _PyErr_Display(file, type, value, tb);
}
#else
void cpython_display(PyObject *file, PyObject *type, PyObject *value, PyObject *tb)
{
    PyObject *before = Py_XNewRef(PySys_GetObject("stderr"));

    (void) type;
    if (tb && PyException_SetTraceback(value, tb) < 0)
        PyErr_Clear();
    if (PySys_SetObject("stderr", file) == 0)
        PyErr_DisplayException(value);
    PySys_SetObject("stderr", before); /* NULL deletes it */
    Py_XDECREF(before);
}
#endif

static bool begins_with_one_underscore(PyObject *name)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(name);
    return n > 0 && PyUnicode_READ_CHAR(name, 0) == '_' && (n == 1 || PyUnicode_READ_CHAR(name, 1) != '_');
}

/* In the order in which the names came. */
static void clear_some(PyObject *dict, bool underscored)
{
    PyObject *names = PyDict_Keys(dict);

    for (Py_ssize_t i = 0; names && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i);
        if (!PyUnicode_Check(name) || PyUnicode_CompareWithASCIIString(name, "__builtins__") == 0
            || begins_with_one_underscore(name) != underscored)
            continue;
        PyObject *value = PyDict_GetItemWithError(dict, name);
        if (value && value != Py_None && PyDict_SetItem(dict, name, Py_None) < 0)
            PyErr_Clear();
    }
    Py_XDECREF(names);
    PyErr_Clear();
}

void cpython_clear_names(PyObject *module)
{
    PyObject *dict = PyModule_GetDict(module);

    clear_some(dict, true);
    clear_some(dict, false);
}

/* The entry @name of @dict has at most @n members. */
static bool holds_at_most(PyObject *dict, const char *name, Py_ssize_t n)
{
    PyObject *value = PyDict_GetItemString(dict, name);
    Py_ssize_t size = value ? PyObject_Size(value) : -1;

    PyErr_Clear();
    return size >= 0 && size <= n;
}

#if PY_VERSION_HEX < 0x030d0000

/* Made once: the interpreter's cache of methods knows a name by its address, and each new entry is
 * a page copied. */
static struct {
    PyObject *tstate_lock, *is_stopped;
} names;

int cpython_prepare(void)
{
    names.tstate_lock = PyUnicode_InternFromString("_tstate_lock");
    names.is_stopped = PyUnicode_InternFromString("_is_stopped");
    return names.tstate_lock && names.is_stopped ? 0 : -1;
}

bool cpython_threads_are_done(PyObject *threading)
{
    return holds_at_most(threading, "_active", 1) && holds_at_most(threading, "_limbo", 0)
           && holds_at_most(threading, "_shutdown_locks", 1) && holds_at_most(threading, "_threading_atexits", 0);
}

void cpython_stop_main_thread(PyObject *main_thread)
{
    if (PyObject_SetAttr(main_thread, names.tstate_lock, Py_None) < 0
        || PyObject_SetAttr(main_thread, names.is_stopped, Py_True) < 0)
        PyErr_Clear();
}

static void set_attribute_again(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);

    if (value && PyObject_SetAttr(object, name, Py_None) == 0)
        PyObject_SetAttr(object, name, value);
    Py_XDECREF(value);
}

void cpython_rehearse(PyObject *main_thread)
{
    set_attribute_again(main_thread, names.tstate_lock);
    set_attribute_again(main_thread, names.is_stopped);
    PyErr_Clear();
}

#else

static struct {
    PyObject *count;    /* _thread._count; NULL where this version has none */
    PyObject *set_done; /* of the main thread's handle */
} thread;

int cpython_prepare(void)
{
    PyObject *module = PyImport_ImportModule("_thread");
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *main_thread = threading ? PyObject_GetAttrString(threading, "_main_thread") : NULL;
    PyObject *handle = main_thread ? PyObject_GetAttrString(main_thread, "_handle") : NULL;
    int err = module && main_thread ? 0 : -1;

    thread.count = module ? PyObject_GetAttrString(module, "_count") : NULL;
    thread.set_done = handle ? PyObject_GetAttrString(handle, "_set_done") : NULL;
    Py_XDECREF(module);
    Py_XDECREF(threading);
    Py_XDECREF(main_thread);
    Py_XDECREF(handle);
    if (err == 0)
        PyErr_Clear();
    return err;
}

static bool no_thread_runs(void)
{
    PyObject *count = thread.count && thread.set_done ? PyObject_CallNoArgs(thread.count) : NULL;
    long n = count ? PyLong_AsLong(count) : -1;

    Py_XDECREF(count);
    PyErr_Clear();
    return n == 0;
}

bool cpython_threads_are_done(PyObject *threading)
{
    return no_thread_runs() && holds_at_most(threading, "_threading_atexits", 0);
}

void cpython_stop_main_thread(PyObject *main_thread)
{
    (void) main_thread;
    Py_XDECREF(PyObject_CallNoArgs(thread.set_done));
    PyErr_Clear();
}

void cpython_rehearse(PyObject *main_thread)
{
    (void) main_thread;
}

#endif
