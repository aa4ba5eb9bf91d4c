# SPDX-License-Identifier: Apache-2.0
"""HTTP and clients that are slow, vanish, or are too many."""
import contextlib
import errno
import os
import select
import socket
import struct
import threading
import time

import pytest

from client import EXECUTE
from processes import wait_for
from raw import GET_HEALTHZ, Raw, check_alive, chunked, head, post
from service import Service
from steady import StandStill, steady


# --- deadlines ---


@pytest.fixture(scope="module")
def hasty():
    with Service(config="[server]\nhead_timeout = 1s\nbody_timeout = 1s\nidle_timeout = 1s\nwrite_timeout = 1s\n"
                        "max_connections = 200\n") as service:
        yield service


@contextlib.contextmanager
def good_client(server):
    """While the block runs, somebody else is served."""
    stop = threading.Event()
    failed = []

    def work():
        while not stop.is_set():
            try:  # a connection each: on a busy machine one could idle for longer than it may
                assert server.run("return 1").response["result"] == 1
            except Exception as error:
                failed.append(error)
                return

    thread = threading.Thread(target=work)
    with StandStill() as still:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
    # A client that stands still in the middle of its request is one that stalls, too.
    assert not failed or still.seconds > 0.5, failed


@pytest.mark.parametrize("sent", [b"P", b"POST /v1", b"POST /v1/x HTTP/1.1\r\nHost", head()[:-2], head()[:-1]])
def test_a_head_that_stalls(hasty, sent):
    with Raw(hasty, sent) as raw, good_client(hasty):
        assert raw.reply().status == 408
        assert raw.rest() == b""


@pytest.mark.parametrize("sent", [
    post("return 1")[:-1],
    head("POST", EXECUTE, "Content-Length: 100"),
    head("POST", EXECUTE, "Transfer-Encoding: chunked"),
    head("POST", EXECUTE, "Transfer-Encoding: chunked") + b"5\r\n123",
])
def test_a_body_that_stalls(hasty, sent):
    with Raw(hasty, sent) as raw, good_client(hasty):
        assert raw.reply().status == 408
        assert raw.rest() == b""


@steady(0.5)
def test_an_idle_connection_is_closed_without_a_word(hasty):
    with Raw(hasty) as fresh, Raw(hasty, GET_HEALTHZ) as used, good_client(hasty):
        assert used.reply().status == 200
        assert fresh.rest() == b""
        assert used.rest() == b""


@pytest.mark.parametrize("start, drip", [
    (b"", head("POST", EXECUTE, "X: " + "x" * 5000)),
    (head("POST", EXECUTE, "Content-Length: 5000"), b"x" * 5000),
    (head("POST", EXECUTE, "Transfer-Encoding: chunked"), chunked(*[b"x"] * 2000)),
])
def test_a_client_that_drips_does_not_win_time(hasty, start, drip):
    """A byte every 20 ms keeps no deadline away: the whole would take minutes."""
    with Raw(hasty, start) as raw, good_client(hasty):
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sock.settimeout(0.02)
        began = time.monotonic()
        for byte in drip:
            try:
                raw.send(bytes([byte]))
                if not raw.receive():
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                raw.rest()  # what came before that
                break
            assert time.monotonic() - began < 20
        assert b" 408 " in raw.buffer.split(b"\r\n")[0]


def test_bodies_in_hand_have_a_bound_in_all(make_server):
    """Each is within max_body; together they are more than there is room for."""
    service = make_server(env={"HATCHERY_SERVER_MAX_BODIES": "8M"})
    large = head("POST", EXECUTE, "Content-Length: 5000000") + b"x" * 3000000
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(Raw(service, large)) for _ in range(3)]
        ready, _, _ = select.select([raw.sock for raw in raws], [], [], 60)
        refused = next(raw for raw in raws if raw.sock in ready)
        reply = refused.reply()
        assert reply.status == 503 and "server.max_bodies" in reply["error"] and reply.headers["retry-after"] == "1"
        refused.close()
        held = [raw for raw in raws if raw is not refused]
        assert wait_for(lambda: service.run("return 1").status == 200), "there is room for a small one"
        # There is none for a larger one: the slowest goes.
        assert service.run("#" + "x" * 900000).status == 200
        assert service.run("#" + "x" * 900000).status == 200
        more = stack.enter_context(Raw(service, large))
        ready, _, _ = select.select([raw.sock for raw in [*held, more]], [], [], 60)
        assert ready[0] in [raw.sock for raw in held]
        last = next(raw for raw in held if raw.sock is not ready[0])
        last.send(b"x" * 2000000)
        assert last.reply().status == 400
    large = "#" + "x" * 900000 + "\nreturn 1"
    wait_for(lambda: service.run(large).status == 200, 30, "the others' ends are noticed")
    for _ in range(10):
        assert service.run(large).status == 200, "what was answered counts no more"


def test_a_run_may_take_longer_than_any_deadline_of_its_connection(hasty):
    assert hasty.run("import time; time.sleep(2); return 1").response["result"] == 1


def connections_of(server):
    """How many sockets of connections the server has open: those at its port that somebody holds (proc(5), net/tcp)."""
    port = f":{server.port:04X}"
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[9] != "0" for row in rows)


def test_clients_that_never_read_are_reset(hasty):
    before = connections_of(hasty)
    with contextlib.ExitStack() as stack, good_client(hasty):
        stuck = []
        for _ in range(8):
            raw = stack.enter_context(Raw(hasty))
            raw.send(post("import os\nfor _ in range(16): os.write(1, b'\\1' * 65536)\nreturn 'x' * (7 << 20)"))
            stuck.append(raw)
        # 13 MB wait for each: no kernel buffer holds that.
        for raw in stuck:
            wait_for(lambda: raw.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET, 20, "a reset")
        wait_for(lambda: connections_of(hasty) <= before + 2, 20, "their sockets are closed")


def test_replies_that_nobody_reads_have_a_bound_in_all(make_server):
    """The same large reply to many clients that don't read: those that have had theirs for longest are reset."""
    server = make_server()
    pid = server.child("server")
    large = {"code": "print(chr(127) * 1000000)\nreturn 'x' * 8000000"}
    job = server.request("POST", EXECUTE, large, headers={"idempotency-key": "large"})["job_id"]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(server, head("GET", f"/v1/jobs/{job}"))) for _ in range(60)]
        check_alive(server)
        assert int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") < 400 << 20
        assert clients[-1].reply().status == 200, "the last one is not among them"
    check_alive(server)


def test_a_slow_reader_gets_all_of_a_large_reply(server):
    with Raw(server) as raw:
        raw.send(post("return 'x' * (4 << 20)") + GET_HEALTHZ)
        while len(raw.buffer) < 50000:
            raw.buffer += raw.sock.recv(1000)
            time.sleep(0.01)  # it is the slowness that is tested
        assert raw.reply().response["result"] == "x" * (4 << 20)
        assert raw.reply().status == 200


# --- clients that vanish ---


def reset(sock):
    """Close so that the peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("close", [socket.socket.close, reset])
@pytest.mark.parametrize("sent", [
    b"", b"POST", head("POST", EXECUTE, "Content-Length: 100"), post("return 1")[:-1], post("return 1"),
    post("return 'x' * 1000000"), GET_HEALTHZ * 200, post("return 1") * 20,
    head("POST", EXECUTE, "Transfer-Encoding: chunked") + b"100\r\nabc", b"\0" * 100,
])
def test_clients_that_vanish(server, sent, close):
    with good_client(server):
        for _ in range(10):
            raw = Raw(server, sent)
            close(raw.sock)
    check_alive(server)


def test_vanished_clients_leave_no_socket(server):
    wait_for(lambda: connections_of(server) < 60, 20)
    check_alive(server)


# --- caps ---


def connect_from(server, address):
    sock = socket.create_connection((server.host, server.port), timeout=60, source_address=(address, 0))
    raw = object.__new__(Raw)
    raw.sock, raw.buffer = sock, b""
    return raw


def is_refused(raw):
    reply = raw.reply()
    if reply.status == 200:
        return False
    assert reply.status == 503
    assert reply["error"] == reply["message"] == "Too many connections"
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.headers["connection"] == "close"
    assert raw.rest() == b""
    return True


def test_the_caps_on_connections(make_server):
    server = make_server(config="[server]\nmax_connections = 7\nmax_connections_per_address = 3\n")
    with contextlib.ExitStack() as stack:
        def ask(address):
            raw = stack.enter_context(connect_from(server, address))
            raw.send(head("GET", "/v1/toolkit/authenticate"))  # who is known may stay
            return raw

        first = [ask("127.0.0.1") for _ in range(3)]
        assert not any(is_refused(raw) for raw in first)
        assert is_refused(ask("127.0.0.1")), "its address has its share"
        assert not any(is_refused(ask(address)) for address in ("127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.4"))
        assert is_refused(ask("127.0.0.5")), "the server is full"
        for raw in first:
            raw.send(GET_HEALTHZ)
            assert raw.reply().status == 200, "who is connected is served"
        for raw in first:
            raw.close()

        def there_is_room():
            return not is_refused(ask("127.0.0.5"))
        wait_for(there_is_room, what="a closed connection makes room")


OWES = head("POST", EXECUTE, "Content-Length: 100", key=None)
SERVED = head("GET", "/healthz", "Content-Length: 100", key=None, type=None)


@pytest.mark.parametrize("said", [b"", GET_HEALTHZ, b"POST / HTTP/1.1\r\n", OWES, SERVED, head("GET", "/docs") * 200])
def test_strangers_who_stay_do_not_keep_others_out(make_server, said):
    server = make_server(config="[server]\nmax_connections = 7\nmax_connections_per_address = 4\n")
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(connect_from(server, "127.0.0.4"))
        known.send(post("return 'known'"))
        assert known.reply().response["result"] == "known"
        for address in ["127.0.0.2"] * 4 + ["127.0.0.3"] * 2:
            stack.enter_context(connect_from(server, address)).send(said)
        for address in ("127.0.0.5", "127.0.0.2"):  # the server is full; so is the address
            raw = stack.enter_context(connect_from(server, address))
            raw.send(post("return 'new'"))
            assert raw.reply().response["result"] == "new"
        known.send(post("return 'still known'"))
        assert known.reply().response["result"] == "still known"


def test_connections_leave_descriptors_for_the_boxes(make_server):
    """Strangers who fill the connections must not starve the runs of those who are connected."""
    server = make_server(config="[server]\nmax_connections = 65536\nmax_connections_per_address = 65536\n", start=False)
    server.command = ["/bin/sh", "-c", 'ulimit -n 1024 && exec "$@"', "sh", *server.command]
    server.start()
    allowed = server.logged("server.max_connections is lowered to what the hard limit on open files leaves"
                            )["max_connections"]
    assert 500 < allowed < 1000
    with contextlib.ExitStack() as stack:
        hello = head("GET", "/v1/toolkit/authenticate")
        clients = [stack.enter_context(Raw(server, hello)) for _ in range(allowed + 50)]
        assert {raw.reply().status for raw in clients} == {200}, "those that came first and are idle give way"
        for raw in clients[-40:]:
            raw.send(post("return 1"))
        assert [raw.reply().status for raw in clients[-40:]] == [200] * 40
    wait_for(lambda: connections_of(server) < 100, 20, "their sockets are closed")
    check_alive(server)
