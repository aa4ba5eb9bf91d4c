# SPDX-License-Identifier: Apache-2.0
"""A server that somebody has taken over can't have the supervisor start interpreters without end.

Its part is played by a Python that is called hatchery-server and reads its program from the supervisor's stdin."""
import os
import re
import shutil
import time

import pytest

import service
from ordinary import executables_for_all
from processes import wait_for
from service import Service, hatchery

MESSAGES = re.findall(r"^MESSAGE\((\w+)", (service.ROOT / "src/base/wire.def").read_text(), re.M)

ROGUE = f"""
import array, os, signal, socket, struct, time
READY, ZYGOTE, ASK, SPAWN = {[MESSAGES.index(name) + 1 for name in ("READY", "ZYGOTE", "ZYGOTE_GET", "SPAWN")]}
signal.signal(signal.SIGTERM, signal.SIG_DFL)
supervisor = socket.socket(fileno=3)
supervisor.setblocking(True)

def message(kind, *numbers):
    return struct.pack(f"={{1 + len(numbers)}}I", kind, *numbers)

def send(data, fds=()):
    socket.send_fds(supervisor, [data], fds)

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
def played(tmp_path):
    """What a command of `hatchery` needs so that a Python plays its server: program and prefix."""
    program = executables_for_all(tmp_path)
    shutil.copy2(os.path.realpath("/usr/bin/python3"), tmp_path / "hatchery-server")
    script = tmp_path / "rogue.py"

    def words(turn):
        script.write_text(ROGUE.replace("TURN", turn))
        return {"program": program, "prefix": ["sh", "-c", f'exec "$@" < "{script}"', "sh"]}
    return words


@pytest.fixture
def rogue(played):
    started = []

    def start(turn):
        started.append(Service(**played(turn)))
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
    s = rogue("supervisor.send(message(ASK, 0)); keep = zygote if len(fds) else None")
    times = wait_for(lambda: len(warm(s)) >= 4 and warm(s), 60, "three successors")
    # From the start of one to the start of the next it is a second.
    assert times[3] - begin > 2.9, times


LAST_WORDS = """children = lambda: len(open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split())
    n = children()
    zygote.close()
    while children() >= n:
        time.sleep(0.001)
    os.lseek(0, 0, 0)  # the next one reads the same program
    os._exit(0)"""


def test_a_zygote_that_has_ended_before_its_server_is_nothing_to_talk_of(played, tmp_path):
    """At the end of `hatchery run` the supervisor may be told of the one before the other."""
    (tmp_path / "main.py").write_text("print(1)")
    for _ in range(5):  # it has 100 ms, in which a machine may stand still
        done = hatchery("run", str(tmp_path / "main.py"), **played(LAST_WORDS))
        assert "a zygote is warm" in done.stderr and done.returncode == 0
        if "restarting" not in done.stderr:
            break
    assert "restarting" not in done.stderr, done.stderr


def test_nor_where_another_server_follows(rogue):
    s = rogue(LAST_WORDS)
    rounds = len(wait_for(lambda: len(warm(s)) >= 4 and warm(s), 60, "four servers"))
    said = [line["process"] for line in s.log("restarting")]
    assert said.count("server") >= 3
    assert said.count("zygote") < rounds / 2, said  # see above


@pytest.mark.parametrize("sent, message, why", [
    ("message(ASK)", "ZYGOTE_GET", "its size"),
    ("message(ASK, 0), [0]", "ZYGOTE_GET", "its descriptors"),
    ("message(SPAWN, 0, 0)", "SPAWN", "its sender"),
    ("message(77, 0)", "unknown", "its type"),
    ("message(READY)", "READY", "it came before"),
])
def test_a_server_that_sends_what_it_may_not_is_ended(rogue, sent, message, why):
    s = rogue(f"send({sent}); time.sleep(60)")
    line = wait_for(lambda: s.log("a process has sent what it may not send"), 60, "the line")[0]
    assert (line["process"], line["message"], line["why"]) == ("server", message, why)
    ended = wait_for(lambda: [e for e in s.log("process ended") if e["process"] == "server"], 60, "its end")[0]
    assert ended["signal"] == 9
