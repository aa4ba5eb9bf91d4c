/* SPDX-License-Identifier: Apache-2.0 */
/* The imports of a runtime, one after the other, each watched.
 *
 * warm.c calls this file.  The supervisor hears which import has begun and what is wrong with it.
 * An import may end the zygote, or leave something behind beside which no box can be made.  Then
 * the supervisor starts another zygote, which leaves this import out.  What must never happen here:
 * that a second thread stays, whose locks no forked child could ever release, or a process. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/imports.h"

#include "zygote/failure.h"

#include "base/fd.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Some libraries start threads when they are imported, one for each core of the host or always,
 * unless the environment tells them otherwise.  While imports run, all these variables are 1, also
 * in os.environ, because many libraries look there.  The variables marked `stays` then remain in
 * C's environment only, with the box's share of the cores, for libraries that a program imports and
 * for its children. */
static const struct {
    const char *name, *value;
    bool stays;
} quiet[] = {
    { "OMP_NUM_THREADS", "1", true },
    { "OPENBLAS_NUM_THREADS", "1", true },
    { "MKL_NUM_THREADS", "1", true },
    { "BLIS_NUM_THREADS", "1", false },
    { "NUMEXPR_NUM_THREADS", "1", false }, /* not NUMEXPR_MAX_THREADS: no program could go beyond it
                                            * later */
    { "NUMBA_NUM_THREADS", "1", false },
    { "POLARS_MAX_THREADS", "1", false },
    { "RAYON_NUM_THREADS", "1", false },
    { "TBB_NUM_THREADS", "1", false },
    { "ARROW_IO_THREADS", "1", false },
    { "ARROW_DEFAULT_MEMORY_POOL", "system", false }, /* the allocator of jemalloc has a thread that
                                                       * frees */
    { "TF_NUM_INTRAOP_THREADS", "1", false },
    { "TF_NUM_INTEROP_THREADS", "1", false },
};

/* How long a thread may take to end, in steps. */
enum { SETTLE_STEPS = 100, SETTLE_NS = 5000000 };

/* Append the first line of @text that has a word in it, and no character that controls a terminal. */
static void add_useful_line(const struct buf *text, struct buf *out)
{
    size_t at = 0, n = 0;

    for (bool useful = false; at < text->len && !useful; at += useful ? 0 : n + 1) {
        for (n = 0; at + n < text->len && text->data[at + n] != '\n'; n++)
            useful |= isalnum((unsigned char) text->data[at + n]) != 0;
    }
    size_t end = at + n < text->len ? at + n : text->len;
    while (at < end && isspace((unsigned char) text->data[at]))
        at++;
    for (size_t i = at; i < end; i++)
        buf_addc(out, iscntrl((unsigned char) text->data[i]) ? ' ' : text->data[i]);
}

/* A package that raises an essay of its own (numpy) does so around the ImportError that tells why. */
static PyObject *first_told(PyObject *value)
{
    PyObject *text = PyObject_Str(value), *cause;
    bool essay = text && PyUnicode_FindChar(text, '\n', 0, PyUnicode_GET_LENGTH(text), 1) >= 0;

    Py_XDECREF(text);
    PyErr_Clear();
    for (int i = 0; essay && i < 16 && (cause = ((PyBaseExceptionObject *) value)->context); i++) {
        if (!PyObject_TypeCheck(cause, (PyTypeObject *) PyExc_ImportError))
            break;
        value = cause;
    }
    return value;
}

/* The Python exception that is set, in one line, and clear it. */
static void take_error(char ret[static WIRE_WHY_MAX])
{
    PyObject *type, *value, *tb;
    struct failure failure;
    struct buf line;

    failure_init(&failure);
    buf_init(&line, 2 * WIRE_VALUE_MAX);
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    PyObject *told = value ? first_told(value) : NULL;
    if (told)
        failure_describe(&failure, (PyObject *) Py_TYPE(told), told, NULL, NULL);
    add_useful_line(&failure.name, &line);
    buf_adds(&line, failure.value.len ? ": " : "");
    add_useful_line(&failure.value, &line);
    snprintf(ret, WIRE_WHY_MAX, "%.*s%s", (int) line.len, line.len ? line.data : "", line.len ? "" : "?");
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
    PyErr_Clear();
    buf_free(&line);
    failure_free(&failure);
}

void imports_log_error(const char *msg, const char *name)
{
    char why[WIRE_WHY_MAX];

    take_error(why);
    log_warn(msg, LOG_S("name", name) LOG_S("reason", why));
}

/* The first name of @list, which moves behind it. False at the end of the list. */
static bool next_name(const char **list, char name[static 256])
{
    int used;

    if (sscanf(*list, " %255[^ ,]%n", name, &used) != 1)
        return false;
    *list += used + strspn(*list + used, " ,");
    return true;
}

/* asyncio imports ssl and so OpenSSL: a third of the interpreter that each box would copy, for
 * connections that no box can make.  So asyncio is imported without it.  A program's own `import
 * ssl` works as always, and asyncio gets ssl when a program uses it (prelude.py).  Other modules
 * may define less without ssl, so it is not hidden from them. */
static PyObject *import_without_ssl(const char *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    bool hide = strcmp(name, "asyncio") == 0 && !PyDict_GetItemString(modules, "ssl");

    if (hide && PyDict_SetItemString(modules, "ssl", Py_None) < 0)
        return NULL;
    PyObject *module = PyImport_ImportModule(name);
    if (hide && PyDict_GetItemString(modules, "ssl") == Py_None) {
        PyObject *type, *value, *tb;
        PyErr_Fetch(&type, &value, &tb);
        PyDict_DelItemString(modules, "ssl");
        PyErr_Restore(type, value, tb);
    }
    return module;
}

/* A box has no display, whatever /etc/matplotlibrc says. pyplot reads the choice when it is
 * imported. */
static void choose_backend(const char *name)
{
    static const char package[] = "matplotlib";
    size_t n = sizeof(package) - 1;

    if (strncmp(name, package, n) != 0 || (name[n] && name[n] != '.'))
        return;
    PyObject *module = PyImport_ImportModule(package);
    PyObject *done = module ? PyObject_CallMethod(module, "use", "s", "Agg") : NULL;
    if (!done)
        PyErr_Clear(); /* the import that follows reports the reason */
    Py_XDECREF(module);
    Py_XDECREF(done);
}

static const char *const left_words[FAULTS] = {
    [FAULT_THREAD] = "a thread",
    [FAULT_PROCESS] = "a process",
    [FAULT_DESCRIPTORS] = "closed descriptors",
};

/* There is no /proc to count threads in. unshare(2) of the signal handlers fails if there is more
 * than one thread, whoever started it, and does nothing otherwise. */
static bool single_threaded(void)
{
    return unshare(CLONE_SIGHAND) == 0;
}

/* As pid 1 we also get orphans as children. A process that stayed would live outside of every jail,
 * with our powers. */
static bool childless(void)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
        ;
    return pid < 0;
}

/* The standard streams, and the descriptors that the supervisor has given us. */
enum { OUR_FDS = 7 };

static void note_fds(struct stat ret[static OUR_FDS])
{
    for (int fd = 0; fd < OUR_FDS; fd++)
        if (fstat(fd, &ret[fd]) < 0)
            ret[fd] = (struct stat){ 0 };
}

static bool same_fds(const struct stat before[static OUR_FDS])
{
    struct stat now[OUR_FDS];

    note_fds(now);
    for (int fd = 0; fd < OUR_FDS; fd++)
        if (now[fd].st_dev != before[fd].st_dev || now[fd].st_ino != before[fd].st_ino)
            return false;
    return true;
}

static struct stat our_fds[OUR_FDS];

void imports_begin(void)
{
    note_fds(our_fds);
    for (size_t i = 0; i < sizeof(quiet) / sizeof(*quiet); i++)
        setenv(quiet[i].name, quiet[i].value, 1);
}

/* Wait a little for @is_so: some imports start a thread or a program that ends in a moment. */
static bool settles(bool (*is_so)(void))
{
    static const struct timespec step = { .tv_nsec = SETTLE_NS };
    bool so = is_so();

    for (int i = 0; i < SETTLE_STEPS && !so; i++) {
        PyThreadState *state = PyEval_SaveThread(); /* a Python thread needs the lock to end */
        nanosleep(&step, NULL);
        PyEval_RestoreThread(state);
        so = is_so();
    }
    return so;
}

/* What the import has left behind that prevents forking a box, or FAULT_NONE. */
static enum fault leftover(void)
{
    if (!settles(single_threaded))
        return FAULT_THREAD;
    if (!settles(childless))
        return FAULT_PROCESS;
    return same_fds(our_fds) ? FAULT_NONE : FAULT_DESCRIPTORS;
}

/* @why: the exception, if the fault is FAULT_FAILED, else "". */
static int tell(int supervisor_fd, uint32_t at, enum fault fault, const char *why)
{
    struct wire_import msg = { .type = WIRE_IMPORT, .import = at, .fault = (uint32_t) fault };

    snprintf(msg.why, sizeof(msg.why), "%s", why);
    return fd_send(supervisor_fd, &msg, sizeof(msg), NULL, 0);
}

/* End this process if @name has left something behind beside which no box can be made. The exit
 * status tells the supervisor what it is. */
static void judge(const char *name)
{
    enum fault left = leftover();

    if (!left)
        return;
    log_error("an import has left what no box can be made beside",
              LOG_S("import", name) LOG_S("left", left_words[left]));
    _exit(WIRE_ZYGOTE_FAULT + (int) left);
}

static int import_one(int supervisor_fd, uint32_t at, const char *name)
{
    int err = tell(supervisor_fd, at, FAULT_NONE, "");
    char why[WIRE_WHY_MAX];

    if (err)
        return err;
    choose_backend(name);
    PyObject *module = import_without_ssl(name);
    if (!module) {
        take_error(why);
        err = tell(supervisor_fd, at, FAULT_FAILED, why);
    }
    Py_XDECREF(module);
    judge(name);
    return err;
}

int imports_run(const struct wire_zygote_conf *conf, int supervisor_fd)
{
    const char *names = conf->imports;
    char name[256];
    int err = 0;

    judge("site"); /* site runs the packages' *.pth files */
    for (uint32_t at = 0; !err && next_name(&names, name); at++)
        if (at >= WIRE_IMPORTS_MAX || !conf->left_out[at])
            err = import_one(supervisor_fd, at, name);
    return err ? err : tell(supervisor_fd, WIRE_IMPORTS_MAX, FAULT_NONE, "");
}

/* Remove a name from the mapping @module.environ. @key is text or bytes, as the mapping has
 * them. */
static int forget(const char *module, PyObject *key)
{
    PyObject *of = PyImport_ImportModule(module);
    PyObject *environ = of ? PyObject_GetAttrString(of, "environ") : NULL;
    int err = environ && key ? PyObject_DelItem(environ, key) : -1;

    if (err && PyErr_ExceptionMatches(PyExc_KeyError)) { /* an import has already removed it */
        PyErr_Clear();
        err = 0;
    }
    Py_XDECREF(of);
    Py_XDECREF(environ);
    Py_XDECREF(key);
    return err;
}

int imports_end(const struct wire_limits *limits)
{
    char share[24];

    snprintf(share, sizeof(share), "%lld", (long long) (limits->cpu_percent + 99) / 100);
    for (size_t i = 0; i < sizeof(quiet) / sizeof(*quiet); i++) {
        if (forget("os", PyUnicode_FromString(quiet[i].name)) < 0
            || forget("posix", PyBytes_FromString(quiet[i].name)) < 0)
            return -1;
        if (quiet[i].stays)
            setenv(quiet[i].name, share, 1);
        else
            unsetenv(quiet[i].name);
    }
    return 0;
}
