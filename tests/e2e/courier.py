# SPDX-License-Identifier: Apache-2.0
"""hatchery-courier as a test drives it: supervisor and server are this process, receivers are on loopback, and names
are what a hosts file or a name server of the test's own say, in a mount namespace of the courier's own."""
import base64
import ctypes
import fcntl
import hashlib
import hmac
import json
import os
import pathlib
import queue
import random
import select
import socket
import subprocess
import sys
import tempfile
import threading

from processes import wait_for
from service import ROOT

COURIER = os.environ.get("HATCHERY_COURIER", str(ROOT / "build" / "hatchery-courier"))
CONF, SERVER, ORDER = 1, 2, 3
ANSWERED, FAILED, REFUSED = 0, 1, 2
SECONDS = 30  # for whatever should happen at once, on a busy machine


# --- src/courier/courier.h ---

class Secret(ctypes.Structure):
    _fields_ = [("key", ctypes.c_ubyte * 64), ("len", ctypes.c_uint)]


class Conf(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("log_format", ctypes.c_int), ("log_level", ctypes.c_int),
                ("timeout_ms", ctypes.c_uint), ("per_host", ctypes.c_uint), ("in_all", ctypes.c_uint),
                ("allow", ctypes.c_char * 4096), ("ports", ctypes.c_char * 512), ("n_secrets", ctypes.c_uint), ("secrets", Secret * 8)]


class Order(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("delivery", ctypes.c_uint64), ("body_len", ctypes.c_uint64),
                ("webhook_id", ctypes.c_char * 64), ("traceparent", ctypes.c_char * 64), ("url", ctypes.c_char * 2049)]


class Result(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("delivery", ctypes.c_uint64), ("verdict", ctypes.c_int),
                ("status", ctypes.c_int), ("duration_us", ctypes.c_int64), ("retry_after_s", ctypes.c_int64),
                ("address", ctypes.c_char * 64), ("error", ctypes.c_char * 256)]

    def __repr__(self):
        return f"<{self.delivery}: {self.verdict} {self.status} {self.retry_after_s} {self.address} {self.error}>"


def secret_bytes(text):
    return base64.b64decode(text.removeprefix("whsec_"))


def signature(secret, webhook_id, timestamp, body):
    mac = hmac.new(secret_bytes(secret), f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def memfd(body, seals=15):
    fd = os.memfd_create("body", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, len(body))
    os.pwrite(fd, body, 0)
    fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS; 15: SEAL, SHRINK, GROW, WRITE
    return fd


# Puts files over those of /etc, gives up root where there is any, and becomes the courier.
LAUNCH = r"""
import fcntl, os, subprocess, sys
fd, binary, *binds = sys.argv[1:]
for source, target in zip(binds[::2], binds[1::2]):
    subprocess.run(["mount", "--bind", source, target], check=True)
program = fcntl.fcntl(os.open(binary, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 200)
os.dup2(int(fd), 3, inheritable=True)
os.closerange(4, program)
if os.geteuid() == 0 and open("/proc/self/uid_map").read().split()[2] != "1":
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
os.execve(program, ["hatchery-courier"], os.environ)
"""


class Courier:
    """@files: what /etc/NAME shall be for the courier; @env: its environment, empty as the supervisor leaves it."""

    def __init__(self, allow="private", ports="80 443 1024-65535", timeout_ms=20000, per_host=4, in_all=16, secrets=(), files=None, env=None):
        self.directory = tempfile.TemporaryDirectory(prefix="hatchery-test-")
        os.chmod(self.directory.name, 0o755)
        self.log_path = pathlib.Path(self.directory.name, "log")
        self.supervisor, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server = None
        self.next = 0
        command = [sys.executable, "-c", LAUNCH, str(theirs.fileno()), COURIER]
        if files:
            flags = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
            command = ["unshare", *flags, *command]
        for name, text in (files or {}).items():
            path = pathlib.Path(self.directory.name, name.replace("/", "_"))
            path.write_text(text)
            path.chmod(0o644)
            command += [str(path), "/etc/" + name]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, pass_fds=[theirs.fileno()],
                                            env={"PATH": os.environ["PATH"], **(env or {})})
        theirs.close()
        conf = Conf(type=CONF, log_format=1, timeout_ms=timeout_ms, per_host=per_host, in_all=in_all,
                    allow=allow.encode(), ports=ports.encode(), n_secrets=len(secrets))
        for slot, secret in zip(conf.secrets, secrets):
            key = secret_bytes(secret)
            slot.len = len(key)
            slot.key[:len(key)] = key
        self.supervisor.send(bytes(conf))
        self.new_server()

    def new_server(self):
        """Give it another server's socket; returns the end that is the server's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.supervisor, [bytes(ctypes.c_int(SERVER))], [theirs.fileno()])
        theirs.close()
        ours.settimeout(SECONDS)
        self.server = ours
        return ours

    def order(self, url, body=b'{"a": 1}', webhook_id="msg_1", traceparent="", fd=None, **members):
        """Order an attempt; returns its number."""
        fd = memfd(body) if fd is None else fd
        order = Order(type=ORDER, delivery=self.next + 1, body_len=len(body), webhook_id=webhook_id.encode(),
                      traceparent=traceparent.encode(), url=url.encode())
        for name, value in members.items():
            setattr(order, name, value)
        try:
            socket.send_fds(self.server, [bytes(order)], [fd])
        finally:
            os.close(fd)
        self.next += 1
        return self.next

    def work(self):
        """Its state and the processor's time that it has had so far."""
        words = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return words[0], int(words[11]) + int(words[12])

    def result(self, delivery=None, seconds=SECONDS):
        """The next result, which must be that of @delivery."""
        self.server.settimeout(seconds)
        data = self.server.recv(4096)
        assert len(data) == ctypes.sizeof(Result), data
        result = Result.from_buffer_copy(data)
        assert delivery in (None, result.delivery), result
        return result

    def deliver(self, url, **keywords):
        return self.result(self.order(url, **keywords))

    def log(self):
        """Its lines but for one that is being written."""
        return [json.loads(line) for line in self.log_path.read_text().rpartition("\n")[0].splitlines()]

    def attempt(self, delivery):
        """The log's line of an attempt."""
        return wait_for(lambda: next((line for line in self.log() if line.get("delivery") == delivery), None), SECONDS)

    def stop(self):
        """The supervisor ends, and the courier with it."""
        self.supervisor.close()
        status = self.process.wait(SECONDS)
        if self.server:
            self.server.close()
        self.directory.cleanup()
        return status


# --- receivers ---

class Request:
    def __init__(self, head, body):
        self.line, *fields = head.decode("latin-1").split("\r\n")
        self.headers = {}
        for field in fields:
            name, value = field.split(": ", 1)
            assert name.lower() not in self.headers
            self.headers[name.lower()] = value
        self.body = body


def answer(status="200 OK", body=b"", *fields):
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields])
    return head.encode() + b"\r\n\r\n" + body


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return Request(head, body)


def wait_for_end(connection):
    """Say nothing until the other side goes."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def cut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Receiver:
    """Listens on @address; what it has read goes into @requests.  @behaviour is bytes to answer with, once or, where
    @keep_alive, to every request of a connection; or a function that gets the connection after a request was read."""

    def __init__(self, behaviour=answer(), address="127.0.0.1", port=0, tls=None, keep_alive=False):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://{'[' + address + ']' if ':' in address else address}:{self.port}"
        self.behaviour, self.tls, self.keep_alive = behaviour, tls, keep_alive
        self.requests = queue.Queue()
        self.connections = 0
        self.ended = queue.Queue()  # one entry for each connection that is over
        self.open = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            while request := read_request(connection):
                self.requests.put(request)
                if callable(self.behaviour):
                    self.behaviour(connection)
                else:
                    connection.sendall(self.behaviour)
                if not self.keep_alive:
                    break
        except OSError as error:
            self.ended.put(error)
        else:
            self.ended.put(None)
        connection.close()
        self.open.discard(connection)

    def request(self, seconds=SECONDS):
        """The next request it got."""
        return self.requests.get(timeout=seconds)

    def close(self):
        cut(self.listener)  # wakes accept, which would go on otherwise
        self.listener.close()
        for connection in list(self.open):
            cut(connection)


# --- names ---

class NameServer:
    """Answers look-ups of IPv4 addresses on port 53 of a loopback address of its own.  @answers maps a name to a
    list of address lists, one for each look-up and the last for all that follow; or to None: no answer at all."""

    def __init__(self, answers):
        self.answers = {name: list(lists) if lists is not None else None for name, lists in answers.items()}
        self.queries = queue.Queue()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            self.address = f"127.{random.randrange(64, 200)}.{random.randrange(1, 250)}.{random.randrange(1, 250)}"
            try:
                self.socket.bind((self.address, 53))
                break
            except PermissionError:
                raise
            except OSError:
                continue
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def files(self):
        return {"resolv.conf": f"nameserver {self.address}\noptions timeout:30 attempts:1\n", "hosts": "\n",
                "nsswitch.conf": "hosts: files dns\n"}

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            end = query.index(b"\0", 12)
            labels, at = [], 12
            while at < end:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            name, kind = ".".join(labels).lower(), int.from_bytes(query[end + 1:end + 3], "big")
            question = query[12:end + 5]
            addresses, code = self.look_up(name, kind)
            self.queries.put((name, kind))
            if addresses is None:
                continue
            records = b"".join(b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\0" + len(raw).to_bytes(2, "big") + raw
                               for raw in addresses)
            flags = (0x8180 | code).to_bytes(2, "big")
            counts = b"\0\1" + len(addresses).to_bytes(2, "big") + b"\0\0\0\0"
            self.socket.sendto(query[:2] + flags + counts + question + records, peer)

    def look_up(self, name, kind):
        if name not in self.answers:
            return [], 3
        lists = self.answers[name]
        if lists is None:
            return None, 0
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        wanted = [a for a in lists[0] if (":" in a) == (family == socket.AF_INET6)] if family else []
        if family == socket.AF_INET6 and len(lists) > 1:  # A and AAAA are asked together, A first
            del lists[0]
        return [socket.inet_pton(family, a) for a in wanted], 0

    def close(self):
        cut(self.socket)  # wakes recvfrom
        self.socket.close()


def make_certificate(directory, name):
    """A certificate that is its own authority, for @name.  Returns the paths of certificate and key."""
    certificate, key = pathlib.Path(directory, name + ".crt"), pathlib.Path(directory, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}"], check=True, capture_output=True)
    return certificate, key


def drip(connection, bytes_of):
    """Send one byte after the other, and wait a little for the other side's end in between."""
    for byte in bytes_of:
        connection.sendall(bytes([byte]))
        if select.select([connection], [], [], 0.05)[0] and not connection.recv(1):
            return
