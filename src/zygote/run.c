/* SPDX-License-Identifier: Apache-2.0 */
/* One program in one box: compile, run, end as Python ends, report.
 *
 * The program shares this address space.  What it can break is only its own
 * reply: the token keeps blind writes out of the outcome, the result is encoded
 * without asking the program's objects, and what the server can know by itself
 * (exit status, time, output) it does not take from here.  What must never
 * happen: a child that the program forked reporting in its parent's place. */
#include "zygote/run.h"

#include "zygote/atfork.h"
#include "zygote/compile.h"
#include "zygote/encode.h"
#include "zygote/failure.h"
#include "zygote/finish.h"
#include "zygote/hint.h"
#include "zygote/mainfile.h"
#include "zygote/show.h"

#include "base/clock.h"
#include "box/box.h"

#include "prelude.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ERROR_MAX = 65536, REASON_MAX = 512 };

static struct {
    PyObject *prelude; /* its namespace */
    PyObject *excepthook;
    PyObject *main_dict;
    PyObject *seed_random, *seed_numpy; /* NULL where no import brought it in */
    const struct wire_limits *limits;
} py;

/* What is known about the end of a program. */
struct ending {
    enum outcome_kind kind;
    int exit_code;
    struct buf result, error;
    struct failure failure;
    struct wire_stamps stamps;
};

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

/* The exception's text, whatever the program did to what words it. */
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

/* The program's own sys.excepthook failed: tell both exceptions, or exit as it asked. */
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

/* As PyErr_Print() does: the program's own sys.excepthook, else the text on stderr. */
static void show_exception(struct ending *end, PyObject *type, PyObject *value, PyObject *tb, PyObject *text)
{
    PyObject *hook = PySys_GetObject("excepthook");

    if (hook == py.excepthook) {
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

/* An interrupt that is mainfile.c's, not a key's, becomes an exception with its reason; the traceback stays. */
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

/* The pending exception is the end of the program. */
static void end_by_exception(struct ending *end, PyObject *source, bool compiling)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (compiling)
        Py_CLEAR(tb); /* its frames are ours */
    else
        name_refusal(&type, &value);
    PyException_SetTraceback(value, tb ? tb : Py_None);
    if (!compiling && PyErr_GivenExceptionMatches(type, PyExc_SystemExit))
        end_by_exit(end, value);
    else {
        bool interrupt = PyErr_GivenExceptionMatches(type, PyExc_KeyboardInterrupt);
        end->kind =
            compiling && PyErr_GivenExceptionMatches(type, PyExc_SyntaxError) ? OUTCOME_SYNTAX : OUTCOME_EXCEPTION;
        end->exit_code = interrupt ? 130 : 1; /* python3 ends itself with SIGINT */
        PyObject *text = exception_text(type, value, tb);
        add_text(&end->error, text);
        failure_describe(&end->failure, type, value, tb, text);
        if (end->kind == OUTCOME_SYNTAX)
            hint_syntax(&end->failure.hint, value, source);
        else
            hint_exception(&end->failure.hint, value, source, py.limits);
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

/* What was printed could not be written: the exit code is CPython's. */
static void finish(struct ending *end)
{
    if (finish_python(&py.main_dict) < 0) {
        if (end->kind == OUTCOME_OK)
            end->kind = OUTCOME_EXIT;
        end->exit_code = 120;
    }
}

static void end_by_return(struct ending *end, PyObject *value)
{
    char reason[REASON_MAX] = "";

    end->kind = OUTCOME_OK;
    end->exit_code = 0;
    if (encode_value(&end->result, value, reason, sizeof(reason), &end->failure.hint) < 0) {
        end->kind = OUTCOME_RESULT;
        buf_reset(&end->result);
        buf_adds(&end->error, reason);
    }
}

/* Run @source as the module with @space as its globals. */
static void execute(struct ending *end, PyObject *source, PyObject *space)
{
    show_source(source);
    PyObject *code = source ? compile_source(source) : NULL;
    end->stamps.compiled_us = now_us();
    if (!code) {
        end_by_exception(end, source, true);
        return;
    }
    if (compile_returns(code))
        mainfile_is_no_module();
    PyObject *value = compile_run(code, space);
    Py_DECREF(code);
    if (value)
        end_by_return(end, value);
    else
        end_by_exception(end, source, false);
    Py_XDECREF(value);
}

static void ending_init(struct ending *end)
{
    memset(end, 0, sizeof(*end));
    buf_init(&end->result, (size_t) py.limits->result_bytes);
    buf_init(&end->error, ERROR_MAX);
    failure_init(&end->failure);
}

/* A small program through the real path, so that a caller does not pay for the page
 * faults after the fork and the interpreter's first times. */
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
    PyGC_Collect(); /* empties the free lists, which hold objects of many pages; a box would do it at its end */
}

/* The program may have made the socket non-blocking. Not poll(2): it fails when RLIMIT_NOFILE is 0. */
static void make_blocking(void)
{
    int flags = fcntl(BOX_CONTROL_FD, F_GETFL);
    if (flags >= 0)
        fcntl(BOX_CONTROL_FD, F_SETFL, flags & ~O_NONBLOCK);
}

static ssize_t send_packet(const struct iovec *iov, int n)
{
    static char packet[WIRE_PIECE + 256]; /* not on the stack, where the compiler would touch each of its pages */
    size_t size = 0;
    ssize_t sent;

    for (int i = 0; i < n; i++) {
        memcpy(packet + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    while ((sent = send(BOX_CONTROL_FD, packet, size, MSG_NOSIGNAL)) < 0 && (errno == EINTR || errno == EAGAIN))
        make_blocking();
    return sent;
}

/* False when the program has broken the socket: then the exit status must tell. */
static bool report(const unsigned char *token, struct ending *end)
{
    struct wire_outcome head = { .kind = end->kind,
                                 .exit_code = end->exit_code,
                                 .result_len = (int64_t) end->result.len,
                                 .error_len = (int64_t) end->error.len,
                                 .stamps = end->stamps,
                                 .name_len = (int64_t) end->failure.name.len,
                                 .value_len = (int64_t) end->failure.value.len,
                                 .hint_len = (int64_t) end->failure.hint.len,
                                 .line = end->failure.line };
    const struct buf *parts[] = { &end->result, &end->error, &end->failure.name, &end->failure.value,
                                  &end->failure.hint };
    struct buf body;
    size_t at = 0;

    buf_init(&body, SIZE_MAX / 2);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        buf_add(&body, parts[i]->data, parts[i]->len);
    do {
        size_t n = body.len - at < WIRE_PIECE ? body.len - at : WIRE_PIECE;
        struct iovec iov[3] = { { (void *) (uintptr_t) token, sizeof(((struct wire_run *) 0)->token) },
                                { &head, at ? 0 : sizeof(head) },
                                { body.data + at, n } };
        if (send_packet(iov, 3) < 0)
            return false;
        at += n;
    } while (at < body.len);
    return true;
}

static ssize_t receive(void *p, size_t size)
{
    ssize_t n;
    do
        n = recv(BOX_CONTROL_FD, p, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Wait for the order and the source; the box is not needed when the server lets go of it. */
static PyObject *receive_program(struct wire_run *run)
{
    static char packet[sizeof(*run) + WIRE_PIECE];
    ssize_t n = receive(packet, sizeof(packet));
    struct buf code;

    if (n < (ssize_t) sizeof(*run))
        _exit(0);
    memcpy(run, packet, sizeof(*run));
    if (run->code_len < 0 || run->code_len > py.limits->code_bytes)
        _exit(0);
    buf_init(&code, (size_t) run->code_len);
    n -= (ssize_t) sizeof(*run);
    const char *piece = packet + sizeof(*run);
    for (;;) {
        if (buf_add(&code, piece, (size_t) n) < 0)
            _exit(0);
        if (code.len == (size_t) run->code_len)
            break;
        n = receive(packet, WIRE_PIECE);
        if (n <= 0)
            _exit(0);
        piece = packet;
    }
    PyObject *source = PyUnicode_DecodeUTF8(code.data ? code.data : "", (Py_ssize_t) code.len, "strict");
    buf_free(&code);
    return source;
}

/* @source stays for as long as the program: show.c has it. */
static void offer_file(PyObject *source)
{
    Py_ssize_t n;

    if (!source) /* what is wrong with it is the program's outcome */
        return;
    const char *text = PyUnicode_AsUTF8AndSize(source, &n);
    if (text)
        mainfile_offer(text, (size_t) n);
    PyErr_Clear();
}

/* A second line behind the server's wall clock. */
static void limit_cpu(int64_t timeout_ms)
{
    rlim_t cores = (rlim_t) (py.limits->cpu_percent + 99) / 100;
    rlim_t seconds = ((rlim_t) timeout_ms + 999) / 1000;
    struct rlimit limit = { seconds * cores + 2, seconds * cores + 3 };
    setrlimit(RLIMIT_CPU, &limit);
}

/* Renew what two boxes must not share: `random` and numpy do not notice this fork; `uuid` asks the kernel, or
 * `random`; OpenSSL notices a fork by the number of the process, which is 1 in the zygote and never in a box.  A box
 * that would repeat another's numbers is of no use. */
static void renew(void)
{
    PyObject *seeds[] = { py.seed_random, py.seed_numpy };

    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        PyObject *done = seeds[i] ? PyObject_CallNoArgs(seeds[i]) : NULL;
        if (seeds[i] && !done)
            _exit(126);
        Py_XDECREF(done);
    }
}

/* As in a box, but that renewal comes last: of memory that can't be written to the kernel tells by an error, and a box
 * without its own random numbers ends. */
void run_probe(void)
{
    struct ending end;

    PyOS_AfterFork_Child();
    atfork_enable();
    ending_init(&end);
    execute(&end, PyUnicode_FromString("print('', end='')\n"), py.main_dict);
    finish(&end);
    renew();
}

/* Where callers come as fast as boxes a rehearsal only takes a core from them: the program itself is the first. */
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
    char byte;

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
    PyObject *source = receive_program(&run);
    offer_file(source);
    end.stamps.received_us = now_us();
    limit_cpu(run.timeout_ms);
    execute(&end, source, py.main_dict);
    finish(&end);
    end.stamps.over_us = now_us();
    if (getpid() != self)
        _exit(end.exit_code); /* a child that the program forked came out here too */
    /* The server replies first and kills then: dying here would compete with the reply for a core. */
    if (report(run.token, &end))
        while (receive(&byte, 1) > 0)
            ;
    _exit(end.exit_code);
}

/* The module @name if an import brought it in; NULL too, with an exception, on failure. */
static PyObject *imported(const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *module = key ? PyImport_GetModule(key) : NULL;

    Py_XDECREF(key);
    return module;
}

/* random's global generator by its C method: Random.seed() is Python code, whose pages each box would copy. */
static PyObject *random_seed(PyObject *module)
{
    PyObject *generator = PyObject_GetAttrString(module, "_inst");
    PyObject *type = PyImport_ImportModule("_random");
    PyObject *method = type ? PyObject_GetAttrString(type, "Random") : NULL;

    Py_XSETREF(method, method ? PyObject_GetAttrString(method, "seed") : NULL);
    PyObject *bound = method && generator && Py_TYPE(method)->tp_descr_get
                          ? Py_TYPE(method)->tp_descr_get(method, generator, (PyObject *) Py_TYPE(generator))
                          : NULL;
    if (bound && PyObject_SetAttrString(generator, "gauss_next", Py_None) < 0)
        Py_CLEAR(bound);
    Py_XDECREF(generator);
    Py_XDECREF(type);
    Py_XDECREF(method);
    return bound;
}

/* The global generators of random and numpy are seeded when they are imported.  What `uuid` keeps between calls would
 * be the same in every box, had an import asked for a uuid1(). */
static int prepare_renewal(void)
{
    PyObject *random = imported("random");
    PyObject *numpy = imported("numpy.random");
    PyObject *uuid = imported("uuid");

    if (random)
        py.seed_random = random_seed(random);
    if (numpy)
        py.seed_numpy = PyObject_GetAttrString(numpy, "seed");
    int failed = (random && !py.seed_random) || (numpy && !py.seed_numpy);
    if (uuid)
        failed |= PyObject_SetAttrString(uuid, "_node", Py_None) < 0
                  || PyObject_SetAttrString(uuid, "_last_timestamp", Py_None) < 0;
    Py_XDECREF(random);
    Py_XDECREF(numpy);
    Py_XDECREF(uuid);
    return failed || PyErr_Occurred() ? -1 : 0;
}

int run_prepare(const struct wire_limits *limits)
{
    py.limits = limits;
    if (load_prelude() < 0 || compile_prepare(py.prelude) < 0 || prepare_main() < 0
        || show_prepare(PyDict_GetItemString(py.prelude, "open_source")) < 0 || prepare_renewal() < 0)
        return -1;
    py.excepthook = PySys_GetObject("excepthook");
    if (!py.excepthook || finish_prepare() < 0)
        return -1;
    Py_INCREF(py.excepthook);
    run_rehearse();
    run_rehearse();
    return 0;
}
