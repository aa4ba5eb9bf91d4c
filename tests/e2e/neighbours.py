# SPDX-License-Identifier: Apache-2.0
"""Clients that take what they can get, in random mixes: neighbours.py SEED SECONDS PORT KEY KEY...

A process of its own, so that whoever measures beside it has an interpreter to itself.  Prints what it begins, and when."""
import contextlib
import json
import os
import random
import select
import socket
import sys
import threading
import time

from client import EXECUTE
from raw import head

SLICE_S = 2.5  # a mix lasts this long


class Mix:
    """The time and the place of one mix; each neighbour has some addresses and a key."""

    def __init__(self, rng, port, key, end):
        self.rng, self.port, self.key, self.end = rng, port, key, end
        self.addresses = [f"127.0.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}" for _ in range(rng.choice([1, 2, 40]))]

    def over(self):
        return time.monotonic() > self.end

    def connect(self, receive_buffer=0):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5)
        sock.bind((self.rng.choice(self.addresses), 0))
        sock.connect(("127.0.0.1", self.port))
        return sock

    def post(self, code, *fields, **members):
        body = json.dumps({"code": code, **members}).encode()
        return head("POST", EXECUTE, f"Content-Length: {len(body)}", *fields, key=self.key) + body

    def unique(self):
        return f"Idempotency-Key: {self.rng.getrandbits(60)}"


def has_ended(sock):
    """Read nothing of what has come: does the server still hold it?"""
    events = select.poll()
    events.register(sock, select.POLLRDHUP)
    return bool(events.poll(0))


def hold(mix, n, said, receive_buffer=0):
    """Keep @n connections on each of which @said() was sent; those that the server has closed are opened again."""
    held = []
    while not mix.over():
        for sock in [sock for sock in held if has_ended(sock)]:
            held.remove(sock)
            sock.close()
        for _ in range(min(n - len(held), 30)):
            with contextlib.suppress(OSError):
                held.append(mix.connect(receive_buffer))
                held[-1].setblocking(False)
                held[-1].send(said())
        time.sleep(0.05)
    for sock in held:
        sock.close()


def silent(mix):
    hold(mix, 300, lambda: b"")


def half_heads(mix):
    hold(mix, 300, lambda: b"GET /healthz HTTP/1.1\r\nHost: ")


def owed_bodies(mix):
    hold(mix, 300, lambda: head("POST", EXECUTE, "Content-Length: 100", key=None))


def served_and_idle(mix):
    hold(mix, 300, lambda: head("GET", "/healthz", "Content-Length: 100", key=None, type=None))


def unread_pages(mix):
    hold(mix, 60, lambda: head("GET", "/openapi.json", key=mix.rng.choice([None, mix.key])) * 50, 4096)


def idle_with_the_key(mix):
    hold(mix, 300, lambda: head("GET", "/v1/toolkit/authenticate", key=mix.key))


def half_heads_with_the_key(mix):
    hold(mix, 300, lambda: head("GET", "/v1/toolkit/authenticate", key=mix.key) + b"GET /")


def bodies_without_end(mix):
    def said():
        size = mix.rng.choice([1000, 100000, 2000000])
        return head("POST", EXECUTE, f"Content-Length: {size}", key=mix.key) + b" " * (size - 1)
    hold(mix, mix.rng.choice([20, 300]), said)


def runs_that_wait(mix):
    hold(mix, 200, lambda: mix.post("import time; time.sleep(0.3)", *mix.rng.choice([[], [mix.unique()]])))


def early_closers(mix):
    while not mix.over():
        with contextlib.suppress(OSError), mix.connect() as sock:
            where = mix.rng.choice([{}, {"webhook_url": "http://example.invalid/"}])
            time.sleep(0.002)
            sock.sendall(mix.post("return 1#" + "x" * mix.rng.choice([10, 100000]), mix.unique(), **where))


def dripping(mix):
    text, socks = head("GET", "/healthz", "X: " + "x" * 200, key=None), []
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            with contextlib.suppress(OSError):
                socks.append(stack.enter_context(mix.connect()))
        for byte in text:
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(bytes([byte]))
            time.sleep(0.02)
            if mix.over():
                break


def in_and_out(mix):
    while not mix.over():
        with contextlib.suppress(OSError), mix.connect() as sock:
            time.sleep(0.001)
            sock.send(mix.rng.choice([b"", b"GET", b"\0" * 100, head("GET", "/none", key=None)]))


def flood(mix):
    def one():
        while not mix.over():
            with contextlib.suppress(OSError), mix.connect() as sock:
                while not mix.over():
                    sock.sendall(mix.post("return 1"))
                    if not sock.recv(65536):
                        break
    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


KINDS = [silent, half_heads, owed_bodies, served_and_idle, unread_pages, idle_with_the_key, half_heads_with_the_key,
         bodies_without_end, runs_that_wait, early_closers, dripping, in_and_out, flood]


def main(seed, seconds, port, keys):
    rng = random.Random(seed)
    os.nice(19)  # in earnest they have machines of their own
    begin = time.monotonic()
    for at in range(round(seconds / SLICE_S)):
        kinds = rng.sample(KINDS, 4)
        print(f"{at * SLICE_S:5.1f} s", *(kind.__name__ for kind in kinds), flush=True)
        mixes = [Mix(random.Random(rng.random()), port, rng.choice(keys), begin + (at + 1) * SLICE_S) for _ in kinds]
        threads = [threading.Thread(target=kind, args=(mix,)) for kind, mix in zip(kinds, mixes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
