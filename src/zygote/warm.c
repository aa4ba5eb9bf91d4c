/* SPDX-License-Identifier: Apache-2.0 */
/* The one CPython of the zygote: initialised, warmed and frozen.
 *
 * main.c calls this file once, inside the jail's root and before any fork.  What must never happen
 * here: reading the environment or files of the user who started the server (the configuration is
 * explicit). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "zygote/warm.h"

#include "zygote/atfork.h"
#include "zygote/imports.h"
#include "zygote/run.h"
#include "zygote/stdio.h"

#include "base/fd.h"
#include "base/log.h"
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static PyStatus set_strings(PyConfig *config)
{
    static wchar_t *const argv[] = { L"main.py" };
    static const struct {
        size_t offset;
        const wchar_t *value;
    } strings[] = {
        { offsetof(PyConfig, program_name), L"/usr/bin/python3" },
        { offsetof(PyConfig, stdio_encoding), L"utf-8" },
        { offsetof(PyConfig, stdio_errors), L"surrogateescape" },
    };
    PyStatus status = PyConfig_SetArgv(config, 1, argv);

    for (size_t i = 0; i < sizeof(strings) / sizeof(*strings) && !PyStatus_Exception(status); i++)
        status =
            PyConfig_SetString(config, (wchar_t **) (void *) ((char *) config + strings[i].offset), strings[i].value);
    return status;
}

/* Remove the names of epoll from `select`, so that all code that looks there (selectors, asyncio,
 * servers in packages) takes poll, as on a system without epoll.  0, or -1 with an exception. */
static int hide_epoll(void)
{
    static const char *const names[] = { "epoll", "EPOLL" };
    PyObject *select = PyImport_ImportModule("select");
    PyObject *keys = select ? PyDict_Keys(PyModule_GetDict(select)) : NULL;
    int err = keys ? 0 : -1;

    for (Py_ssize_t i = 0; !err && i < PyList_GET_SIZE(keys); i++) {
        const char *key = PyUnicode_AsUTF8(PyList_GET_ITEM(keys, i));
        for (int j = 0; key && j < 2; j++)
            if (strncmp(key, names[j], strlen(names[j])) == 0)
                err = PyObject_DelAttrString(select, key);
    }
    Py_XDECREF(keys);
    Py_XDECREF(select);
    return err;
}

/* The host's *.pth files may import modules. Hide epoll before that if `select` is built into the
 * interpreter, otherwise after it. */
static PyStatus initialize_main(bool epoll)
{
    bool hidden = epoll || hide_epoll() == 0;

    PyErr_Clear();
    PyStatus status = _Py_InitializeMain();
    if (!PyStatus_Exception(status) && !hidden && hide_epoll() < 0)
        status = PyStatus_Error("select can't be imported");
    return status;
}

/* As `python3 -B -s -u main.py` with an empty environment. */
static int initialize(bool epoll)
{
    PyPreConfig pre;
    PyConfig config;

    PyPreConfig_InitPythonConfig(&pre);
    pre.use_environment = 0;
    pre.parse_argv = 0;
    pre.coerce_c_locale = 0;
    PyStatus status = Py_PreInitialize(&pre);
    PyConfig_InitPythonConfig(&config);
    config.use_environment = 0;
    config.user_site_directory = 0;
    config.parse_argv = 0;
    config.safe_path = 1; /* sys.path[0] is the box's directory; add_home() adds it last */
    config.write_bytecode = 0;
    config.buffered_stdio = 0; /* text printed before a crash is in the reply */
    config._init_main = 0;     /* also what the host's *.pth files import comes after
                                * atfork_intercept() */
    if (!PyStatus_Exception(status))
        status = set_strings(&config);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    if (!PyStatus_Exception(status) && atfork_intercept() < 0)
        status = PyStatus_Error("os.register_at_fork can't be put aside");
    if (!PyStatus_Exception(status))
        status = initialize_main(epoll);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        log_error("python does not start", LOG_S("reason", status.err_msg ? status.err_msg : "?"));
        return -1;
    }
    return 0;
}

/* sys.stdout remembers what kind of file it was made on, and in a box it is a pipe. */
static int initialize_on_pipes(bool epoll)
{
    _cleanup_fd_ int saved_stdout = fcntl(1, F_DUPFD_CLOEXEC, 3);
    _cleanup_fd_ int saved_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
    int p[2];

    if (saved_stdout < 0 || saved_stderr < 0 || pipe2(p, O_CLOEXEC) < 0)
        return -1;
    _cleanup_fd_ int reader = p[0];
    _cleanup_fd_ int writer = p[1];
    if (dup2(writer, 1) < 0 || dup2(writer, 2) < 0)
        return -1;
    int err = initialize(epoll);
    if (dup2(saved_stdout, 1) < 0 || dup2(saved_stderr, 2) < 0)
        return -1;
    (void) reader; /* held open: nothing is written, but a pipe without a reader is broken */
    return err;
}

/* Let Python find a runtime's own packages before the system's, and run their *.pth files as the
 * system's. */
static int add_packages(void)
{
    static const char system[] = "dist-packages";
    PyObject *path = PySys_GetObject("path");
    Py_ssize_t n = path ? PyList_Size(path) : -1, at = 0;

    if (access(PACKAGES_DIR, F_OK) < 0)
        return 0;
    while (at < n) {
        const char *entry = PyUnicode_AsUTF8(PyList_GetItem(path, at));
        size_t len = entry ? strlen(entry) : 0;
        if (len >= sizeof(system) - 1 && strcmp(entry + len - (sizeof(system) - 1), system) == 0)
            break;
        at++;
    }
    PyObject *tail = n >= 0 ? PyList_GetSlice(path, at, n) : NULL;
    PyObject *site = PyImport_ImportModule("site");
    int err = tail && site ? PyList_SetSlice(path, at, n, NULL) : -1;
    PyObject *done = err ? NULL : PyObject_CallMethod(site, "addsitedir", "s", PACKAGES_DIR);
    if (!done || PyList_SetSlice(path, PyList_Size(path), PyList_Size(path), tail) < 0)
        err = -1;
    Py_XDECREF(tail);
    Py_XDECREF(site);
    Py_XDECREF(done);
    return err;
}

/* Give imports the directories that programs have, until all imports are done: matplotlib wants its
 * cache. */
static int mount_scratch(void)
{
    static const char *const directories[] = { HOME_DIR, SCRATCH_DIR "/tmp", SCRATCH_DIR "/shm" };

    if (mount("warm", SCRATCH_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, "mode=0700,size=64m") < 0)
        return -1;
    for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
        if (mkdir(directories[i], 0700) < 0)
            return -1;
    return 0;
}

/* Nothing that an import has left there gets into a box. */
static int drop_scratch(void)
{
    return umount2(SCRATCH_DIR, MNT_DETACH);
}

/* `python3 main.py` looks for modules beside main.py first. */
static int add_home(void)
{
    PyObject *path = PySys_GetObject("path");
    PyObject *home = PyUnicode_FromString(HOME_DIR);
    int err = path && home ? PyList_Insert(path, 0, home) : -1;
    Py_XDECREF(home);
    return err;
}

/* Nothing that exists now is ever freed, so keep the collector from touching (and so copying) its
 * pages. The names of __main__ are the exception: the collector frees them at a program's end
 * (finish.c). */
static int freeze(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *module = PyImport_AddModule("__main__");
    PyObject *main_dict = module ? PyModule_GetDict(module) : NULL;
    PyGC_Collect();
    PyObject *done = gc ? PyObject_CallMethod(gc, "freeze", NULL) : NULL;
    if (main_dict && PyObject_GC_IsTracked(main_dict)) {
        PyObject_GC_UnTrack(main_dict);
        PyObject_GC_Track(main_dict);
    }
    Py_XDECREF(gc);
    Py_XDECREF(done);
    return done && main_dict ? 0 : -1;
}

/* main.c reads the deaths of boxes from a descriptor, whatever an import has done to the signal.
 * Deaths only: a program that stops and continues its own child in a loop wakes nobody. */
static int restore_sigchld(void)
{
    const struct sigaction deaths = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return sigaction(SIGCHLD, &deaths, NULL) < 0 || sigprocmask(SIG_BLOCK, &child, NULL) < 0 ? -1 : 0;
}

static void on_late(int signal)
{
    (void) signal;
    _exit(WIRE_ZYGOTE_FAULT + FAULT_LATE);
}

/* Kill the zygote after @ms, because an import may wait for ever; 0 ends the deadline.  Set it
 * after Python starts: Python's table of signals then shows programs the default. */
static int set_deadline(int64_t ms)
{
    const struct itimerval in = { .it_value = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 } };

    if (signal(SIGALRM, ms ? on_late : SIG_DFL) == SIG_ERR)
        return -1;
    return setitimer(ITIMER_REAL, &in, NULL);
}

static int not_prepared(void)
{
    imports_log_error("the interpreter could not be prepared", "prelude");
    return -1;
}

int warm_python(const struct wire_zygote_conf *conf, int supervisor_fd)
{
    imports_begin();
    if (initialize_on_pipes(conf->epoll) < 0)
        return -1;
    if (set_deadline(conf->warm_ms) < 0 || add_packages() < 0 || mount_scratch() < 0)
        return not_prepared();
    if (imports_run(conf, supervisor_fd) < 0)
        return -1;
    if (drop_scratch() < 0 || imports_end(&conf->limits) < 0 || set_deadline(0) < 0 || restore_sigchld() < 0
        || run_prepare(&conf->limits) < 0 || stdio_write_all() < 0 || atfork_restore() < 0 || freeze() < 0
        || add_home() < 0)
        return not_prepared();
    return 0;
}
