/* SPDX-License-Identifier: Apache-2.0 */
/* From a program's text to its code.
 *
 * run.c calls this file in a box.  The prelude's compile_program() can do all of this, and this
 * file leaves the rare cases to it.  But the prelude is Python code, whose pages a box copies while
 * its caller waits, and it makes trees of Python objects, forty times as large as the text.  So
 * this file compiles a program with a `return` at top level in pieces (split.c).  The prelude gets
 * only the pieces that have their `return` inside another statement. */
#include "zygote/compile.h"

#include "zygote/split.h"

#include <stdbool.h>
#include <string.h>

static struct {
    PyObject *compile_program, *compile_returning;
    PyObject *lines;                      /* linecache.cache */
    PyObject *warnings, *show, *showname; /* the module's dictionary; our hook in it while something
                                           * is compiled; the hook's name */
    PyObject *said;                       /* a list: the warnings of this compilation */
    PyObject *filename, *newline;
    PyObject *star, *import_star; /* the name that the prelude calls in place of `from m import *`,
                                   * and our function */
} py;

static PyObject *dictionary(const char *module)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *dict = m ? Py_NewRef(PyModule_GetDict(m)) : NULL;

    Py_XDECREF(m);
    return dict;
}

/* `from m import *` into the caller's globals, with (m, level), as CPython's ceval.c does it. */
static PyObject *import_star(PyObject *self, PyObject *args)
{
    PyObject *space = PyEval_GetGlobals(), *name, *module = NULL, *names = NULL;
    int level;
    bool skip = false;

    (void) self;
    if (space && PyArg_ParseTuple(args, "Ui", &name, &level)) {
        PyObject *all = Py_BuildValue("(s)", "*");
        module = all ? PyImport_ImportModuleLevelObject(name, space, space, all, level) : NULL;
        Py_XDECREF(all);
    }
    if (module && !(names = PyObject_GetAttrString(module, "__all__"))) {
        PyErr_Clear();
        skip = true;
        PyObject *dict = PyObject_GetAttrString(module, "__dict__");
        names = dict ? PyMapping_Keys(dict) : NULL;
        Py_XDECREF(dict);
    }
    Py_ssize_t n = names ? PySequence_Size(names) : -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *key = PySequence_GetItem(names, i);
        bool hidden =
            key && skip && PyUnicode_Check(key) && PyUnicode_GET_LENGTH(key) && PyUnicode_READ_CHAR(key, 0) == '_';
        PyObject *value = key && !hidden ? PyObject_GetAttr(module, key) : NULL;
        if (!key || (!hidden && (!value || PyDict_SetItem(space, key, value) < 0)))
            n = -1;
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    Py_XDECREF(names);
    Py_XDECREF(module);
    return n < 0 ? NULL : Py_NewRef(Py_None);
}

int compile_prepare(PyObject *prelude)
{
    static PyMethodDef star = { "import_star", import_star, METH_VARARGS, NULL };
    PyObject *linecache = dictionary("linecache");

    py.compile_program = PyDict_GetItemString(prelude, "compile_program");
    py.compile_returning = PyDict_GetItemString(prelude, "compile_returning");
    py.star = PyDict_GetItemString(prelude, "STAR");
    py.import_star = PyCFunction_New(&star, NULL);
    py.lines = linecache ? Py_XNewRef(PyDict_GetItemString(linecache, "cache")) : NULL;
    Py_XDECREF(linecache);
    py.warnings = dictionary("warnings");
    py.showname = PyUnicode_InternFromString("_showwarnmsg");
    py.said = PyList_New(0);
    py.show = py.said ? PyObject_GetAttrString(py.said, "append") : NULL;
    py.filename = PyUnicode_InternFromString("main.py");
    py.newline = PyUnicode_FromString("\n");
    return py.compile_program && py.compile_returning && py.star && py.import_star && py.lines && py.warnings
                   && py.showname && py.show && py.filename && py.newline
               ? 0
               : -1;
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

/* Every line has its newline, also the last one. */
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

/* As compile(source, "main.py", mode, flags, True). */
static PyObject *compile_text(const char *text, int mode, int inherited)
{
    PyCompilerFlags flags = { PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE | inherited, PY_MINOR_VERSION };
    return Py_CompileStringObject(text, py.filename, mode, &flags, -1);
}

/* @text between @before and @after, moved down to its line by newlines. NULL if memory runs out. */
static char *at_line(int line, const char *before, const char *text, size_t n, const char *after)
{
    size_t n_before = strlen(before), lines = line > 1 ? (size_t) line - 1 : 0;
    char *room = PyMem_Malloc(lines + n_before + n + strlen(after) + 1);

    if (!room)
        return NULL;
    memset(room, '\n', lines);
    char *p = mempcpy(room + lines, before, n_before);
    p = mempcpy(p, text, n);
    strcpy(p, after);
    return room;
}

/* Python would take a string at the beginning of a piece for the module's docstring. So every piece
 * but the first begins with `pass`. */
static char *plain_text(const char *text, const struct piece *piece, bool first)
{
    const char *begin = text + piece->begin;
    size_t n = piece->end - piece->begin;

    return first ? at_line(piece->line, "", begin, n, "") : at_line(piece->line - 1, "pass\n", begin, n, "");
}

static bool is_bare(const char *rest, size_t n)
{
    size_t blanks = 0;

    while (blanks < n && (rest[blanks] == ' ' || rest[blanks] == '\t'))
        blanks++;
    return blanks == n || rest[blanks] == '\n' || rest[blanks] == '#';
}

/* `return x` as the expression `((    x),)`, a tuple with x in its own column. NULL without an
 * exception if the text does not begin with `return`. */
static char *return_text(const char *text, const struct piece *piece)
{
    static const char word[] = "return";
    size_t n = piece->end - piece->begin, skip = sizeof(word) - 1;
    const char *begin = text + piece->begin;

    if (n < skip || memcmp(begin, word, skip) != 0)
        return NULL;
    return at_line(piece->line, is_bare(begin + skip, n - skip) ? "((None" : "((    ", begin + skip, n - skip, "\n),)");
}

/* A tuple of code objects. */
static PyObject *compile_mixed(const char *text, const struct piece *piece, int flags, bool whole)
{
    char *padded = at_line(piece->line, "", text + piece->begin, piece->end - piece->begin, "");
    PyObject *codes =
        padded ? PyObject_CallFunction(py.compile_returning, "siO", padded, flags, whole ? Py_True : Py_False) : NULL;

    PyMem_Free(padded);
    return codes;
}

static PyObject *compile_piece(const char *text, const struct piece *pieces, int i, int n, int flags)
{
    const struct piece *piece = &pieces[i];
    bool plain = piece->kind == PIECE_PLAIN;

    if (piece->kind == PIECE_MIXED)
        return compile_mixed(text, piece, flags, n == 1);
    char *padded = plain ? plain_text(text, piece, i == 0) : return_text(text, piece);
    PyObject *code = padded ? compile_text(padded, plain ? Py_file_input : Py_eval_input, flags) : NULL;
    PyMem_Free(padded);
    PyObject *codes = code ? PyTuple_Pack(1, code) : NULL;
    Py_XDECREF(code);
    return codes;
}

/* A list of code objects, or NULL. */
static PyObject *compile_pieces(const char *text, const struct piece *pieces, int n)
{
    PyObject *all = PyList_New(0);
    int flags = 0;

    for (int i = 0; all && i < n; i++) {
        PyObject *codes = compile_piece(text, pieces, i, n, flags);
        if (!codes || PyList_SetSlice(all, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, codes) < 0)
            Py_CLEAR(all);
        else if (i == 0) /* flags set by `from __future__ import` */
            flags = ((PyCodeObject *) PyTuple_GET_ITEM(codes, 0))->co_flags & PyCF_MASK;
        Py_XDECREF(codes);
    }
    return all;
}

static PyObject *compile_anyhow(const char *text, size_t len)
{
    struct piece pieces[PIECES_MAX];
    int n = split_text(text, len, pieces);
    PyObject *code = n ? compile_pieces(text, pieces, n) : NULL;

    if (!code) {
        PyErr_Clear();
        PyList_SetSlice(py.said, 0, PyList_GET_SIZE(py.said), NULL);
        code = compile_text(text, Py_file_input, 0);
    }
    return code;
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

/* Warnings of the compiler are shown only if the program compiles. Otherwise the prelude compiles
 * the text again, and the compiler warns again. */
static PyObject *compile_and_show(const char *text, size_t n)
{
    PyObject *show = Py_XNewRef(PyDict_GetItemWithError(py.warnings, py.showname));
    PyObject *code = NULL;

    if (show && PyDict_SetItem(py.warnings, py.showname, py.show) == 0) {
        code = compile_anyhow(text, n);
        PyErr_Clear();
        if (PyDict_SetItem(py.warnings, py.showname, show) == 0 && code)
            show_all(show);
        PyList_SetSlice(py.said, 0, PyList_GET_SIZE(py.said), NULL);
    }
    Py_XDECREF(show);
    return code;
}

/* Line ends of other systems become \n, as in CPython's tokenizer. A new str. */
static PyObject *translate_newlines(PyObject *source)
{
    PyObject *unix_only = PyObject_CallMethod(source, "replace", "ss", "\r\n", "\n");
    PyObject *translated = unix_only ? PyObject_CallMethod(unix_only, "replace", "ss", "\r", "\n") : NULL;

    Py_XDECREF(unix_only);
    return translated;
}

static PyObject *compile_clean(PyObject *source, bool *ret_shown)
{
    Py_ssize_t n = 0;
    const char *text = PyUnicode_AsUTF8AndSize(source, &n);

    if (!text || memchr(text, 0, (size_t) n) || (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        || tell_linecache(source) < 0)
        return NULL;
    *ret_shown = !memmem(text, (size_t) n, "return", 6);
    return *ret_shown ? compile_text(text, Py_file_input, 0) : compile_and_show(text, (size_t) n);
}

PyObject *compile_source(PyObject *source)
{
    bool foreign = PyUnicode_FindChar(source, '\r', 0, PyUnicode_GET_LENGTH(source), 1) >= 0, shown = false;
    PyObject *clean = foreign ? translate_newlines(source) : Py_NewRef(source);
    PyObject *code = clean ? compile_clean(clean, &shown) : NULL;

    if (!code) {
        PyErr_Clear();
        code = PyObject_CallFunctionObjArgs(py.compile_program, source, shown ? Py_True : Py_False, NULL);
    }
    Py_XDECREF(clean);
    return code;
}

/* The name for import_star() is in @space only while code that calls it runs. */
static PyObject *run_code(PyObject *code, PyObject *space)
{
    PyObject *names = PyObject_GetAttrString(code, "co_names");
    bool stars =
        names && PySequence_Contains(names, py.star) > 0 && PyDict_SetItem(space, py.star, py.import_star) == 0;
    PyObject *value = names ? PyEval_EvalCode(code, space, space) : NULL;

    Py_XDECREF(names);
    if (stars) {
        PyObject *type, *error, *tb;
        PyErr_Fetch(&type, &error, &tb);
        PyDict_DelItem(space, py.star);
        PyErr_Restore(type, error, tb);
    }
    return value;
}

/* A list has pieces. In a tuple only the last code object can be a function's. */
bool compile_returns(PyObject *code)
{
    Py_ssize_t n = PyTuple_Check(code) ? PyTuple_GET_SIZE(code) : 0;

    return PyList_Check(code) || (n && ((PyCodeObject *) PyTuple_GET_ITEM(code, n - 1))->co_flags & CO_OPTIMIZED);
}

PyObject *compile_run(PyObject *code, PyObject *space)
{
    if (PyCode_Check(code))
        return PyEval_EvalCode(code, space, space);
    Py_ssize_t n = PySequence_Size(code);
    PyObject *value = n ? NULL : Py_NewRef(Py_None);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PySequence_GetItem(code, i);
        Py_XSETREF(value, item ? run_code(item, space) : NULL);
        Py_XDECREF(item);
        if (value && PyTuple_Check(value))
            Py_SETREF(value, Py_NewRef(PyTuple_GET_ITEM(value, 0)));
        else if (value)
            continue;
        break;
    }
    return value;
}

void compile_forget(void)
{
    if (PyDict_DelItem(py.lines, py.filename) < 0)
        PyErr_Clear();
}
