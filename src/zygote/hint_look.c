/* SPDX-License-Identifier: Apache-2.0 */
/* What a hint looks at: an exception's objects, its traceback, the program's text.
 *
 * The other hint files call these functions in a box.  A function here answers one question and
 * words nothing.  What must never happen here: a look at the program's objects that runs its code,
 * or a Python exception that stays set. */
#include "zygote/cpython.h"
#include "zygote/hint_parts.h"

#include <string.h>

/* --- looking at objects --- */

bool is_text(PyObject *text, const char *words)
{
    return text && PyUnicode_Check(text) && PyUnicode_CompareWithASCIIString(text, words) == 0;
}

const char *bytes_of(PyObject *text)
{
    const char *bytes = text && PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;

    PyErr_Clear();
    return bytes ? bytes : "";
}

PyObject *only_text(PyObject *value)
{
    PyObject *args = ((PyBaseExceptionObject *) value)->args;
    bool one = args && PyTuple_Check(args) && PyTuple_GET_SIZE(args) == 1;

    return one && PyUnicode_Check(PyTuple_GET_ITEM(args, 0)) ? PyTuple_GET_ITEM(args, 0) : NULL;
}

/* Is the dotted @name @module or a part of it? */
static bool is_within(const char *name, const char *module)
{
    size_t n = strlen(module);

    return strncmp(name, module, n) == 0 && (name[n] == '.' || name[n] == '\0');
}

bool is_called(PyTypeObject *type, const char *module, const char *name)
{
    const char *dot = strrchr(type->tp_name, '.');

    if (strcmp(dot ? dot + 1 : type->tp_name, name) != 0)
        return false;
    PyObject *own = cpython_own(type, "__module__");
    bool found;
    if (own && PyUnicode_Check(own))
        found = is_within(bytes_of(own), module);
    else
        found = dot ? is_within(type->tp_name, module) : strcmp(module, "builtins") == 0;
    Py_XDECREF(own);
    return found;
}

bool is_among(const char *word, size_t n, const char *words)
{
    for (const char *w = words; *w; w += strcspn(w, " ") + 1)
        if (strcspn(w, " ") == n && memcmp(w, word, n) == 0)
            return true;
    return false;
}

bool is_of_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c & 0x80);
}

/* --- where it came from --- */

PyObject *before(PyObject *value)
{
    PyBaseExceptionObject *e = (PyBaseExceptionObject *) value;

    return e->cause ? e->cause : e->context;
}

bool innermost(PyObject *value, const char **ret_file, int *ret_line)
{
    PyTracebackObject *tb = (PyTracebackObject *) ((PyBaseExceptionObject *) value)->traceback;

    if (!tb || !PyTraceBack_Check(tb))
        return false;
    while (tb->tb_next)
        tb = tb->tb_next;
    PyCodeObject *code = PyFrame_GetCode(tb->tb_frame);
    *ret_file = bytes_of(code->co_filename);
    *ret_line = PyCode_Addr2Line(code, tb->tb_lasti);
    Py_DECREF(code); /* its frame has it */
    return true;
}

bool passes(PyObject *value, const char *file)
{
    PyTracebackObject *tb = (PyTracebackObject *) ((PyBaseExceptionObject *) value)->traceback;
    bool found = false;

    for (; tb && PyTraceBack_Check(tb) && !found; tb = tb->tb_next) {
        PyCodeObject *code = PyFrame_GetCode(tb->tb_frame);
        found = strstr(bytes_of(code->co_filename), file) != NULL;
        Py_DECREF(code);
    }
    return found;
}

bool line_has(PyObject *source, int line, const char *word)
{
    const char *text = bytes_of(source);

    while (text && --line > 0)
        text = (text = strchr(text, '\n')) ? text + 1 : NULL;
    const char *end = text ? strchrnul(text, '\n') : NULL;
    return text && memmem(text, (size_t) (end - text), word, strlen(word));
}

bool text_has(PyObject *source, const char *word)
{
    return strcasestr(bytes_of(source), word);
}

bool came_by(PyObject *value, PyObject *source, const char *word)
{
    PyTracebackObject *tb = (PyTracebackObject *) ((PyBaseExceptionObject *) value)->traceback;
    int line = 0;

    for (; tb && PyTraceBack_Check(tb); tb = tb->tb_next) {
        PyCodeObject *code = PyFrame_GetCode(tb->tb_frame);
        if (is_text(code->co_filename, "main.py"))
            line = PyCode_Addr2Line(code, tb->tb_lasti);
        Py_DECREF(code);
    }
    return line && line_has(source, line, word);
}

bool by_hand(PyObject *value, PyObject *source)
{
    const char *file;
    int line;

    if (!innermost(value, &file, &line))
        return true;
    return strcmp(file, "main.py") == 0 && line_has(source, line, "raise");
}
