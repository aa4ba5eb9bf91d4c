#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# "make bench-long": one server, as many runs as are asked for, and what it is like after the first thousand and at the
# end: the memory of each of its processes and of its waiting boxes, its descriptors, and how fast it answers, beside bare
# forks at the same time, so that a machine that has become busier is not taken for a server that has become slower. What
# may not grow is what is nobody else's (the unique set size); there is a little room.
# Exit status: 1 when a request failed or something is not flat, 2 when it could not be measured.

import argparse
import os
import statistics
import sys

from servers import BenchError, Hatchery, ask_load, faultless, find_program, memory

FIRST = 1000
BOXES = 8
CONNECTIONS = 8
PACED = ["--pace-us", "20000", "--requests", "100", "--warmup", "0"]
ROUNDS = 9
ROOM = 1.1  # at most so many times the first
ROOM_KIB = 1024
CACHE_KIB = 16384 + 2000  # the server's besides: what SQLite keeps of its database (cache_size), of the writer and the reader
SLOWER = 1.25  # of a median of ROUNDS ratios
RATIO = "p50 / bare fork's p50"
PROCESSES = ("supervisor", "server", "courier", "zygote")


def look(server):
    """What it is like at rest, and then under one request each 20 ms: (KiB, descriptors, times)."""
    found = server.wait_for_boxes(BOXES)
    kib = {name: memory(found[name])[0] for name in PROCESSES if name in found}
    kib["a box"] = statistics.median(memory(pid)[0] for pid in found["boxes"])
    fds = {name: len(os.listdir(f"/proc/{found[name]}/fd")) for name in PROCESSES if name in found}
    turns = [(ask_load(server, *PACED), faultless([find_program("bench-fork"), "--warmup", "10", "--seconds", "0.5"]))
             for _ in range(ROUNDS)]
    return kib, fds, {"p50, µs": statistics.median(ours["p50_us"] for ours, _ in turns),
                      "p99, µs": statistics.median(ours["p99_us"] for ours, _ in turns),
                      RATIO: statistics.median(ours["p50_us"] / fork["p50_us"] for ours, fork in turns)}


def compare(first, last):
    """Print both; the names of what has grown."""
    grown = []
    print(f"{'':28}{'first':>10}{'last':>10}")
    for name, before in first[0].items():
        after = last[0].get(name, 0)
        flat = after <= before * ROOM + ROOM_KIB + (CACHE_KIB if name == "server" else 0)
        print(f"{name + ': unique KiB':28}{before:>10,.0f}{after:>10,.0f}  {'flat' if flat else 'GROWN'}")
        grown += [] if flat else [name]
    for name, before in first[1].items():
        after = last[1].get(name, 0)
        print(f"{name + ': descriptors':28}{before:>10}{after:>10}  {'flat' if after <= before else 'GROWN'}")
        grown += [] if after <= before else [f"{name}'s descriptors"]
    for name, before in first[2].items():
        after = last[2][name]
        flat = name != RATIO or after <= before * SLOWER
        print(f"{name:28}{before:>10,.2f}{after:>10,.2f}  {('flat' if flat else 'GROWN') if name == RATIO else ''}".rstrip())
        grown += [] if flat else [name]
    return grown


def main():
    parser = argparse.ArgumentParser(description="Is a server after many runs what it was after a thousand?")
    parser.add_argument("--runs", type=int, default=1_000_000)
    args = parser.parse_args()
    server = Hatchery(HATCHERY_POOL_SIZE=str(BOXES), HATCHERY_LOG_LEVEL="warn")
    try:
        server.wait_for_url()
        plan = ("--connections", str(CONNECTIONS), "--warmup", "0", "--requests")
        ask_load(server, *plan, str(FIRST))
        first = look(server)
        done = ask_load(server, *plan, str(max(args.runs - FIRST, 1)))
        last = look(server)
    finally:
        ended = server.stop()
    print(f"after {FIRST:,} runs and after {args.runs:,}, {CONNECTIONS} connections, {done['rps']:,.0f} a second")
    grown = compare(first, last)
    print("flat" if not grown else "grown: " + ", ".join(grown))
    if not ended:
        print("the server had ended by itself, or did not within 15 s of SIGTERM")
    return 0 if ended and not grown else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
