/* SPDX-License-Identifier: Apache-2.0 */
/* A sentence that may help the author of a program that has failed.
 *
 * ending.c calls this file in a box, for a program that an exception has ended.  The sentences
 * are in hint.def.  This file chooses by the exception's type.  It answers for the network, memory,
 * input, names and subprocesses itself, and asks hint_file.c, hint_import.c, hint_package.c and
 * hint_epoll.c for the rest.  Errors of syntax are hint_syntax.c's, results hint_result.c's.  What must never happen
 * here: a sentence about an exception that the program itself has raised or caught; a look at the
 * program's objects that runs its code. */
#include "zygote/hint.h"

#include "zygote/hint_parts.h"

#include "box/box.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct {
    int error;
    const char *sentence;
} os_errors[] = {
#define OS_ERROR(error, sentence) { error, sentence },
#include "zygote/hint.def"
#undef OS_ERROR
};

static const struct {
    const char *name, *sentence;
} notebook[] = {
#define NAME_NOTEBOOK(name, sentence) { name, sentence },
#include "zygote/hint.def"
#undef NAME_NOTEBOOK
};

static int errno_of(PyObject *value)
{
    PyObject *number =
        PyObject_TypeCheck(value, (PyTypeObject *) PyExc_OSError) ? ((PyOSErrorObject *) value)->myerrno : NULL;
    int error = number && PyLong_Check(number) ? (int) PyLong_AsLong(number) : 0;

    PyErr_Clear();
    return error;
}

static bool is_refused_socket(PyObject *value, PyObject *source)
{
    return (errno_of(value) == EAFNOSUPPORT || is_called(Py_TYPE(value), "socket", "gaierror"))
           && !by_hand(value, source);
}

/* @value or what it was raised from or while. */
static bool came_from_socket(PyObject *value, PyObject *source)
{
    for (int i = 0; value && i < CHAIN_MAX; i++, value = before(value))
        if (is_refused_socket(value, source))
            return true;
    return false;
}

static void hint_network(struct buf *out, PyObject *value, PyObject *source)
{
    if ((came_from_socket(value, source) && passes(value, "/multiprocessing/"))
        || (PyErr_GivenExceptionMatches(value, PyExc_EOFError) && passes(value, "/multiprocessing/managers.py")))
        buf_adds(out,
                 "multiprocessing's managers and forkserver need a socket, which programs here can't have: use Queue, "
                 "Pipe, Value or shared_memory");
    else if (came_from_socket(value, source))
        buf_adds(out, "programs here have no network: no look-up of names, and no sockets, not even to this machine");
}

static void hint_name(struct buf *out, PyObject *value, PyObject *source)
{
    static const char *const json[] = { "null", "true", "false", "undefined" }, *const html[] = { "&lt;", "&gt;",
                                                                                                  "&quot;", "&amp;" };
    PyObject *name = ((PyNameErrorObject *) value)->name;
    const char *file, *text = bytes_of(name);
    int line;

    for (size_t i = 0; i < sizeof(json) / sizeof(*json);
         i++) /* `x = [null, true]`: JSON that was put into the program */
        if (is_text(name, json[i]))
            buf_adds(out, "this is JSON, not Python: write None, True, False, or json.loads(r'''...''') around it");
    if (out->len || !*text || !innermost(value, &file, &line) || strcmp(file, "main.py") != 0)
        return;
    for (size_t i = 0; i < sizeof(html) / sizeof(*html); i++)
        if (strlen(text) == strlen(html[i]) - 2 && memcmp(text, html[i] + 1, strlen(text)) == 0
            && line_has(source, line, html[i]))
            buf_addf(out, "the code was escaped as HTML on its way: it has %s", html[i]);
    if (strcmp(text, "In") == 0 && line_has(source, line, "In ["))
        buf_adds(out, "the code has the marks of a notebook: send it without In [1]: and without what was printed");
    for (size_t i = 0; i < sizeof(notebook) / sizeof(*notebook); i++)
        if (strcmp(text, notebook[i].name) == 0)
            buf_adds(out, notebook[i].sentence);
    hint_import(out, name, source);
}

static const char no_stdin[] = "a program's stdin is empty: put into the code what it would read",
                  not_filled[] =
                      "n8n's expression was not filled in: write {{ JSON.stringify($json...) }} for an object";

/* A text that json.loads() or json.load() could not read. */
static void hint_json(struct buf *out, PyObject *value, PyObject *source)
{
    PyObject *dict = PyObject_GenericGetDict(value, NULL), *doc = dict ? PyDict_GetItemString(dict, "doc") : NULL;
    const char *text = bytes_of(doc);

    if (is_text(doc, "") && came_by(value, source, "stdin"))
        buf_adds(out, no_stdin);
    else if (strncmp(text, "[object Object]", 15) == 0 || strncmp(text, "{{ $", 4) == 0 || strncmp(text, "{{$", 3) == 0)
        buf_adds(out, not_filled);
    Py_XDECREF(dict);
    PyErr_Clear();
}

/* What a program would get from its caller: input, arguments, environment. */
static void hint_input(struct buf *out, PyObject *value, PyObject *source)
{
    PyObject *type = (PyObject *) Py_TYPE(value), *argv = PySys_GetObject("argv"), *text = only_text(value);
    const char *file;
    int line;

    if (by_hand(value, source) || !innermost(value, &file, &line))
        return;
    if (type == PyExc_EOFError && (is_text(text, "EOF when reading a line") || passes(value, "/getpass.py")))
        buf_adds(out, no_stdin);
    else if (type == PyExc_ValueError && is_text(text, "invalid literal for int() with base 10: ''")
             && came_by(value, source, "stdin"))
        buf_adds(out, no_stdin);
    else if (type == PyExc_IndexError && is_text(text, "list index out of range") && came_by(value, source, "sys.argv[")
             && argv && PyList_Check(argv) && PyList_GET_SIZE(argv) == 1)
        buf_adds(out, "a program here gets no arguments: put into the code what sys.argv would have");
    else if (type == PyExc_KeyError && came_by(value, source, "environ[")
             && (strcmp(file, "<frozen os>") == 0 || strstr(file, "/os.py")))
        buf_adds(out, "programs here have no environment variables of yours: put the value into the code, or use "
                      "os.environ.get()");
}

static const char no_code[] = "this is not the limit of memory: programs here can't make machine code (isolation.mdwe)";

/* breakpoint() asks somebody who is not there. */
static void hint_debugger(struct buf *out, PyObject *value, PyObject *source)
{
    if (!by_hand(value, source))
        buf_adds(out, "a debugger gets no commands here, for a program's stdin is empty: take breakpoint() or "
                      "pdb.set_trace() out, and print what you want to see");
}

/* The wall against memory that is writable and executable is up, and the limit of memory is far. */
static bool is_wall_of_memory(const struct wire_limits *limits)
{
    struct rusage used;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p != MAP_FAILED) {
        munmap(p, 4096);
        return false;
    }
    return getrusage(RUSAGE_SELF, &used) == 0 && (int64_t) used.ru_maxrss * 1024 < limits->memory_bytes / 2;
}

static void hint_os_error(struct buf *out, PyObject *value, PyObject *source, const struct wire_limits *limits)
{
    const PyOSErrorObject *e = (const PyOSErrorObject *) value;
    int error = errno_of(value);

    if (by_hand(value, source))
        return;
    if (error == ENOENT && strncmp(bytes_of(e->filename), "/proc", 5) == 0)
        buf_adds(out, "programs here have no /proc but for a few files");
    else if (error == ENOENT)
        hint_no_file(out, value, source);
    else if (error == EACCES && passes(value, "/llvmlite/") && is_wall_of_memory(limits))
        buf_adds(out, no_code);
    else if (error == EACCES)
        hint_no_access(out, value, source);
    else if (error == 0)
        hint_library(out, value);
    else if (error == ENOSPC)
        buf_addf(out, "files are limited to %lld MiB (limits.scratch) and %lld in number (limits.scratch_files)",
                 (long long) limits->scratch_bytes >> 20, (long long) limits->scratch_files);
    else if (error == ENOSYS && passes(value, "uvloop/") && !has_epoll())
        buf_adds(out, no_epoll);
    else if (error == EMFILE)
        buf_addf(out, "a process can have %lld open files (limits.open_files)", (long long) limits->open_files);
    else
        for (size_t i = 0; i < sizeof(os_errors) / sizeof(*os_errors); i++)
            if (os_errors[i].error == error)
                buf_adds(out, os_errors[i].sentence);
}

/* The words of a shell: does a command among them install packages? */
static bool installs(const char *words)
{
    bool command = true, installer = false;

    for (const char *p = words + strspn(words, " \t\n"); *p; p += strspn(p, " \t\n")) {
        size_t n = strcspn(p, " \t\n");
        const char *slash = memrchr(p, '/', n), *base = slash ? slash + 1 : p;
        if (installer && is_among(p, n, "install "))
            return true;
        installer = (command && is_among(base, n - (size_t) (base - p), "pip pip3 conda mamba apt apt-get "))
                    || (installer && *p == '-');
        command = is_among(p, n, "-m -c sudo && || | ; ") || p[n - 1] == ';';
        p += n;
    }
    return false;
}

/* What a subprocess was called with, as a shell would have it; the blanks of an argument are none between words. */
static void add_command(struct buf *out, PyObject *cmd)
{
    bool script = false;

    if (PyUnicode_CheckExact(cmd))
        buf_adds(out, bytes_of(cmd));
    for (Py_ssize_t i = 0; PyList_CheckExact(cmd) && i < PyList_GET_SIZE(cmd); i++) {
        const char *word = bytes_of(PyList_GET_ITEM(cmd, i));
        for (const char *p = word; *p; p++)
            buf_addc(out, *p == ' ' && !script ? '_' : *p);
        buf_addc(out, ' ');
        script = strcmp(word, "-c") == 0;
    }
    buf_addc(out, '\0');
}

enum { SHELL_NO_EXEC = 126 }; /* how a shell ends where it finds a command and the kernel does not execute it */

/* A subprocess that was to install something, or that a shell could not execute. */
static void hint_command(struct buf *out, PyObject *value)
{
    PyObject *dict = PyObject_GenericGetDict(value, NULL);
    PyObject *cmd = dict ? PyDict_GetItemString(dict, "cmd") : NULL;
    PyObject *status = dict ? PyDict_GetItemString(dict, "returncode") : NULL;
    struct buf words;

    buf_init(&words, 4096);
    if (cmd)
        add_command(&words, cmd);
    if (words.len && !words.full && installs(words.data))
        buf_adds(out, no_pip);
    else if (words.len && !words.full && status && PyLong_Check(status) && PyLong_AsLong(status) == SHELL_NO_EXEC)
        hint_no_exec(out, words.data);
    buf_free(&words);
    Py_XDECREF(dict);
    PyErr_Clear();
}

static void hint_memory(struct buf *out, PyObject *value, PyObject *source, const struct wire_limits *limits)
{
    static const char *const makers[] = { "ctypes", "cffi", "numba", "llvmlite" }, *const words[] = { "CFUNCTYPE",
                                                                                                      "callback",
                                                                                                      "jit" };
    const char *file;
    int line;
    bool makes_code = false;

    for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++)
        makes_code |= passes(value, makers[i]);
    if (innermost(value, &file, &line) && strcmp(file, "main.py") == 0)
        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
            makes_code |= line_has(source, line, words[i]);
    if (makes_code && !by_hand(value, source) && is_wall_of_memory(limits))
        buf_adds(out, no_code);
}

/* A module has not the name that was looked for in it. */
static void hint_missing_name(struct buf *out, PyObject *value, PyObject *source)
{
    hint_epoll(out, value, source);
    if (!out->len)
        hint_later(out, value, source);
    if (!out->len && (PyObject *) Py_TYPE(value) == PyExc_ImportError)
        hint_package(out, value, source);
}

void hint_exception(struct buf *out, PyObject *value, PyObject *source, const struct wire_limits *limits)
{
    PyTypeObject *type = Py_TYPE(value);

    hint_network(out, value, source);
    if (out->len)
        return;
    if ((PyObject *) type == PyExc_ModuleNotFoundError)
        hint_package(out, value, source);
    else if ((PyObject *) type == PyExc_AttributeError || (PyObject *) type == PyExc_ImportError)
        hint_missing_name(out, value, source);
    else if ((PyObject *) type == PyExc_NameError)
        hint_name(out, value, source);
    else if ((PyObject *) type == PyExc_RecursionError && !by_hand(value, source))
        buf_addf(out,
                 "the recursion has probably no end: look for the case that should end it (Python stops at %d calls "
                 "within each other)",
                 Py_GetRecursionLimit());
    else if ((PyObject *) type == PyExc_MemoryError)
        hint_memory(out, value, source, limits);
    else if (is_called(type, "subprocess", "CalledProcessError"))
        hint_command(out, value);
    else if (is_called(type, "sqlite3", "OperationalError") || is_called(type, "sqlite3", "DatabaseError"))
        hint_sqlite(out, value, source);
    else if (is_called(type, "bdb", "BdbQuit"))
        hint_debugger(out, value, source);
    else if (is_called(type, "joblib", "TerminatedWorkerError") && !by_hand(value, source))
        buf_adds(
            out,
            "joblib's default backend, loky, does not work here where psutil is installed, because programs have no "
            "/proc of processes: use backend=\"threading\", backend=\"multiprocessing\" or n_jobs=1");
    else if (is_called(type, "psutil", "NoSuchProcess") && !by_hand(value, source))
        buf_adds(out, "programs here have no /proc of processes: of the program itself, "
                      "resource.getrusage(resource.RUSAGE_SELF) tells time and memory (import resource)");
    else if (PyObject_TypeCheck(value, (PyTypeObject *) PyExc_OSError))
        hint_os_error(out, value, source, limits);
    else if (is_called(type, "json", "JSONDecodeError") && !by_hand(value, source))
        hint_json(out, value, source);
    else
        hint_input(out, value, source);
    PyErr_Clear();
}
