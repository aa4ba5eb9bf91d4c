# SPDX-License-Identifier: Apache-2.0
"""What the supervisor does with the boxes' cgroups while programs run."""
import os
import pathlib

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


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user may have no cgroups")
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


def test_memory_that_a_child_ate_ends_the_run(server):
    code = ("import os, time\nprint('begun', flush=True)\n"
            "if os.fork() == 0:\n    held = bytearray(b'x' * (1 << 30))\n"
            "time.sleep(20)\n")
    reply = server.run(code, timeout=30)
    assert (reply.status, reply["reason"], reply["exit_code"]) == (400, "memory", 137)
    assert reply["error"] == "Memory limit exceeded (512 MiB)"
    assert reply["stdout"] == "begun\n"
    assert reply["run_time"] < 15


def test_the_limit_on_processes_is_named(server):
    reply = server.run("import os, time\nfor i in range(100):\n    if os.fork() == 0:\n        time.sleep(60)\n")
    assert (reply.status, reply["reason"]) == (400, "exception")
    assert reply["message"] == "Too many processes (64)"
    assert "BlockingIOError" in reply["error"]


def test_a_full_scratch_says_so(server):
    reply = server.run("with open('f', 'wb') as f:\n    while True:\n        f.write(b'x' * (1 << 20))\n")
    assert (reply.status, reply["reason"]) == (400, "exception")
    assert "No space left on device" in reply["error"]
