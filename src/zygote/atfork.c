/* SPDX-License-Identifier: Apache-2.0 */
/* Fork hooks of Python's modules, disabled until a box runs its program.
 *
 * warm.c puts this file's register_at_fork() in the place of os.register_at_fork() while imports
 * run. run.c enables the hooks before the program runs.  What must never happen here: that a hook
 * is left out when a program forks. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/atfork.h"

#include <stdbool.h>
#include <string.h>

static bool enabled, others;
static PyObject *original; /* posix.register_at_fork. An import may have taken ours by its name, and
                            * then calls this one through it. */

static PyObject *call_if_enabled(PyObject *function, PyObject *unused)
{
    (void) unused;
    if (!enabled)
        Py_RETURN_NONE;
    return PyObject_CallNoArgs(function);
}

static bool is_put_off(PyObject *globals)
{
    static const char *const modules[] = { "threading", "logging", "concurrent.futures.thread", "random" };
    PyObject *name = globals ? PyDict_GetItemString(globals, "__name__") : NULL;

    for (size_t i = 0; name && PyUnicode_Check(name) && i < sizeof(modules) / sizeof(*modules); i++)
        if (PyUnicode_CompareWithASCIIString(name, modules[i]) == 0)
            return true;
    return false;
}

/* Like @named, with each function wrapped in call_if_enabled(). */
static PyObject *put_off(PyObject *named)
{
    static PyMethodDef method = { "call_if_enabled", call_if_enabled, METH_NOARGS, NULL };
    PyObject *key, *function, *wrapped = PyDict_New();
    Py_ssize_t at = 0;

    while (wrapped && PyDict_Next(named, &at, &key, &function)) {
        PyObject *wrapper = PyCFunction_New(&method, function);
        if (!wrapper || PyDict_SetItem(wrapped, key, wrapper) < 0)
            Py_CLEAR(wrapped);
        Py_XDECREF(wrapper);
    }
    return wrapped;
}

static PyObject *register_at_fork(PyObject *self, PyObject *args, PyObject *named)
{
    bool known = is_put_off(PyEval_GetGlobals());
    PyObject *ours = named && known ? put_off(named) : Py_XNewRef(named);
    PyObject *done = NULL;

    (void) self;
    others = others || !known;
    if (ours || !named)
        done = PyObject_Call(original, args, ours);
    Py_XDECREF(ours);
    return done;
}

static int set_register(const char *name, PyObject *function)
{
    PyObject *module = PyImport_ImportModule(name);
    int err = module && function ? PyObject_SetAttrString(module, "register_at_fork", function) : -1;

    Py_XDECREF(module);
    return err;
}

/* os is not imported yet. It will take the function from posix. */
int atfork_intercept(void)
{
    static PyMethodDef method = { "register_at_fork", (PyCFunction) (void (*)(void)) register_at_fork,
                                  METH_VARARGS | METH_KEYWORDS, NULL };
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *ours = PyCFunction_New(&method, NULL);

    original = posix ? PyObject_GetAttrString(posix, "register_at_fork") : NULL;
    int err = original ? set_register("posix", ours) : -1;
    Py_XDECREF(posix);
    Py_XDECREF(ours);
    return err;
}

int atfork_restore(void)
{
    return set_register("posix", original) < 0 ? -1 : set_register("os", original);
}

void atfork_enable(void)
{
    enabled = true;
}

bool atfork_has_others(void)
{
    return others;
}
