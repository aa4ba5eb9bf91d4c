# SPDX-License-Identifier: Apache-2.0
"""What the supervisor does with the boxes' cgroups while programs run."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import subprocess

import pytest

import processes
import service
from raw import Raw, post
from receiver import HOOKS


def weights(server):
    """The processor weights of all boxes' groups, v1 or v2."""
    found = {}
    for base in processes.cgroups_of(server.pid):
        for name in ("cpu.shares", "cpu.weight"):
            found.update({path.parent.name: int(path.read_text()) for path in pathlib.Path(base).glob(f"box-*/{name}")})
    return found


pytestmark = pytest.mark.skipif(service.lacks("cgroup"), reason="there are no cgroups: test_limits.py has what stands in")


def test_a_long_program_yields_to_those_that_begin(server):
    # A test before this one may have left a slot that yields until its next box.
    processes.wait_for(lambda: len(set(weights(server).values())) == 1 or not server.run("print()"), 30, "nobody yields")
    whole = set(weights(server).values())
    with Raw(server, post("import time\ntime.sleep(60)", timeout=60)):  # until its client goes
        yielding = processes.wait_for(lambda: [(box, w) for box, w in weights(server).items() if w not in whole], 20,
                                    "one yields")
    assert len(yielding) == 1 and yielding[0][1] * 2 < whole.pop()
    # Its slot has the whole weight again when another box is in it.
    processes.wait_for(lambda: server.run("print()") and len(set(weights(server).values())) == 1, 30, "it is restored")


ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user may have no cgroups")


@ROOT_ONLY
def test_a_crowd_yields_sooner(make_server):
    server = make_server(config="[log]\nformat = json\nlevel = debug\n")

    def yields_as(code):
        server.run(code)
        return {line["as"] for line in server.log() if line["msg"] == "a box yields"}

    # Whoever stands still between its start and its end, and with it the clock that looks for long ones, was not seen.
    processes.wait_for(lambda: yields_as("import time\ntime.sleep(0.3)"), 30, "a long one yields")
    assert yields_as("") == {"long"}
    crowd = ("import threading, time\nfor i in range(10):\n"
             "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\ntime.sleep(0.2)\n")
    # A busy machine may take longer for the threads than it takes to be long.
    processes.wait_for(lambda: "a crowd" in yields_as(crowd), 30, "a crowd was one before it was long")


# All of its processes write the size of one file, of which they have very many mappings: who does it holds the file's locks
# for milliseconds, as the kernel walks the mappings, and the others queue.
CONVOY = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
fd = os.open("/tmp/shared", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 1 << 20)
for _ in range(30):
    if os.fork() == 0:
        for i in range(200):
            libc.mmap(None, 4096, 1, 1, fd, 4096 * (2 * i % 256))
        while True:
            os.ftruncate(fd, 0)
            os.ftruncate(fd, 1 << 20)
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
    return set().union(*(holds(base) for base in processes.cgroups_of(pid)))


class Holds:
    """Whether boxes of @server are held, by their cgroups."""

    def __init__(self, server):
        self.server = server
        self.free, self.boxes = all_holds(server.pid), server.busy_counts()[0]

    def wait_for_one(self):
        processes.wait_for(lambda: len(all_holds(self.server.pid)) > len(self.free), 60, "a box is held")

    def wait_for_none(self):
        """What was held is dead, and the next box of its slot is held by nothing."""
        processes.wait_for(lambda: self.server.busy_counts()[0] <= self.boxes, 20, "its processes are gone")
        processes.wait_for(lambda: all_holds(self.server.pid) == self.free, 20, "all are let go")
        assert self.server.run("return 1").response["result"] == 1


def can_hold(server):
    return not server.log("boxes whose processes queue for a kernel lock can not be held")


@pytest.fixture
def holds_of(make_server):
    """Of a new server on which four boxes wait."""
    server = make_server(config="[limits]\ntimeout_max = 300s\n[pool]\nsize = 4\n", env=HOOKS)
    server.wait_until_full(4)
    if not can_hold(server):
        pytest.skip("cgroup v1 before Linux 6.18 holds nobody")
    return Holds(server)


@ROOT_ONLY
def test_what_is_held_ends_when_its_time_is_up(holds_of):
    server = holds_of.server
    for timeout in (5, 20, 50):  # a machine that is emulated needs long for so many processes
        reply = server.run(CONVOY, timeout=timeout)
        assert (reply.status, reply["reason"]) == (408, "timeout")
        if server.log("a box is held"):
            break
    holds_of.wait_for_none()
    assert server.log("a box is held")[0]["waiting"] > 0
    text = server.request("GET", "/metrics").body.decode()
    assert re.search(r'^hatchery_sandbox_violations_total{kind="queue"} [1-9]', text, re.M)
    assert re.search(r"^hatchery_sandbox_held_seconds_total [\d.]*[1-9]", text, re.M)


@ROOT_ONLY
def test_what_is_held_ends_when_its_client_goes(holds_of):
    with Raw(holds_of.server, post(CONVOY, timeout=300)):
        holds_of.wait_for_one()
    holds_of.wait_for_none()


@ROOT_ONLY
def test_what_is_held_ends_when_it_is_cancelled(holds_of, receiver):
    server = holds_of.server
    job = server.run(CONVOY, timeout=300, webhook_url=receiver.url("ok/held"))["job_id"]
    holds_of.wait_for_one()
    assert server.request("DELETE", f"/v1/jobs/{job}").status == 200
    holds_of.wait_for_none()
    assert server.request("GET", f"/v1/jobs/{job}")["state"] == "cancelled"


@ROOT_ONLY
def test_what_is_held_ends_with_its_supervisor(holds_of):
    """Whose next start finds what was left of the boxes' cgroups, and removes it."""
    server = holds_of.server
    with Raw(server, post(CONVOY, timeout=300)):
        holds_of.wait_for_one()
        left = processes.cgroups_of(server.pid)
        server.process.kill()
        server.process.wait()
    with service.Service() as next_one:
        assert next_one.run("return 1").response["result"] == 1
        assert not any(os.path.exists(path) for path in left)


@ROOT_ONLY
@pytest.mark.skipif(not os.path.isdir("/sys/fs/cgroup/cpu"), reason="cgroup v1 is not mounted")
def test_v1_of_a_kernel_before_6_18_holds_nobody_and_says_so(make_server):
    """The quota of a processor stops nobody within the kernel there: setarch(8) makes a kernel say that it is so old."""
    old = ("setarch", os.uname().machine, "--uname-2.6")
    server = make_server(config="[isolation]\ncgroup = v1\n[pool]\nsize = 4\n", prefix=old)
    server.wait_until_full(4)
    assert not can_hold(server)
    holds = Holds(server)
    reply = server.run(CONVOY, timeout=2)
    assert (reply.status, reply["reason"]) == (408, "timeout")
    assert all_holds(server.pid) == holds.free and not server.log("a box is held")
    doctor = json.loads(service.hatchery("doctor", "--json", env={"HATCHERY_ISOLATION_CGROUP": "v1"}, prefix=old).stdout)
    assert doctor["held_by"] == "nothing" and any("isolation.root" in note for note in doctor["notes"])


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
        processes.wait_for(lambda: not (group / "cgroup.procs").read_text(), 20, "the group is empty")
        group.rmdir()


EATER = f"held = b'x' * ({{}} << 20)\n{service.ASLEEP}\nreturn len(held)"


@ROOT_ONLY
def test_all_boxes_together_leave_a_tenth(around):
    """Each is within its limit: the one that has most is ended, is told why, and nothing else of the service ends."""
    _, prefix = around(400)
    with service.Service(prefix=prefix) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.run, EATER.format(100), timeout=300)
        processes.wait_for(lambda: server.below("sleep"), what="it has its memory and runs")
        pids = [server.child(name) for name in ("server", "zygote")]
        reply = server.run(EATER.format(350), timeout=300)
        assert (reply.status, reply["reason"], reply["exit_code"]) == (503, "host_memory", 137)
        assert "memory was full" in reply["error"] and "512 MiB" in reply["error"] and "retry-after" in reply.headers
        server.end_sleepers()
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
        processes.wait_for(lambda: server.end_sleepers() or all(other.done() for other in others), what="the other one ends")
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
        stack.callback(server.end_sleepers)
        for _ in range(os.cpu_count()):
            stack.enter_context(Raw(server, post(service.ASLEEP, timeout=300)))
        processes.wait_for(lambda: len(server.below("sleep")) == os.cpu_count(), what="they run")
        # In a group below, as v2 has no processes in one that is divided.
        hog_group = group / "hog"
        hog_group.mkdir()
        hog = stack.enter_context(subprocess.Popen(
            ["sh", "-c", f'echo $$ > {hog_group}/cgroup.procs && exec "$@"', "sh", "/usr/bin/python3", "-c",
             f"held = b'x' * ({(950 << 20) - int(usage.read_text())})\nprint('full', flush=True)\ninput()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert hog.stdout.readline() == b"full\n"
        waiting = pool.submit(server.run, "return 1")
        processes.wait_for(lambda: server.queue_length() == 1, 20, "it waits")
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
