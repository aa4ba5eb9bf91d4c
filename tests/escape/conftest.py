# SPDX-License-Identifier: Apache-2.0
"""`server_for(line)` is a server with this line of configuration more; started once, as badly as can be: by somebody
who ignores and blocks signals, with a strange umask, secrets in the environment and open files."""
import contextlib
import ctypes
import os
import pathlib
import platform
import signal
import struct
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from processes import wait_for  # noqa: E402
from service import Service  # noqa: E402

IMPORTS = "json re random collections asyncio ssl uuid tempfile numpy"
IGNORED = [signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGTTOU, signal.SIGVTALRM, signal.SIGRTMIN + 3]
BLOCKED = [signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM]


# The C library's own, which its sigaction(2) does not touch; posix_spawn(3), and so make(1), leaves them ignored.
INTERNAL = [32, 33]
RT_SIGACTION = {"x86_64": 13, "aarch64": 134}.get(platform.machine())
KERNEL_IGNORE = struct.pack("4Q", 1, 0, 0, 0)


def kernel_action(number, action):
    """What was in force for the signal before @action, both as rt_sigaction(2) has them."""
    before = ctypes.create_string_buffer(len(action))
    if RT_SIGACTION:
        assert ctypes.CDLL(None).syscall(RT_SIGACTION, number, action, before, ctypes.c_size_t(8)) == 0
    return before.raw


@contextlib.contextmanager
def bad_manners():
    umask = os.umask(0o077)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    internal = {number: kernel_action(number, KERNEL_IGNORE) for number in INTERNAL}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    leaks = [os.open("/", os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY), *os.pipe()]
    for fd in leaks:
        os.set_inheritable(fd, True)
    try:
        yield
    finally:
        for fd in leaks:
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, action in internal.items():
            kernel_action(number, action)
        os.umask(umask)


def configuration(line):
    text = f"[python]\nimports = {IMPORTS}\n[pool]\nmax_runs = 4\n"
    if os.geteuid() != 0:
        text += "[isolation]\nrequire = all -ids -cgroup\n"
    if line:
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        text += f"[{section}]\n{key} = {value}\n"
    return text


@pytest.fixture(scope="session")
def server_for():
    servers = {}

    def get(line=""):
        if line not in servers:
            with bad_manners():
                servers[line] = Service(config=configuration(line),
                                        env={"SECRET_OF_THE_STARTER": "canary-of-the-start"})
        return servers[line]

    yield get
    for service in servers.values():
        service.stop()
        service.directory.cleanup()


@pytest.fixture
def make_server():
    made = []

    def make(config):
        made.append(Service(config=config))
        return made[-1]

    yield make
    for service in made:
        service.stop()
        service.directory.cleanup()


def nobody_called(name):
    """No process of the host has this name, dead ones not counted."""
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and open(f"/proc/{entry.name}/comm").read().strip() == name:
                if open(f"/proc/{entry.name}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX":
                    return False
    return True


@pytest.fixture
def gone():
    return lambda name: wait_for(lambda: nobody_called(name), 10, f"{name} is gone")
