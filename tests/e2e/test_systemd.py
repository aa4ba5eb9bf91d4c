# SPDX-License-Identifier: Apache-2.0
"""As a service of systemd's, with a manager of the tests' own (manager.py)."""
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from manager import Notified, executed
from raw import Raw, post
from service import HATCHERY, environment, hatchery, wait_for


@pytest.fixture(params=["path", "abstract"])
def notified(request, tmp_path):
    notified = Notified(str(tmp_path / "notify") if request.param == "path" else f"@hatchery-test-{os.getpid()}")
    yield notified
    notified.close()


@pytest.fixture
def by_path(tmp_path):
    notified = Notified(str(tmp_path / "notify"))
    yield notified
    notified.close()


# --- what the manager is told ---


def test_a_life(make_server, notified):
    server = make_server(config="[limits]\nmemory = 64M\n", env={"NOTIFY_SOCKET": notified.name})
    _, pid, words = notified.wait(READY="1")
    assert pid == server.pid and f"http://{server.host}:{server.port}" in words["STATUS"]

    path = server.command[server.command.index("--config") + 1]
    for text, wrong in (("[limits]\nmemory = 65M\n", False), ("[limits]\nmemory = lots\n", True), ("", False)):
        pathlib.Path(path).write_text(text)
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        server.process.send_signal(signal.SIGHUP)
        _, _, words = notified.wait(RELOADING="1")
        assert before <= int(words["MONOTONIC_USEC"]) <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        assert ("wrong" in notified.wait(READY="1")[2]["STATUS"]) == wrong

    with Raw(server, post("import subprocess; subprocess.run(['sleep', '1']); return 'done'")) as raw:
        wait_for(lambda: server.below("sleep"), 20)
        server.process.send_signal(signal.SIGTERM)
        words = notified.wait(STOPPING="1")[2]
        assert int(words["EXTEND_TIMEOUT_USEC"]) == 40_000_000, "what requests in hand get, and time to end"
        assert raw.reply().response["result"] == "done"
    assert server.process.wait(20) == 0
    notified.read()
    assert notified.states == [], "nothing was said without a watchdog, and no state twice"


def test_nobody_below_has_the_socket(make_server, by_path):
    names = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
    server = make_server(start=False, env={"NOTIFY_SOCKET": by_path.name, "WATCHDOG_USEC": "60000000"})
    server.start()
    for name in ("server", "courier", "zygote"):
        environ = pathlib.Path(f"/proc/{server.child(name)}/environ").read_bytes().decode()
        assert not [word for word in environ.split("\0") if word.partition("=")[0] in names], name
    assert not names & set(server.run("import os; return list(os.environ)").response["result"])


def test_the_watchdog_hears_of_a_server_that_lives(make_server, by_path):
    server = make_server(start=False, env={"NOTIFY_SOCKET": by_path.name, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "self"})
    server.command, _ = executed(server.command)
    server.start()
    by_path.wait(READY="1")
    times = [by_path.wait(WATCHDOG="1")[0] for _ in range(5)]
    assert 1.7 < times[-1] - times[0] < 4, "every half of the time"
    below = server.child("server")
    os.kill(below, signal.SIGSTOP)
    by_path.read(0.7)  # one that was under way
    by_path.states.clear()
    by_path.read(1.5)
    assert by_path.states == [], "a server that hangs is not vouched for"
    os.kill(below, signal.SIGCONT)
    by_path.wait(WATCHDOG="1")


def test_a_watchdog_for_another_process(make_server, by_path):
    make_server(env={"NOTIFY_SOCKET": by_path.name, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
    by_path.wait(READY="1")
    by_path.read(1)
    assert by_path.states == []


def test_a_manager_that_does_not_read(make_server, by_path):
    """It costs nobody anything, and hears the last state when it reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                filler.sendto(b"STATUS=full", by_path.name)
    server = make_server(env={"NOTIFY_SOCKET": by_path.name}, config="[limits]\nmemory = 64M\n")
    assert server.run("return 1").response["result"] == 1
    by_path.wait(READY="1")


def test_a_socket_that_is_none():
    done = hatchery("serve", "--listen", "127.0.0.1:0", key="k", env={"NOTIFY_SOCKET": "vsock:2:1"})
    assert done.returncode == 1 and "NOTIFY_SOCKET: vsock:2:1" in done.stderr


def test_what_is_wrong_is_an_error_in_the_journal(tmp_path):
    with open(tmp_path / "log", "w") as log:
        stat = os.fstat(log.fileno())
        subprocess.run([HATCHERY, "serve", "--listen", "nowhere"], stderr=log, timeout=30,
                       env=environment(JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}", API_KEY="k"))
    assert (tmp_path / "log").read_text().startswith("<3>hatchery: command line: server.listen")
