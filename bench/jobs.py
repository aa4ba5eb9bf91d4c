#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# The second half of "make bench": how many asynchronous jobs a second are accepted (each on disk before its 202) and
# how many go through, beside what the store does alone, on the same disk, in turns. For accepting the one box is kept
# busy, so that nothing but HTTP and the store is measured; a full cycle is accepted, run, and its end on disk.

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import servers
from servers import BenchError, find_program

CLIENTS, ROUNDS, SECONDS, CYCLES = (1, 16, 64), 5, 1, 500
SHARE = 0.7  # of the full cycles (accept, claim, finish) that the store does alone


def rate(argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    try:
        figures = json.loads(done.stdout)
    except ValueError:
        raise BenchError(f"{os.path.basename(argv[0])} ended with {done.returncode} and no figures") from None
    if figures["errors"]:
        raise BenchError(f"{os.path.basename(argv[0])}: {figures['errors']} errors")
    return figures["rps"]


def store_rate(clients, *options):
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as directory:
        return rate([find_program("bench-store"), "--path", os.path.join(directory, "jobs.db"), "--clients",
                     str(clients), "--seconds", str(SECONDS), *options])


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
        return rate([find_program("bench-load"), "--url", self.url, "--key", self.key, "--connections",
                     str(clients), "--code", code, "--expect", "processing", "--webhook", "http://127.0.0.1:1/", *plan])


def start_full():
    """A server whose one box is taken, and the jobs that it leases ahead as well: nothing but HTTP and the store is left."""
    hatchery = Hatchery(HATCHERY_POOL_MAX_RUNS="1")
    for _ in range(6):
        ask(hatchery, "/v1/code/execute/python",
            {"code": "import time; time.sleep(290)", "timeout": 300, "webhook_url": "http://127.0.0.1:1/"})
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


def main():
    accept = {n: [] for n in CLIENTS}  # pairs: the store alone, the server
    full = start_full()
    try:
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                accept[clients].append((store_rate(clients), full.load(clients, "--seconds", str(SECONDS), "--warmup", "0")))
    finally:
        full.stop()
    cycles = {n: (store_rate(n, "--cycle"), cycle_rate(n)) for n in CLIENTS}
    rows = {"the store alone: accept": {n: statistics.median(pair[0] for pair in accept[n]) for n in CLIENTS},
            "Hatchery: 202": {n: statistics.median(pair[1] for pair in accept[n]) for n in CLIENTS},
            "the store alone: full cycle": {n: cycles[n][0] for n in CLIENTS},
            "Hatchery: accepted and run": {n: cycles[n][1] for n in CLIENTS}}
    print(f"\n{'asynchronous jobs, per s':28}" + "".join(f"{f'{n} clients':>14}" for n in CLIENTS))
    for name, row in rows.items():
        print(f"{name:28}" + "".join(f"{row[n]:>14,.0f}" for n in CLIENTS))
    accepts = {n: statistics.median(server / alone for alone, server in accept[n]) for n in CLIENTS}
    shares = {n: rows["Hatchery: 202"][n] / cycles[n][0] for n in CLIENTS}
    print(f"{'202 / accept alone':28}" + "".join(f"{accepts[n]:>14.2f}" for n in CLIENTS))
    print(f"{'202 / full cycle alone':28}" + "".join(f"{shares[n]:>14.2f}" for n in CLIENTS)
          + f"   >= {SHARE}: {'holds' if min(shares.values()) >= SHARE else 'MISSED'}")
    print("A program that is run costs a box, which is what the fourth row is bound by; the client takes its share of the "
          "cores.")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
