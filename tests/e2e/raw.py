# SPDX-License-Identifier: Apache-2.0
"""HTTP by hand, for what no client library would send."""
import contextlib
import http.client
import io
import json

from client import EXECUTE, KEY, Reply
from processes import wait_for


class Raw:
    """A TCP connection to a service: bytes out, replies in."""

    def __init__(self, server, data=b"", timeout=60):
        self.sock = server.socket(timeout)
        self.buffer = b""
        if data:
            self.send(data)

    def send(self, data):
        self.sock.sendall(data)

    def receive(self):
        """More bytes into the buffer; False at the end of the connection."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def take(self, n):
        while len(self.buffer) < n:
            assert self.receive(), f"the connection ended within a reply: {self.buffer!r}"
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def reply(self, method="POST"):
        """The next reply, 100 Continue included."""
        while b"\r\n\r\n" not in self.buffer:
            assert self.receive(), f"the connection ended before a reply: {self.buffer!r}"
        head = self.take(self.buffer.index(b"\r\n\r\n") + 4)
        line, _, fields = head.partition(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = http.client.parse_headers(io.BytesIO(fields))
        has_body = method != "HEAD" and status != b"100"
        return Reply(int(status), headers, self.take(int(headers["content-length"])) if has_body else b"")

    def rest(self):
        """What still comes until the server closes the connection."""
        while self.receive():
            pass
        return self.buffer

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def head(method="POST", path=EXECUTE, *fields, version="HTTP/1.1", host="h", key=KEY, type="application/json"):
    """A request's head; @fields are lines; None leaves host, key or type out."""
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in (("Host", host), ("x-api-key", key), ("content-type", type))
              if value is not None]
    return "\r\n".join([*lines, *fields, "", ""]).encode()


def post(code, *fields, **members):
    """A whole request to run @code."""
    body = json.dumps({"code": code, **members}).encode()
    return head("POST", EXECUTE, f"Content-Length: {len(body)}", *fields) + body


def chunked(*pieces, last=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + last


@contextlib.contextmanager
def running(server, code, **members):
    """A connection whose program runs."""
    with Raw(server, post(code, **members), timeout=60) as raw:
        wait_for(lambda: server.below("sleep"), 20, "it runs")
        yield raw


def check_alive(server):
    assert server.run("return 'alive'").response["result"] == "alive"


GET_HEALTHZ = head("GET", "/healthz", key=None, type=None)
