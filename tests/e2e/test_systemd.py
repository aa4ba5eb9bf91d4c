# SPDX-License-Identifier: Apache-2.0
"""As a service of systemd's, with a manager of the tests' own (manager.py)."""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import pytest

from client import EXECUTE, KEY, UnixConnection
from manager import Notified, executed, give, restart
from processes import children, wait_for
from raw import Raw, post
from receiver import HOOKS
from service import ASLEEP, HATCHERY, environment, hatchery

RESTARTS = int(os.environ.get("RESTARTS", "3"))


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

    with Raw(server, post(f"{ASLEEP}; return 'done'")) as raw:
        wait_for(lambda: server.below("sleep"), 20)
        server.process.send_signal(signal.SIGTERM)
        words = notified.wait(STOPPING="1")[2]
        assert int(words["EXTEND_TIMEOUT_USEC"]) == 40_000_000, "what requests in hand get, and time to end"
        server.end_sleepers()
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
    times = []

    def every_half():
        """Of five that come one after the other; on a machine that stands still some are late, and those after them early."""
        times.append(by_path.wait(WATCHDOG="1")[0])
        return len(times) >= 5 and 1.7 < times[-1] - times[-5] < 2.6
    wait_for(every_half, 20, "every half of the time")
    below = server.child("server")
    os.kill(below, signal.SIGSTOP)

    def quiet():
        by_path.states.clear()
        by_path.read(1.5)
        return by_path.states == []
    wait_for(quiet, 5, "a server that hangs is not vouched for")  # but for one that was under way
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


# --- socket activation ---


@pytest.fixture
def listening():
    """Makes listening sockets that are the manager's."""
    made = []

    def listen(path=None, kind=socket.SOCK_STREAM, backlog=4096):
        made.append(socket.socket(socket.AF_UNIX if path else socket.AF_INET, kind))
        made[-1].bind(str(path) if path else ("127.0.0.1", 0))
        if backlog:
            made[-1].listen(backlog)
        return made[-1]

    yield listen
    for sock in made:
        sock.close()


def test_sockets_that_are_given_are_served(make_server, listening, tmp_path):
    path = tmp_path / "socket"
    tcp, unix, metrics = listening(), listening(path), listening()
    server = make_server(start=False, listen="127.0.0.1:1", env={"HATCHERY_METRICS_LISTEN": "none"})
    give(server, (tcp, unix, metrics), ("hatchery.socket", "local", "metrics"))
    server.start()
    assert server.port == tcp.getsockname()[1], "and nothing was bound"
    assert f"unix:{path}" in server.announcement
    assert server.run("return 1").response["result"] == 1
    assert server.request("GET", "/healthz", connection=UnixConnection(str(path), 20)).status == 200
    with socket.create_connection(metrics.getsockname()) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert raw.recv(15) == b"HTTP/1.1 200 OK"
    for sock in (tcp, unix, metrics):
        wait_for(lambda: below_with(server, sock) == [server.child("server")], what="no other process below has it")
    os.kill(server.child("server"), signal.SIGKILL)  # its successor is given them, too
    server.logged("restarting", process="server")
    with socket.create_connection(tcp.getsockname()) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert raw.recv(15) == b"HTTP/1.1 200 OK", "who connects meanwhile waits"
    server.stop()
    assert path.exists(), "it is the manager's"


def below_with(server, sock):
    """The processes below the supervisor that have @sock."""
    inode = f"socket:[{os.fstat(sock.fileno()).st_ino}]"
    found = []
    for pid in children(server.pid):
        try:
            if any(os.readlink(fd) == inode for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()):
                found.append(pid)
        except OSError:  # it or its descriptor is gone
            pass
    return found


def test_what_is_given_to_another_process_is_nothing(make_server, listening):
    tcp = listening()
    server = make_server(start=False)
    give(server, (tcp,))
    server.env["LISTEN_PID"] = "1"
    server.start()
    assert server.port != tcp.getsockname()[1]


def tried(verb, sockets, *arguments, **env):
    command, fds = executed([HATCHERY, verb, *arguments], sockets)
    env = environment(**{"API_KEY": "k", "LISTEN_PID": "self", "LISTEN_FDS": str(len(sockets)), **env})
    return subprocess.run(command, env=env, pass_fds=fds, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("make, words", [
    (lambda listen: [listen(backlog=0)], "3 (unknown) does not listen"),
    (lambda listen: [listen(kind=socket.SOCK_DGRAM, backlog=0)], "3 (unknown) is not a stream socket"),
    (lambda listen: [listen(), open("/dev/null")], "4 (unknown) is not a socket"),
    (lambda listen: [listen() for _ in range(5)], "7 (unknown) is one too many"),
])
def test_what_can_not_be_served(listening, make, words):
    sockets = make(listening)
    for verb in ("serve", "check-config"):
        done = tried(verb, sockets, HATCHERY_SERVER_STATE="none")
        assert (done.returncode, done.stdout) == (1, "") and f"LISTEN_FDS: descriptor {words}" in done.stderr, done


@pytest.mark.parametrize("env, words", [
    ({"LISTEN_FDS": "many"}, "many is not a number"), ({"LISTEN_FDS": "3"}, "5 (unknown) is not open"),
    ({"LISTEN_FDNAMES": "metrics:metrics"}, "4 (metrics) is the second")])
def test_variables_that_are_wrong(listening, env, words):
    done = tried("check-config", [listening(), listening()], **env)
    assert done.returncode == 1 and "LISTEN_FDS: " in done.stderr and words in done.stderr, done


def test_they_are_named_before_a_start(listening):
    tcp, metrics = listening(), listening()
    url, other = (f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in (tcp, metrics))
    words = f"given it to us: {url}; instead of metrics.listen: {other}"
    assert words in tried("check-config", [tcp, metrics], LISTEN_FDNAMES="x:metrics").stdout
    assert words in tried("doctor", [tcp, metrics], LISTEN_FDNAMES="x:metrics").stdout


class Clients:
    """Send requests as fast as they are answered, from @n threads: over a new connection each, or over one as long as
    the server keeps it.  Whatever is not the right answer is in @failed."""

    def __init__(self, address, n, keep):
        self.address, self.keep, self.stop = address, keep, threading.Event()
        self.failed, self.done, self.longest = [], 0, 0.0
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(n)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        connection, i = None, 0
        while not self.stop.is_set():
            i += 1
            body = json.dumps({"code": f"return '{number}-{i}'"})
            headers = {"x-api-key": KEY, "content-type": "application/json"}
            begin = time.monotonic()
            try:
                if not connection:
                    connection = http.client.HTTPConnection(*self.address, timeout=60)
                connection.request("POST", EXECUTE, body, headers if self.keep else {**headers, "connection": "close"})
                answer = connection.getresponse()
                reply = json.loads(answer.read())
                if answer.status != 200 or reply["response"]["result"] != f"{number}-{i}":
                    self.failed.append((answer.status, reply))
                if answer.will_close or not self.keep:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection = None
            self.done += 1
            self.longest = max(self.longest, time.monotonic() - begin)
        if connection:
            connection.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(70)
        return self.failed


def test_a_restart_under_load_fails_no_request(make_server, listening):
    tcp = listening()
    server = make_server(start=False, config="[server]\ndrain_delay = 5s\n")
    give(server, (tcp,), ("hatchery.socket",))
    server.start()
    clients = Clients(tcp.getsockname(), 16, keep=False), Clients(tcp.getsockname(), 4, keep=True)
    try:
        for _ in range(RESTARTS):
            before = clients[0].done, clients[1].done
            wait_for(lambda: clients[0].done > before[0] + 200 and clients[1].done > before[1] + 40, 60, "requests")
            begin = time.monotonic()
            assert restart(server) == 0
            assert time.monotonic() - begin < 30
    finally:
        failed = [client.end() for client in clients]
    assert failed == [[], []], failed
    print(f"{clients[0].done} + {clients[1].done} requests; the longest waited {max(c.longest for c in clients):.2f} s")
    starts = server.log("stopped: all requests in hand are answered")
    assert len(starts) == RESTARTS


def test_who_was_accepted_and_has_not_spoken_is_answered(make_server, listening):
    """While it is waited for others are accepted; one who connects afterwards is for the next server.  The server stands
    still meanwhile, so that what is sent is there before it has waited long enough."""
    tcp = listening()
    server = make_server(start=False)
    give(server, (tcp,))
    server.start()
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with Raw(server, post(f"{ASLEEP}; return 'done'")) as raw, server.socket() as early, server.socket() as silent:
        wait_for(lambda: server.below("sleep"), 20)
        wait_for(lambda: below_with_connections(server, early) and below_with_connections(server, silent), 10)
        os.kill(server.child("server"), signal.SIGSTOP)
        server.process.terminate()
        server.logged("stopping")
        early.sendall(request)
        with server.socket() as meanwhile:
            meanwhile.sendall(request)
            os.kill(server.child("server"), signal.SIGCONT)
            reply = early.recv(4096)
            assert reply.startswith(b"HTTP/1.1 200") and b"connection: close" in reply.lower()
            assert meanwhile.recv(15) == b"HTTP/1.1 200 OK"
        assert silent.recv(1) == b"", "a second is enough"
        wait_for(lambda: below_with(server, tcp) == [], 10, "the socket is given up")
        assert server.below("sleep"), "before the last request in hand has its reply"
        with server.socket() as late:
            late.sendall(request)
            server.end_sleepers()
            assert raw.reply().response["result"] == "done"
            assert server.process.wait(20) == 0
            late.setblocking(False)
            with pytest.raises(BlockingIOError):
                late.recv(1)
            server.process.stdout.close()
            server.announcement = ""
            server.start()
            late.settimeout(20)
            assert late.recv(15) == b"HTTP/1.1 200 OK"


def below_with_connections(server, sock):
    """Has the server accepted the connection whose other end @sock is?"""
    port = f":{sock.getsockname()[1]:04X}"
    rows = [line.split() for line in open(f"/proc/{server.child('server')}/net/tcp")][1:]
    inodes = [f"socket:[{row[9]}]" for row in rows if row[2].endswith(port) and row[9] != "0"]
    for fd in pathlib.Path(f"/proc/{server.child('server')}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            if os.readlink(fd) in inodes:
                return True
    return False


def test_no_accepted_job_is_lost_over_restarts(make_server, receiver, tmp_path):
    """Without the manager's sockets: clients are refused meanwhile, but a 202 is a promise."""
    env = {**HOOKS, "HATCHERY_SERVER_DRAIN_TIMEOUT": "5s"}
    server = make_server(env=env, listen=f"unix:{tmp_path}/socket")  # a port could be anybody's meanwhile
    stop, accepted, wrong = threading.Event(), [], []

    def submit(number):
        n = 0
        while not stop.is_set():
            n += 1
            path = f"ok/restart-{number}-{n}"
            try:
                reply = server.run(f"return {n}", webhook_url=receiver.url(path))
                if reply.status == 202:
                    accepted.append(path)
                elif reply.status != 503:
                    wrong.append(reply)
            except (OSError, http.client.HTTPException):
                pass  # refused, or no reply: nothing was promised
            except AssertionError as error:
                wrong.append(error)
            time.sleep(0.005)

    threads = [threading.Thread(target=submit, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(RESTARTS):
            before = len(accepted)
            wait_for(lambda: len(accepted) > before + 50, 60, "accepted jobs")
            assert restart(server) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(70)
    assert wrong == []
    wait_for(lambda: {delivery.path[1:] for delivery in receiver.got} >= set(accepted), 60, "every job's webhook")
