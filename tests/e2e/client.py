# SPDX-License-Identifier: Apache-2.0
"""A client of a server: one request and its reply."""
import http.client
import json
import socket

KEY = "test-key"
EXECUTE = "/v1/code/execute/python"


class Reply:
    """Status, headers and the JSON of a reply; members are read with []."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        is_json = headers.get("content-type", "application/json").startswith("application/json")
        self.json = json.loads(body) if body and is_json else None

    def __getitem__(self, name):
        return self.json[name]

    def __contains__(self, name):
        return name in self.json

    def __repr__(self):
        return f"<{self.status} {self.body!r}>"

    @property
    def response(self):
        assert self.status == 200, self
        return self.json["response"]

    @property
    def stdout(self):
        return (self.json["response"] or self.json)["stdout"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """Asks the server at @listen (unix:PATH), or at @host and @port, with @key."""

    contract = None  # what every reply must be like (contract.py)
    listen, path, host, port, key = "", None, None, None, KEY

    def connect(self, timeout=60):
        if self.listen.startswith("unix:"):
            return UnixConnection(self.path, timeout)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def socket(self, timeout=60):
        """A raw TCP connection."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def request(self, method, path, body=None, headers=None, connection=None, key=True, timeout=60):
        """One request; @body that is no bytes and no str is sent as JSON."""
        own = connection or self.connect(timeout)
        headers = dict(headers or {})
        if key and self.key is not None:
            headers.setdefault("x-api-key", self.key)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("content-type", "application/json")
        try:
            own.request(method, path, body=body.encode() if isinstance(body, str) else body, headers=headers)
            answer = own.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        except TimeoutError:
            raise AssertionError("no reply; " + self.why_no_reply()) from None
        if connection is None:
            own.close()
        if self.contract:
            self.contract.check(method, path, reply)
        return reply

    def run(self, code, connection=None, **members):
        """POST /v1/code/execute/python."""
        return self.request("POST", EXECUTE, {"code": code, **members}, connection=connection)

    def queue_length(self):
        return self.request("GET", "/v1/toolkit/authenticate")["queue_length"]

    def why_no_reply(self):
        """For the message of a test that got none."""
        return ""
