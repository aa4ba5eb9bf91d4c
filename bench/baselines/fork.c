/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-fork: the limits that Hatchery is measured against, with no isolation at all, or with somebody else's.
 *   bench-fork                    forks a warm CPython (the zygote's imports) that runs one print, flushes and exits: by clone3(2),
 *                                 and of what CPython and the C library do at a fork only PyOS_AfterFork_Child(), which must be
 *   bench-fork --hooks            the same by fork(3) with all of CPython's hooks, as os.fork() does it
 *   bench-fork -- COMMAND ...     starts COMMAND ... 'print(...)' from scratch, by posix_spawn, which copies no memory
 * Each is timed from before the fork until its whole output is read and the child is reaped; a child that printed
 * anything else, or did not exit with 0, is an error. With --parents each of so many processes does this by itself, at
 * the same time. A parent has one thread, and where it starts commands no interpreter.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../measure.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 256
#define SHARE_MAX 1000000
#define PARENTS_MAX 64

static char code[] = "print(\"Hello, World!\")";
static const char expected[] = "Hello, World!\n";

static const char warm_up[] = "import json, re, datetime, math, random, collections, itertools, functools, traceback\n"
                              "import io, asyncio, gc\n"
                              "gc.collect()\n"
                              "gc.freeze()\n";

/* How one child is started: its output goes to @out, which the parent closes. Returns the pid, or -errno. */
struct baseline {
    pid_t (*start)(const struct baseline *baseline, int out);
    char **command;         /* to spawn, with room for one more word; NULL: fork */
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

static pid_t start_clone(const struct baseline *baseline, int out)
{
    struct clone_args args = { .exit_signal = SIGCHLD };
    pid_t pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0)
        run_child(baseline->program_code, out);
    return pid < 0 ? -errno : pid;
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
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return -rc;
    rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawnp(&pid, baseline->command[0], &actions, NULL, baseline->command, environ);
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

/* What one parent has measured, in memory that the first process shares with it. */
struct share {
    size_t count;
    long errors;
    uint64_t elapsed_ns, cpu_ns;
    uint64_t ns[SHARE_MAX];
};

static void work(const struct baseline *baseline, const struct plan *plan, struct share *share)
{
    uint64_t start_ns, deadline_ns, now_ns, cpu_ns;

    for (long i = 0; i < plan->warmup; i++)
        share->errors += run_one(baseline) ? 0 : 1;
    cpu_ns = measure_cpu_ns();
    start_ns = now_ns = measure_now_ns();
    deadline_ns = start_ns + (uint64_t) plan->ms * 1000000u;
    for (long i = 0; i < SHARE_MAX && (plan->ms > 0 ? now_ns < deadline_ns : i < plan->requests); i++) {
        uint64_t before_ns = measure_now_ns();
        bool right = run_one(baseline);

        now_ns = measure_now_ns();
        if (right)
            share->ns[share->count++] = now_ns - before_ns;
        else
            share->errors++;
    }
    share->elapsed_ns = now_ns - start_ns;
    share->cpu_ns = measure_cpu_ns() - cpu_ns;
}

/* A parent: warm of its own, so that it shares nothing with the others that a fork would have to look after. */
static void begin_parent(struct baseline *baseline, const struct plan *plan, struct share *share)
{
    pid_t pid = fork();

    if (pid < 0)
        die("cannot fork");
    if (pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (baseline->command == NULL)
        baseline->program_code = make_warm();
    work(baseline, plan, share);
    _exit(0);
}

/* Add up; the time is the longest, the processor's the sum. */
static int gather(const struct share *shares, long parents)
{
    struct latencies all = { 0 };
    uint64_t elapsed_ns = 0, cpu_ns = 0;
    long errors = 0;
    int status = 0;

    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            die("a parent has failed");
    for (long p = 0; p < parents; p++) {
        const struct share *share = &shares[p];

        for (size_t i = 0; i < share->count; i++)
            latencies_add(&all, share->ns[i]);
        errors += share->errors;
        elapsed_ns = share->elapsed_ns > elapsed_ns ? share->elapsed_ns : elapsed_ns;
        cpu_ns += share->cpu_ns;
    }
    status = measure_print(NULL, &all, errors, elapsed_ns, cpu_ns);
    latencies_free(&all);
    return status;
}

static int run(struct baseline *baseline, const struct plan *plan, long parents)
{
    struct share *shares = mmap(NULL, (size_t) parents * sizeof(*shares), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shares == MAP_FAILED)
        die("out of memory");
    for (long p = 0; p < parents; p++)
        begin_parent(baseline, plan, &shares[p]);
    return gather(shares, parents);
}

/* The command line */

static const struct option option_table[] = {
    { "requests", required_argument, NULL, 'n' }, { "seconds", required_argument, NULL, 's' },
    { "warmup", required_argument, NULL, 'w' },   { "parents", required_argument, NULL, 'p' },
    { "hooks", no_argument, NULL, 'k' },          { NULL, 0, NULL, 0 },
};

static const char usage[] =
    "usage: bench-fork [--hooks] [--parents N] [--requests N | --seconds S] [--warmup N] [-- COMMAND ...]\n";

int main(int argc, char **argv)
{
    struct baseline baseline = { .start = start_clone };
    struct plan plan = { .requests = 1000 };
    long parents = 1;
    int option;

    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1)
        switch (option) {
        case 'n': plan.requests = measure_number("requests", optarg, 1); break;
        case 's': plan.ms = measure_seconds_ms("seconds", optarg); break;
        case 'w': plan.warmup = measure_number("warmup", optarg, 0); break;
        case 'p': parents = measure_number("parents", optarg, 1); break;
        case 'k': baseline.start = start_fork; break;
        default: fputs(usage, stderr); return 2;
        }
    if (parents > PARENTS_MAX) {
        fputs(usage, stderr);
        return 2;
    }
    if (optind < argc) {
        baseline.start = start_spawn;
        baseline.command = calloc((size_t) (argc - optind) + 2, sizeof(char *));
        if (baseline.command == NULL)
            die("out of memory");
        memcpy(baseline.command, argv + optind, (size_t) (argc - optind) * sizeof(char *));
        baseline.command[argc - optind] = code;
    }
    int status = run(&baseline, &plan, parents);
    free(baseline.command);
    return status;
}
