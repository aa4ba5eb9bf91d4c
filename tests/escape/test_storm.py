# SPDX-License-Identifier: Apache-2.0
"""The destructive attempts, twenty at once, while a well-behaved client goes on: none of its requests fails, the
server's memory stays flat, and nothing is left afterwards.  STORM_SECONDS=60 for a longer one.

Times are printed and not judged: on a machine of two cores they say how busy it is.
"""
import collections
import os
import statistics
import threading
import time

import pytest

import table

SECONDS = float(os.environ.get("STORM_SECONDS", "10"))
AT_ONCE = 20
DESTRUCTIVE = """processes/fork-bomb-exponential processes/fork-bomb processes/thread-bomb processes/kill-everything
    processes/zombies memory/heap memory/private-mapping memory/shared-mapping memory/scratch-and-heap
    memory/memory-of-children memory/survive-a-killed-child memory/descriptors files/fill-scratch files/fill-inodes
    files/fill-scratch-by-shm result/output-flood result/error-flood result/flood-the-channel cpu/timer-storm
    processes/stop-all processes/outlive-by-respawning""".split()


def resident_bytes(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def ask(server):
    """One request of the well-behaved client; how long it took."""
    begin = time.monotonic()
    reply = server.run("print('hello')\nreturn sum(range(1000))", timeout=60)
    assert reply.status == 200 and reply.response["result"] == 499500 and reply.stdout == "hello\n", reply
    return time.monotonic() - begin


def percentiles(times):
    cuts = statistics.quantiles(times, n=100)
    p50, p99, worst = (1e3 * seconds for seconds in (cuts[49], cuts[98], max(times)))
    return f"{len(times)} replies, p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms"


class Attacker(threading.Thread):
    def __init__(self, server, attempts, end):
        super().__init__()
        self.server, self.attempts, self.end = server, attempts, end
        self.seen = collections.Counter()
        self.error = None

    def run(self):
        try:
            while time.monotonic() < self.end:
                for attempt in self.attempts:
                    if time.monotonic() >= self.end:
                        break
                    reply = self.server.run(attempt.source, timeout=3)
                    assert reply.status in (200, 400, 408), reply
                    self.seen[reply.status] += 1
        except Exception as error:  # told by the test
            self.error = error


@pytest.mark.skipif(os.geteuid() != 0, reason="without cgroups of its own a box is limited less")
def test_storm(make_server):
    attempts = {attempt.title: attempt for attempt in table.load()}
    chosen = [attempts[title] for title in DESTRUCTIVE]
    server = make_server(f"[pool]\nmax_runs = {AT_ONCE + 4}\nsize = 8\n[limits]\nmemory = 128M\n")
    quiet = [ask(server) for _ in range(200)]
    before = resident_bytes(server.child("server"))
    end = time.monotonic() + SECONDS
    attackers = [Attacker(server, chosen[i % len(chosen):] + chosen[:i % len(chosen)], end) for i in range(AT_ONCE)]
    for attacker in attackers:
        attacker.start()
    busy = []
    while time.monotonic() < end:
        busy.append(ask(server))
    for attacker in attackers:
        attacker.join()
    after = resident_bytes(server.child("server"))
    made = sum((attacker.seen for attacker in attackers), collections.Counter())
    print(f"\nquiet: {percentiles(quiet)}\nstorm: {percentiles(busy)}\nattacks: {sum(made.values())} {dict(made)}\n"
          f"server: {before >> 10} KiB before, {after >> 10} KiB after")
    assert not [attacker.error for attacker in attackers if attacker.error]
    assert sum(made.values()) >= AT_ONCE
    assert after - before < 64 << 20
    assert [ask(server) for _ in range(20)]
    # make_server's end sees that no process and no cgroup is left.
