/* SPDX-License-Identifier: Apache-2.0 */
/* The imports of a runtime, one after the other, each watched.
 *
 * Called by warm.c.  The supervisor hears which import has begun and what is wrong with it; where one has left what no
 * box can be made beside, or ended us, it starts another zygote, which leaves that one out.  What must never happen here: a
 * second thread that stays, whose locks no forked child could ever release, or a process. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/imports.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Libraries that start threads when they are imported, one for each core of the host or always, unless they are told
 * otherwise.  While imports run all of these are 1, in os.environ too, as many look there.  What stays is C's
 * environment's alone, where libraries that a program imports, and its children, find the box's share of the cores. */
static const struct {
    const char *name, *value;
    bool stays;
} quiet[] = {
    { "OMP_NUM_THREADS", "1", true },
    { "OPENBLAS_NUM_THREADS", "1", true },
    { "MKL_NUM_THREADS", "1", true },
    { "BLIS_NUM_THREADS", "1", false },
    { "NUMEXPR_NUM_THREADS", "1", false }, /* not NUMEXPR_MAX_THREADS, beyond which no program may go later */
    { "NUMBA_NUM_THREADS", "1", false },
    { "POLARS_MAX_THREADS", "1", false },
    { "RAYON_NUM_THREADS", "1", false },
    { "TBB_NUM_THREADS", "1", false },
    { "ARROW_IO_THREADS", "1", false },
    { "ARROW_DEFAULT_MEMORY_POOL", "system", false }, /* that of jemalloc has a thread that frees */
    { "TF_NUM_INTRAOP_THREADS", "1", false },
    { "TF_NUM_INTEROP_THREADS", "1", false },
};

/* How long a thread that is just ending may take, in steps. */
enum { SETTLE_STEPS = 100, SETTLE_NS = 5000000 };

void imports_log_error(const char *msg, const char *name)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    const char *reason = text ? PyUnicode_AsUTF8(text) : NULL;
    log_warn(msg, LOG_S("name", name) LOG_S("reason", reason ? reason : "?"));
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
    PyErr_Clear();
}

/* The first name of a list, which is moved behind it; false at its end. */
static bool next_name(const char **list, char name[static 256])
{
    int used;

    if (sscanf(*list, " %255[^ ,]%n", name, &used) != 1)
        return false;
    *list += used + strspn(*list + used, " ,");
    return true;
}

/* asyncio imports ssl, and with it OpenSSL, a third of the interpreter that each box would be a copy of, for
 * connections that no box can make.  It goes without; a program's own `import ssl` finds it as ever, and asyncio gets
 * it when it is used (prelude.py).  Other modules may define less without it: they are not kept from it. */
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

/* There is no display in a box, whatever /etc/matplotlibrc says; pyplot takes what is chosen when it is imported. */
static void choose_backend(const char *name)
{
    static const char package[] = "matplotlib";
    size_t n = sizeof(package) - 1;

    if (strncmp(name, package, n) != 0 || (name[n] && name[n] != '.'))
        return;
    PyObject *module = PyImport_ImportModule(package);
    PyObject *done = module ? PyObject_CallMethod(module, "use", "s", "Agg") : NULL;
    if (!done)
        PyErr_Clear(); /* the import that follows says why */
    Py_XDECREF(module);
    Py_XDECREF(done);
}

static const char *const left_words[FAULTS] = {
    [FAULT_THREAD] = "a thread",
    [FAULT_PROCESS] = "a process",
    [FAULT_DESCRIPTORS] = "closed descriptors",
};

/* There is no /proc to count threads in: unshare(2) of the signal handlers is refused when there is
 * more than one, whoever started it, and does nothing otherwise. */
static bool single_threaded(void)
{
    return unshare(CLONE_SIGHAND) == 0;
}

/* As pid 1 we have orphans for children too.  One that lives would go on outside of every jail, with our powers. */
static bool childless(void)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
        ;
    return pid < 0;
}

/* Standard streams, and those that the supervisor has given us. */
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

/* Some import starts a thread or a program that is over in a moment. */
static bool settles(bool (*is_so)(void))
{
    static const struct timespec step = { .tv_nsec = SETTLE_NS };
    bool so = is_so();

    for (int i = 0; i < SETTLE_STEPS && !so; i++) {
        PyThreadState *state = PyEval_SaveThread(); /* a thread of Python's must have its lock to end */
        nanosleep(&step, NULL);
        PyEval_RestoreThread(state);
        so = is_so();
    }
    return so;
}

/* What has been left that no box can be forked beside, or FAULT_NONE. */
static enum fault leftover(void)
{
    return !settles(single_threaded) ? FAULT_THREAD
           : !settles(childless)     ? FAULT_PROCESS
           : !same_fds(our_fds)      ? FAULT_DESCRIPTORS
                                     : FAULT_NONE;
}

static int tell(int supervisor_fd, uint32_t at, enum fault fault)
{
    const struct wire_msg msg = { .type = WIRE_IMPORT, .slot = at, .status = (int32_t) fault };
    return fd_send(supervisor_fd, &msg, sizeof(msg), NULL, 0);
}

/* Whatever @name has left that no box can be made beside ends us: the supervisor knows by the status. */
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
    int err = tell(supervisor_fd, at, FAULT_NONE);

    if (err)
        return err;
    choose_backend(name);
    PyObject *module = import_without_ssl(name);
    if (!module) {
        imports_log_error("import failed: programs will import it themselves, or fail as it did", name);
        err = tell(supervisor_fd, at, FAULT_FAILED);
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

    judge("site"); /* of the packages' *.pth files */
    for (uint32_t at = 0; !err && next_name(&names, name); at++)
        if (at >= WIRE_IMPORTS_MAX || !conf->left_out[at])
            err = import_one(supervisor_fd, at, name);
    return err ? err : tell(supervisor_fd, WIRE_IMPORTS_MAX, FAULT_NONE);
}

/* A name goes from the mapping @module.environ, where it may be as text or as bytes. */
static int forget(const char *module, PyObject *key)
{
    PyObject *of = PyImport_ImportModule(module);
    PyObject *environ = of ? PyObject_GetAttrString(of, "environ") : NULL;
    int err = environ && key ? PyObject_DelItem(environ, key) : -1;

    if (err && PyErr_ExceptionMatches(PyExc_KeyError)) { /* an import was quicker */
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
