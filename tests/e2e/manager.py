# SPDX-License-Identifier: Apache-2.0
"""What systemd is to a service, as far as the service notices: a socket that is told of states, listening sockets that
outlive it, and variables that say so (sd_notify(3), sd_listen_fds(3))."""
import os
import select
import socket
import struct
import sys
import time

# Becomes the service; its pid stays, which is what LISTEN_PID and WATCHDOG_PID have to say.  argv: how many sockets, then
# their numbers, then the command.
EXEC = """
import os, sys
n = int(sys.argv[1])
fds, command = [int(word) for word in sys.argv[2:2 + n]], sys.argv[2 + n:]
high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
for name in ("LISTEN_PID", "WATCHDOG_PID"):
    if os.environ.get(name) == "self":
        os.environ[name] = str(os.getpid())
os.closerange(3 + n, 200)
os.execv(command[0], command)
"""


def executed(command, sockets=()):
    """(The words of a command that becomes @command with @sockets at 3 and up, what subprocess.Popen must pass on.)"""
    fds = [sock.fileno() for sock in sockets]
    return [sys.executable, "-c", EXEC, str(len(fds)), *map(str, fds), *command], fds


class Notified:
    """The socket that NOTIFY_SOCKET names, in the file system or in the abstract namespace."""

    def __init__(self, path):
        self.name = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("\0" + path[1:] if path[0] == "@" else path)
        self.states = []  # (when, pid, {name: value})

    def read(self, seconds=0):
        """Take in what has come; waits for @seconds where there is nothing."""
        while select.select([self.socket], [], [], seconds)[0]:
            seconds = 0
            data, ancillary, _, _ = self.socket.recvmsg(4096, 256)
            pid = struct.unpack("3i", ancillary[0][2])[0]
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            self.states.append((time.monotonic(), pid, words))

    def wait(self, seconds=30, **words):
        """The first state, from those that were not waited for yet, in which these words are; the ones before it are
        forgotten."""
        end = time.monotonic() + seconds
        while True:
            for i, (when, pid, found) in enumerate(self.states):
                if words.items() <= found.items():
                    del self.states[:i + 1]
                    return when, pid, found
            left = end - time.monotonic()
            assert left > 0, f"{words} was not said: {self.states}"
            self.read(left)

    def close(self):
        self.socket.close()


def give(server, sockets, names=None):
    """Have @server, which is not started yet, find these sockets."""
    server.command, server.pass_fds = executed(server.command, sockets)
    server.env.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID="self")
    if names is not None:
        server.env["LISTEN_FDNAMES"] = ":".join(names)


def restart(server):
    """SIGTERM, and as soon as it has ended the next one, as `systemctl restart` does."""
    server.process.terminate()
    status = server.process.wait(40)
    server.process.stdout.close()
    server.announcement = ""
    server.start()
    return status
