/* SPDX-License-Identifier: Apache-2.0 */
/* One program in one box: compile, run, end as Python ends, report.
 *
 * spawn.c calls run_box() in each box.  packet.c receives the program, renew.c seeds random
 * numbers, compile.c turns the program into code, ending.c keeps its end.  The program shares this
 * address space. It can break its own reply but no more: the token keeps blind writes out of the
 * outcome, the encoder calls none of the program's objects, and the server takes from here nothing
 * that it can know by itself (exit status, time, output).  What must never happen here: that a
 * child of the program reports in its parent's place. */
#include "zygote/run.h"

#include "zygote/atfork.h"
#include "zygote/compile.h"
#include "zygote/ending.h"
#include "zygote/finish.h"
#include "zygote/mainfile.h"
#include "zygote/packet.h"
#include "zygote/renew.h"
#include "zygote/show.h"

#include "base/clock.h"
#include "box/box.h"

#include "prelude.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    PyObject *prelude; /* its namespace */
    PyObject *main_dict;
    const struct wire_limits *limits;
} py;

static int load_prelude(void)
{
    PyObject *space = PyDict_New();
    PyObject *code = Py_CompileString(PRELUDE, "<hatchery>", Py_file_input);
    PyObject *done = NULL;

    if (space && code && PyDict_SetItemString(space, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyEval_EvalCode(code, space, space);
    Py_XDECREF(code);
    if (!done)
        return -1;
    Py_DECREF(done);
    py.prelude = space;
    return 0;
}

/* __main__ as `python3 main.py` has it. */
static int prepare_main(void)
{
    PyObject *module = PyImport_AddModule("__main__");
    py.main_dict = module ? PyModule_GetDict(module) : NULL;
    if (!py.main_dict)
        return -1;
    Py_INCREF(py.main_dict); /* a program may throw the module away */
    PyObject *file = PyUnicode_FromString("main.py");
    int failed = !file || PyDict_SetItemString(py.main_dict, "__file__", file) < 0
                 || PyDict_SetItemString(py.main_dict, "__cached__", Py_None) < 0;
    Py_XDECREF(file);
    return failed ? -1 : 0;
}

/* Run @source as the module with @space as its globals. */
static void execute(struct ending *end, PyObject *source, PyObject *space)
{
    show_source(source);
    PyObject *code = source ? compile_source(source) : NULL;
    end->stamps.compiled_us = now_us();
    if (!code) {
        ending_by_exception(end, source, true);
        return;
    }
    if (compile_returns(code))
        mainfile_is_no_module();
    PyObject *value = compile_run(code, space);
    Py_DECREF(code);
    if (value)
        ending_by_return(end, source, value);
    else
        ending_by_exception(end, source, false);
    Py_XDECREF(value);
}

/* Run a small program through the real path, so that no caller pays for the page faults after the
 * fork and for the interpreter's first times. */
void run_rehearse(void)
{
    struct ending end;
    PyObject *space = PyDict_Copy(py.main_dict);
    PyObject *source = PyUnicode_FromString("import sys\ndef f(x=1):\n  return [x]\nprint('', end='')\nf()\n");
    ending_init(&end);
    if (space && source)
        execute(&end, source, space);
    finish_rehearse(&py.main_dict);
    buf_free(&end.result);
    buf_free(&end.error);
    Py_XDECREF(space);
    Py_XDECREF(source);
    show_source(NULL);
    compile_forget();
    PyErr_Clear();
    PyGC_Collect(); /* empties the free lists, which hold objects of many pages; a box would do it
                     * at its end */
}

/* @source lives as long as the program, because show.c holds a reference. */
static void offer_file(PyObject *source)
{
    Py_ssize_t n;

    if (!source) /* the error in it is the program's outcome */
        return;
    const char *text = PyUnicode_AsUTF8AndSize(source, &n);
    if (text)
        mainfile_offer(text, (size_t) n);
    PyErr_Clear();
}

/* A second limit, behind the server's wall clock. */
static void limit_cpu(int64_t timeout_ms)
{
    rlim_t cores = (rlim_t) (py.limits->cpu_percent + 99) / 100;
    rlim_t seconds = ((rlim_t) timeout_ms + 999) / 1000;
    struct rlimit limit = { seconds * cores + 2, seconds * cores + 3 };
    setrlimit(RLIMIT_CPU, &limit);
}

/* Do what a box does, but renew the generators last: a system call that should write to protected
 * memory fails, and renew() ends a box that it cannot seed. */
void run_probe(void)
{
    struct ending end;

    PyOS_AfterFork_Child();
    atfork_enable();
    ending_init(&end);
    execute(&end, PyUnicode_FromString("print('', end='')\n"), py.main_dict);
    ending_finish(&end, &py.main_dict);
    renew();
}

/* If programs come as fast as boxes are made, a rehearsal only takes a core from them. Then the
 * first program warms the paths. */
enum { REHEARSE_AFTER_MS = 8 };

static bool program_comes(void)
{
    struct pollfd control = { .fd = BOX_CONTROL_FD, .events = POLLIN };
    return poll(&control, 1, REHEARSE_AFTER_MS) > 0;
}

_Noreturn void run_box(struct wire_box_state *state)
{
    int64_t start = now_ns();
    struct wire_run run;
    struct ending end;

    renew();
    ending_init(&end);
    state->renewal_ns = (int32_t) (now_ns() - start);
    if (send(BOX_CONTROL_FD, state, sizeof(*state), MSG_NOSIGNAL) < 0)
        _exit(0);
    if (!program_comes()) {
        start = now_ns();
        run_rehearse();
        end.stamps.rehearsal_us = (now_ns() - start) / 1000;
    }
    atfork_enable();
    pid_t self = getpid();
    PyObject *source = packet_receive_program(&run, py.limits);
    offer_file(source);
    end.stamps.received_us = now_us();
    limit_cpu(run.timeout_ms);
    execute(&end, source, py.main_dict);
    ending_finish(&end, &py.main_dict);
    end.stamps.over_us = now_us();
    if (getpid() != self)
        _exit(end.exit_code); /* a child that the program forked came out here too */
    /* Wait for the server to kill us: it replies first, and an exit here would compete with the
     * reply for a core. */
    if (packet_report(run.token, &end))
        packet_wait_for_end();
    _exit(end.exit_code);
}

int run_prepare(const struct wire_limits *limits)
{
    py.limits = limits;
    if (load_prelude() < 0 || compile_prepare(py.prelude) < 0 || prepare_main() < 0
        || show_prepare(PyDict_GetItemString(py.prelude, "open_source")) < 0 || renew_prepare() < 0
        || ending_prepare(limits) < 0 || finish_prepare() < 0)
        return -1;
    run_rehearse();
    run_rehearse();
    return 0;
}
