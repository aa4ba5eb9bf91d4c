# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on the wire: framing, what is refused, deadlines, caps, and clients that misbehave."""
import contextlib
import errno
import gzip
import os
import select
import socket
import struct
import threading
import time

import pytest

import tables
from client import EXECUTE
from processes import wait_for
from raw import GET_HEALTHZ, Raw, head, post
from service import Service
from steady import StandStill, steady


def chunked(*pieces, last=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + last


def check_alive(server):
    assert server.run("return 'alive'").response["result"] == "alive"


# --- one connection, many requests ---


def test_keep_alive(server):
    connection = server.connect()
    for i in range(20):
        reply = server.run(f"return {i}", connection=connection)
        assert reply.response["result"] == i
        assert reply.headers["connection"] is None
    assert connection.sock is not None, "it was one connection throughout"


def test_pipelined_requests_are_answered_in_order(server):
    # The first ones are the slowest, so that answers out of order would show.
    requests = [post(f"import time; time.sleep({0.2 if i < 2 else 0}); return {i}", id=str(i)) for i in range(12)]
    with Raw(server, b"".join(requests)) as raw:
        for i in range(12):
            reply = raw.reply()
            assert (reply["id"], reply.response["result"]) == (str(i), i)


def test_many_pipelined_requests(server):
    with Raw(server) as raw:
        sender = threading.Thread(target=raw.send, args=(GET_HEALTHZ * 5000,))
        sender.start()
        for _ in range(5000):
            assert raw.reply().status == 200
        sender.join()


def test_refusals_do_not_disturb_the_pipeline(server):
    bad = head("POST", EXECUTE, "Content-Length: 5", key=None) + b"12345"
    with Raw(server, post("return 1") + bad + head("GET", "/none") + head("PUT", EXECUTE) + post("return 2")) as raw:
        assert [raw.reply().status for _ in range(5)] == [200, 401, 404, 405, 200]


def test_a_request_and_a_half(server):
    request = post("return 'whole'")
    for cut in (1, 10, len(request) // 2, request.index(b"\r\n\r\n") + 2, len(request) - 1):
        with Raw(server, request + request[:cut]) as raw:
            assert raw.reply().response["result"] == "whole"
            raw.send(request[cut:])
            assert raw.reply().response["result"] == "whole"


def test_one_byte_at_a_time(server):
    with Raw(server) as raw:
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post("return 'bytes'"):
            raw.send(bytes([byte]))
        assert raw.reply().response["result"] == "bytes"


def test_connection_close(server):
    with Raw(server, post("return 1", "Connection: close")) as raw:
        reply = raw.reply()
        assert reply.response["result"] == 1
        assert reply.headers["connection"] == "close"
        assert raw.rest() == b""


def test_a_client_that_closes_its_side_behind_a_get_is_answered(server):
    with Raw(server, GET_HEALTHZ) as raw:
        raw.sock.shutdown(socket.SHUT_WR)
        assert raw.reply().status == 200
        assert raw.rest() == b""


@pytest.mark.parametrize("name, one, other", [("X-Runtime", "default", "data"), ("Idempotency-Key", "one", "other")])
def test_a_header_that_is_there_twice(server, name, one, other):
    """A proxy that allows one of them may have looked at the other."""
    with Raw(server, post("return 1", f"{name}: {one}", f"{name.lower()}: {other}")) as raw:
        reply = raw.reply()
    assert reply.status == 400 and reply["error"].startswith(name)


@pytest.mark.parametrize("path, key", [("/v1/jobs", True), ("/v1/jobs", False), ("/readyz", False), ("/openapi.json", False)])
def test_nothing_is_for_a_cache(server, path, key):
    assert server.request("GET", path, key=key).headers["cache-control"] == "no-store"


def test_head(server):
    with Raw(server, GET_HEALTHZ.replace(b"GET", b"HEAD") + GET_HEALTHZ) as raw:
        empty = raw.reply("HEAD")
        full = raw.reply()
        assert empty.status == full.status == 200
        assert int(empty.headers["content-length"]) == len(full.body)
    with Raw(server, head("HEAD", EXECUTE) + head("HEAD", "/none", "Connection: close")) as raw:
        assert raw.reply("HEAD").status == 405
        assert raw.reply("HEAD").status == 404
        assert raw.rest() == b"", "no reply to HEAD has a body"


def test_http_1_0(server):
    body = b'{"code": "return 1"}'
    with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}", version="HTTP/1.0", host=None) + body) as raw:
        assert raw.reply().response["result"] == 1
        assert raw.rest() == b"", "the connection ends with it"
    with Raw(server, head("GET", "/healthz", "Connection: keep-alive", version="HTTP/1.0") + GET_HEALTHZ) as raw:
        assert raw.reply().headers["connection"] == "close"
        assert raw.rest() == b""


@pytest.mark.parametrize("query", ["?", "?a=b", "?a=/v1/none&%00"])
def test_a_query_is_no_part_of_the_path(server, query):
    with Raw(server, head("GET", "/healthz" + query)) as raw:
        assert raw.reply().status == 200


# --- chunked bodies ---


@pytest.mark.parametrize("body", [
    chunked(b'{"code": "return 1"}'),
    chunked(*[bytes([b]) for b in b'{"code": "return 1"}']),
    chunked(b'{"code": ', b'"return 1"}', last=b"000\r\n\r\n"),
    chunked(b'{"code": ', b'"return 1"}', last=b"0;a=b\r\nTrailer: ignored\r\n\r\n"),
    b"14;name=value\r\n" + b'{"code": "return 1"}' + b"\r\n0\r\n\r\n",
    b"00000014\r\n" + b'{"code": "return 1"}' + b"\r\n0\r\n\r\n",
])
def test_chunked_bodies(server, body):
    request = head("POST", EXECUTE, "Transfer-Encoding: chunked") + body
    with Raw(server, request + request) as raw:
        assert raw.reply().response["result"] == 1
        assert raw.reply().response["result"] == 1


@pytest.mark.parametrize("body", [
    b"x\r\n", b"-1\r\n", b"+5\r\n12345", b"0x5\r\n12345", b" 5\r\n12345\r\n0\r\n\r\n", b"5 \r\n12345\r\n0\r\n\r\n",
    b"5\n12345\r\n0\r\n\r\n", b"5\r\n12345xx0\r\n\r\n", b"5\r\n123456\r\n0\r\n\r\n", b"\r\n", b"5\r12345\r\n0\r\n\r\n",
    b"123456789\r\n", b"ffffffffffffffff\r\n", b"10000000000000005\r\n12345\r\n0\r\n\r\n",
    b"5;\0\r\n12345\r\n0\r\n\r\n", b"5;" + b"a" * 5000, b"0\r\nbad trailer\r\n\r\n", b"0\r\n a: folded\r\n\r\n",
    b"0\r\n" + b"A: b\r\n" * 2000, b"0\r\n\n", b"0\r\nA: b\n\r\n",
])
def test_bad_chunks_are_refused(server, body):
    with Raw(server, head("POST", EXECUTE, "Transfer-Encoding: chunked") + body) as raw:
        reply = raw.reply()
        assert reply.status in (400, 413)
        assert reply.headers["connection"] == "close"
        raw.rest()
    check_alive(server)


def test_chunks_beyond_the_largest_body(server):
    with Raw(server, head("POST", EXECUTE, "Transfer-Encoding: chunked") + b"600000\r\n") as raw:
        raw.send(b"x" * 0x600000 + b"\r\n")
        raw.send(b"200000\r\n")
        assert raw.reply().status == 413
        assert raw.rest() == b""


# --- Expect: 100-continue ---


def test_a_body_that_nobody_wants_takes_no_memory(make_server):
    """Without the key: many connections, each with a body of the largest size but for its last byte."""
    server = make_server()
    pid, size = server.child("server"), 6 << 20

    def resident():
        return int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

    before = resident()
    with contextlib.ExitStack() as stack:
        for path in ["/healthz", "/readyz"] * 8:
            raw = stack.enter_context(Raw(server, head("GET", path, f"Content-Length: {size}", key=None, type=None)))
            with contextlib.suppress(ConnectionError):
                raw.send(b"x" * (size - 1))
            assert raw.reply().status == 200
        assert resident() - before < 32 << 20, "of 96"
    check_alive(server)


@pytest.mark.parametrize("how", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_no_continue_for_a_body_that_nobody_wants(server, how):
    with Raw(server, head("GET", "/healthz", how, "Expect: 100-continue", key=None, type=None)) as raw:
        assert raw.reply().status == 200
        assert raw.rest() == b""


def test_continue(server):
    body = b'{"code": "return 1"}'
    with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}", "Expect: 100-Continue")) as raw:
        assert raw.reply().status == 100
        raw.send(body)
        assert raw.reply().response["result"] == 1
        raw.send(post("return 2"))
        assert raw.reply().response["result"] == 2


@pytest.mark.parametrize("status, request_head", [
    (401, head("POST", EXECUTE, "Content-Length: 20", "Expect: 100-continue", key="wrong")),
    (413, head("POST", EXECUTE, "Content-Length: 99999999", "Expect: 100-continue")),
    (415, head("POST", EXECUTE, "Content-Length: 20", "Expect: 100-continue", type="text/plain")),
    (404, head("POST", "/none", "Content-Length: 20", "Expect: 100-continue")),
    (417, head("POST", EXECUTE, "Content-Length: 20", "Expect: 200-ok")),
])
def test_no_continue_for_what_is_refused(server, status, request_head):
    with Raw(server, request_head) as raw:
        assert raw.reply().status == status, "and no 100 before it"
        assert raw.rest() == b"", "the body may come or not: nobody can tell what follows"


def test_no_continue_when_the_body_is_there(server):
    body = b'{"code": "return 1"}'
    with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}", "Expect: 100-continue") + body) as raw:
        reply = raw.reply()
        if reply.status == 100:  # allowed: RFC 9110 section 10.1.1
            reply = raw.reply()
        assert reply.response["result"] == 1


# --- what would change a body's meaning ---

RULES = tables.entries("server/http/body_fields.def", "REFUSED")


@pytest.mark.parametrize("name, scope, values, status, sentence", RULES, ids=[rule[0] for rule in RULES])
def test_a_field_that_changes_what_is_meant(server, name, scope, values, status, sentence):
    """Refused with its sentence, before the body is read; what it may say all the same is served."""
    with Raw(server) as raw:
        for value in ("gzip", "br", "x-other", "identity, gzip", "bytes 0-4/5", "GET"):
            raw.send(head("POST", EXECUTE, "Content-Length: 5", f"{name}: {value}") + b"12345")
            reply = raw.reply()
            assert (reply.status, reply["error"]) == (int(status), sentence)
            assert reply["error"].startswith(name)
            assert (reply.headers["accept-encoding"] == "identity") == (status == "415")
        for value in ["", *values.replace("METHOD", "POST").split()]:
            raw.send(post("return 1", f"{name.title()}: {value.upper()}"))
            assert raw.reply().response["result"] == 1
        raw.send(post("return 1", f"{name}: ", f"{name}: gzip"))
        assert raw.reply().status == int(status), "of two, one is refused"
        raw.send(head("GET", "/v1/toolkit/authenticate", f"{name}: gzip"))
        assert raw.reply().status == (200 if scope == "BODIES" else int(status)), "there is no body"


@pytest.mark.parametrize("name, why", tables.entries("server/http/body_fields.def", "IGNORED"))
def test_a_field_that_changes_nothing(server, name, why):
    assert why
    with Raw(server, post("return 1", f"{name}: h2c", "Connection: upgrade, te") + post("return 2", f"{name}: x")) as raw:
        assert [raw.reply().response["result"] for _ in range(2)] == [1, 2]


def test_a_compressed_body(server):
    """It is refused for what it is, and not as JSON with a mistake."""
    body = gzip.compress(b'{"code": "return 1"}')
    with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}", "Content-Encoding: gzip") + body + GET_HEALTHZ) as raw:
        assert [raw.reply().status for _ in range(2)] == [415, 200]


# --- what two parsers could read differently ---

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def lines(*fields):
    return head("POST", EXECUTE, *fields)


VECTORS = {
    "TE and CL": lines("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "CL and TE": lines("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
    "two CL": lines("Content-Length: 0", "Content-Length: 5"),
    "two equal CL": lines("Content-Length: 0", "Content-Length: 0"),
    "CL list": lines("Content-Length: 0, 0"),
    "CL sign": lines("Content-Length: +0"),
    "CL minus": lines("Content-Length: -1"),
    "CL hex": lines("Content-Length: 0x0"),
    "CL underscore": lines("Content-Length: 1_0"),
    "CL decimal": lines("Content-Length: 0.0"),
    "CL exponent": lines("Content-Length: 0e0"),
    "CL empty": lines("Content-Length:"),
    "CL word": lines("Content-Length: five"),
    "CL inner blank": lines("Content-Length: 1 0"),
    "CL overflow": lines("Content-Length: 18446744073709551616"),
    "CL larger": lines("Content-Length: " + "9" * 40),
    "CL quoted": lines('Content-Length: "0"'),
    "CL other digits": lines("Content-Length: \u0660"),
    "TE identity": lines("Transfer-Encoding: identity"),
    "TE gzip": lines("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "TE twice chunked": lines("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "two TE": lines("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "TE chunked, identity": lines("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "TE xchunked": lines("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "TE quoted": lines('Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "TE with parameter": lines("Transfer-Encoding: chunked;a=b") + b"0\r\n\r\n",
    "TE with vertical tab": lines("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "TE in HTTP/1.0": head("POST", EXECUTE, "Transfer-Encoding: chunked", version="HTTP/1.0") + b"0\r\n\r\n",
    "blank before colon": lines("Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "tab before colon": lines("Content-Length\t: 0"),
    "no colon": lines("Content-Length 0"),
    "no name": lines(": 0"),
    "name with a blank": lines("Content Length: 0"),
    "name with NUL": lines("Content-Length\0: 0"),
    "name above ASCII": lines("Cont\u00e9nt: 0"),
    "folded line": lines("X: a", " b"),
    "folded with tab": lines("X: a", "\tb"),
    "folded first line": head().replace(b"\r\nHost", b"\r\n Host", 1),
    "folded TE": lines("Transfer-Encoding:", " chunked") + b"0\r\n\r\n",
    "bare LF in a value": lines("X: a\nContent-Length: 0"),
    "bare CR in a value": lines("X: a\rContent-Length: 0"),
    "bare LF for a line's end": lines("Content-Length: 0").replace(b"\r\nContent", b"\nContent"),
    "bare LFs only": lines("Content-Length: 0").replace(b"\r\n", b"\n"),
    "CR CR LF": lines("Content-Length: 0\r"),
    "LF CR for the end": lines("Content-Length: 0")[:-2] + b"\n\r\n",
    "NUL in a value": lines("X: a\0b"),
    "control in a value": lines("X: a\x01b"),
    "DEL in a value": lines("X: a\x7fb"),
    "no Host": head(host=None),
    "two Hosts": lines("Host: h"),
    "Host list": head(host="a, b"),
    "Host with path": head(host="a/b"),
    "Host with user": head(host="a@b"),
    "Host with blank": head(host="a b"),
    "two content types": lines("Content-Type: application/json"),
    "two Expects": lines("Expect: 100-continue", "Expect: 100-continue"),
    "no version": b"POST " + EXECUTE.encode() + b"\r\nHost: h\r\n\r\n",
    "version lower case": head(version="http/1.1"),
    "version with more digits": head(version="HTTP/1.10"),
    "version comma": head(version="HTTP/1,1"),
    "version missing": head(version=""),
    "version with a blank behind it": head(version="HTTP/1.1 "),
    "two blanks": head().replace(b"POST ", b"POST  ", 1),
    "tab for a blank": head().replace(b"POST ", b"POST\t", 1),
    "blank before the method": b" " + head(),
    "method with a parenthesis": head("PO(ST"),
    "method with NUL": head("PO\0ST"),
    "absolute target": head(path="http://h" + EXECUTE),
    "asterisk target": head("OPTIONS", "*"),
    "authority target": head("CONNECT", "h:80"),
    "target without a slash": head(path="v1/code/execute/python"),
    "target with a fragment": head(path=EXECUTE + "#x"),
    "target with a blank": head(path=EXECUTE + " x"),
    "target with NUL": head(path=EXECUTE + "\0"),
    "target above ASCII": head(path=EXECUTE + "\u00e9"),
    "two empty lines first": b"\r\n\r\n" + head(),
    "an LF first": b"\n" + head(),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SOCKS": b"\x05\x01\x00",
    "a reply": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("what", VECTORS)
def test_ambiguous_requests_are_refused_and_the_connection_closed(server, what):
    with Raw(server) as raw:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            raw.send(VECTORS[what] + SMUGGLED)
        reply = raw.reply()
        assert reply.status == (505 if what == "HTTP/2 preface" and reply.status == 505 else 400), reply
        assert reply.headers["connection"] == "close"
        assert raw.rest() == b"", "nothing behind it is taken for a request"
    check_alive(server)


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/1.2"])
def test_other_versions(server, version):
    with Raw(server, head("GET", "/healthz", version=version) + SMUGGLED) as raw:
        assert raw.reply().status == 505
        assert raw.rest() == b""


def test_one_empty_line_first_is_forgiven(server):
    with Raw(server, b"\r\n" + GET_HEALTHZ + b"\r\n" + GET_HEALTHZ) as raw:
        assert raw.reply().status == 200
        assert raw.reply().status == 200


def test_an_unknown_method_is_not_allowed(server):
    with Raw(server, head("BREW", EXECUTE) + SMUGGLED) as raw:
        reply = raw.reply()
        assert reply.status == 405
        assert reply.headers["allow"] == "POST"
        assert raw.rest() == b""


@pytest.mark.parametrize("status, request_head", [
    (431, head("GET", "/healthz", "X: " + "x" * 20000)),
    (431, head("GET", "/healthz", *["X: " + "x" * 1000] * 20)),
    (431, head("GET", "/healthz", *["X: y"] * 101)),
    (431, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20000),
    (414, head("GET", "/" + "x" * 8192)),
    (414, b"GET /" + b"x" * 20000),
])
def test_heads_without_end(server, status, request_head):
    with Raw(server) as raw:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            raw.send(request_head)
        assert raw.reply().status == status
        assert raw.rest() == b""
    check_alive(server)


def test_heads_at_the_bounds(server):
    fields = [f"X-{i}: y" for i in range(97)]  # with Host, x-api-key and content-type: 100
    with Raw(server, head("GET", "/healthz", *fields) + head("GET", "/healthz?" + "x" * 8000)) as raw:
        assert raw.reply().status == 200
        assert raw.reply().status == 200


def test_bytes_of_a_request_do_not_come_back_in_a_head(server):
    with Raw(server, head("GET", "/none%0d%0aSet-Cookie:x", "X: injected")) as raw:
        reply = raw.reply()
        assert reply.status == 404
        assert {name.lower() for name in reply.headers} == {"content-type", "content-length", "x-content-type-options", "cache-control"}


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


# --- other listeners ---


def test_a_unix_socket(make_server, tmp_path):
    path = tmp_path / "hatchery.sock"
    if os.geteuid() == 0:
        os.chown(tmp_path, 0, 65534)
        tmp_path.chmod(0o2750)  # the proxy's group comes from the directory: docs/guide.md
    server = make_server(listen=f"unix:{path}")
    assert str(path) in server.announcement
    assert path.stat().st_mode & 0o777 == 0o660, "not for everybody"
    assert path.stat().st_gid == tmp_path.stat().st_gid
    connection = server.connect()
    for i in range(3):
        assert server.run(f"return {i}", connection=connection).response["result"] == i
    assert server.request("POST", EXECUTE, {"code": ""}, key=False).status == 401
    connection.close()
    assert server.stop() == 0
    assert not path.exists()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback")
def test_ipv6(make_server):
    server = make_server(listen="[::1]:0")
    assert "http://[::1]:" in server.announcement
    check_alive(server)


def test_localhost(make_server):
    check_alive(make_server(listen="localhost:0"))
