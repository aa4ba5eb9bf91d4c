# SPDX-License-Identifier: Apache-2.0
"""A webhook receiver on loopback that behaves as the path says."""
import http.server
import socket
import socketserver
import threading

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDNsUgYlIg"
HOOKS = {"HATCHERY_WEBHOOKS_ALLOW": "private", "HATCHERY_WEBHOOKS_RETRIES": "100ms 200ms 300ms",
         "HATCHERY_WEBHOOKS_TIMEOUT": "20s", "HATCHERY_WEBHOOKS_PER_HOST": "4",
         "HATCHERY_WEBHOOKS_SECRET": f"{SECRET} {OLD_SECRET}"}


class Delivery:
    """What arrived: path, headers (lower-case names), body."""

    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, {k.lower(): v for k, v in headers.items()}, body


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        with receiver.changed:
            receiver.got.append(Delivery(self.path, self.headers, body))
            count = sum(d.path == self.path for d in receiver.got)
            receiver.changed.notify_all()
        getattr(self, self.path[1:].partition("/")[0])(count)

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", "0")
        self.end_headers()

    def ok(self, count):
        self.answer(200)

    def flaky(self, count):
        """500, then 200."""
        self.answer(500 if count == 1 else 200)

    def unready(self, count):
        """404, then 200, as n8n's Wait node."""
        self.answer(404 if count == 1 else 200)

    def down(self, count):
        self.answer(503)

    def gone(self, count):
        self.answer(410)

    def later(self, count):
        self.answer(429 if count == 1 else 200, retry_after="1")

    def redirect(self, count):
        self.answer(307, location="/ok/redirected")

    def hang(self, count):
        self.server.receiver.released.wait(60)

    def drip(self, count):
        """A head that never ends, a byte at a time."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not self.server.receiver.released.wait(0.1):
            try:
                self.wfile.write(b".")
            except OSError:
                return

    def endless(self, count):
        """A success whose body never ends."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while not self.server.receiver.released.is_set():
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def close(self, count):
        """Close without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        pass


class Receiver:
    def __init__(self):
        self.got = []
        self.changed = threading.Condition()
        self.released = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.receiver = self
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    def wait(self, path, count=1, seconds=30):
        """Wait until @count deliveries to @path have come; returns them."""
        def found():
            return [d for d in self.got if d.path == "/" + path]
        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= count, seconds), (path, found())
            return found()

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
