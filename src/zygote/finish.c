/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a program, as a Python process ends.
 *
 * run.c and ending.c call this file in a box.  threading and logging end in Python code, and a box
 * would copy seventy pages of it while its caller waits.  So this file asks them only if they have
 * something to do, and does itself what a program can see of their end.  What must never happen
 * here: a thread that is not joined, a handler that is not flushed. */
#include "zygote/finish.h"

#include "zygote/cpython.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { HANDLERS_MAX = 8 };

/* A handler of logging's that buffers nothing. shutdown() would call its flush() and close() in
 * vain, unless the program has replaced these methods in the object or in its class. */
struct handler {
    PyObject *reference, *members;
    Py_ssize_t n_members;
    PyTypeObject *type;
    unsigned version;
};

static struct {
    PyObject *run_exitfuncs, *count_exitfuncs, *unregister;
    Py_ssize_t n_exitfuncs;           /* when a program begins */
    PyObject *threading;              /* the module's dictionary */
    PyObject *shutdown, *main_thread; /* as they were in it */
    PyObject *logging_shutdown;       /* NULL if no import brought logging in, or if it has
                                       * something to do */
    PyObject *handlers;
    struct handler known[HANDLERS_MAX]; /* the handlers that exist when a program begins */
    Py_ssize_t n_known;
} py;

/* Made once. The interpreter's cache of methods knows a name by its address, and each new entry
 * costs the copy of a page. */
static struct {
    PyObject *flush, *closed;
} names;

static int make_names(void)
{
    names.flush = PyUnicode_InternFromString("flush");
    names.closed = PyUnicode_InternFromString("closed");
    return names.flush && names.closed ? 0 : -1;
}

static PyObject *attribute(const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *value = m ? PyObject_GetAttrString(m, name) : NULL;
    Py_XDECREF(m);
    return value;
}

/* 1, 0 if the class can't say whether it was changed, -1 with an exception. */
static int take_known(PyObject *reference, PyObject *handler)
{
    struct handler *known = &py.known[py.n_known];

    /* looked up once: this gives the class a version */
    PyObject *method = PyObject_GetAttr(handler, names.flush);
    Py_XDECREF(method);
    known->members = method ? PyObject_GetAttrString(handler, "__dict__") : NULL;
    if (!known->members)
        return -1;
    known->n_members = PyObject_Size(known->members);
    known->reference = Py_NewRef(reference);
    known->type = (PyTypeObject *) Py_NewRef((PyObject *) Py_TYPE(handler));
    known->version = known->type->tp_version_tag;
    py.n_known++;
    return known->version != 0;
}

/* 1 if the handler never keeps text back, 0 if it may or if it no longer exists, -1 with an
 * exception. */
static int take_handler(PyObject *reference, PyObject *stderr_handler, PyObject *null_handler)
{
    PyObject *handler = PyWeakref_Check(reference) ? cpython_referent(reference) : NULL;
    PyObject *type = handler ? (PyObject *) Py_TYPE(handler) : NULL;
    int known = type && (type == stderr_handler || type == null_handler) ? take_known(reference, handler) : 0;

    Py_XDECREF(handler);
    return known;
}

/* 1 if logging has nothing to do at the end of a program that leaves it alone. */
static int take_handlers(PyObject *module)
{
    PyObject *stderr_handler = PyObject_GetAttrString(module, "_StderrHandler");
    PyObject *null_handler = PyObject_GetAttrString(module, "NullHandler");
    int idle = -1;

    py.handlers = PyObject_GetAttrString(module, "_handlerList");
    if (stderr_handler && null_handler && py.handlers) {
        idle = PyList_Check(py.handlers) && PyList_GET_SIZE(py.handlers) <= HANDLERS_MAX;
        for (Py_ssize_t i = 0; idle > 0 && i < PyList_GET_SIZE(py.handlers); i++)
            idle = take_handler(PyList_GET_ITEM(py.handlers, i), stderr_handler, null_handler);
    }
    Py_XDECREF(stderr_handler);
    Py_XDECREF(null_handler);
    return idle;
}

static int take_logging(void)
{
    PyObject *name = PyUnicode_FromString("logging");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    int idle = module ? take_handlers(module) : 0;

    if (idle > 0)
        py.logging_shutdown = PyObject_GetAttrString(module, "shutdown");
    Py_XDECREF(module);
    Py_XDECREF(name);
    return idle < 0 || PyErr_Occurred() ? -1 : 0;
}

static Py_ssize_t count_exitfuncs(void)
{
    PyObject *count = PyObject_CallNoArgs(py.count_exitfuncs);
    Py_ssize_t n = count ? PyLong_AsSsize_t(count) : -1;

    Py_XDECREF(count);
    return n;
}

/* threading has the zygote's id. In its own namespace a box's program is process 2 (spawn.c). */
static int set_native_id(void)
{
    PyObject *id = PyLong_FromLong(2);
    int err = id ? PyObject_SetAttrString(py.main_thread, "_native_id", id) : -1;

    Py_XDECREF(id);
    return err;
}

int finish_prepare(void)
{
    PyObject *module = PyImport_ImportModule("threading");

    if (!module || cpython_prepare() < 0 || make_names() < 0 || take_logging() < 0)
        return -1;
    py.threading = Py_NewRef(PyModule_GetDict(module));
    Py_DECREF(module);
    py.shutdown = attribute("threading", "_shutdown");
    py.main_thread = attribute("threading", "_main_thread");
    py.unregister = attribute("atexit", "unregister");
    py.run_exitfuncs = attribute("atexit", "_run_exitfuncs");
    py.count_exitfuncs = attribute("atexit", "_ncallbacks");
    py.n_exitfuncs = py.count_exitfuncs ? count_exitfuncs() : -1;
    if (!py.shutdown || !py.main_thread || !py.unregister || !py.run_exitfuncs || py.n_exitfuncs < 0)
        return -1;
    return set_native_id();
}

static bool is_still(const char *name, const PyObject *value)
{
    return PyDict_GetItemString(py.threading, name) == value;
}

/* No thread but the main one was started, or all are joined and forgotten, and nothing waits for
 * the main thread's end. */
static bool threads_are_done(void)
{
    return is_still("_shutdown", py.shutdown) && is_still("_main_thread", py.main_thread)
           && cpython_threads_are_done(py.threading);
}

/* The visible rest of threading._shutdown(), for code that still runs: __del__ and atexit's
 * functions. */
static void stop_main_thread(void)
{
    if (PyDict_SetItemString(py.threading, "_SHUTTING_DOWN", Py_True) < 0)
        PyErr_Clear();
    cpython_stop_main_thread(py.main_thread);
}

static bool is_untouched(const struct handler *known)
{
    PyObject *handler = cpython_referent(known->reference);
    bool same = handler && Py_TYPE(handler) == known->type;

    Py_XDECREF(handler);
    return same && known->type->tp_version_tag == known->version && PyObject_Size(known->members) == known->n_members;
}

/* logging.shutdown() would flush nothing, and no atexit function is left that could change that. */
static bool logging_is_idle(void)
{
    if (!py.logging_shutdown || count_exitfuncs() != py.n_exitfuncs || PyList_GET_SIZE(py.handlers) != py.n_known)
        return false;
    for (Py_ssize_t i = 0; i < py.n_known; i++)
        if (PyList_GET_ITEM(py.handlers, i) != py.known[i].reference || !is_untouched(&py.known[i]))
            return false;
    return true;
}

static void call_quietly(PyObject *function, PyObject *argument)
{
    PyObject *done = PyObject_CallFunctionObjArgs(function, argument, NULL);
    if (!done)
        PyErr_WriteUnraisable(function);
    Py_XDECREF(done);
}

static bool is_closed(PyObject *file)
{
    PyObject *closed = PyObject_GetAttr(file, names.closed);
    int yes = closed ? PyObject_IsTrue(closed) : 0;

    Py_XDECREF(closed);
    if (yes < 0 || !closed)
        PyErr_Clear();
    return yes > 0;
}

/* 0, or -1 if printed text could not be written. */
static int flush_std(const char *name)
{
    PyObject *file = PySys_GetObject(name);
    if (!file || file == Py_None || is_closed(file))
        return 0;
    Py_INCREF(file);
    PyObject *done = PyObject_CallMethodNoArgs(file, names.flush);
    if (!done && strcmp(name, "stdout") == 0)
        PyErr_WriteUnraisable(file);
    Py_DECREF(file);
    Py_XDECREF(done);
    PyErr_Clear();
    return done ? 0 : -1;
}

static void end_threads(void)
{
    /* perhaps the program's own */
    PyObject *shutdown = PyDict_GetItemString(py.threading, "_shutdown");

    if (threads_are_done())
        stop_main_thread();
    else
        call_quietly(shutdown ? shutdown : py.shutdown, NULL);
}

static void call_exitfuncs(void)
{
    if (logging_is_idle())
        call_quietly(py.unregister, py.logging_shutdown);
    call_quietly(py.run_exitfuncs, NULL);
}

/* Drop what sys holds of the program: its files and its exception. */
static void clear_sys(void)
{
    static const char *const files[][2] = { { "stdin", "__stdin__" },
                                            { "stdout", "__stdout__" },
                                            { "stderr", "__stderr__" } };
    static const char *const last[] = { "last_type", "last_value", "last_traceback" };

    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        PyObject *file = PySys_GetObject(files[i][1]);
        if (file && PySys_GetObject(files[i][0]) != file)
            PySys_SetObject(files[i][0], file);
    }
    for (size_t i = 0; i < sizeof(last) / sizeof(*last); i++)
        if (PySys_GetObject(last[i]))
            PySys_SetObject(last[i], Py_None);
    PyErr_Clear();
}

/* Garbage goes first. Then __main__ goes: the collector frees what only __main__ holds, while the
 * names that __del__ uses are still there. Only what is left after that loses its names. */
static void clear_main(PyObject **main_dict)
{
    PyObject *modules = PyImport_GetModuleDict();

    PyGC_Collect();
    clear_sys();
    PyObject *module = PyDict_GetItemString(modules, "__main__");
    PyObject *left = module && PyModule_Check(module) ? PyWeakref_NewRef(module, NULL) : NULL;
    if (module)
        PyDict_DelItemString(modules, "__main__");
    Py_CLEAR(*main_dict);
    PyGC_Enable();
    PyGC_Collect();
    module = left ? cpython_referent(left) : NULL;
    if (module)
        cpython_clear_names(module);
    Py_XDECREF(module);
    Py_XDECREF(left);
    PyErr_Clear();
}

/* As after any script: if the program has put a file in the place of stdout, its text comes before
 * all that follows. */
static void flush_first(void)
{
    static const char *const files[] = { "stderr", "stdout" };

    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        PyObject *file = Py_XNewRef(PySys_GetObject(files[i]));
        PyObject *done = file ? PyObject_CallMethodNoArgs(file, names.flush) : NULL;
        Py_XDECREF(done);
        Py_XDECREF(file);
        PyErr_Clear();
    }
}

/* Write the entry @name without changing it. */
static void set_again(PyObject *dict, const char *name)
{
    PyObject *value = Py_XNewRef(PyDict_GetItemString(dict, name));

    if (value && PyDict_SetItemString(dict, name, Py_None) == 0)
        PyDict_SetItemString(dict, name, value);
    Py_XDECREF(value);
}

/* Drop a module, as __main__ will be dropped. */
static void drop_module(PyObject *dict)
{
    PyObject *module = PyModule_New("__main__");
    PyObject *weak = module ? PyWeakref_NewRef(module, NULL) : NULL;

    if (module)
        PyDict_Update(PyModule_GetDict(module), dict);
    Py_XDECREF(module);
    Py_XDECREF(weak);
}

void finish_rehearse(PyObject **main_dict)
{
    flush_first();
    if (threads_are_done()) {
        set_again(py.threading, "_SHUTTING_DOWN");
        cpython_rehearse(py.main_thread);
    }
    logging_is_idle();
    call_quietly(py.unregister, Py_None);
    flush_std("stdout");
    flush_std("stderr");
    PyGC_Collect();
    set_again(PyImport_GetModuleDict(), "__main__");
    drop_module(*main_dict);
    PyObject *dict = *main_dict;
    __atomic_store_n(main_dict, dict, __ATOMIC_SEQ_CST); /* touches the page; a plain store could be
                                                          * optimised away */
    flush_std("__stdout__");
    flush_std("__stderr__");
    PyErr_Clear();
}

int finish_python(PyObject **main_dict)
{
    flush_first();
    end_threads();
    call_exitfuncs();
    bool unflushed = flush_std("stdout") < 0;
    unflushed = flush_std("stderr") < 0 || unflushed;
    clear_main(main_dict);
    flush_std("__stdout__");
    flush_std("__stderr__");
    PyErr_Clear();
    fflush(NULL);
    return unflushed ? -1 : 0;
}
