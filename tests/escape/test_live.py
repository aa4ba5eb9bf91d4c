# SPDX-License-Identifier: Apache-2.0
"""The processes of a running server, looked at from outside: what each is allowed, and what it has with it."""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from processes import children, wait_for

ZYGOTE_CAPABILITIES = {0, 6, 7, 8, 19, 21}  # CHOWN SETGID SETUID SETPCAP SYS_PTRACE SYS_ADMIN
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at all of it")


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def bits(text):
    number = int(text, 16)
    return {i for i in range(64) if number >> i & 1}


def name_of(pid):
    return status(pid)["Name"]


def descriptors(pid):
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}


@pytest.fixture(scope="module")
def processes(server_for):
    """Supervisor, server and zygote; the inits; the warm programs that wait in their boxes, none of which dies: nothing
    is run by this server."""
    server = server_for("pool.size=5")

    def all_wait():
        """Have all come to their last step?"""
        return b'hatchery_slots{state="idle"} 5\n' in server.request("GET", "/metrics").body

    def find():
        zygote = server.child("zygote")
        with contextlib.suppress(OSError):  # what makes a box may have gone
            below = children(zygote)
            inits = [pid for pid in below if name_of(pid) == "hatchery-init"]
            programs = [pid for pid in below if pid not in inits and status(pid)["Seccomp"] == "2"]
            return len(programs) == len(inits) == 5 and (server.pid, server.child("server"), zygote, inits, programs)

    wait_for(all_wait, 20, "every box is warm")
    return wait_for(find, 20, "nothing else is below")


def test_server_process(processes):
    """What it may ask for is tests/unit/test_server_confine.c's."""
    _, server, _, _, _ = processes
    now = status(server)
    assert not any(bits(now[name]) for name in SETS)
    assert now["NoNewPrivs"] == "1" and now["Seccomp"] == "2" and now["Groups"] == ""
    assert "0" not in now["Uid"].split() + now["Gid"].split()
    assert os.stat(f"/proc/{server}/environ").st_uid == 0, "it is dumpable"


def test_zygote(processes):
    _, _, zygote, _, _ = processes
    now = status(zygote)
    assert bits(now["CapPrm"]) == bits(now["CapEff"]) == bits(now["CapBnd"]) == ZYGOTE_CAPABILITIES
    assert not bits(now["CapInh"]) and not bits(now["CapAmb"])
    assert now["NoNewPrivs"] == "1"
    assert now["Threads"] == "1"
    assert now["Groups"] == ""
    assert "0" not in now["Uid"].split() + now["Gid"].split()
    assert now["NSpid"].split()[-1] == "1"


def test_programs(processes):
    _, _, zygote, inits, programs = processes
    ids = [status(pid)["Uid"] for pid in programs]
    assert len(set(ids)) == len(ids), "two boxes have the same id"
    for pid in programs:
        now = status(pid)
        assert not any(bits(now[name]) for name in SETS)
        assert now["NoNewPrivs"] == "1" and now["Seccomp"] == "2" and now["Groups"] == ""
        assert len(set(now["Uid"].split())) == len(set(now["Gid"].split())) == 1
        assert now["Uid"] not in {status(other)["Uid"] for other in (zygote, *inits)}
        assert now["NSpid"].split()[-1] == "2"
        assert descriptors(pid) == {0, 1, 2, 1023}
        assert bits(now["SigIgn"]) == {signal.SIGPIPE - 1, signal.SIGXFSZ - 1}
        assert not bits(now["SigBlk"])
        # What is not dumpable has files of its namespace's root in /proc.
        assert os.stat(f"/proc/{pid}/environ").st_uid == os.stat(f"/proc/{zygote}").st_uid, "it is dumpable"
        assert pathlib.Path(f"/proc/{pid}/timerslack_ns").read_text().strip() == "50000"


def test_inits(processes):
    _, _, zygote, inits, _ = processes
    for pid in inits:
        now = status(pid)
        assert not any(bits(now[name]) for name in SETS if name != "CapBnd")
        assert now["NoNewPrivs"] == "1"
        assert descriptors(pid) == {0}
        assert now["NSpid"].split()[-1] == "1"


def test_namespaces(processes):
    supervisor, _, zygote, inits, programs = processes

    def namespace(pid, name):
        return os.readlink(f"/proc/{pid}/ns/{name}")

    for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert namespace(zygote, name) != namespace(supervisor, name)
    for name in ("mnt", "pid", "ipc", "uts", "cgroup"):
        own = {namespace(pid, name) for pid in programs}
        assert len(own) == len(programs) and namespace(zygote, name) not in own, name


def test_user_namespaces_are_used_up(processes):
    _, _, zygote, _, _ = processes
    shown = subprocess.run(["nsenter", f"--user=/proc/{zygote}/ns/user", "cat", "/proc/sys/user/max_user_namespaces"],
                           capture_output=True, text=True, check=True)
    assert shown.stdout == "0\n"


def test_a_machine_out_of_memory_takes_programs_first(processes):
    supervisor, server, zygote, inits, programs = processes

    def adjustment(pid):
        return int(pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert adjustment(server) == adjustment(supervisor) < 1000
    assert {adjustment(pid) for pid in (zygote, *inits)} == {500}
    assert {adjustment(pid) for pid in programs} == {1000}  # the zygote's end would be that of all of them


def test_nothing_of_the_starter(processes):
    _, server, zygote, inits, programs = processes
    for pid in (server, zygote, *inits, *programs):
        assert b"test-key" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    for pid in (server, *inits):
        assert pathlib.Path(f"/proc/{pid}/environ").read_bytes() == b""
    assert pathlib.Path(f"/proc/{zygote}/environ").read_bytes() == b"LD_BIND_NOW=1\0"  # for the linker, and all there is
    # What the zygote's setenv() put beside its initial stack is what programs see.
    for pid in programs:
        assert b"test-key" not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()


def find_in_memory(pid, words):
    """The first of @words that is in the writable memory of @pid, or None."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            begin, end = (int(x, 16) for x in span.split("-"))
            if not mode.startswith("rw") or end - begin > 256 << 20:
                continue
            memory.seek(begin)
            piece = memory.read(end - begin)
            for word in words:
                if word in piece:
                    return word
    return None


def test_nothing_of_the_starter_in_memory(processes):
    """Neither its environment, nor in zygote and boxes the key that clients send."""
    supervisor, server, zygote, _, programs = processes
    assert find_in_memory(supervisor, [b"canary-of-the-start"]), "the search finds nothing where it is"
    assert find_in_memory(server, [b"canary-of-the-start", b"API_KEY="]) is None
    for pid in (zygote, programs[0]):
        assert find_in_memory(pid, [b"canary-of-the-start", b"API_KEY=", b"test-key"]) is None
