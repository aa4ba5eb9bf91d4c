# SPDX-License-Identifier: Apache-2.0
"""A server that somebody has taken over can't have the supervisor start interpreters without end.

Its part is played by a Python that is called hatchery-server and reads its program from the supervisor's stdin."""
import os
import pathlib
import re
import shutil
import time

import pytest

import service
from ordinary import executables_for_all
from service import Service, wait_for

TYPES = re.search(r"enum wire_type \{(.*?)\};", (service.ROOT / "src/base/wire.h").read_text(), re.S)[1]
TYPES = re.findall(r"^ +(WIRE_\w+)", TYPES, re.M)

ROGUE = f"""
import array, os, signal, socket, struct, time
READY, ZYGOTE, ASK = {[TYPES.index(name) + 1 for name in ("WIRE_READY", "WIRE_ZYGOTE", "WIRE_ZYGOTE_GET")]}
signal.signal(signal.SIGTERM, signal.SIG_DFL)
supervisor = socket.socket(fileno=3)
supervisor.setblocking(True)

def message(kind):
    return struct.pack("=IIIi5q", kind, 0, 0, 0, 0, 0, 0, 0, 0)

def receive():
    data, controls, _, _ = supervisor.recvmsg(1 << 16, socket.CMSG_SPACE(64))
    if not data:
        os._exit(0)
    fds = array.array("i")
    for _, _, part in controls:
        fds.frombytes(part[:len(part) - len(part) % 4])
    return struct.unpack_from("=I", data)[0], list(fds)

receive()
said = False
while True:
    kind, fds = receive()
    if kind != ZYGOTE:
        continue
    zygote = socket.socket(fileno=fds[0])
    zygote.recv(1000)
    print("a zygote is warm", time.monotonic(), file=__import__("sys").stderr, flush=True)
    if not said:
        supervisor.send(message(READY))
        said = True
    TURN
"""


@pytest.fixture
def rogue(tmp_path):
    python = pathlib.Path(os.path.realpath("/usr/bin/python3"))
    program = executables_for_all(tmp_path)
    shutil.copy2(python, tmp_path / "hatchery-server")
    started = []

    def start(turn):
        script = tmp_path / "rogue.py"
        script.write_text(ROGUE.replace("TURN", turn))
        prefix = ["sh", "-c", f'exec "$@" < "{script}"', "sh"]
        started.append(Service(program=program, prefix=prefix))
        return started[-1]

    yield start
    for s in started:
        s.stop(at_once=True)
        s.directory.cleanup()


def warm(s):
    return [float(t) for t in re.findall(r"^a zygote is warm (\S+)$", s.log_text(), re.M)]


def test_letting_go_of_zygotes_is_answered_later_and_later(rogue):
    s = rogue("zygote.close()")
    wait_for(lambda: len(warm(s)) >= 5, 60, "five zygotes")
    lines = [line for line in s.log("restarting") if line["process"] == "zygote"]
    assert [line["in_ms"] for line in lines[:4]] == [100, 200, 400, 800]


def test_asking_for_successors_has_a_pace(rogue):
    begin = time.monotonic()
    s = rogue("supervisor.send(message(ASK)); keep = zygote if len(fds) else None")
    times = wait_for(lambda: len(warm(s)) >= 4 and warm(s), 60, "three successors")
    # From the start of one to the start of the next it is a second.
    assert times[3] - begin > 2.9, times
