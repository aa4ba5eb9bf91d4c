# SPDX-License-Identifier: Apache-2.0
"""Programs that try to take the machine down, and the replies they must come to (test_destructive.py runs them).

The server has these limits.  Each program prints a marker first: a server that refuses everything does not pass."""
MEMORY_MIB, SCRATCH_MIB, FILES, PROCESSES = 128, 64, 2048, 64
# Those that go on for ever are given SHORT seconds; the others reach their limit long before LONG, however many run.
SHORT, LONG = 2, 60

CONFIG = f"""
[limits]
memory = {MEMORY_MIB}M
scratch = {SCRATCH_MIB}M
scratch_files = {FILES}
processes = {PROCESSES}
"""

MARKER = "attacking"

# name: (outcomes it may come to, words the reply must have in error or message, program)
# An outcome is the reply's reason, or "ok".  Two are given where it is a race which limit is hit first.
PROGRAMS = {
    "fork bomb": ({"timeout", "memory"}, "", """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""),
    "fork bomb that ends": ({"exception"}, f"Too many processes ({PROCESSES})", """
import os, time
for i in range(1000):
    if os.fork() == 0:
        time.sleep(60)
"""),
    "exec bomb": ({"timeout", "memory"}, "", """
import os
while True:
    try:
        if os.fork() == 0:
            os.execv("/bin/sh", ["sh", "-c", "while :; do (sh -c : &) ; done"])
    except OSError:
        pass
"""),
    "threads": ({"exception"}, f"Too many processes ({PROCESSES})", """
import threading, time
for i in range(1000):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""),
    "heap": ({"memory"}, "Memory limit exceeded (128 MiB)", """
held = []
while True:
    held.append(bytearray(b"x" * (1 << 20)))
"""),
    "heap in a long number": ({"memory"}, "Memory limit exceeded (128 MiB)", """
n = 1 << (1 << 29)
while True:
    n = n << (1 << 29)
"""),
    "mmap": ({"memory"}, "Memory limit exceeded (128 MiB)", """
import mmap
held = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 4096):
    held[at] = 1
"""),
    "tmpfs": ({"memory"}, "Memory limit exceeded (128 MiB)", """
with open("/dev/shm/big", "wb") as f:
    for i in range(60):
        f.write(b"x" * (1 << 20))
held = bytearray(b"x" * (90 << 20))
"""),
    "memfd": ({"memory"}, "Memory limit exceeded (128 MiB)", """
import os
while True:
    f = os.memfd_create("big")
    for _ in range(32):
        os.write(f, b"x" * (1 << 20))
"""),
    "forks that eat": ({"memory"}, "Memory limit exceeded (128 MiB)", """
import os, time
for i in range(30):
    if os.fork() == 0:
        held = bytearray(b"x" * (8 << 20))
        time.sleep(60)
time.sleep(60)
"""),
    "pipes": ({"exception"}, "Too many open files", """
import os
while True:
    reader, writer = os.pipe()
    os.write(writer, b"x" * 65536)
"""),
    "disk": ({"exception"}, "No space left on device", """
with open("big", "wb") as f:
    while True:
        f.write(b"x" * (1 << 20))
"""),
    "inodes": ({"exception"}, "No space left on device", """
for i in range(1000000):
    open(str(i), "w").close()
"""),
    "deep directories": ({"exception"}, "No space left on device", """
import os
while True:
    os.mkdir("d")
    os.chdir("d")
"""),
    "output": ({"timeout"}, "timed out", """
import os
while True:
    os.write(1, b"o" * 65536)
    os.write(2, b"e" * 65536)
"""),
    "output of many": ({"timeout"}, "timed out", """
import os
for i in range(16):
    if os.fork() == 0:
        break
while True:
    os.write(1 + i % 2, b"x")
"""),
    "kill -1": ({"ok"}, "", """
import os, signal, time
for i in range(8):
    if os.fork() == 0:
        time.sleep(60)
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP, signal.SIGKILL):
    try:
        os.kill(-1, s)
    except ProcessLookupError:
        pass
print("alone", flush=True)
"""),
    "descriptors": ({"exception"}, "Too many open files", """
import os
while True:
    os.open("/dev/zero", os.O_RDONLY)
"""),
    "orphans": ({"ok"}, "", """
import os, time
for i in range(16):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                pass
        os._exit(0)
"""),
    "stopped": ({"timeout"}, "timed out", """
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
"""),
    "stack": ({"signal"}, "SIGSEGV", """
import ctypes, sys
sys.setrecursionlimit(1 << 30)
def deeper(*_):
    return sorted([1, 2], key=deeper)
deeper()
"""),
}


def source(name):
    return f"print({MARKER!r}, flush=True)\n" + PROGRAMS[name][2].lstrip()


def timeout(name):
    return SHORT if "timeout" in PROGRAMS[name][0] else LONG


def had_no_time(name, status, reply):
    """Were its SHORT seconds over before it had come to do what it does?  On a machine that stood still they may be."""
    whole = name != "output" or reply.get("stdout_truncated") and reply.get("stderr_truncated")
    return status == 408 and timeout(name) == SHORT and not (reply["stdout"].startswith(MARKER + "\n") and whole)


def complaint(name, status, reply):
    """What is wrong with the reply to a program, or None."""
    reasons, words, _ = PROGRAMS[name]
    body = reply.get("response") or reply
    reason = "ok" if status == 200 else reply.get("reason")
    if status != {"ok": 200, "timeout": 408}.get(reason, 400) or reply.get("code") != status or reason not in reasons:
        return f"{name}: {status} {reason}, not one of {sorted(reasons)}: {str(reply)[:400]}"
    if words not in str(reply.get("error")) + str(reply.get("message")):
        return f"{name}: nothing of {words!r} in {str(reply.get('error'))[-300:]!r}, {reply.get('message')!r}"
    if not body["stdout"].startswith(MARKER + "\n"):
        return f"{name}: it did not begin: {body['stdout'][:100]!r}"
    if name == "output" and not (reply.get("stdout_truncated") and reply.get("stderr_truncated")
                                 and len(reply["stdout"]) == len(reply["stderr"]) == 1 << 20):
        return f"{name}: not 1 MiB of each stream"
    if name == "kill -1" and not body["stdout"].endswith("alone\n"):
        return f"{name}: it did not survive itself: {body['stdout']!r}"
    return None
