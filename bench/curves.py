#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# How the figures change: with load, with cores, with the number of waiting boxes and what they have imported. Prints tables
# of Markdown. curves.py [--json FILE] [load] [cores] [memory]: a minute or less each; all three if none is named.

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "baselines"))

import baselines  # noqa: E402  the path above is where it is
from servers import BUILD, PYTHON, BenchError, Hatchery, ask_load, faultless, find_program, machine, memory  # noqa: E402

NUMPY = "json re datetime math random collections itertools functools traceback io asyncio numpy"
LOAD_SHARES = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0)
ROUNDS = 3


def table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def load():
    """Open loop: W1 at shares of what eight connections get, whether the server keeps up or not."""
    server = Hatchery()
    try:
        server.wait_for_url()
        most = ask_load(server, "--connections", "8", "--warmup", "200", "--seconds", "5")["rps"]
        steps = []
        for share in LOAD_SHARES:
            found = ask_load(server, "--connections", "128", "--warmup", "0", "--pace-us", str(round(1e6 / most / share)),
                             "--seconds", "5")
            steps.append({"share": share, **{name: found[name] for name in ("rps", "p50_us", "p95_us", "p99_us")}})
    finally:
        server.stop()
    print(f"Eight connections, as fast as they go: {most:,.0f} a second.\n")
    table(["share of it", "requests a second", "p50, ms", "p95, ms", "p99, ms"],
          [[f"{step['share']:.0%}", f"{step['rps']:,.0f}"]
           + [f"{step[name] / 1000:,.2f}" for name in ("p50_us", "p95_us", "p99_us")] for step in steps])
    return {"most": most, "steps": steps}


TURNS = {"W1 every 20 ms, p50": (["--pace-us", "20000", "--warmup", "10", "--seconds", "2"], "p50_us"),
         "W1 one connection, p50": (["--warmup", "20", "--seconds", "1.5"], "p50_us"),
         "W1 8 connections, a second": (["--connections", "8", "--warmup", "50", "--seconds", "1.5"], "rps"),
         "W1 128 connections, a second": (["--connections", "128", "--warmup", "130", "--seconds", "1.5"], "rps")}


def cores():
    """The same for one core and for all, server and client together, in turns. A server is started for each."""
    all_cores = sorted(os.sched_getaffinity(0))
    found = {}
    for _ in range(ROUNDS):
        for n in dict.fromkeys((1, len(all_cores))):
            os.sched_setaffinity(0, all_cores[:n])
            server = Hatchery()
            try:
                server.wait_for_url()
                for name, (options, figure) in TURNS.items():
                    found.setdefault((name, n), []).append(ask_load(server, *options)[figure])
            finally:
                server.stop()
            fork = faultless([*baselines.fork_argv(BUILD, n), "--seconds", "1"])
            found.setdefault(("bare fork, a parent a core: p50", n), []).append(fork["p50_us"])
            found.setdefault(("bare fork, a parent a core: a second", n), []).append(fork["rps"])
    os.sched_setaffinity(0, all_cores)
    counts = sorted({n for _, n in found})
    rows = {name: {n: statistics.median(found[name, n]) for n in counts} for name in dict.fromkeys(name for name, _ in found)}
    table(["", *(f"{n} core{'s' * (n > 1)}" for n in counts)],
          [[name, *(f"{row[n]:,.0f}" + (" µs" if "p50" in name else "") for n in counts)] for name, row in rows.items()])
    return {"rounds": ROUNDS, "rows": rows}


def boxes_and_imports():
    settings = [(4, None), (8, None), (32, None), (128, None)]
    if subprocess.run([PYTHON, "-c", "import numpy"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        settings.append((8, NUMPY))
    return settings


def boxes():
    """What servers at rest have."""
    rows = []
    for n, imports in boxes_and_imports():
        server = Hatchery(HATCHERY_POOL_SIZE=str(n), **({"HATCHERY_PYTHON_IMPORTS": imports} if imports else {}))
        try:
            server.wait_for_url()
            at = server.wait_for_boxes(n)
            unique, pss = zip(*(memory(pid) for pid in at["boxes"]))
            inits = sum(memory(pid)[1] for pid in at["inits"])
            others = {name: memory(at[name])[1] for name in ("supervisor", "server", "courier", "zygote") if name in at}
        finally:
            server.stop()
        rows.append([f"{n}{', with numpy' if imports else ''}", f"{statistics.median(unique) / 1024:.2f}",
                     f"{statistics.median(pss) / 1024:.2f}", *(f"{others.get(name, 0) / 1024:.1f}" for name in
                                                               ("supervisor", "server", "courier", "zygote")),
                     f"{(sum(others.values()) + sum(pss) + inits) / 1024:.1f}"])
    table(["boxes", "unique, a box", "proportional, a box", "supervisor", "server", "courier", "zygote", "all, proportional"],
          rows)
    return rows


CURVES = {"load": load, "cores": cores, "memory": boxes}


def main():
    parser = argparse.ArgumentParser(description="Measure how the figures change.")
    parser.add_argument("--json", metavar="FILE", help="write what was measured to FILE")
    parser.add_argument("curves", metavar="CURVE", nargs="*", help=f"of {', '.join(CURVES)} (default: all)")
    args = parser.parse_args()
    if unknown := set(args.curves) - set(CURVES):
        parser.error(f"there is no curve {', '.join(sorted(unknown))}; there are {', '.join(CURVES)}")
    before = machine()
    found = {name: CURVES[name]() for name in args.curves or CURVES}
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"machine": before, **found}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
