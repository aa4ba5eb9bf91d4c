#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a program costs those around it, measured on the host while it runs.

    probe.py SUPERVISOR        until its standard input is closed; then one line of JSON

    slab        bytes of kernel memory that came to be and that no box is charged for, at most
    close_us    what opening and closing a file takes that box and host share, at most: of 40 in a row the tenth fastest, so
                that a machine that is busy with others does not count
    exec_ms     how long it took to start a process and to see its end, at most
    late_ms     how late a real-time sleeper woke: the third worst of all, as two are chance on a machine that is one of many
    cpu         for zygotes, inits, supervisor and server: seconds of processor time
    wakes       and how often each of them began to wait
    seconds     how long it was measured
"""
import contextlib
import glob
import json
import os
import select
import signal
import struct
import sys
import time

SHARED = [path for path in ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/aarch64-linux-gnu/libc.so.6",
                            "/usr/lib/os-release", "/dev/null") if os.path.exists(path)]
CHARGES = ["/sys/fs/cgroup/memory/**/hatchery-*/box-*/memory.usage_in_bytes",
           "/sys/fs/cgroup/**/hatchery-*/box-*/memory.current"]
ROLES = {"hatchery-zygote": "zygote", "hatchery-server": "server"}


def sleeper(cpu, writer):
    """Wakes each millisecond until it is told to stop, and reports by how much it was late."""
    os.sched_setaffinity(0, {cpu})
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    late = [0.0] * 3
    while not over:
        begin = time.monotonic()
        time.sleep(0.001)
        late = sorted([*late, time.monotonic() - begin - 0.001])[1:]
    os.write(writer, struct.pack("3d", *late))
    os._exit(0)


def kernel_memory():
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("SUnreclaim:"))


def charged(paths):
    total = 0
    for path in paths:
        with contextlib.suppress(OSError), open(path) as value:
            total += int(value.read())
    return total


def close_time(path):
    took = []
    for _ in range(40):
        begin = time.perf_counter()
        os.close(os.open(path, os.O_RDONLY))
        took.append(time.perf_counter() - begin)
    return sorted(took)[9] * 1e6


def exec_time():
    begin = time.perf_counter()
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return (time.perf_counter() - begin) * 1e3


def children(pid):
    """With their names; programs are called as the zygote is, whose copies they are."""
    with contextlib.suppress(OSError):
        for child in open(f"/proc/{pid}/task/{pid}/children").read().split():
            with contextlib.suppress(OSError):
                yield int(child), open(f"/proc/{child}/comm").read().strip()


def processes(supervisor):
    """Those that are nobody's but the service's."""
    yield supervisor, "supervisor"
    for pid, name in children(supervisor):
        if name in ROLES:
            yield pid, ROLES[name]
        if name == "hatchery-zygote":
            yield from ((child, "init") for child, name in children(pid) if name == "hatchery-init")


def use_of(pid):
    stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    wakes = next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("voluntary"))
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"), wakes


class Uses:
    """A process counts from when it was first seen: one that is new had nothing before."""

    def __init__(self, supervisor):
        self.supervisor, self.first, self.last = supervisor, {}, {}
        self.look(begun=True)

    def look(self, begun=False):
        for pid, role in processes(self.supervisor):
            with contextlib.suppress(OSError, StopIteration):
                self.last[pid, role] = use_of(pid)
                self.first.setdefault((pid, role), self.last[pid, role] if begun else (0.0, 0))

    def sums(self, which):
        sums = {}
        for key, use in self.last.items():
            sums[key[1]] = round(sums.get(key[1], 0) + use[which] - self.first[key][which], 3)
        return sums


def main():
    reader, writer = os.pipe()
    sleepers = []
    for cpu in os.sched_getaffinity(0):
        sleepers.append(os.fork())
        if not sleepers[-1]:
            sleeper(cpu, writer)
    supervisor = int(sys.argv[1])
    paths = [path for pattern in CHARGES for path in glob.glob(pattern, recursive=True)]
    uses, begin = Uses(supervisor), time.monotonic()
    slab, charge, worst_slab, worst_close = kernel_memory(), charged(paths), 0, 0.0
    worst_exec = 0.0
    print("ready", flush=True)
    while not select.select([0], [], [], 0.05)[0]:
        worst_slab = max(worst_slab, kernel_memory() - slab - max(0, charged(paths) - charge))
        worst_close = max(worst_close, *(close_time(path) for path in SHARED))
        worst_exec = max(worst_exec, exec_time())
        uses.look()
    for pid in sleepers:
        os.kill(pid, signal.SIGTERM)
    late = sorted(time for _ in sleepers for time in struct.unpack("3d", os.read(reader, 24)))
    for pid in sleepers:
        os.waitpid(pid, 0)
    print(json.dumps({"slab": worst_slab, "close_us": round(worst_close, 1), "exec_ms": round(worst_exec, 1),
                      "late_ms": round(late[-3] * 1e3, 1),
                      "cpu": uses.sums(0), "wakes": uses.sums(1), "seconds": time.monotonic() - begin}), flush=True)


if __name__ == "__main__":
    main()
