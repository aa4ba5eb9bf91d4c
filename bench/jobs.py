#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# The second half of "make bench": how many asynchronous jobs a second are accepted (each on disk before its 202) and
# how many go through, beside what the store does alone, on the same disk, in turns. For accepting the one box is kept
# busy, so that nothing but HTTP and the store is measured; a full cycle is accepted, run, and its end on disk.

import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request

import servers
from servers import BenchError, ask_load, faultless, find_program

CLIENTS, ROUNDS, SECONDS, CYCLES = (1, 16, 64), 5, 1, 500
SHARE = 0.7  # of what the store does alone: a job accepted, claimed and finished, each of the three on disk


def store_rate(clients, *options):
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as directory:
        return faultless([find_program("bench-store"), "--path", os.path.join(directory, "jobs.db"), "--clients",
                          str(clients), "--seconds", str(SECONDS), *options])["rps"]


def ask(server, path, body=None):
    request = urllib.request.Request(server.url + path, headers={"x-api-key": server.key, "content-type": "application/json"},
                                     data=json.dumps(body).encode() if body else None)
    return json.loads(urllib.request.urlopen(request, timeout=60).read())


class Hatchery(servers.Hatchery):
    """Its webhooks lead to a port nobody listens on, once, and are given up."""

    def __init__(self, **environment):
        super().__init__(MAX_QUEUE_LENGTH="0", HATCHERY_WEBHOOKS_ALLOW="private", HATCHERY_WEBHOOKS_RETRIES="",
                         HATCHERY_LOG_LEVEL="error", HATCHERY_SERVER_DRAIN_TIMEOUT="0", **environment)
        self.wait_for_url()

    def load(self, clients, *plan):
        code = "pass #" + "x" * 1000
        return ask_load(self, "--connections", str(clients), "--code", code, "--expect", "processing",
                        "--webhook", "http://127.0.0.1:1999/", *plan)["rps"]


def start_full():
    """A server whose one box is taken, and the jobs that it leases ahead as well: nothing but HTTP and the store is left."""
    hatchery = Hatchery(HATCHERY_POOL_MAX_RUNS="1")
    for _ in range(6):
        ask(hatchery, "/v1/code/execute/python",
            {"code": "import time; time.sleep(290)", "timeout": 300, "webhook_url": "http://127.0.0.1:1999/"})
    return hatchery


def cycle_rate(clients):
    hatchery = Hatchery()
    try:
        begin = time.monotonic()
        hatchery.load(clients, "--requests", str(CYCLES), "--warmup", "0")
        while any(ask(hatchery, f"/v1/jobs?limit=1&state={state}")["jobs"]
                  for state in ("queued", "running")):
            time.sleep(0.01)
        return CYCLES / (time.monotonic() - begin)
    finally:
        hatchery.stop()


def accept_rates(clients):
    """The store alone, asked from outside and from within its loop and for full cycles, and the server: each with a
    store that is new."""
    full = start_full()
    try:
        return store_rate(clients), store_rate(clients, "--inside"), store_rate(clients, "--cycle"), \
            full.load(clients, "--seconds", str(SECONDS), "--warmup", "0")
    finally:
        full.stop()


def main():
    accept = {n: [] for n in CLIENTS}
    for _ in range(ROUNDS):
        for clients in CLIENTS:
            accept[clients].append(accept_rates(clients))
    median = {n: [statistics.median(column) for column in zip(*accept[n])] for n in CLIENTS}
    names = ["the store alone: accept", "  asked from within", "the store alone: full cycle", "Hatchery: 202"]
    rows = {name: {n: median[n][i] for n in CLIENTS} for i, name in enumerate(names)}
    rows["Hatchery: accepted and run"] = {n: cycle_rate(n) for n in CLIENTS}
    print(f"\n{'asynchronous jobs, per s':28}" + "".join(f"{f'{n} clients':>14}" for n in CLIENTS))
    for name, row in rows.items():
        print(f"{name:28}" + "".join(f"{row[n]:>14,.0f}" for n in CLIENTS))
    for i, name in enumerate(["202 / accept alone", "  asked from within", "202 / full cycle alone"]):
        shares = {n: statistics.median(row[3] / row[i] for row in accept[n]) for n in CLIENTS}
        holds = "holds" if min(shares.values()) >= SHARE else "MISSED"
        print(f"{name:28}" + "".join(f"{shares[n]:>14.2f}" for n in CLIENTS) + (f"   >= {SHARE}: {holds}" if i == 2 else ""))
    print("A program that is run costs a box, which is what the fifth row is bound by; the client takes its share of the "
          "cores.")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
