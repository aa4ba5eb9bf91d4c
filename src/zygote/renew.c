/* SPDX-License-Identifier: Apache-2.0 */
/* State that two boxes must not share: that of random number generators.
 *
 * run.c calls this file in the zygote, after all imports, and first of all in each box.  `random`
 * and numpy do not notice the zygote's fork.  `uuid` asks the kernel, or `random`.  OpenSSL notices
 * a fork by the process's number, which is 1 in the zygote and never in a box.  What must never
 * happen here: a box that goes on with the numbers of another. */
#include "zygote/renew.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <unistd.h>

/* Functions to call without arguments. NULL if no import brought the generator in. */
static struct {
    PyObject *random, *numpy;
} seed;

/* The module @name, or NULL if no import brought it in. On failure NULL with an exception set. */
static PyObject *imported(const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *module = key ? PyImport_GetModule(key) : NULL;

    Py_XDECREF(key);
    return module;
}

/* The C method of random's global generator. Random.seed() is Python code, and each box would copy
 * its pages. */
static PyObject *random_seed(PyObject *module)
{
    PyObject *generator = PyObject_GetAttrString(module, "_inst");
    PyObject *type = PyImport_ImportModule("_random");
    PyObject *method = type ? PyObject_GetAttrString(type, "Random") : NULL;

    Py_XSETREF(method, method ? PyObject_GetAttrString(method, "seed") : NULL);
    PyObject *bound = method && generator && Py_TYPE(method)->tp_descr_get
                          ? Py_TYPE(method)->tp_descr_get(method, generator, (PyObject *) Py_TYPE(generator))
                          : NULL;
    if (bound && PyObject_SetAttrString(generator, "gauss_next", Py_None) < 0)
        Py_CLEAR(bound);
    Py_XDECREF(generator);
    Py_XDECREF(type);
    Py_XDECREF(method);
    return bound;
}

/* The global generators of random and numpy are seeded when they are imported.  If an import asked
 * for a uuid1(), the values that `uuid` keeps between calls would be the same in every box. */
int renew_prepare(void)
{
    PyObject *random = imported("random");
    PyObject *numpy = imported("numpy.random");
    PyObject *uuid = imported("uuid");

    if (random)
        seed.random = random_seed(random);
    if (numpy)
        seed.numpy = PyObject_GetAttrString(numpy, "seed");
    int failed = (random && !seed.random) || (numpy && !seed.numpy);
    if (uuid)
        failed |= PyObject_SetAttrString(uuid, "_node", Py_None) < 0
                  || PyObject_SetAttrString(uuid, "_last_timestamp", Py_None) < 0;
    Py_XDECREF(random);
    Py_XDECREF(numpy);
    Py_XDECREF(uuid);
    return failed || PyErr_Occurred() ? -1 : 0;
}

void renew(void)
{
    PyObject *seeds[] = { seed.random, seed.numpy };

    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        PyObject *done = seeds[i] ? PyObject_CallNoArgs(seeds[i]) : NULL;
        if (seeds[i] && !done)
            _exit(126);
        Py_XDECREF(done);
    }
}
