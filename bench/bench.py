#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# The bench ("make bench"): Hatchery beside a bare fork of a warm interpreter, a new python3 for each program, the same in
# bwrap, and Flask under gunicorn, all in one run on one machine. The targets take turns, A B C D A B C D ..., so that
# noise hits all alike, and each ratio is taken within a round; what is printed is the median over the rounds, with the
# smallest and the largest. The work is done by bench-load and bench-fork (C); this file starts the servers, takes the
# turns, adds up and says which row of the table holds.
# Exit status: 1 when a request failed or a server did, 2 when the bench could not start. A missed row is no failure.

import argparse
import collections
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "baselines"))

import baselines  # noqa: E402  the path above is where it is
from servers import BUILD, PYTHON, BenchError, Hatchery, figures, find_program, machine, memory  # noqa: E402

FIGURES = ("p50_us", "p95_us", "p99_us", "rps", "own_cpu_us", "own_cpu_share")
BOXES = 8
BURST = 200
# rounds; how long a turn is, as a multiple of what the table of targets says; are rows that were missed worth a word?
PLANS = {"full": (10, 1.0), "quick": (3, 0.4), "check": (1, 0.05)}

# Of which server; seconds of a turn; bench-load's options. The order is that of the turns: what is compared is near.
Target = collections.namedtuple("Target", "server seconds options")
TARGETS = {
    "W1 every 20 ms": Target("hatchery", 3, ["--pace-us", "20000", "--warmup", "10"]),
    "bare fork": Target("fork 1", 2, []),
    "bare fork with hooks": Target("fork 1", 1, ["--hooks"]),
    "W1 one connection": Target("hatchery", 2, ["--warmup", "20"]),
    "W1 connection each": Target("hatchery", 1, ["--warmup", "20", "--close"]),
    "bare fork, 2 parents": Target("fork 2", 2, []),
    "W1 8 connections": Target("hatchery", 2, ["--connections", "8", "--warmup", "100"]),
    "W1 128 connections": Target("hatchery", 2, ["--connections", "128", "--warmup", "256"]),
    "W1 32 connections": Target("hatchery", 1, ["--connections", "32", "--warmup", "100"]),
    "W1 2 connections": Target("hatchery", 1, ["--connections", "2", "--warmup", "40"]),
    "burst of 200": Target("hatchery", 0, ["--connections", str(BURST), "--warmup", str(BURST), "--burst",
                                           "--pause-ms", "500"]),
    "W2 every 20 ms": Target("hatchery", 1, ["--mix", "W2", "--pace-us", "20000", "--warmup", "10"]),
    "W3 every 20 ms": Target("numpy", 1, ["--mix", "W3", "--runtime", "data", "--pace-us", "20000", "--warmup", "10"]),
    "W4 one connection": Target("hatchery", 1, ["--mix", "W4", "--warmup", "1"]),
    "W5 one connection": Target("hatchery", 1, ["--mix", "W5", "--warmup", "5"]),
    "W6 one connection": Target("hatchery", 1, ["--mix", "W6", "--warmup", "3"]),
    "python3 -c": Target("command", 1.5, []),
    "python3 -I -S -c": Target("command", 1, []),
    "bwrap python3 -c": Target("command", 1, []),
    "flask one connection": Target("flask", 1, ["--warmup", "4"]),
    "flask 8 connections": Target("flask", 2, ["--connections", "8", "--warmup", "16"]),
}

# The turns of which it is told where the time went.
PHASED = ("W1 every 20 ms", "W1 one connection", "W1 8 connections", "W3 every 20 ms")

# What is to be reached: the row, a figure of one round (None: this round has it not), its bound, how much must be and
# how much is aimed at, and the targets that it is made of.
Row = collections.namedtuple("Row", "name value bound least aim targets")


def ratio(dividend, divisor, figure, name=None, bound="<=", least=None, aim=None):
    words = f"{dividend}: {figure.removesuffix('_us')} / {divisor}"
    return Row(name or words, lambda turn: turn[dividend][figure] / turn[divisor][figure], bound, least, aim,
               (dividend, divisor))


def burst(figure, name):
    """The time of as many bare forks, made by two parents at once."""
    return Row(name, lambda turn: turn["burst of 200"][figure] / (BURST / turn["bare fork, 2 parents"]["rps"] * 1e6),
               "<=", 2, 1.3, ("burst of 200", "bare fork, 2 parents"))


ROWS = [
    ratio("W1 every 20 ms", "bare fork", "p50_us", "W1 every 20 ms: p50 / bare fork's p50", "<=", 0.4, 0.2),
    ratio("W1 every 20 ms", "bare fork with hooks", "p50_us", "W1 every 20 ms: p50 / that of a bare fork with hooks"),
    ratio("W1 one connection", "bare fork", "p50_us", "W1 one connection: p50 / bare fork's p50", "<=", 0.9, 0.6),
    Row("W1 every 20 ms: p99 / p50", lambda turn: turn["W1 every 20 ms"]["p99_us"] / turn["W1 every 20 ms"]["p50_us"],
        "<=", 4, 2.5, ("W1 every 20 ms",)),
    ratio("python3 -c", "W1 every 20 ms", "p50_us", "python3 -c: p50 / W1 every 20 ms", ">=", 40, 80),
    ratio("python3 -c", "W1 one connection", "p50_us", "python3 -c: p50 / W1 one connection", ">=", 15),
    ratio("W1 8 connections", "bare fork, 2 parents", "rps", "W1 8 connections: per s / bare fork, 2 parents", ">=", 0.5,
          0.75),
    ratio("W1 8 connections", "flask 8 connections", "rps", "W1 8 connections: per s / flask and gunicorn", ">=", 14, 20),
    ratio("W3 every 20 ms", "W1 every 20 ms", "p50_us", "W3 (numpy) every 20 ms: p50 / W1's", "<=", 4, 2.5),
    ratio("W1 128 connections", "W1 8 connections", "rps", "W1 128 connections: per s / 8 connections", ">=", 0.95, 1),
    burst("p50_us", "burst of 200: p50 / 200 bare forks"),
    burst("max_us", "burst of 200: last reply / 200 bare forks"),
    Row("a waiting box: unique memory, MiB", lambda turn: turn["memory"]["box_mib"], "<=", 2, 1, ("memory",)),
    Row("idle server, 8 boxes: proportional, MiB", lambda turn: turn["memory"]["whole_mib"], "<=", 60, 40, ("memory",)),
    Row("server process: CPU a request, µs", lambda turn: turn["W1 one connection"]["server_cpu_us"], "<=", 80, 40,
        ("W1 one connection",)),
    # Told, not judged.
    ratio("bwrap python3 -c", "W1 every 20 ms", "p50_us"),
    ratio("python3 -I -S -c", "W1 every 20 ms", "p50_us"),
    ratio("flask one connection", "W1 one connection", "p50_us"),
]


class Bench:
    """The servers of a run, and a way to measure each target that can be had."""

    def __init__(self, args, stack):
        self.build, (self.rounds, self.scale) = args.build, PLANS[args.plan]
        self.rounds = args.rounds or self.rounds
        self.servers, self.skipped = {}, {}
        for name, start in (("hatchery", self.start_hatchery), ("numpy", self.start_numpy), ("flask", self.start_flask)):
            server = start()
            if server:
                stack.callback(server.stop)
                self.servers[name] = server
        for server in self.servers.values():
            server.wait_for_url()
        self.argv = {name: self.command(name, target) for name, target in TARGETS.items()}
        self.argv = {name: argv for name, argv in self.argv.items() if argv}

    def start_hatchery(self):
        return Hatchery(self.build, HATCHERY_POOL_SIZE=str(BOXES))

    def start_numpy(self):
        if subprocess.run([PYTHON, "-c", "import numpy"], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipped["W3"] = "python3-numpy is not installed"
            return None
        return Hatchery(self.build, "hatchery, runtime data", HATCHERY_RUNTIME_DATA_AT_START="yes")

    def start_flask(self):
        missing = baselines.flask_missing()
        if missing:
            self.skipped["flask"] = f"{missing} is not installed"
            return None
        return baselines.start_flask()

    def command(self, name, target):
        """What measures a target, without how long; None where it can't be had."""
        kind, _, number = target.server.partition(" ")
        if kind == "fork":
            return [*baselines.fork_argv(self.build, number), *target.options]
        if kind == "command":
            argv = baselines.command_argv(self.build, name)
            if not argv:
                self.skipped[name] = "its program is missing, or does not work here"
            return argv
        server = self.servers.get(target.server)
        return server and [find_program("bench-load", self.build), "--url", server.url, "--key", server.key,
                           *target.options]

    def measure(self, name):
        """One turn of one target: the figures that its program printed. No PYTHON* variable slows a baseline down."""
        target, argv = TARGETS[name], list(self.argv[name])
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        server = self.servers.get(target.server)
        before = server.cpu_ns() if isinstance(server, Hatchery) else 0
        phases = server.phases() if name in PHASED else None
        if target.seconds:
            argv[1:1] = ["--seconds", f"{max(target.seconds * self.scale, 0.1):.3f}"]
        found = figures(argv, f"{name}: ", environment)
        if isinstance(server, Hatchery):
            warmup = int(argv[argv.index("--warmup") + 1])
            found["server_cpu_us"] = (server.cpu_ns() - before) / 1000 / (found["requests"] + warmup)
        if phases is not None:
            found["phases"] = means(phases, server.phases())
        return found

    def measure_memory(self):
        """Of the server at rest."""
        server = self.servers["hatchery"]
        found = server.wait_for_boxes(BOXES)
        try:
            boxes = [memory(pid) for pid in found["boxes"]]
            whole = sum(memory(pid)[1] for name, pid in found.items() if name not in ("boxes", "inits"))
            whole += sum(pss for _, pss in boxes) + sum(memory(pid)[1] for pid in found["inits"])
        except OSError as error:
            raise BenchError(f"smaps_rollup of a box can't be read: {error}") from None
        return {"box_mib": statistics.median(unique for unique, _ in boxes) / 1024, "whole_mib": whole / 1024,
                "errors": 0, "boxes": len(boxes)}

    def take_turns(self):
        """All rounds: a list of {target: figures}."""
        rounds = []
        for number in range(1, self.rounds + 1):
            print(f"round {number} of {self.rounds}", file=sys.stderr, flush=True)
            turn = {"memory": self.measure_memory()}
            for name in self.argv:
                turn[name] = self.measure(name)
            rounds.append(turn)
        return rounds


def means(before, after):
    """{kind: {phase: mean in microseconds}} of what was counted in between, in the order of the metrics."""
    found = {"request": {}, "sandbox": {}}
    for (kind, phase), (us, n) in after.items():
        us_before, n_before = before.get((kind, phase), (0, 0))
        if n > n_before:
            found[kind][phase] = (us - us_before) / (n - n_before)
    return found


def summarise(rounds):
    """For each target the median of each figure over the rounds, and the sums of requests and errors."""
    summary = {}
    for name in rounds[0]:
        turns = [turn[name] for turn in rounds]
        if "requests" in turns[0]:
            summary[name] = {figure: statistics.median(turn[figure] for turn in turns) for figure in FIGURES}
            summary[name].update({count: sum(turn[count] for turn in turns) for count in ("requests", "errors")})
    return summary


def reaches(row, value, bound):
    return bound is not None and (value <= bound if row.bound == "<=" else value >= bound)


def judge(row, value, rounds):
    """A row with no bound is only told; one with errors in it proves nothing."""
    if row.least is None:
        return ""
    if any(turn[name]["errors"] for turn in rounds for name in row.targets):
        return "VOID (errors)"
    if reaches(row, value, row.aim):
        return "holds, aim reached"
    return "holds" if reaches(row, value, row.least) else "MISSED"


def compare(rounds):
    """For each row whose targets were measured: median, smallest and largest over the rounds."""
    found = []
    for row in ROWS:
        if not all(name in rounds[0] for name in row.targets):
            continue
        with contextlib.suppress(ZeroDivisionError):
            values = [row.value(turn) for turn in rounds]
            middle = statistics.median(values)
            found.append({"row": row.name, "median": middle, "min": min(values), "max": max(values), "bound": row.bound,
                          "least": row.least, "aim": row.aim, "verdict": judge(row, middle, rounds)})
    return found


def print_targets(summary):
    print(f"\n{'':24}{'p50 µs':>10}{'p95 µs':>10}{'p99 µs':>10}{'per s':>9}{'requests':>10}{'errors':>8}  the client's CPU: "
          "µs each, share of a core")
    for name, row in summary.items():
        micros = "".join(f"{row[figure]:>10,.0f}" for figure in FIGURES[:3])
        print(f"{name:24}{micros}{row['rps']:>9,.1f}{row['requests']:>10,}{row['errors']:>8}"
              f"{row['own_cpu_us']:>12,.0f}{row['own_cpu_share']:>7.0%}")


def phases(rounds):
    """{kind: {target: {phase: microseconds}}}: means of each turn, medians over the rounds, the same phases for all targets."""
    names, found = [name for name in PHASED if name in rounds[0]], {}
    for kind in ("request", "sandbox"):
        order = dict.fromkeys(phase for turn in rounds for name in names for phase in turn[name]["phases"][kind])
        found[kind] = {name: {phase: statistics.median(turn[name]["phases"][kind].get(phase, 0) for turn in rounds)
                              for phase in order} for name in names}
    return found


def print_phases(rounds):
    found = phases(rounds)
    for kind, words in (("request", "where a request's time goes, mean µs"), ("sandbox", "what a box takes, mean µs")):
        columns = found[kind].values()
        print(f"\n{words:40}" + "".join(f"{name:>20}" for name in found[kind]))
        for phase in next(iter(columns)):
            print(f"  {phase:38}" + "".join(f"{column[phase]:>20,.1f}" for column in columns))
        print(f"  {'together':38}" + "".join(f"{sum(column.values()):>20,.1f}" for column in columns))


def print_rows(rows):
    print(f"\n{'':46}{'median':>8}  {'min to max':18}{'at least':>9}{'aim':>7}")
    for row in rows:
        spread = f"{row['min']:.2f} to {row['max']:.2f}"
        aim = "" if row["aim"] is None else format(row["aim"], "g")
        bounds = f"{row['bound'] + ' ' + format(row['least'], 'g'):>9}{aim:>7}" if row["least"] is not None else ""
        print(f"{row['row']:46}{row['median']:>8.2f}  {spread:18}{bounds}  {row['verdict']}".rstrip())


def parse_args():
    parser = argparse.ArgumentParser(description="Measure Hatchery beside what else runs Python and beside the machine.")
    plan = parser.add_mutually_exclusive_group()
    plan.add_argument("--full", dest="plan", action="store_const", const="full", help="about five minutes (default)")
    plan.add_argument("--quick", dest="plan", action="store_const", const="quick", help="about one minute")
    parser.add_argument("--rounds", type=int, metavar="N", help="so many instead of the plan's")
    plan.add_argument("--check", dest="plan", action="store_const", const="check",
                      help="a few seconds: does all of it run? The figures mean nothing")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--build", metavar="DIR", default=str(BUILD),
                        help="where hatchery and the bench programs are (default: build)")
    parser.set_defaults(plan="full")
    return parser.parse_args()


def run(args):
    before = machine()
    with contextlib.ExitStack() as stack:
        bench = Bench(args, stack)
        for name, why in bench.skipped.items():
            print(f"skipped: {name} ({why})")
        rounds = bench.take_turns()
        failed = 0
        for server in bench.servers.values():
            if not server.stop():
                print(f"{server.name} had ended by itself, or did not within 15 s of SIGTERM\n{server.log_tail()}")
                failed += 1
    summary, rows = summarise(rounds), compare(rounds)
    print(f"{before['cores']} cores, Linux {before['kernel']}, load {before['load']:.2f} at the start; {len(rounds)} "
          "rounds; each figure is the median over the rounds")
    print_targets(summary)
    print_phases(rounds)
    print_rows(rows)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"machine": before, "plan": args.plan, "skipped": bench.skipped, "rounds": rounds,
                       "summary": summary, "rows": rows, "servers_failed": failed}, out, indent=2)
    return 1 if failed or any(row["errors"] or not row["requests"] for row in summary.values()) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    try:
        sys.exit(run(parse_args()))
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
