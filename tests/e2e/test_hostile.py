# SPDX-License-Identifier: Apache-2.0
"""A hostile program breaks only itself: its reply is well-formed, right about what the server knows by
itself, on time, and the next request is served.

Whatever a program wants to return it can return, so the report is not believed for more than that.
Where a test allows several outcomes, the program broke its own interpreter and any of them is its due.
"""
import json

import pytest

from hostile import attack, succeeded
from steady import another_turn


def attack_within(server, code, timeout):
    """The reply to a program that prints first of all."""
    return another_turn(lambda: attack(server, code, timeout=timeout), lambda reply: reply.stdout)


def timed_out(reply, seconds=1):
    assert reply.status == 408, reply
    assert reply["error"] == f"Execution timed out after {seconds} seconds"
    assert reply["reason"] == "timeout"
    assert reply["exit_code"] == 137


# --- what the program can replace ---

BREAKAGES = {
    "json": "import json; json.dumps = json.JSONEncoder = json.encoder = None",
    "builtins_cleared": "import builtins; vars(builtins).clear()",
    "builtins_wrong": "import builtins\nvars(builtins).update(dict.fromkeys(dir(builtins), 5))",
    "modules_cleared": "import sys; sys.modules.clear()",
    "main_replaced": "import sys; sys.modules['__main__'] = None",
    "main_deleted": "import sys, gc; del sys.modules['__main__']; gc.collect(); gc.collect()",
    "stdout_none": "import sys; sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None",
    "stdout_deleted": "import sys; del sys.stdout, sys.stderr, sys.stdin, sys.__stdout__",
    "stdout_closed": "import sys; sys.stdout.close(); sys.stderr.close()",
    "hooks_deleted": "import sys; del sys.excepthook, sys.unraisablehook, sys.displayhook",
    "excepthook": "import sys; sys.excepthook = lambda *a: 1 / 0",
    "traceback": "import traceback, linecache, io; vars(traceback).clear(); vars(linecache).clear(); vars(io).clear()",
    "threading": "import threading; threading._shutdown = lambda: 1 / 0; threading._main_thread = None",
    "atexit": "import atexit; atexit._run_exitfuncs = None; atexit.register(lambda: 1 / 0)",
    "atexit_exits": "import atexit, sys; atexit.register(sys.exit, 9)",
    "gc_callbacks": "import gc; gc.callbacks.append(lambda *a: 1 / 0); gc.set_threshold(1)",
    "settrace": "import sys; sys.settrace(lambda *a: 1 / 0)",
    "settrace_frame": "import sys; f = lambda *a: f; sys.settrace(f); sys._getframe().f_trace = f",
    "setprofile": "import sys; sys.setprofile(lambda f, *a: 1 / 0 if f.f_code.co_filename != 'main.py' else 0)",
    "recursion_limit": "import sys; sys.setrecursionlimit(sys.getrecursionlimit() and 5)",
    "switch_interval": "import sys; sys.setswitchinterval(1e-9)",
    "globals_cleared": "globals().clear()",
    "globals_odd": "globals()[1] = 2; globals()['__builtins__'] = {}",
    "class_of_main": "import sys, types\nclass M(types.ModuleType):\n    def __getattribute__(s, n): 1 / 0\n"
                     "sys.modules['__main__'].__class__ = M",
    "codecs": "import codecs, encodings; encodings.search_function = None; vars(codecs).clear()",
    "audit_hook": "import sys\ndef h(*a): raise OSError\nsys.addaudithook(h)",
    "signals": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
               "    except (OSError, ValueError): 0",
    "blocked_signals": "import signal; signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))",
    "umask_cwd": "import os; os.umask(0o777); os.chdir('/'); os.environ.clear()",
    "own_cwd_removed": "import os; d = os.getcwd(); os.mkdir('x'); os.chdir('x'); os.rmdir('../x')",
    "unlink_everything": "import os, shutil\n"
                         "for d in ('/tmp', '/dev/shm', os.getcwd()): shutil.rmtree(d, ignore_errors=True)",
    "shadowing": "open('json.py', 'w').write('dumps = None'); open('io.py', 'w').write('x'); import json, io, sys",
    "nonblocking": "import fcntl, os\nfor fd in (*range(3), 1023):\n"
                   "    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)",
    "rlimits": "import resource as r\nfor n in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_NPROC, r.RLIMIT_MEMLOCK, "
               "r.RLIMIT_STACK):\n"
               "    r.setrlimit(n, (0, 0))",
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_result_survives_what_the_program_broke(server, name):
    reply = attack(server, BREAKAGES[name] + "\nreturn {'a': [1, 'x', 10**30, None, True, 1.5]}")
    assert reply.status == 200, reply
    succeeded(reply, {"a": [1, "x", 10**30, None, True, 1.5]})


@pytest.mark.parametrize("name", BREAKAGES)
def test_an_exception_survives_what_the_program_broke(server, name):
    reply = attack(server, BREAKAGES[name] + "\nNone.missing")
    assert reply.status == 400 and reply["exit_code"] in (1, 120)
    if name == "settrace_frame" or name not in ("settrace", "setprofile", "audit_hook", "gc_callbacks"):
        assert "AttributeError: 'NoneType' object has no attribute 'missing'" in reply["error"]
        assert 'File "main.py", line' in reply["error"]


def test_a_large_result_over_a_non_blocking_socket_without_descriptors(server):
    reply = attack(server, """
        import fcntl, os, resource
        fcntl.fcntl(1023, fcntl.F_SETFL, os.O_NONBLOCK)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        return "x" * 4000000
    """)
    succeeded(reply, "x" * 4000000)


def test_interpreter_state_is_the_programs_own(server):
    """Hunting for the runner's functions changes the hunter's reply at most."""
    reply = attack(server, """
        import gc, types
        gc.unfreeze()
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == "<hatchery>":
                try:
                    thing.__code__ = (lambda *a, **k: 1 / 0).__code__
                except ValueError:  # a closure
                    pass
            if isinstance(thing, dict) and "compile_program" in thing:
                thing.clear()
        print("hunted")
        return "mine"
    """)
    succeeded(reply, "mine", "hunted\n")


def test_no_frame_leads_to_the_runner(server):
    reply = attack(server, """
        import sys
        names = []
        class E(Exception):
            def __str__(self):
                frame = sys._getframe()
                while frame:
                    names.append(frame.f_code.co_filename)
                    frame = frame.f_back
                return " ".join(names)
        f = sys._getframe()
        assert f.f_back is None
        raise E
    """)
    assert reply["message"] == "E: main.py"


# --- results ---

def test_odd_subclasses_are_read_by_their_storage(server):
    reply = attack(server, """
        class I(int):
            __repr__ = __str__ = lambda s: '1, "injected": 2'
        class F(float):
            __repr__ = __str__ = lambda s: 'NaN'
        class S(str):
            __repr__ = __str__ = encode = __iter__ = lambda s, *a: '"], "x": ['
        class L(list):
            __iter__ = __len__ = lambda s: 1 / 0
        class D(dict):
            items = keys = __iter__ = __len__ = __getitem__ = lambda s, *a: 1 / 0
        class T(tuple):
            __iter__ = lambda s: iter([1 / 0])
        return D({S("k"): L([I(5), F(1.5), S("v"), T((True, None))]), I(1): 2})
    """)
    succeeded(reply, {"k": [5, 1.5, "v", [True, None]], "1": 2})


@pytest.mark.parametrize("value,why", [
    ("a", "Circular reference"),
    ("deep", "nested more than"),
    ("{(1, 2): 3}", "keys must be"),
    ("{1j}", "set"), ("object()", "object"), ("b'x'", "bytes"), ("type('Ü' * 200, (), {})()", "Ü"),
    ("float('nan')", "nan"), ("{'a': -1e999}", "inf"), ("10**5000", "4300 digits"), ("'x' * 30000000", "larger than"),
    ("[list(range(1000))] * 10000", "larger than"),
])
def test_results_that_are_no_json(server, value, why):
    reply = attack(server, f"""
        a = []; a.append({{"a": a}})
        deep = []
        for _ in range(100000): deep = [deep]
        print("out")
        return {value}
    """)
    assert (reply.status, reply["reason"], reply.stdout) == (500, "result", "out\n")
    assert reply["error"].startswith("Failed to parse execution result: ") and why in reply["error"]


def test_results_at_the_edge_of_json(server):
    reply = attack(server, r"""
        return {"\ud800": "\udfff\x00\x1f\x7f\u2028\U0001f40d", "": [[], {}, ()], 1.5: -0.0, None: 1e300,
                False: 10**400, "deep": eval("[" * 90 + "]" * 90)}
    """)
    result = reply.response["result"]
    assert result["\ud800"] == "\udfff\x00\x1f\x7f\u2028\U0001f40d"
    assert result["1.5"] == 0 and result["null"] == 1e300 and result["false"] == 10**400


def test_keys_that_become_equal(server):
    reply = attack(server, "return {1: 'int', '1': 'str', True: 'x'}")
    assert reply.status == 200
    assert json.loads(reply.body)["response"]["result"] == {"1": "str"}


# --- exceptions ---

@pytest.mark.parametrize("body,message", [
    ("raise ValueError", "E: <exception str() failed>"),
    ("return 5", "E: <exception str() failed>"),
    ("return self.nothing", "E: <exception str() failed>"),
    ("return str(self)", "E: <exception str() failed>"),
    ("raise SystemExit(0)", "E: <exception str() failed>"),
    ("raise KeyboardInterrupt", "E: <exception str() failed>"),
    ("return '\\ud800\\x00'", "E: \\ud800\0"),
])
def test_exceptions_that_can_not_be_worded(server, body, message):
    reply = attack(server, f"""
        class E(Exception):
            def __str__(self):
                {body}
            __repr__ = __str__
        raise E
    """)
    assert (reply.status, reply["reason"], reply["exit_code"]) == (400, "exception", 1)
    assert reply["message"] == message


def test_an_exception_that_takes_for_ever_to_word(server):
    timed_out(attack(server, """
        class E(Exception):
            def __str__(self):
                while True: pass
        print("before")
        raise E
    """, timeout=1))


def test_a_message_of_50_megabytes(server):
    reply = attack(server, "raise ValueError('a' * 50_000_000 + 'end')")
    assert (reply.status, reply["reason"], reply["exit_code"]) == (400, "exception", 1)
    assert reply["error"].startswith("Traceback") and reply["error"].endswith("aaaend\n")
    assert len(reply["error"]) < 70000 and len(reply["message"]) < 1000
    assert reply["stderr_truncated"] is True


def test_a_chain_of_many_exceptions(server):
    reply = attack(server, """
        error = None
        for n in range(20000):
            new = ValueError(n)
            new.__cause__ = error
            error = new
        raise error
    """)
    assert (reply.status, reply["exit_code"], reply["message"]) == (400, 1, "ValueError: 19999")


@pytest.mark.parametrize("code,expected", [
    ("10**40", 255), ("-1", 255), ("-10**40", 255), ("256", 0), ("2**32", 0), ("2**32 + 3", 3), ("True", 1), ("1.5", 1),
    ("''", 1), ("[]", 1), ("b'x'", 1), ("object()", 1), ("type('S', (), {'__str__': lambda s: 1 / 0})()", 1),
    ("type('I', (int,), {'__index__': lambda s: 1 / 0, '__int__': lambda s: 1 / 0})(6)", 6),
])
def test_exit_codes(server, code, expected):
    reply = attack(server, f"raise SystemExit({code})")
    assert (reply.response if expected == 0 else reply)["exit_code"] == expected


def test_system_exit_with_a_code_that_raises(server):
    reply = attack(server, """
        class E(SystemExit):
            code = property(lambda self: 1 / 0)
        raise E(3)
    """)
    assert reply.status in (200, 400)


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "GeneratorExit", "StopIteration", "MemoryError", "BaseException",
                                  "BaseExceptionGroup('g', [SystemExit(3), KeyboardInterrupt()])"])
def test_exceptions_beside_exception(server, kind):
    reply = attack(server, f"raise {kind}")
    assert (reply.status, reply["reason"]) == (400, "exception")
    assert reply["exit_code"] == (130 if kind == "KeyboardInterrupt" else 1)


def test_exit_in_threads_and_at_exit(server):
    reply = attack(server, """
        import atexit, os, sys, threading
        atexit.register(sys.exit, 5)
        threading.Thread(target=sys.exit, args=(6,)).start()
        return "true"
    """)
    succeeded(reply, "true")


# --- memory and depth ---

def test_memory_error(server):
    reply = attack(server, "a = []\nwhile True: a.append(bytearray(1 << 24))")
    assert reply.status == 400
    assert reply["reason"] in ("memory", "exception")


def test_memory_of_its_own_making(server):
    """A lowered RLIMIT_AS leaves the program too little even to report."""
    reply = attack(server, """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1, 1))
        return "x" * 5000000
    """)
    assert reply.status in (200, 400, 500)


def test_recursion_of_every_kind(server):
    for code in ("def f(): f()\nf()", "class R:\n    def __repr__(self): return repr(self)\nrepr(R())",
                 "class R:\n    __getattr__ = lambda s, n: getattr(s, n)\nR().x",
                 "a = []; a.append(a); hash(tuple([a]))"):
        reply = attack(server, code)
        assert (reply.status, reply["exit_code"]) == (400, 1)


def test_recursion_without_a_limit(server):
    reply = attack(server, """
        import sys
        sys.setrecursionlimit(10**9)
        print("before")
        class R:
            def __repr__(self):
                return repr([self])
        repr(R())
    """)
    assert reply.status == 400
    assert reply["reason"] in ("signal", "memory", "exception")
    assert reply.stdout == "before\n"


def test_deep_recursion_of_plain_functions(server):
    reply = attack(server, "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nprint('before')\nf()", timeout=30)
    assert reply.status in (400, 408)
    assert reply.stdout == "before\n"


# --- time ---

@pytest.mark.parametrize("code", [
    "9**9**9",
    "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "x = 10\nx = x ** 10 ** 9",
    "sum(range(10**15))",
    "import threading; threading.Event().wait()",
    "import signal; signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))\nwhile True: signal.sigwait([2])",
    "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "try:\n    while True: pass\nfinally:\n    while True: pass",
    "import threading\nthreading.Thread(target=threading.Event().wait).start()",
    "import atexit, time; atexit.register(time.sleep, 1000)",
    "import threading\nthreading._register_atexit(threading.Event().wait)",
    "class D:\n    def __del__(self):\n        while True: pass\nd = D()",
    "import gc\ngc.callbacks.append(lambda *a: [None for _ in iter(int, 1)])",
    "import sys\nclass S:\n    write = lambda s, t: 0\n    def flush(s):\n        while True: pass\nsys.stdout = S()",
    "import os\nwhile True:\n    os.write(1, b'x' * 65536)",
    "import ctypes\nctypes.PyDLL(None).pause()",
], ids=lambda code: code.splitlines()[-1][:40])
def test_the_clock_decides(server, code):
    reply = attack_within(server, "print('before', flush=True)\n" + code, 1)
    timed_out(reply)
    assert reply.stdout.startswith("before\n")


def test_a_stopped_child_and_a_fork_bomb_of_sleepers(server):
    timed_out(attack(server, """
        import os, signal, time
        for _ in range(20):
            if os.fork() == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            time.sleep(100)
    """, timeout=1))


def test_cpu_limit_of_its_own(server):
    reply = attack(server, """
        import resource
        print("before", flush=True)
        resource.setrlimit(resource.RLIMIT_CPU, (0, 1))
        while True: pass
    """)
    assert (reply.status, reply["reason"]) == (400, "signal")
    assert reply.stdout == "before\n"


# --- C ---

@pytest.mark.parametrize("code", [
    "ctypes.string_at(0)",
    "ctypes.memset(id(int), 0xff, 400)",
    "ctypes.memset(id(sys.stdout), 0, 64)\nprint(1)",
    "ctypes.memset(id(globals()), 0x41, 64)",
    "ctypes.memset(id(sys.modules['__main__']), 0x41, 32)",
    "ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.POINTER(ctypes.c_char))[0] = b'x'",
    "ctypes.pythonapi.Py_FatalError(b'fatal')",
    "ctypes.pythonapi.PyThreadState_Swap(None)",
    "ctypes.pythonapi._PyInterpreterState_GetConfig.restype = ctypes.c_void_p\n"
    "ctypes.memset(ctypes.pythonapi._PyInterpreterState_GetConfig(ctypes.c_void_p(0)) or 8, 0, 8)",
    "ctypes.CDLL(None).raise_(6) if hasattr(ctypes.CDLL(None), 'raise_') else ctypes.CDLL(None).abort()",
    "exec((lambda: 0).__code__.replace(co_code=b'\\xff' * 20))",
    "(lambda: 0).__code__.__class__(0, 0, 0, 5, 0, b'd\\x7f' * 9, (), (), (), 'f', 'n', 'q', 1, b'', b'')",
])
def test_memory_is_scribbled_over(server, code):
    reply = attack_within(server, "import ctypes, sys\nprint('before', flush=True)\n" + code + "\nreturn 1", 5)
    body = reply["response"] or reply.json
    assert body["stdout"].startswith("before\n")


def test_output_of_c_code(server):
    reply = attack(server, """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.printf(b"%s %d\\n", b"printf", 5)
        libc.puts(b"no flush by hand")
        print("python")
        libc.perror(b"to stderr")
    """)
    assert sorted(reply.stdout.splitlines()) == ["no flush by hand", "printf 5", "python"]
    assert reply.response["stderr"].startswith("to stderr")


def test_finalize_from_inside(server):
    reply = attack_within(server, "import ctypes\nprint('x', flush=True)\nctypes.pythonapi.Py_Finalize()\n"
                                  "print('y')", 5)
    assert reply.stdout.startswith("x\n")


# --- output ---

def test_a_flood_on_both_streams(server):
    reply = attack(server, """
        import os, sys, threading
        def flood(fd):
            for _ in range(300):
                os.write(fd, bytes([97 + fd]) * 65536)
        threads = [threading.Thread(target=flood, args=(fd,)) for fd in (1, 2)]
        for t in threads: t.start()
        for t in threads: t.join()
        return "done"
    """, timeout=60)
    succeeded(reply, "done", "b" * (1 << 20))
    assert reply.response["stderr"] == "c" * (1 << 20)
    assert reply.response["stdout_truncated"] is True and reply.response["stderr_truncated"] is True


def test_many_small_writes(server):
    reply = attack(server, "import os\nfor i in range(300000): os.write(1, b'.')\nreturn 1", timeout=60)
    succeeded(reply, 1, "." * 300000)


def test_output_that_is_no_text(server):
    reply = attack(server, r"""
        import os
        os.write(1, b"\xff\xfe\x00ok\xc3")
        os.write(1, b"\xa9 split \xf0\x9f\x90")
        os.write(2, b'"},{"stdout": "')
    """)
    assert reply.stdout == "\ufffd\ufffd\0ok\u00e9 split \ufffd"
    assert reply.response["stderr"] == '"},{"stdout": "'


def test_what_was_printed_before_each_end_is_there(server):
    for end in ("1 / 0", "import os; os._exit(3)", "import os; os.abort()", "import sys; sys.exit(4)",
                "return object()"):
        reply = attack(server, f"print('x' * 200000)\nimport sys\nprint('e', file=sys.stderr)\n{end}")
        assert reply.stdout == "x" * 200000 + "\n"
        assert reply["stderr"].startswith("e\n")
