/* SPDX-License-Identifier: Apache-2.0 */
/* The one CPython of the zygote: initialised, warmed and frozen.
 *
 * Called once by main.c, inside the jail's root and before any fork.  What must
 * never happen here: reading the environment or files of whoever started the
 * server (the configuration is explicit), or leaving a second thread behind,
 * whose locks no forked child could ever release, or a process. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "warm.h"

#include "atfork.h"
#include "run.h"
#include "stdio.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
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

/* As `python3 -B -s -u main.py` with an empty environment. */
static int initialize(void)
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
    config.safe_path = 1; /* sys.path[0] is the box's directory: added last */
    config.write_bytecode = 0;
    config.buffered_stdio = 0; /* what is printed before a crash is in the reply */
    config._init_main = 0;     /* modules that the host's *.pth files import come after atfork_intercept(), too */
    if (!PyStatus_Exception(status))
        status = set_strings(&config);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    if (!PyStatus_Exception(status) && atfork_intercept() < 0)
        status = PyStatus_Error("os.register_at_fork can't be put aside");
    if (!PyStatus_Exception(status))
        status = _Py_InitializeMain();
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        log_error("python does not start", LOG_S("reason", status.err_msg ? status.err_msg : "?"));
        return -1;
    }
    return 0;
}

/* sys.stdout remembers what kind of file it was made on: in a box it is a pipe. */
static int initialize_on_pipes(void)
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
    int err = initialize();
    if (dup2(saved_stdout, 1) < 0 || dup2(saved_stderr, 2) < 0)
        return -1;
    (void) reader; /* held open: nothing is written, but a pipe without a reader is broken */
    return err;
}

static void log_python_error(const char *msg, const char *name)
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

/* BLAS and OpenMP start a thread for each core of the host when they are loaded.  They read the C
 * library's environment; os.environ, which programs see, was made before. */
static void limit_math_threads(const struct wire_limits *limits)
{
    static const char *const names[] = { "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS" };
    char share[24];

    snprintf(share, sizeof(share), "%lld", (long long) (limits->cpu_percent + 99) / 100);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        setenv(names[i], share, 1);
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

static void import_all(const char *names)
{
    char name[256];

    while (next_name(&names, name)) {
        choose_backend(name);
        PyObject *module = import_without_ssl(name);
        if (!module)
            log_python_error("import failed: programs will import it themselves, or fail as it did", name);
        Py_XDECREF(module);
    }
}

/* A runtime's own packages are found before the system's, and what their *.pth files say is done as for those. */
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

/* Imports find the places that programs have, for as long as they last: matplotlib wants its cache. */
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

/* Nothing that an import has left there is in a box. */
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

/* Nothing that exists now is ever freed: keep the collector from touching (and so copying) its pages.  But for the
 * names of __main__, which go at a program's end as the collector finds them (finish.c). */
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

/* Deaths of boxes are read from a descriptor (main.c), whatever an import has made of the signal.  Deaths only: a program
 * that its own child stops and continues in a loop wakes nobody. */
static int restore_sigchld(void)
{
    const struct sigaction deaths = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return sigaction(SIGCHLD, &deaths, NULL) < 0 || sigprocmask(SIG_BLOCK, &child, NULL) < 0 ? -1 : 0;
}

/* What an import has left that no box can be forked beside, or NULL. */
static const char *leftover(const struct stat fds[static OUR_FDS])
{
    return !single_threaded() ? "a thread" : !childless() ? "a process" : !same_fds(fds) ? "closed descriptors" : NULL;
}

static void on_late(int signal)
{
    (void) signal;
    _exit(WIRE_ZYGOTE_LATE);
}

/* An import may wait for ever.  After Python's start, whose table of signals has them as programs find them; 0 ends it. */
static int set_deadline(int64_t ms)
{
    const struct itimerval in = { .it_value = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 } };

    if (signal(SIGALRM, ms ? on_late : SIG_DFL) == SIG_ERR)
        return -1;
    return setitimer(ITIMER_REAL, &in, NULL);
}

int warm_python(const struct wire_zygote_conf *conf)
{
    struct stat fds[OUR_FDS];

    note_fds(fds);
    if (initialize_on_pipes() < 0)
        return -1;
    limit_math_threads(&conf->limits);
    int err = set_deadline(conf->warm_ms);
    if (!err)
        err = add_packages();
    if (!err && mount_scratch() == 0) {
        import_all(conf->imports);
        err = drop_scratch();
    } else
        err = -1;
    if (err || set_deadline(0) < 0 || restore_sigchld() < 0 || run_prepare(&conf->limits) < 0 || stdio_write_all() < 0
        || atfork_restore() < 0 || freeze() < 0 || add_home() < 0) {
        log_python_error("the interpreter could not be prepared", "prelude");
        return -1;
    }
    const char *left = leftover(fds);
    if (left)
        log_error("an import has left what no box can be made beside; take it out of the runtime's imports",
                  LOG_S("left", left) LOG_S("imports", conf->imports));
    return left ? -1 : 0;
}
