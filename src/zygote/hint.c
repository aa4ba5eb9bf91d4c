/* SPDX-License-Identifier: Apache-2.0 */
/* A sentence that may help the author of a program that has failed.
 *
 * Called by run.c in a box, for a program that has ended by an exception.  The sentences are in hint.def; here is when each
 * is right.  What must never happen here: a sentence about what the program itself has raised, or about what it has
 * caught; a look at the program's objects that runs its code. */
#include "zygote/hint.h"

#include "box/box.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- looking at objects --- */

static bool is_text(PyObject *text, const char *words)
{
    return text && PyUnicode_Check(text) && PyUnicode_CompareWithASCIIString(text, words) == 0;
}

/* Its bytes, or "" where it is no str. */
static const char *bytes_of(PyObject *text)
{
    const char *bytes = text && PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;

    PyErr_Clear();
    return bytes ? bytes : "";
}

/* The only argument of an exception, if it is one and a str. */
static PyObject *only_text(PyObject *value)
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

/* The class @name of @module or of a part of @module, as a type of C's or of Python's says it of itself. */
static bool is_called(PyTypeObject *type, const char *module, const char *name)
{
    const char *dot = strrchr(type->tp_name, '.');
    PyObject *own = PyDict_GetItemString(type->tp_dict, "__module__");

    if (strcmp(dot ? dot + 1 : type->tp_name, name) != 0)
        return false;
    if (own && PyUnicode_Check(own))
        return is_within(bytes_of(own), module);
    return dot ? is_within(type->tp_name, module) : strcmp(module, "builtins") == 0;
}

/* Is the word at @word, of @n bytes, in the list @words, each of which a blank follows? */
static bool is_among(const char *word, size_t n, const char *words)
{
    for (const char *w = words; *w; w += strcspn(w, " ") + 1)
        if (strcspn(w, " ") == n && memcmp(w, word, n) == 0)
            return true;
    return false;
}

/* --- where it came from --- */

/* The file and the line of the innermost frame; false where there is none. */
static bool innermost(PyObject *value, const char **ret_file, int *ret_line)
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

static bool passes(PyObject *value, const char *file)
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

/* Does the line @line of @source have @word in it? */
static bool line_has(PyObject *source, int line, const char *word)
{
    const char *text = bytes_of(source);

    while (text && --line > 0)
        text = (text = strchr(text, '\n')) ? text + 1 : NULL;
    const char *end = text ? strchrnul(text, '\n') : NULL;
    return text && memmem(text, (size_t) (end - text), word, strlen(word));
}

/* Does the line of the program from which the exception came, of the innermost frame that is its own, have @word in it? */
static bool came_by(PyObject *value, PyObject *source, const char *word)
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

/* The innermost frame is a `raise` of the program's own: it may say anything. */
static bool by_hand(PyObject *value, PyObject *source)
{
    const char *file;
    int line;

    if (!innermost(value, &file, &line))
        return true;
    return strcmp(file, "main.py") == 0 && line_has(source, line, "raise");
}

/* --- which sentence --- */

static const struct {
    int error;
    const char *sentence;
} os_errors[] = {
#define OS_ERROR(error, sentence) { error, sentence },
#include "zygote/hint.def"
#undef OS_ERROR
};

static const struct {
    const char *name, *debian, *pypi;
} modules[] = {
#define MODULE(name, debian, pypi) { name, debian, pypi },
#include "zygote/hint.def"
#undef MODULE
};

static const struct {
    const char *name, *sentence;
} module_names[] = {
#define MODULE_NAME(name, sentence) { name, sentence },
#include "zygote/hint.def"
#undef MODULE_NAME
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

enum { CHAIN_MAX = 16 };

/* @value or what it was raised from or while. */
static bool came_from_socket(PyObject *value, PyObject *source)
{
    for (int i = 0; value && i < CHAIN_MAX; i++) {
        PyBaseExceptionObject *e = (PyBaseExceptionObject *) value;
        if (is_refused_socket(value, source))
            return true;
        value = e->cause ? e->cause : e->context;
    }
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

static bool is_imported(PyObject *name)
{
    return PyDict_Contains(PyImport_GetModuleDict(), name) > 0;
}

static bool is_of_python(PyObject *name)
{
    PyObject *known = PySys_GetObject("stdlib_module_names");

    return known && PySet_Contains(known, name) > 0;
}

/* The module @top, which is not there. */
static void hint_missing(struct buf *out, PyObject *top)
{
    for (size_t i = 0; i < sizeof(module_names) / sizeof(*module_names); i++)
        if (is_text(top, module_names[i].name)) {
            buf_adds(out, module_names[i].sentence);
            return;
        }
    if (is_of_python(top)) /* what its absence means is not known here */
        return;
    for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
        if (is_text(top, modules[i].name)) {
            buf_addf(out,
                     "it is not installed for programs here; the server's operator can add it: apt-get install %s, or "
                     "hatchery env add with %s",
                     modules[i].debian, modules[i].pypi);
            return;
        }
    buf_adds(
        out,
        "no package installed for programs here has it (GET /v1/packages lists them); the server's operator can add "
        "packages: apt-get install, or hatchery env add");
}

static void hint_module(struct buf *out, PyObject *value, PyObject *source)
{
    PyObject *text = only_text(value);
    const char *name = bytes_of(((PyImportErrorObject *) value)->name);
    size_t n = strcspn(name, ".");
    char expected[200];

    snprintf(expected, sizeof(expected), "No module named '%s'", name);
    if (!n || !text || strcmp(bytes_of(text), expected) != 0 || by_hand(value, source))
        return;
    PyObject *top = PyUnicode_FromStringAndSize(name, (Py_ssize_t) n);
    if (top && !is_imported(top))
        hint_missing(out, top);
    Py_XDECREF(top);
    PyErr_Clear();
}

static const struct {
    const char *name, *import;
    bool is_module;
} names[] = {
#define NAME_MODULE(name, import) { name, import, true },
#define NAME_MEMBER(name, import) { name, import, false },
#include "zygote/hint.def"
#undef NAME_MODULE
#undef NAME_MEMBER
};

static bool is_of_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c & 0x80);
}

/* Is the word that ends before @p, with blanks between them, one that gives a name its value? */
static bool follows_binding(const char *text, const char *p)
{
    while (p > text && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    const char *end = p;
    while (p > text && is_of_word(p[-1]))
        p--;
    return is_among(p, (size_t) (end - p), "import from as def class for del global nonlocal ");
}

/* The name at @p is an attribute's, or a part of a longer one, or in a comment. */
static bool is_no_use(const char *text, const char *p, size_t n)
{
    const char *line = p;

    while (line > text && line[-1] != '\n')
        line--;
    return (p > text && (is_of_word(p[-1]) || p[-1] == '.')) || is_of_word(p[n])
           || memchr(line, '#', (size_t) (p - line));
}

/* May a missing import be why @name is not defined? Only where @source uses it and nowhere gives it a value. */
static bool is_only_used(PyObject *source, const char *name, const char *followed_by)
{
    const char *text = bytes_of(source);
    size_t n = strlen(name);

    for (const char *p = text; (p = strstr(p, name)); p += n) {
        if (is_no_use(text, p, n))
            continue;
        char next = p[n + strspn(p + n, " \t")];
        if (!next || !strchr(followed_by, next) || follows_binding(text, p))
            return false;
    }
    return true;
}

static void hint_import(struct buf *out, PyObject *name, PyObject *source)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (is_text(name, names[i].name) && is_only_used(source, names[i].name, names[i].is_module ? ".'\"" : ".(['\""))
            buf_addf(out, "an import is missing: %s", names[i].import);
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

static const char no_epoll[] =
    "programs here have no epoll: use asyncio or selectors, which do without it; the server's "
    "operator can allow it (isolation.epoll)";

static const char no_trio[] = "trio does not work here, for it needs epoll and options of sockets: use asyncio";

static bool has_epoll(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0 || errno != ENOSYS;
}

/* `from select import epoll` */
static bool is_import_of_epoll(PyObject *value)
{
    static const char missing[] = "cannot import name 'epoll' from 'select'";
    const PyImportErrorObject *e = (const PyImportErrorObject *) value;

    return is_text(e->name, "select") && strncmp(bytes_of(e->msg), missing, sizeof(missing) - 1) == 0;
}

/* `select.epoll`, `select.EPOLLIN` */
static bool is_name_of_epoll(PyObject *value)
{
    const PyAttributeErrorObject *e = (const PyAttributeErrorObject *) value;

    return e->obj && e->obj == PyDict_GetItemString(PyImport_GetModuleDict(), "select")
           && strncasecmp(bytes_of(e->name), "epoll", 5) == 0;
}

/* Also in a package. */
static void hint_epoll(struct buf *out, PyObject *value, PyObject *source)
{
    bool wanted =
        (PyObject *) Py_TYPE(value) == PyExc_ImportError ? is_import_of_epoll(value) : is_name_of_epoll(value);

    if (wanted && !by_hand(value, source) && !has_epoll())
        buf_adds(out, passes(value, "/trio/") ? no_trio : no_epoll);
}

static const char no_pip[] = "a program can't install packages: there is no network; the server's operator can: "
                             "apt-get install, or hatchery env add";

static bool is_within_directory(const char *path, const char *directory)
{
    size_t n = strlen(directory);

    return strncmp(path, directory, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Is the directory of @path there? */
static bool has_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[1024];

    if (!slash || slash == path)
        return true;
    snprintf(directory, sizeof(directory), "%.*s", (int) (slash - path), path);
    return access(directory, F_OK) == 0;
}

/* Where its directory is there, the file was to be read. */
static void hint_no_file(struct buf *out, PyObject *value, PyObject *source)
{
    const char *path = bytes_of(((const PyOSErrorObject *) value)->filename);

    if (passes(value, "/subprocess.py")) {
        if (is_among(path, strlen(path), "pip pip3 conda "))
            buf_adds(out, no_pip);
        return;
    }
    if (!*path
        || !(came_by(value, source, "open(") || came_by(value, source, "read_") || came_by(value, source, "load")))
        return;
    if (*path == '/' && !is_within_directory(path, "/tmp") && (!has_directory(path) || !strchr(path + 1, '/')))
        buf_adds(
            out,
            "a program sees no files of yours, and writes only to its working directory, /tmp and /dev/shm: put the "
            "data into the code");
    else if (!has_directory(path))
        buf_adds(
            out,
            "the file's directory does not exist: a program begins in an empty directory and sees no files of yours; "
            "os.makedirs() makes a directory, and data goes into the code");
    else if (*path != '/')
        buf_adds(out, "a program begins in an empty directory and sees no files of yours: put the data into the code");
}

static void hint_no_access(struct buf *out, PyObject *value, const struct wire_limits *limits)
{
    const char *path = bytes_of(((const PyOSErrorObject *) value)->filename);

    if (passes(value, "/llvmlite/") && is_wall_of_memory(limits))
        buf_adds(out, no_code);
    else if (*path == '/' && !is_within_directory(path, "/tmp") && !is_within_directory(path, "/dev")
             && !is_within_directory(path, "/proc") && !is_within_directory(path, HOME_DIR)
             && !passes(value, "/subprocess.py"))
        buf_adds(out, "a program can use only its working directory, /tmp and /dev/shm, and read what Python needs");
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
    else if (error == EACCES)
        hint_no_access(out, value, limits);
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

/* A subprocess that was to install something. */
static void hint_pip(struct buf *out, PyObject *value)
{
    PyObject *dict = PyObject_GenericGetDict(value, NULL);
    PyObject *cmd = dict ? PyDict_GetItemString(dict, "cmd") : NULL;
    struct buf words;

    buf_init(&words, 4096);
    if (cmd)
        add_command(&words, cmd);
    if (words.len && !words.full && installs(words.data))
        buf_adds(out, no_pip);
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

void hint_exception(struct buf *out, PyObject *value, PyObject *source, const struct wire_limits *limits)
{
    PyTypeObject *type = Py_TYPE(value);

    hint_network(out, value, source);
    if (out->len)
        return;
    if ((PyObject *) type == PyExc_ModuleNotFoundError)
        hint_module(out, value, source);
    else if ((PyObject *) type == PyExc_AttributeError || (PyObject *) type == PyExc_ImportError)
        hint_epoll(out, value, source);
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
        hint_pip(out, value);
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

/* --- syntax --- */

static const struct {
    const char *start, *sentence;
} starts[] = {
#define SYNTAX_START(start, sentence) { start, sentence },
#include "zygote/hint.def"
#undef SYNTAX_START
};

static const struct {
    const char *start, *sentence;
} lines[] = {
#define SYNTAX_LINE(start, sentence) { start, sentence },
#include "zygote/hint.def"
#undef SYNTAX_LINE
};

static const struct {
    const char *part, *sentence;
} parts[] = {
#define SYNTAX_PART(part, sentence) { part, sentence },
#include "zygote/hint.def"
#undef SYNTAX_PART
};

static const struct {
    Py_UCS4 first, last;
    const char *sentence;
} chars[] = {
#define SYNTAX_CHAR(first, last, sentence) { first, last, sentence },
#include "zygote/hint.def"
#undef SYNTAX_CHAR
};

static const struct {
    const char *message, *sentence;
} messages[] = {
#define SYNTAX_MESSAGE(message, sentence) { message, sentence },
#include "zygote/hint.def"
#undef SYNTAX_MESSAGE
};

/* What @start begins, where @next stands behind it, is no Python of another meaning. */
static bool is_mark(const char *start, char next)
{
    switch (*start) {
    case '!': return next != '=';
    case '%': return next == '%' || (is_of_word(next) && (next < '0' || next > '9'));
    case '>': return next != '>';
    default: return true;
    }
}

/* The error is at the first character of @line that is none of its indentation, or in such a line's fence. */
static const char *sentence_for_start(const char *line, long offset)
{
    long indent = (long) strspn(line, " \t");

    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        bool there = offset == indent + 1 || starts[i].start[0] == '`';
        size_t n = strlen(starts[i].start);
        if (there && strncmp(line + indent, starts[i].start, n) == 0
            && is_mark(starts[i].start, line[indent + (long) n]))
            return starts[i].sentence;
    }
    return NULL;
}

/* Can a string of several lines begin in the @n bytes at @line? */
static bool begins_string(const char *line, size_t n)
{
    return memmem(line, n, "\"\"\"", 3) || memmem(line, n, "'''", 3) || (n && line[n - 1] == '\\');
}

/* A line that begins as a Markdown fence does, outside of any string, before or behind the error: prose may stand around it. */
static const char *sentence_for_fence(PyObject *source)
{
    for (const char *p = bytes_of(source); *p; p += strspn(p, "\n")) {
        size_t n = strcspn(p, "\n");
        if (strncmp(p + strspn(p, " \t"), "```", 3) == 0)
            return starts[0].sentence;
        if (begins_string(p, n))
            return NULL;
        p += n;
    }
    return NULL;
}

static bool is_outside_strings(PyObject *source, long number)
{
    for (const char *p = bytes_of(source); *p && --number > 0; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        if (begins_string(p, n))
            return false;
        p += n;
    }
    return true;
}

/* What the line of the error, number @number, is or has. */
static const char *sentence_for_line(const char *line, PyObject *source, long number)
{
    const char *start = line + strspn(line, " \t");
    size_t n = strcspn(start, "'\"#");

    if (!is_outside_strings(source, number))
        return NULL;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (strncmp(start, lines[i].start, strlen(lines[i].start)) == 0)
            return lines[i].sentence;
    n += strncmp(start + n, "#39;", 4) == 0 ? 4 : 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (memmem(start, n, parts[i].part, strlen(parts[i].part)))
            return parts[i].sentence;
    return NULL;
}

static const char *sentence_for_char(const char *message)
{
    const char *code = strstr(message, "U+");
    unsigned found = 0;

    if (strncmp(message, "invalid ", 8) != 0 || !code || sscanf(code + 2, "%x", &found) != 1)
        return NULL;
    for (size_t i = 0; i < sizeof(chars) / sizeof(*chars); i++)
        if (found >= chars[i].first && found <= chars[i].last)
            return chars[i].sentence;
    return NULL;
}

static const char *sentence_for_message(const char *message, PyObject *line, long offset)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
        if (strcmp(message, messages[i].message) == 0)
            return messages[i].sentence;
    bool continued = strcmp(message, "unexpected character after line continuation character") == 0;
    if (!continued || !line || !PyUnicode_Check(line) || offset < 2 || offset > PyUnicode_GET_LENGTH(line))
        return NULL;
    Py_UCS4 c = PyUnicode_READ_CHAR(line, offset - 1);
    return PyUnicode_READ_CHAR(line, offset - 2) == '\\' && (c == 'n' || c == 'r' || c == 't' || c == '"' || c == '\'')
               ? "the code has \\n or \\\" where an end of line or a quote should be: it was escaped twice on its way "
                 "into "
                 "JSON"
               : NULL;
}

void hint_syntax(struct buf *out, PyObject *value, PyObject *source)
{
    const PySyntaxErrorObject *e = (const PySyntaxErrorObject *) value;
    const char *line = bytes_of(e->text), *message = bytes_of(e->msg);
    long offset = e->offset && PyLong_Check(e->offset) ? PyLong_AsLong(e->offset) : 0;
    long number = e->lineno && PyLong_Check(e->lineno) ? PyLong_AsLong(e->lineno) : 0;

    PyErr_Clear();
    const char *sentence = sentence_for_start(line, offset);
    if (!sentence)
        sentence = sentence_for_fence(source);
    if (!sentence)
        sentence = sentence_for_line(line, source, number);
    if (!sentence)
        sentence = sentence_for_char(message);
    if (!sentence)
        sentence = sentence_for_message(message, e->text, offset);
    if (!sentence && number == 1 && strcmp(message, "unexpected indent") == 0)
        sentence = "the first line is indented: send the code without the blanks that stand before all of its lines";
    buf_adds(out, sentence ? sentence : "");
}

/* --- results --- */

static const struct {
    const char *module, *name, *instead, *imports;
} results[] = {
#define RESULT_TYPE(module, name, instead, imports) { module, name, instead, imports },
#include "zygote/hint.def"
#undef RESULT_TYPE
};

static bool inherits(PyTypeObject *type, const char *module, const char *name)
{
    PyObject *mro = type->tp_mro;

    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++)
        if (is_called((PyTypeObject *) PyTuple_GET_ITEM(mro, i), module, name))
            return true;
    return false;
}

static bool is_dataclass(PyTypeObject *type)
{
    return type->tp_dict && PyDict_GetItemString(type->tp_dict, "__dataclass_fields__");
}

void hint_result(struct buf *out, PyTypeObject *type)
{
    size_t i = 0;

    if (is_dataclass(type)) {
        buf_adds(out, "return dataclasses.asdict(x) in its place (import dataclasses)");
        return;
    }
    while (i < sizeof(results) / sizeof(*results) - 1 && !inherits(type, results[i].module, results[i].name))
        i++;
    buf_addf(out, "return %s in its place", results[i].instead);
    if (*results[i].imports)
        buf_addf(out, " (import %s)", results[i].imports);
}
