# SPDX-License-Identifier: Apache-2.0
"""Every limit is run into; the reply names it, and the service goes on."""
import pytest

from service import Service, lacks
from steady import another_turn

CONFIG = """
[pool]
max_runs = 2
[limits]
timeout_default = 20s
timeout_max = 20s
memory = 64M
processes = 12
scratch = 8M
scratch_files = 100
open_files = 40
output = 4096
code = 8192
result = 10000
"""


# Without a cgroup each process has limits of its own, and the supervisor looks at all of a box a few times a second.
WATCHED = lacks("cgroup")
STAYS = "\nimport time\ntime.sleep(1.5)\n"  # until it is looked at
CGROUP_ALONE = pytest.mark.skipif(WATCHED, reason="only a cgroup limits it: there is none (SECURITY.md)")


@pytest.fixture(scope="module")
def small():
    with Service(config=CONFIG) as service:
        yield service


@pytest.fixture(autouse=True)
def the_service_goes_on(small):
    yield
    for i in range(3):
        assert small.run(f"return {i}").response["result"] == i


def run_until_late(server, code, **members):
    """The reply to a program that says "before" and then never ends."""
    return another_turn(lambda: server.run("print('before', flush=True)\n" + code, **members), lambda reply: reply["stdout"])


def check_killed_for_memory(reply, size):
    assert reply.status == 400, reply
    assert reply["error"] == reply["message"] == f"Memory limit exceeded ({size})"
    assert reply["reason"] == "memory"
    assert reply["exit_code"] == 137
    assert reply["stdout"] == "before\n"


@pytest.mark.parametrize("code", [
    "x = bytearray(200 << 20)",
    "x = []\nwhile True: x.append(' ' * 1000)",
    "x = 'x' * (1 << 20)\nwhile True: x += x",
    "import mmap; m = mmap.mmap(-1, 200 << 20)\nfor i in range(0, 200 << 20, 4096): m[i] = 1" + STAYS,
    "import subprocess; subprocess.run(['python3', '-c', 'x = bytearray(200 << 20)'], check=True)",
    "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        x = bytearray(20 << 20)\n"
    "        import time; time.sleep(100)\nos.wait(); os._exit(1)",
])
def test_memory(small, code):
    reply = small.run("print('before')\n" + code, timeout=20)
    if WATCHED and reply["reason"] == "exception":  # of the process that ate it, or of the one that waits for that
        assert reply["stdout"] == "before\n" and "MemoryError" in reply["stderr"]
        return
    check_killed_for_memory(reply, "64 MiB")


def test_memory_that_is_freed_does_not_count(small):
    reply = small.run("for _ in range(20):\n    x = bytearray(20 << 20)\n    del x\nreturn 'fine'", timeout=20)
    assert reply.response["result"] == "fine"


@CGROUP_ALONE
def test_scratch_space_counts_as_memory(make_server):
    server = make_server(config="[limits]\nmemory = 64M\nscratch = 256M\n")
    reply = server.run("print('before')\nf = open('big', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))")
    check_killed_for_memory(reply, "64 MiB")
    assert server.run("return 1").response["result"] == 1


def check_too_many_processes(reply, *words):
    assert reply.status == 400, reply
    assert reply["message"] == "Too many processes (12)"
    assert reply["reason"] == "exception"
    if WATCHED:
        return  # it was killed, and no call of its own refused
    for word in words:
        assert word in reply["error"]


def test_processes(small):
    reply = small.run("import os, time\nprint('before')\nfor _ in range(100):\n    if os.fork() == 0:\n        time.sleep(100)\n" + STAYS)
    check_too_many_processes(reply, "BlockingIOError", "line 4")
    assert reply["stdout"] == "before\n"


def test_threads(small):
    reply = small.run("import threading, time\nthreading.stack_size(65536)\nfor _ in range(100):\n"
                      "    threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n" + STAYS)
    check_too_many_processes(reply, "RuntimeError: can't start new thread")


def test_a_fork_bomb(small):
    reply = run_until_late(small, "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n", timeout=2)
    if WATCHED:
        check_too_many_processes(reply)
    else:
        assert reply.status == 408
    assert reply["stdout"].startswith("before\n")


@CGROUP_ALONE
def test_a_program_may_cope_with_the_limit_on_processes(small):
    reply = small.run("import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(100)\n"
                      "        n += 1\nexcept BlockingIOError:\n    return n\n")
    assert 5 <= reply.response["result"] < 12


def test_scratch_size(small):
    reply = small.run("with open('big', 'wb') as f:\n    while True: f.write(bytes(65536))")
    assert reply.status == 400
    # The largest file is as large as the space, less what its directories take.
    assert "OSError: [Errno 28] No space left on device" in reply["error"] or "[Errno 27] File too large" in reply["error"]
    reply = small.run("n = 0\ntry:\n    while True:\n        with open(str(n), 'wb') as f: f.write(bytes(1 << 20))\n"
                      "        n += 1\nexcept OSError as e:\n    return [n, e.errno]")
    assert reply.response["result"] in ([7, 28], [8, 28])


@pytest.mark.parametrize("directory", [".", "/tmp", "/dev/shm"])
def test_scratch_files(small, directory):
    reply = small.run(f"import os\nos.chdir({directory!r})\nn = 0\ntry:\n    while True:\n"
                      "        open(f'f{n}', 'w').close()\n        n += 1\nexcept OSError as e:\n    return [n, e.errno]")
    made, errno = reply.response["result"]
    assert errno == 28 and 90 <= made <= 100
    reply = small.run("for i in range(1000): open(f'f{i}', 'w').close()")
    assert reply["message"].startswith("OSError: [Errno 28] No space left on device: 'f")


def test_open_files(small):
    reply = small.run("files = []\nwhile True: files.append(open('/dev/null'))")
    assert reply.status == 400
    assert reply["message"].startswith("OSError: [Errno 24] Too many open files: '/dev/null' (hint: a process can have 40 open files")
    assert small.run("import resource; return resource.getrlimit(resource.RLIMIT_NOFILE)").response["result"] == [40, 40]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output(small, stream):
    response = small.run(f"import sys\nsys.{stream}.write('x' * 5000)\nreturn 'went on'").response
    assert response["result"] == "went on"
    assert response[stream] == "x" * 4096
    assert response[stream + "_truncated"] is True


def test_endless_output(small):
    reply = run_until_late(small, "while True: print('x' * 1000, flush=True)", timeout=1)
    assert reply.status == 408
    assert len(reply["stdout"]) == 4096 and reply["stdout_truncated"] is True


def test_output_cut_within_a_character(small):
    response = small.run("import os\nos.write(1, b'x' * 4095 + 'ä'.encode())").response
    assert response["stdout"] == "x" * 4095 + "\ufffd"
    assert response["stdout_truncated"] is True


def test_wall_clock(small, make_server):
    for server, members, seconds in ((make_server(config="[limits]\ntimeout_default = 2s\n"), {}, 2), (small, {"timeout": 1}, 1)):
        reply = run_until_late(server, "while True: pass", **members)
        assert reply.status == 408
        assert reply["error"] == f"Execution timed out after {seconds} seconds"
        assert reply["stdout"] == "before\n"
    reply = small.run("print(1)", timeout=21)
    assert reply.status == 400
    assert reply["error"] == "timeout: must be an integer from 1 to 20 (seconds)"


def test_result(small):
    assert len(small.run("return 'x' * 9998").response["result"]) == 9998
    for code in ("return 'x' * 9999", "return ['x'] * 5000", "return '\\0' * 2000", "return {str(i): i for i in range(2000)}"):
        reply = small.run(code)
        assert reply.status == 500
        assert reply["reason"] == "result"
        assert reply["error"] == "Failed to parse execution result: the value is larger than 10000 bytes as JSON"


def test_code(small):
    assert small.run("return 1" + " " * (8192 - 8)).response["result"] == 1
    reply = small.run("return 1" + " " * (8193 - 8))
    assert reply.status == 413
    assert reply["error"] == "code: is longer than the 8192 bytes that are allowed (limits.code)"


def test_code_is_counted_in_bytes(small):
    reply = small.run("#" + "ä" * 4096)
    assert reply.status == 413
    assert small.run("#" + "ä" * 4095 + "#").status == 200


@CGROUP_ALONE
def test_processor_share(make_server):
    """Two busy processes get one core's time between them, or half of it where that is configured."""
    server = make_server(config="[limits]\ncpu_percent = 50\n")
    reply = server.run("import os, time\nif os.fork() == 0:\n    while True: pass\nend = time.monotonic() + 2\n"
                       "while time.monotonic() < end: pass\nreturn sum(os.times()[:2])")
    assert reply.response["result"] < 1.6
    assert server.run("return 1").response["result"] == 1


def test_a_number_without_end(small):
    reply = run_until_late(small, "x = 9**9**9**9", timeout=2)
    assert reply["reason"] in ("memory", "timeout", "exception")
    assert reply["stdout"] == "before\n"


@pytest.mark.parametrize("code", ["(" * 4000 + ")" * 4000, "-" * 8000 + "1", "x" + ".y" * 4000,
                                  "[" * 190 + "]" * 190, "if 1:\n" * 1 + " " * 8000, "f" * 8000, "a=" * 4000 + "1"])
def test_compilations_that_go_deep(small, code):
    assert small.run(code).status in (200, 400)
