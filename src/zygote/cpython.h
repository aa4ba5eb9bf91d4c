/* SPDX-License-Identifier: Apache-2.0 */
/* The differences between versions of CPython, in one place.
 *
 * The zygote is built against one libpython (meson.build takes the distribution's python3).  All of
 * src/zygote uses the public C API.  Where a version has no public way, or another one, this header
 * has a function for it, with a sentence for each version.  Tried: 3.11 (Debian 12), 3.13 (Debian
 * 13). */
#ifndef HATCHERY_ZYGOTE_CPYTHON_H
#define HATCHERY_ZYGOTE_CPYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#if PY_VERSION_HEX < 0x030b0000
#error "Hatchery needs CPython 3.11 or newer"
#endif

/* The object that @weak refers to, as a new reference; NULL without an exception where the object
 * is gone. 3.11, 3.12: PyWeakref_GetObject(), which 3.13 deprecates for PyWeakref_GetRef(). */
static inline PyObject *cpython_referent(PyObject *weak)
{
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *object = NULL;

    if (PyWeakref_GetRef(weak, &object) < 0)
        PyErr_Clear();
    return object;
#else
    PyObject *object = PyWeakref_GetObject(weak);

    if (!object)
        PyErr_Clear();
    return object && object != Py_None ? Py_NewRef(object) : NULL;
#endif
}

/* The attribute @name of @type itself, not of a base, as a new reference; NULL without an exception
 * if it has none. 3.11: from a member of the struct.  From 3.12 that member is NULL for the
 * interpreter's own types, so PyType_GetDict(). */
static inline PyObject *cpython_own(PyTypeObject *type, const char *name)
{
#if PY_VERSION_HEX >= 0x030c0000
    PyObject *names = PyType_GetDict(type);
#else
    PyObject *names = Py_XNewRef(type->tp_dict);
#endif
    PyObject *own = names ? Py_XNewRef(PyDict_GetItemString(names, name)) : NULL;

    Py_XDECREF(names);
    return own;
}

/* Write the exception to @file as the interpreter does at a program's end. 3.11: _PyErr_Display(),
 * which libpython exports and only internal headers declare.  It reads source lines from files.
 * From 3.12: PyErr_DisplayException(), which writes to sys.stderr.  3.13 asks the module traceback,
 * which reads source lines from linecache. */
void cpython_display(PyObject *file, PyObject *type, PyObject *value, PyObject *tb);

/* The names of a module go as at the interpreter's end: first those with one underscore, then all
 * others but __builtins__ (The Python Language Reference, object.__del__()).  The same for all
 * versions: _PyModule_Clear(), which did it, is no longer exported from 3.12 on. */
void cpython_clear_names(PyObject *module);

/* In the zygote, once, with threading imported.  0, or -1 with a Python exception set. */
int cpython_prepare(void);

/* True where no thread is left that the module threading waits for at the end.  @threading: the
 * module's dictionary. False where that is not known, too: then threading._shutdown() has to be
 * called. 3.11, 3.12: _active, _limbo and _shutdown_locks.  3.13: C code has the threads, and
 * _thread._count() their number. */
bool cpython_threads_are_done(PyObject *threading);

/* The main thread counts as ended from here on, as threading._shutdown() leaves it.
 * 3.11, 3.12: two attributes.  3.13: its handle.  No exception is set afterwards. */
void cpython_stop_main_thread(PyObject *main_thread);

/* Touch what cpython_stop_main_thread() touches, and change nothing (finish_rehearse()). */
void cpython_rehearse(PyObject *main_thread);

#endif
