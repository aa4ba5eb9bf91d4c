# SPDX-License-Identifier: Apache-2.0
"""What the supervisor does with the boxes' cgroups while programs run."""
import concurrent.futures
import contextlib
import os
import pathlib
import subprocess

import pytest

import service
from raw import Raw, post


def weights(server):
    """The processor weights of all boxes' groups, v1 or v2."""
    found = {}
    for base in service.cgroups_of(server.pid):
        for name in ("cpu.shares", "cpu.weight"):
            found.update({path.parent.name: int(path.read_text()) for path in pathlib.Path(base).glob(f"box-*/{name}")})
    return found


pytestmark = pytest.mark.skipif(service.lacks("cgroup"), reason="there are no cgroups: test_limits.py has what stands in")


def test_a_long_program_yields_to_those_that_begin(server):
    # A test before this one may have left a slot that yields until its next box.
    service.wait_for(lambda: len(set(weights(server).values())) == 1 or not server.run("print()"), 30, "nobody yields")
    whole = set(weights(server).values())
    with Raw(server, post("import time\ntime.sleep(60)", timeout=60)):  # until its client goes
        yielding = service.wait_for(lambda: [(box, w) for box, w in weights(server).items() if w not in whole], 20,
                                    "one yields")
    assert len(yielding) == 1 and yielding[0][1] * 2 < whole.pop()
    # Its slot has the whole weight again when another box is in it.
    service.wait_for(lambda: server.run("print()") and len(set(weights(server).values())) == 1, 30, "it is restored")


ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user may have no cgroups")


@ROOT_ONLY
def test_a_crowd_yields_sooner(make_server):
    server = make_server(config="[log]\nformat = json\nlevel = debug\n")

    def yields_as(code):
        server.run(code)
        return {line["as"] for line in server.log() if line["msg"] == "a box yields"}

    # Whoever stands still between its start and its end, and with it the clock that looks for long ones, was not seen.
    service.wait_for(lambda: yields_as("import time\ntime.sleep(0.3)"), 30, "a long one yields")
    assert yields_as("") == {"long"}
    crowd = ("import threading, time\nfor i in range(10):\n"
             "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\ntime.sleep(0.2)\n")
    # A busy machine may take longer for the threads than it takes to be long.
    service.wait_for(lambda: "a crowd" in yields_as(crowd), 30, "a crowd was one before it was long")


CONVOY = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
page = id(sys.modules) & ~4095
for _ in range(60):
    if os.fork() == 0:
        while True:
            libc.madvise(page, 4096, 16)  # MADV_DONTDUMP parts the mapping, MADV_DODUMP joins it again
            libc.madvise(page, 4096, 17)
while True:
    os.wait()
"""


def holds(base):
    """What the boxes of a supervisor are held by: nothing, where all of it is the same."""
    found = set()
    for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cgroup.freeze"):
        found.update((name, path.read_text()) for path in pathlib.Path(base).glob(f"box-*/{name}"))
    return found


def all_holds(pid):
    return set().union(*(holds(base) for base in service.cgroups_of(pid)))


@ROOT_ONLY
def test_a_line_at_a_lock_of_the_kernel_is_held(make_server):
    """Whether its time is up, its client has gone or somebody has killed the supervisor: what is held ends all the same."""
    server = make_server(config="[limits]\ntimeout_max = 120s\n")
    free = all_holds(server.pid)

    def wait_until_held():
        """A machine that does nothing else may hand the lock on too fast for a line; tests/escape has the attack itself."""
        try:
            service.wait_for(lambda: len(all_holds(server.pid)) > len(free), 15, "it is held")
        except AssertionError:
            pytest.skip("no line arose at the lock")

    reply = server.run(CONVOY, timeout=4)
    assert (reply.status, reply["reason"]) == (408, "timeout")
    service.wait_for(lambda: all_holds(server.pid) == free, 30, "all are let go")
    with Raw(server, post(CONVOY, timeout=100)):  # until its client goes
        wait_until_held()
    service.wait_for(lambda: all_holds(server.pid) == free, 30, "all are let go")
    assert server.run("return 1").response["result"] == 1
    with Raw(server, post(CONVOY, timeout=100)):
        wait_until_held()
        left = service.cgroups_of(server.pid)
        server.process.kill()
        server.process.wait()
    with service.Service() as next_one:
        assert next_one.run("return 1").response["result"] == 1
        assert not any(os.path.exists(path) for path in left)


@pytest.fixture
def around():
    """Make a cgroup with a memory limit of so many MiB; returns it and the words that start a command in it."""
    made = []

    def make(mib):
        base, limit = pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        if base.is_dir():
            own = next(line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if ":memory:" in line)
            base = next(path for path in (pathlib.Path(f"{base}{own}"), base) if path.is_dir())
        else:
            base, limit = pathlib.Path("/sys/fs/cgroup"), "memory.max"
            (base / "cgroup.subtree_control").write_text("+memory +pids +cpu")
        group = base / f"around-{os.getpid()}-{len(made)}"
        group.mkdir()
        made.append(group)
        (group / limit).write_text(str(mib << 20))
        return group, ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    yield make
    for group in made:
        for below in group.glob("hog"):
            below.rmdir()
        service.wait_for(lambda: not (group / "cgroup.procs").read_text(), 20, "the group is empty")
        group.rmdir()


EATER = f"held = b'x' * ({{}} << 20)\n{service.ASLEEP}\nreturn len(held)"


@ROOT_ONLY
def test_all_boxes_together_leave_a_tenth(around):
    """Each is within its limit: the one that has most is ended, is told why, and nothing else of the service ends."""
    _, prefix = around(400)
    with service.Service(prefix=prefix) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.run, EATER.format(100), timeout=300)
        service.wait_for(lambda: server.below("sleep"), what="it has its memory and runs")
        pids = [server.child(name) for name in ("server", "zygote")]
        reply = server.run(EATER.format(350), timeout=300)
        assert (reply.status, reply["reason"], reply["exit_code"]) == (503, "host_memory", 137)
        assert "memory was full" in reply["error"] and "512 MiB" in reply["error"] and "retry-after" in reply.headers
        server.wake()
        assert first.result().response["result"] == 100 << 20
        assert pids == [server.child(name) for name in ("server", "zygote")]
        assert server.logged("run finished", outcome="host_memory")


@ROOT_ONLY
def test_memory_that_nobody_has_mapped_ends_boxes_alone(around):
    """The zygote has more mapped than any of these programs has, and all boxes would end with it."""
    code = ("with open('f', 'wb') as f:\n    for _ in range(200): f.write(bytes(1 << 20))\n"
            f"{service.ASLEEP}\nreturn 'got through'")
    _, prefix = around(400)
    with service.Service(prefix=prefix, config="[limits]\nscratch = 256M\n") as server, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        zygote = server.child("zygote")
        asked = [pool.submit(server.run, code, timeout=300) for _ in range(2)]
        ended, others = concurrent.futures.wait(asked, return_when=concurrent.futures.FIRST_COMPLETED)
        assert {one.result()["reason"] for one in ended} == {"host_memory"}
        service.wait_for(lambda: server.wake() or all(other.done() for other in others), what="the other one ends")
        assert all(other.result().response["result"] == "got through" for other in others)
        assert server.child("zygote") == zygote


@ROOT_ONLY
def test_a_program_waits_for_memory(around):
    """As many run as there are cores, and somebody else has what is left: the next begins when there is room."""
    group, prefix = around(1000)
    usage = next(path for path in (group / "memory.usage_in_bytes", group / "memory.current") if path.exists())
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(service.Service(prefix=prefix))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        stack.callback(server.wake)
        for _ in range(os.cpu_count()):
            stack.enter_context(Raw(server, post(service.ASLEEP, timeout=300)))
        service.wait_for(lambda: len(server.below("sleep")) == os.cpu_count(), what="they run")
        # In a group below, as v2 has no processes in one that is divided.
        hog_group = group / "hog"
        hog_group.mkdir()
        hog = stack.enter_context(subprocess.Popen(
            ["sh", "-c", f'echo $$ > {hog_group}/cgroup.procs && exec "$@"', "sh", "/usr/bin/python3", "-c",
             f"held = b'x' * ({(950 << 20) - int(usage.read_text())})\nprint('full', flush=True)\ninput()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert hog.stdout.readline() == b"full\n"
        waiting = pool.submit(server.run, "return 1")
        service.wait_for(lambda: server.queue_length() == 1, 20, "it waits")
        hog.communicate(b"\n")
        reply = waiting.result()
        assert reply.response["result"] == 1 and reply["waited_for"] == "memory"
        assert server.logged("run finished", job_id=reply["job_id"])["waited_for"] == "memory"


def test_memory_that_a_child_ate_ends_the_run(server):
    code = ("import os, time\nprint('begun', flush=True)\n"
            "if os.fork() == 0:\n    held = bytearray(b'x' * (1 << 30))\n"
            "time.sleep(50)\n")
    reply = server.run(code, timeout=55)
    assert (reply.status, reply["reason"], reply["exit_code"]) == (400, "memory", 137)
    assert reply["error"] == "Memory limit exceeded (512 MiB)"
    assert reply["stdout"] == "begun\n"
    assert reply["run_time"] < 45  # an emulated machine fills 512 MiB in twenty seconds


def test_the_limit_on_processes_is_named(server):
    reply = server.run("import os, time\nfor i in range(100):\n    if os.fork() == 0:\n        time.sleep(60)\n")
    assert (reply.status, reply["reason"]) == (400, "exception")
    assert reply["message"] == "Too many processes (64)"
    assert "BlockingIOError" in reply["error"]


def test_a_full_scratch_says_so(server):
    reply = server.run("with open('f', 'wb') as f:\n    while True:\n        f.write(b'x' * (1 << 20))\n")
    assert (reply.status, reply["reason"]) == (400, "exception")
    assert "No space left on device" in reply["error"]
