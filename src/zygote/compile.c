/* SPDX-License-Identifier: Apache-2.0 */
/* From a program's text to its code.
 *
 * Called by run.c in a box.  The prelude's compile_program() can do all of this, and what is rare is left to it: an
 * error, a `return` at top level, another end of line.  But it is Python code, whose pages a box copies while its
 * caller waits; forty of them are saved here. */
#include "compile.h"

#include <stdbool.h>
#include <string.h>

static struct {
    PyObject *compile_program;
    PyObject *lines;                      /* linecache.cache */
    PyObject *warnings, *show, *showname; /* the module's dictionary; what is in it while something is compiled */
    PyObject *said;                       /* a list */
    PyObject *filename, *newline;
} py;

static PyObject *dictionary(const char *module)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *dict = m ? Py_NewRef(PyModule_GetDict(m)) : NULL;

    Py_XDECREF(m);
    return dict;
}

int compile_prepare(PyObject *compile_program)
{
    PyObject *linecache = dictionary("linecache");

    py.compile_program = compile_program;
    py.lines = linecache ? Py_XNewRef(PyDict_GetItemString(linecache, "cache")) : NULL;
    Py_XDECREF(linecache);
    py.warnings = dictionary("warnings");
    py.showname = PyUnicode_InternFromString("_showwarnmsg");
    py.said = PyList_New(0);
    py.show = py.said ? PyObject_GetAttrString(py.said, "append") : NULL;
    py.filename = PyUnicode_InternFromString("main.py");
    py.newline = PyUnicode_FromString("\n");
    return py.lines && py.warnings && py.showname && py.show && py.filename && py.newline ? 0 : -1;
}

static PyObject *line_at(PyObject *source, Py_ssize_t at, Py_ssize_t end)
{
    if (end >= 0)
        return PyUnicode_Substring(source, at, end + 1);
    PyObject *rest = PyUnicode_Substring(source, at, PyUnicode_GET_LENGTH(source));
    PyObject *line = rest ? PyUnicode_Concat(rest, py.newline) : NULL;
    Py_XDECREF(rest);
    return line;
}

/* Each with its newline, the last one too. */
static PyObject *split(PyObject *source)
{
    PyObject *lines = PyList_New(0);
    Py_ssize_t at = 0, end = 0;

    while (lines && end >= 0) {
        end = PyUnicode_FindChar(source, '\n', at, PyUnicode_GET_LENGTH(source), 1);
        PyObject *line = line_at(source, at, end);
        if (!line || PyList_Append(lines, line) < 0)
            Py_CLEAR(lines);
        Py_XDECREF(line);
        at = end + 1;
    }
    return lines;
}

static int tell_linecache(PyObject *source)
{
    PyObject *lines = split(source);
    PyObject *entry = lines ? Py_BuildValue("(nOOO)", PyUnicode_GET_LENGTH(source), Py_None, lines, py.filename) : NULL;
    int err = entry ? PyDict_SetItem(py.lines, py.filename, entry) : -1;

    Py_XDECREF(lines);
    Py_XDECREF(entry);
    return err;
}

/* As compile(source, "main.py", "exec", 0, True). */
static PyObject *compile_text(const char *text)
{
    PyCompilerFlags flags = { PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE, PY_MINOR_VERSION };
    return Py_CompileStringObject(text, py.filename, Py_file_input, &flags, -1);
}

static void show_all(PyObject *show)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(py.said); i++) {
        PyObject *done = PyObject_CallOneArg(show, PyList_GET_ITEM(py.said, i));
        if (!done)
            PyErr_Clear();
        Py_XDECREF(done);
    }
}

/* What the compiler warns of is shown only when it succeeds: where it does not, it is asked again, and warns again. */
static PyObject *compile_and_show(const char *text)
{
    PyObject *show = Py_XNewRef(PyDict_GetItemWithError(py.warnings, py.showname));
    PyObject *code = NULL;

    if (show && PyDict_SetItem(py.warnings, py.showname, py.show) == 0) {
        code = compile_text(text);
        PyErr_Clear();
        if (PyDict_SetItem(py.warnings, py.showname, show) == 0 && code)
            show_all(show);
        PyList_SetSlice(py.said, 0, PyList_GET_SIZE(py.said), NULL);
    }
    Py_XDECREF(show);
    return code;
}

static bool is_plain(const char *text, size_t n)
{
    return !memchr(text, '\r', n) && !memchr(text, 0, n) && (n < 3 || memcmp(text, "\xef\xbb\xbf", 3) != 0);
}

PyObject *compile_source(PyObject *source, PyObject **first)
{
    Py_ssize_t n = 0;
    const char *text = PyUnicode_AsUTF8AndSize(source, &n);
    bool shown = false;

    *first = NULL;
    if (text && is_plain(text, (size_t) n) && tell_linecache(source) == 0) {
        shown = !memmem(text, (size_t) n, "return", 6);
        PyObject *code = shown ? compile_text(text) : compile_and_show(text);
        if (code)
            return code;
    }
    PyErr_Clear();
    PyObject *pair = PyObject_CallFunctionObjArgs(py.compile_program, source, shown ? Py_True : Py_False, NULL);
    PyObject *code = pair ? Py_NewRef(PyTuple_GET_ITEM(pair, 0)) : NULL;
    if (pair)
        *first = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
    Py_XDECREF(pair);
    return code;
}

void compile_forget(void)
{
    if (PyDict_DelItem(py.lines, py.filename) < 0)
        PyErr_Clear();
}
