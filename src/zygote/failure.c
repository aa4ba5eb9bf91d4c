/* SPDX-License-Identifier: Apache-2.0 */
/* The exception that has ended a program, in fields.
 *
 * ending.c calls this file in a box when a program has failed and show.c has worded the exception.
 * What must never happen here: that the program's own code runs once more than under `python3
 * main.py`, where its author could see it. */
#include "zygote/failure.h"

#include "zygote/cpython.h"

#include "base/wire.h"

#include <string.h>

static const char str_failed[] = "<exception str() failed>";

void failure_init(struct failure *f)
{
    memset(f, 0, sizeof(*f));
    buf_init(&f->name, WIRE_NAME_MAX);
    buf_init(&f->value, WIRE_VALUE_MAX);
    buf_init(&f->hint, WIRE_HINT_MAX);
}

void failure_free(struct failure *f)
{
    buf_free(&f->name);
    buf_free(&f->value);
    buf_free(&f->hint);
}

void failure_reset(struct failure *f)
{
    buf_reset(&f->name);
    buf_reset(&f->value);
    buf_reset(&f->hint);
    f->line = 0;
}

/* How many of the @n bytes at @p fit into @max, without half of a character. */
static size_t cut(const char *p, size_t n, size_t max)
{
    if (n <= max)
        return n;
    for (n = max; n > 0 && ((unsigned char) p[n] & 0xc0) == 0x80; n--)
        ;
    return n;
}

void failure_add_text(struct buf *out, PyObject *text)
{
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;

    if (bytes)
        buf_add(out, PyBytes_AS_STRING(bytes),
                cut(PyBytes_AS_STRING(bytes), (size_t) PyBytes_GET_SIZE(bytes), out->max - out->len));
    Py_XDECREF(bytes);
    PyErr_Clear();
}

/* As print_exception_message() of CPython does. */
static void add_name(struct buf *out, PyTypeObject *type)
{
    PyObject *module = cpython_own(type, "__module__");
    PyObject *name = PyType_GetQualName(type);

    if (module && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "builtins") != 0
        && PyUnicode_CompareWithASCIIString(module, "__main__") != 0) {
        failure_add_text(out, module);
        buf_addc(out, '.');
    } else if (!module && strchr(type->tp_name, '.')) /* a type made in C: the module is in it */
        buf_add(out, type->tp_name, (size_t) (strrchr(type->tp_name, '.') + 1 - type->tp_name));
    failure_add_text(out, name);
    Py_XDECREF(module);
    Py_XDECREF(name);
    PyErr_Clear();
}

/* Does str() of an exception of this type run only C code? */
static bool has_plain_text(PyTypeObject *type)
{
    PyObject *name = PyUnicode_InternFromString("__str__");
    PyObject *found = name ? _PyType_Lookup(type, name) : NULL;

    Py_XDECREF(name);
    PyErr_Clear();
    return found && Py_IS_TYPE(found, &PyWrapperDescr_Type);
}

/* The rest of the last line between @p and @end that begins with @name and a colon, or NULL. */
static const char *find_shown(const struct buf *name, const char *p, const char *end)
{
    const char *found = NULL;

    for (const char *line = p; line; line = memchr(line, '\n', (size_t) (end - line))) {
        line += *line == '\n';
        if ((size_t) (end - line) > name->len + 2 && memcmp(line, name->data, name->len) == 0
            && memcmp(line + name->len, ": ", 2) == 0)
            found = line + name->len + 2;
    }
    return found;
}

/* The name that the author may have meant. CPython adds it when it shows the exception. */
static void add_suggestion(struct buf *out, const char *shown, const char *end)
{
    static const char words[] = ". Did you mean: ";
    const char *newline = memchr(shown, '\n', (size_t) (end - shown));

    end = newline ? newline : end;
    if ((size_t) (end - shown) < out->len + sizeof(words) || memcmp(shown, out->data, out->len) != 0)
        return;
    shown += out->len;
    if (memcmp(shown, words, sizeof(words) - 1) == 0)
        buf_add(out, shown, (size_t) (end - shown));
}

static void add_string(struct buf *out, PyObject *value)
{
    PyObject *string = PyObject_Str(value);

    if (string)
        failure_add_text(out, string);
    else
        buf_adds(out, str_failed);
    Py_XDECREF(string);
    PyErr_Clear();
}

static void add_value(struct failure *f, PyObject *value, PyObject *text)
{
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    const char *p = bytes ? PyBytes_AS_STRING(bytes) : "", *end = p + (bytes ? PyBytes_GET_SIZE(bytes) : 0);
    const char *shown = find_shown(&f->name, p, end);

    PyErr_Clear();
    if (has_plain_text(Py_TYPE(value)) || !bytes) {
        add_string(&f->value, value);
        if (shown && f->value.len)
            add_suggestion(&f->value, shown, end);
    } else if (shown) {
        size_t n = (size_t) (end - shown) - (end[-1] == '\n');
        buf_add(&f->value, shown, cut(shown, n, f->value.max));
    }
    Py_XDECREF(bytes);
}

static bool is_main(PyObject *filename)
{
    return filename && PyUnicode_Check(filename) && PyUnicode_CompareWithASCIIString(filename, "main.py") == 0;
}

static int line_in_main(PyObject *tb)
{
    int line = 0;

    for (PyTracebackObject *at = (PyTracebackObject *) tb; at; at = at->tb_next) {
        PyCodeObject *code = PyFrame_GetCode(at->tb_frame);
        if (is_main(code->co_filename))
            line = PyCode_Addr2Line(code, at->tb_lasti);
        Py_DECREF(code);
    }
    return line > 0 ? line : 0;
}

/* A syntax error of main.py itself has no frames. */
static int line_of_syntax(PyObject *value)
{
    const PySyntaxErrorObject *error = (const PySyntaxErrorObject *) value;
    long line =
        is_main(error->filename) && error->lineno && PyLong_Check(error->lineno) ? PyLong_AsLong(error->lineno) : 0;

    PyErr_Clear();
    return line > 0 && line < INT32_MAX ? (int) line : 0;
}

void failure_describe(struct failure *f, PyObject *type, PyObject *value, PyObject *tb, PyObject *text)
{
    add_name(&f->name, (PyTypeObject *) type);
    add_value(f, value, text);
    if (tb && PyTraceBack_Check(tb))
        f->line = line_in_main(tb);
    else if (PyObject_TypeCheck(value, (PyTypeObject *) PyExc_SyntaxError))
        f->line = line_of_syntax(value);
}
