# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on the wire: framing, and what is refused.  Deadlines and caps: test_http_limits.py."""
import contextlib
import gzip
import os
import socket
import threading

import pytest

import tables
from client import EXECUTE
from raw import GET_HEALTHZ, Raw, check_alive, chunked, head, post


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
