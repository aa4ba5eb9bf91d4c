# SPDX-License-Identifier: Apache-2.0
"""What python.imports brings in is, for a program, as if it had imported it itself."""
import os

import pytest

DEFAULT = "json re datetime math random collections itertools functools traceback io asyncio"

# Modules that define less where they don't find ssl.
TLS = """
import asyncio, http.client, sys, urllib.request
print(hasattr(http.client, "HTTPSConnection"), hasattr(urllib.request, "HTTPSHandler"))
import ssl
print(asyncio.sslproto.SSLProtocol is not None, isinstance(ssl.create_default_context(), ssl.SSLContext))
async def main():
    import socket
    ours, theirs = socket.socketpair()
    theirs.sendall(b"no TLS record at all, not one")
    try:
        await asyncio.open_connection(sock=ours, ssl=ssl.create_default_context(), server_hostname="x")
    except ssl.SSLError as error:
        print(error.reason)
asyncio.run(main())
"""


@pytest.mark.parametrize("imports", ["asyncio http.client urllib.request", "http.client asyncio", "ssl asyncio",
                                     "asyncio ssl", "asyncio.streams", "json"])
def test_tls(make_server, imports):
    server = make_server(config=f"[python]\nimports = {imports}\n")
    assert server.run(TLS).stdout == "True True\nTrue True\nWRONG_VERSION_NUMBER\n"


RANDOM = """
import random, uuid, os
print(random.getrandbits(128), random.gauss(0, 1), uuid.uuid4(), uuid.uuid1())
try:
    import ssl
    print(ssl.RAND_bytes(16).hex())
    import numpy
    print(numpy.random.randint(1 << 62))
except ImportError:
    pass
"""


@pytest.mark.parametrize("imports", [DEFAULT, DEFAULT + " ssl uuid numpy", "json"])
def test_no_two_boxes_share_random_numbers(make_server, imports):
    server = make_server(config=f"[python]\nimports = {imports}\n")
    words = [word for _ in range(12) for word in server.run(RANDOM).stdout.split()]
    assert len(words) >= 12 * 5
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("imports", [DEFAULT + " multiprocessing.util concurrent.futures.process logging.handlers",
                                     "json"])
def test_buffered_records_are_flushed(make_server, imports):
    server = make_server(config=f"[python]\nimports = {imports}\n")
    reply = server.run("import logging, logging.handlers, sys\n"
                       "target = logging.StreamHandler(sys.stdout)\n"
                       "logging.getLogger().addHandler(logging.handlers.MemoryHandler(100, target=target))\n"
                       "logging.warning('kept')\n")
    assert reply.stdout == "kept\n"


def mappings(pid):
    """Of a process; none if it has ended meanwhile."""
    try:
        return [line.split(maxsplit=5) for line in open(f"/proc/{pid}/maps")]
    except (FileNotFoundError, ProcessLookupError):
        return []


@pytest.mark.skipif(os.geteuid() != 0, reason="the memory of other users' processes is root's to see")
def test_nothing_is_both_written_to_and_executed(make_server):
    """Though the zygote moves the interpreter's code to huge pages (zygote/pages.c), and all boxes have it from there."""
    server = make_server()
    assert server.run("return 1")["response"]["result"] == 1
    for pid in [server.child("zygote"), *server.below("hatchery-zygote")]:
        assert [line for line in mappings(pid) if "w" in line[1] and "x" in line[1]] == []
    assert any("x" in line[1] for line in mappings(server.child("zygote")))
