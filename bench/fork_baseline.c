/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-fork: the two limits that Hatchery is measured against, one at a time and with no isolation at all.
 *   bench-fork                    forks a warm CPython (the zygote's imports) that runs one print, flushes and exits
 *   bench-fork --spawn PYTHON     starts PYTHON -c 'print(...)' from scratch, by posix_spawn, which copies no memory
 * Each is timed from before the fork until its whole output is read and the child is reaped; a child that printed
 * anything else, or did not exit with 0, is an error. The parent has one thread, and in --spawn mode no interpreter.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 256

static char code[] = "print(\"Hello, World!\")";
static const char expected[] = "Hello, World!\n";

static const char warm_up[] = "import json, re, datetime, math, random, collections, itertools, functools, traceback\n"
                              "import io, asyncio, gc\n"
                              "gc.collect()\n"
                              "gc.freeze()\n";

/* How one child is started: its output goes to @out, which the parent closes. Returns the pid, or -errno. */
struct baseline {
    pid_t (*start)(const struct baseline *baseline, int out);
    char *program;          /* to spawn */
    PyObject *program_code; /* to run after a fork */
};

static void die(const char *what)
{
    fprintf(stderr, "bench-fork: %s\n", what);
    exit(1);
}

/* The bare fork */

static void init_python(void)
{
    PyConfig config;
    PyStatus status;

    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 1;
    status = PyConfig_SetString(&config, &config.program_name, L"/usr/bin/python3");
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

static PyObject *make_warm(void)
{
    PyObject *compiled;

    init_python();
    if (PyRun_SimpleString(warm_up) != 0)
        die("the imports failed");
    compiled = Py_CompileString(code, "main.py", Py_file_input);
    if (compiled == NULL)
        die("the program does not compile");
    return compiled;
}

/* In the child: run the program in __main__ and be gone, without Python's own finalization. */
static _Noreturn void run_child(PyObject *program_code, int out)
{
    PyObject *globals, *result, *flushed;

    PyOS_AfterFork_Child();
    if (dup2(out, STDOUT_FILENO) < 0)
        _exit(1);
    globals = PyModule_GetDict(PyImport_AddModule("__main__"));
    result = PyEval_EvalCode(program_code, globals, globals);
    flushed = result == NULL ? NULL : PyObject_CallMethod(PySys_GetObject("stdout"), "flush", NULL);
    _exit(flushed == NULL ? 1 : 0);
}

static pid_t start_fork(const struct baseline *baseline, int out)
{
    pid_t pid;

    PyOS_BeforeFork();
    pid = fork();
    if (pid == 0)
        run_child(baseline->program_code, out);
    PyOS_AfterFork_Parent();
    return pid < 0 ? -errno : pid;
}

/* A whole new process */

static pid_t start_spawn(const struct baseline *baseline, int out)
{
    char dash_c[] = "-c";
    char *argv[] = { baseline->program, dash_c, code, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return -rc;
    rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn(&pid, baseline->program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc != 0 ? -rc : pid;
}

/* The loop, alike for both */

/* Read @in to its end. Returns whether exactly the expected output came. */
static bool read_output(int in)
{
    char output[OUTPUT_MAX];
    size_t len = 0;
    ssize_t got;

    while (len < sizeof(output) && (got = read(in, output + len, sizeof(output) - len)) > 0)
        len += (size_t) got;
    return len == strlen(expected) && memcmp(output, expected, len) == 0;
}

/* One child from start to reaping. Returns whether it did what it should. */
static bool run_one(const struct baseline *baseline)
{
    int pipe_fds[2], status = -1;
    bool right;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        die("cannot make a pipe");
    pid = baseline->start(baseline, pipe_fds[1]);
    close(pipe_fds[1]);
    if (pid < 0) {
        fprintf(stderr, "bench-fork: cannot start the child: %s\n", strerror(-pid));
        exit(1);
    }
    right = read_output(pipe_fds[0]);
    close(pipe_fds[0]);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 && right;
}

static int run(const struct baseline *baseline, const struct plan *plan)
{
    struct latencies list = { 0 };
    uint64_t start_ns, deadline_ns, now_ns;
    long errors = 0;
    int status;

    for (long i = 0; i < plan->warmup; i++)
        errors += run_one(baseline) ? 0 : 1;
    start_ns = now_ns = measure_now_ns();
    deadline_ns = start_ns + (uint64_t) plan->seconds * 1000000000u;
    for (long i = 0; plan->seconds > 0 ? now_ns < deadline_ns : i < plan->requests; i++) {
        uint64_t before_ns = measure_now_ns();
        bool right = run_one(baseline);

        now_ns = measure_now_ns();
        if (right)
            latencies_add(&list, now_ns - before_ns);
        else
            errors++;
    }
    status = measure_print(&list, errors, now_ns - start_ns);
    latencies_free(&list);
    return status;
}

/* The command line */

static const struct option option_table[] = {
    { "spawn", required_argument, NULL, 'x' },
    { "requests", required_argument, NULL, 'n' },
    { "seconds", required_argument, NULL, 's' },
    { "warmup", required_argument, NULL, 'w' },
    { NULL, 0, NULL, 0 },
};

static void take_option(struct baseline *baseline, struct plan *plan, int option)
{
    switch (option) {
    case 'x': baseline->program = optarg; break;
    case 'n': plan->requests = measure_number("requests", optarg, 1); break;
    case 's': plan->seconds = measure_number("seconds", optarg, 1); break;
    case 'w': plan->warmup = measure_number("warmup", optarg, 0); break;
    default: fputs("usage: bench-fork [--spawn PYTHON] [--requests N | --seconds S] [--warmup N]\n", stderr); exit(2);
    }
}

int main(int argc, char **argv)
{
    struct baseline baseline = { .start = start_fork };
    struct plan plan = { .requests = 1000 };
    int option;

    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1)
        take_option(&baseline, &plan, option);
    if (optind != argc)
        take_option(&baseline, &plan, '?');
    if (baseline.program != NULL)
        baseline.start = start_spawn;
    else
        baseline.program_code = make_warm();
    return run(&baseline, &plan);
}
