/* SPDX-License-Identifier: Apache-2.0 */
/* How a program ends, and what is known about it: a result, an exit code, an exception.
 *
 * run.c calls this file in a box when the program has returned, raised or failed to compile.  A
 * program sees the end that `python3 main.py` would give it: sys.exit(), sys.excepthook, the text
 * on stderr. This file also keeps the end for the report.  What must never happen here: that an end
 * is not reported because the program's own __str__, hook or stream has failed. */
#include "zygote/ending.h"

#include "zygote/encode.h"
#include "zygote/finish.h"
#include "zygote/hint.h"
#include "zygote/mainfile.h"
#include "zygote/show.h"

#include <string.h>

enum { ERROR_MAX = 65536, REASON_MAX = 512 };

static struct {
    PyObject *excepthook; /* CPython's own, from before any program */
    const struct wire_limits *limits;
} python;

int ending_prepare(const struct wire_limits *limits)
{
    python.limits = limits;
    python.excepthook = PySys_GetObject("excepthook");
    Py_XINCREF(python.excepthook);
    return python.excepthook ? 0 : -1;
}

/* Encode @text for the reply; long ones keep their beginning and their end. */
static void add_text(struct buf *out, PyObject *text)
{
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    if (bytes) {
        size_t n = (size_t) PyBytes_GET_SIZE(bytes);
        const char *p = PyBytes_AS_STRING(bytes);
        if (n <= ERROR_MAX - 1)
            buf_add(out, p, n);
        else {
            buf_add(out, p, ERROR_MAX / 2);
            buf_adds(out, "\n[...]\n");
            buf_add(out, p + n - (ERROR_MAX / 2 - 16), ERROR_MAX / 2 - 16);
        }
        Py_DECREF(bytes);
    }
    PyErr_Clear();
}

static void print_stderr(PyObject *text)
{
    PyObject *file = PySys_GetObject("stderr");
    if (text && file && file != Py_None && PyFile_WriteObject(text, file, Py_PRINT_RAW) < 0)
        PyErr_Clear();
}

static void print_stderr_words(const char *words)
{
    PyObject *text = PyUnicode_FromString(words);
    print_stderr(text);
    Py_XDECREF(text);
}

/* The exception's text. If the program has broken the functions that word it, a shorter text. */
static PyObject *exception_text(PyObject *type, PyObject *value, PyObject *tb)
{
    PyObject *text = show_text(type, value, tb);
    if (text)
        return text;
    PyObject *string = PyObject_Str(value);
    if (!string)
        PyErr_Clear();
    text = PyUnicode_FromFormat("%s: %V\n", ((PyTypeObject *) type)->tp_name, string, "<exception str() failed>");
    Py_XDECREF(string);
    return text;
}

/* sys.exit(value): an int is the exit code, None is 0, anything else is printed and 1. */
static void end_by_exit(struct ending *end, PyObject *value)
{
    PyObject *code = PyObject_GetAttrString(value, "code");
    failure_reset(&end->failure);
    end->kind = OUTCOME_OK;
    end->exit_code = 0;
    if (!code)
        PyErr_Clear();
    if (code && PyLong_Check(code)) {
        end->exit_code = (int) PyLong_AsLong(code) & 0xff;
        PyErr_Clear();
    } else if (code && code != Py_None) {
        PyObject *text = PyObject_Str(code);
        if (!text)
            PyErr_Clear();
        add_text(&end->error, text);
        buf_adds(&end->failure.name, "SystemExit");
        failure_add_text(&end->failure.value, text);
        if (text) {
            PyObject *line = PyUnicode_FromFormat("%U\n", text);
            if (line)
                print_stderr(line);
            Py_XDECREF(line);
            Py_DECREF(text);
        }
        end->exit_code = 1;
    }
    if (end->exit_code)
        end->kind = OUTCOME_EXIT;
    Py_XDECREF(code);
}

/* The program's own sys.excepthook failed: print both exceptions, or exit if the hook called
 * sys.exit(). */
static void end_by_hook(struct ending *end, PyObject *text)
{
    PyObject *type, *value, *tb;

    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (PyErr_GivenExceptionMatches(type, PyExc_SystemExit)) {
        buf_reset(&end->error);
        end_by_exit(end, value);
    } else {
        PyObject *second = exception_text(type, value, tb);
        print_stderr_words("Error in sys.excepthook:\n");
        print_stderr(second);
        print_stderr_words("\nOriginal exception was:\n");
        print_stderr(text);
        Py_XDECREF(second);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
    PyErr_Clear();
}

/* As PyErr_Print() does: call the program's own sys.excepthook, otherwise print the text on
 * stderr. */
static void show_exception(struct ending *end, PyObject *type, PyObject *value, PyObject *tb, PyObject *text)
{
    PyObject *hook = PySys_GetObject("excepthook");

    if (hook == python.excepthook) {
        print_stderr(text);
        return;
    }
    if (!hook) {
        print_stderr_words("sys.excepthook is missing\n");
        print_stderr(text);
        return;
    }
    Py_INCREF(hook);
    PyObject *done = PyObject_CallFunctionObjArgs(hook, type, value, tb ? tb : Py_None, NULL);
    if (!done)
        end_by_hook(end, text);
    Py_XDECREF(done);
    Py_DECREF(hook);
}

/* If mainfile.c sent the interrupt, replace it by an exception that says why. The traceback
 * stays. */
static void name_refusal(PyObject **type, PyObject **value)
{
    static const char reason[] =
        "multiprocessing's spawn has each child import main.py, which Python can't do with a return at top level: use "
        "fork, the default here, or print instead of return";
    PyObject *error = *type == PyExc_KeyboardInterrupt && mainfile_has_refused()
                          ? PyObject_CallFunction(PyExc_RuntimeError, "s", reason)
                          : NULL;

    PyErr_Clear();
    if (!error)
        return;
    Py_INCREF(PyExc_RuntimeError);
    Py_SETREF(*type, PyExc_RuntimeError);
    Py_SETREF(*value, error);
}

void ending_by_exception(struct ending *end, PyObject *source, bool compiling)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (compiling)
        Py_CLEAR(tb); /* all its frames are ours */
    else
        name_refusal(&type, &value);
    PyException_SetTraceback(value, tb ? tb : Py_None);
    if (!compiling && PyErr_GivenExceptionMatches(type, PyExc_SystemExit))
        end_by_exit(end, value);
    else {
        bool interrupt = PyErr_GivenExceptionMatches(type, PyExc_KeyboardInterrupt);
        end->kind =
            compiling && PyErr_GivenExceptionMatches(type, PyExc_SyntaxError) ? OUTCOME_SYNTAX : OUTCOME_EXCEPTION;
        end->exit_code = interrupt ? 130 : 1; /* as python3, which ends itself with SIGINT */
        PyObject *text = exception_text(type, value, tb);
        add_text(&end->error, text);
        failure_describe(&end->failure, type, value, tb, text);
        if (end->kind == OUTCOME_SYNTAX)
            hint_syntax(&end->failure.hint, value, source);
        else
            hint_exception(&end->failure.hint, value, source, python.limits);
        PySys_SetObject("last_type", type);
        PySys_SetObject("last_value", value);
        PySys_SetObject("last_traceback", tb ? tb : Py_None);
        show_exception(end, type, value, tb, text);
        Py_XDECREF(text);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
    PyErr_Clear();
}

void ending_finish(struct ending *end, PyObject **main_dict)
{
    if (finish_python(main_dict) < 0) {
        if (end->kind == OUTCOME_OK)
            end->kind = OUTCOME_EXIT;
        end->exit_code = 120;
    }
}

/* A line for the author of a program that has probably not done what it should. */
static void print_hint(PyObject *source)
{
    const char *hint = hint_success(source);

    if (!hint)
        return;
    print_stderr_words("hatchery: hint: ");
    print_stderr_words(hint);
    print_stderr_words("\n");
}

void ending_by_return(struct ending *end, PyObject *source, PyObject *value)
{
    char reason[REASON_MAX] = "";

    end->kind = OUTCOME_OK;
    end->exit_code = 0;
    if (encode_value(&end->result, value, reason, sizeof(reason), &end->failure.hint) < 0) {
        end->kind = OUTCOME_RESULT;
        buf_reset(&end->result);
        buf_adds(&end->error, reason);
    }
    if (value == Py_None)
        print_hint(source);
}

void ending_init(struct ending *end)
{
    memset(end, 0, sizeof(*end));
    buf_init(&end->result, (size_t) python.limits->result_bytes);
    buf_init(&end->error, ERROR_MAX);
    failure_init(&end->failure);
}
