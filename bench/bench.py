#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# The bench ("make bench"): Hatchery beside a bare fork of a warm interpreter and beside a new python3 for each program,
# all in one run on one machine. The targets take turns, A B C D A B C D ..., so that noise hits all alike, and each
# ratio is taken within a round; what is printed is the median over the rounds, with the smallest and the largest.
# The work is done by bench-load and bench-fork (C); this file starts the servers, takes the turns and adds up.
# Exit status: 1 when a request failed or a server did, 2 when the bench could not start. A missed ratio is no failure.

import argparse
import contextlib
import json
import os
import platform
import queue
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading

BENCH = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
CODE = 'print("Hello, World!")'
EXPECT = r'"Hello, World!\n"'  # the whole of stdout, as a JSON string
FIGURES = ("p50_us", "p95_us", "p99_us", "rps")
PLANS = {"quick": {"rounds": 5, "seconds": 2}, "full": {"rounds": 10, "seconds": 5}}

# name of the ratio: dividend, divisor, figure, bound ("at most" or "at least"), target (None: told, not judged)
RATIOS = {
    "sequential p50 / bare fork p50": ("sequential", "bare fork", "p50_us", "<=", 1.5),
    "python3 -c p50 / sequential p50": ("python3 -c", "sequential", "p50_us", ">=", 15),
    "8 connections rps / flask, 8 connections rps": ("8 connections", "flask, 8 connections", "rps", ">=", None),
}


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


class Server:
    """A server that prints http://127.0.0.1:PORT once it listens. Its log goes to a file, shown where it fails."""

    def __init__(self, name, argv, address_on="stdout", **environment):
        self.name, self.key = name, secrets.token_hex(16)
        self.log = tempfile.TemporaryFile()
        streams = {"stdout": self.log, "stderr": self.log, address_on: subprocess.PIPE}
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, **streams, start_new_session=True,
                                        env={**os.environ, "API_KEY": self.key, **environment})
        self.found = queue.Queue()
        threading.Thread(target=self._read, args=(getattr(self.process, address_on),), daemon=True).start()

    def _read(self, stream):
        """Find the address, then go on reading so that the server never blocks."""
        for line in stream:
            match = re.search(rb"http://127\.0\.0\.1:[1-9]\d*", line)
            if match:
                self.found.put(match.group().decode())
        self.found.put(None)

    def wait_for_url(self, seconds=30):
        with contextlib.suppress(queue.Empty):
            url = self.found.get(timeout=seconds)
            if url:
                return url
        self.stop()
        raise BenchError(f"{self.name} ended, or printed no http://127.0.0.1:PORT in {seconds} s\n{self.log_tail()}")

    def log_tail(self):
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 2000))
        return self.log.read().decode(errors="replace")

    def stop(self):
        """SIGTERM, as a user would. Returns whether that was enough."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return False
        return True


def find_program(name, build):
    for path in (os.path.join(build, "bench", name), os.path.join(build, name)):
        if os.access(path, os.X_OK):
            return path
    raise BenchError(f"{name} is not in {build}: run `make build` first")


def load_argv(build, url, key, connections):
    return [find_program("bench-load", build), "--url", url, "--key", key, "--connections", str(connections),
            "--code", CODE, "--expect", EXPECT, "--warmup", str(20 * connections)]


def baseline_targets(build):
    fork = find_program("bench-fork", build)
    return {"bare fork": [fork, "--warmup", "20"],
            "python3 -c": [fork, "--spawn", PYTHON, "--warmup", "2"]}


def start_hatchery(build, stack):
    hatchery = os.environ.get("HATCHERY") or os.path.join(build, "hatchery")
    if not os.access(hatchery, os.X_OK):
        raise BenchError(f"{hatchery} is missing: run `make build` first, or name it in $HATCHERY")
    state = stack.enter_context(tempfile.TemporaryDirectory(prefix="hatchery-bench-"))
    return Server("hatchery", [hatchery, "serve", "--listen", "127.0.0.1:0", "--state", state])


def flask_missing():
    """The Debian package that the Flask baseline lacks, or None."""
    for module, package in (("flask", "python3-flask"), ("gunicorn", "gunicorn")):
        if subprocess.run([PYTHON, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False).returncode:
            return package
    return None


def start_flask():
    argv = [PYTHON, "-m", "gunicorn", "--chdir", BENCH, "--bind", "127.0.0.1:0", "--worker-class", "gthread",
            "--workers", str(os.cpu_count() or 1), "--threads", "8", "--keep-alive", "80", "flask_app:app"]
    return Server("flask", argv, address_on="stderr", PYTHONDONTWRITEBYTECODE="1")


def measure(name, argv, seconds):
    """One turn of one target: the figures that its program printed. No PYTHON* variable slows a baseline down."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([*argv, "--seconds", str(seconds)], stdout=subprocess.PIPE, env=environment, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise BenchError(f"{name}: {os.path.basename(argv[0])} ended with {done.returncode} and no figures") from None


def take_turns(targets, plan):
    """All rounds: a list of {target: figures}."""
    rounds = []
    for number in range(1, plan["rounds"] + 1):
        print(f"round {number} of {plan['rounds']}", file=sys.stderr, flush=True)
        rounds.append({name: measure(name, argv, plan["seconds"]) for name, argv in targets.items()})
    return rounds


def summarise(rounds):
    """For each target the median of each figure over the rounds, and the sums of requests and errors."""
    summary = {}
    for name in rounds[0]:
        turns = [turn[name] for turn in rounds]
        summary[name] = {figure: statistics.median(turn[figure] for turn in turns) for figure in FIGURES}
        summary[name].update({count: sum(turn[count] for turn in turns) for count in ("requests", "errors")})
    return summary


def judge(median, bound, target, rounds, names):
    """A ratio with no target is only told; one of rows with errors proves nothing."""
    if target is None:
        return ""
    if any(turn[name]["errors"] for turn in rounds for name in names):
        return "VOID (errors)"
    return "holds" if (median <= target if bound == "<=" else median >= target) else "MISSED"


def compare(rounds):
    """For each ratio whose targets were measured: median, smallest and largest over the rounds."""
    ratios = {}
    for name, (dividend, divisor, figure, bound, target) in RATIOS.items():
        if dividend not in rounds[0] or divisor not in rounds[0]:
            continue
        values = [turn[dividend][figure] / turn[divisor][figure] for turn in rounds if turn[divisor][figure]]
        if not values:
            continue
        median = statistics.median(values)
        ratios[name] = {"median": median, "min": min(values), "max": max(values), "bound": bound, "target": target,
                        "verdict": judge(median, bound, target, rounds, (dividend, divisor))}
    return ratios


def print_table(summary, ratios):
    print(f"\n{'':22}{'p50 µs':>10}{'p95 µs':>10}{'p99 µs':>10}{'per s':>10}{'requests':>10}{'errors':>8}")
    for name, row in summary.items():
        micros = "".join(f"{row[figure]:>10,.0f}" for figure in FIGURES)
        print(f"{name:22}{micros}{row['requests']:>10,}{row['errors']:>8}")
    print(f"\n{'':46}{'median':>8}   {'min to max':20}target")
    for name, ratio in ratios.items():
        spread = f"{ratio['min']:.2f} to {ratio['max']:.2f}"
        target = "" if ratio["target"] is None else f"{ratio['bound']} {ratio['target']}"
        print(f"{name:46}{ratio['median']:>8.2f}   {spread:20}{target:8}{ratio['verdict']}".rstrip())


def machine():
    return {"cores": os.cpu_count(), "kernel": platform.release(), "arch": platform.machine(),
            "load": os.getloadavg()[0]}


def prepare(stack, args):
    """Start the servers. Returns ({target: argv}, servers); the stack ends whatever was started."""
    servers = {"hatchery": start_hatchery(args.build, stack)}
    missing = flask_missing() if args.plan == "full" else None
    if missing:
        print(f"skipped: flask under gunicorn ({missing} is not installed)")
    elif args.plan == "full":
        servers["flask"] = start_flask()
    for server in servers.values():
        stack.callback(lambda server=server: server.process.poll() is None and server.stop())
    targets = {}
    for name, labels in (("hatchery", ("sequential", "8 connections")),
                         ("flask", ("flask, sequential", "flask, 8 connections"))):
        if name in servers:
            url = servers[name].wait_for_url()
            targets.update({label: load_argv(args.build, url, servers[name].key, connections)
                            for label, connections in zip(labels, (1, 8))})
    return {**targets, **baseline_targets(args.build)}, servers.values()


def stop_all(servers):
    """End every server; the number of those that had died before or had to be killed."""
    failed = 0
    for server in servers:
        if server.process.poll() is not None:
            print(f"{server.name} had ended by itself ({server.process.returncode})\n{server.log_tail()}")
            failed += 1
        elif not server.stop():
            print(f"{server.name} did not end within 15 s of SIGTERM and was killed")
            failed += 1
    return failed


def parse_args():
    parser = argparse.ArgumentParser(description="Measure Hatchery beside a bare fork and beside python3 -c.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="plan", action="store_const", const="quick", help="under a minute (default)")
    size.add_argument("--full", dest="plan", action="store_const", const="full",
                      help="about five minutes, with Flask under gunicorn where it is installed")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--build", metavar="DIR", default=os.path.join(os.path.dirname(BENCH), "build"),
                        help="where hatchery and the bench programs are (default: build)")
    parser.set_defaults(plan="quick")
    return parser.parse_args()


def run(args):
    before = machine()
    with contextlib.ExitStack() as stack:
        targets, servers = prepare(stack, args)
        rounds = take_turns(targets, PLANS[args.plan])
        failed = stop_all(servers)
    summary, ratios = summarise(rounds), compare(rounds)
    print(f"{before['cores']} cores, Linux {before['kernel']}, load {before['load']:.2f} at the start; {len(rounds)} "
          f"rounds of {PLANS[args.plan]['seconds']} s a row; each figure is the median over the rounds")
    print_table(summary, ratios)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"machine": before, "plan": args.plan, "rounds": rounds, "summary": summary, "ratios": ratios,
                       "servers_failed": failed}, out, indent=2)
    return 1 if failed or any(row["errors"] or not row["requests"] for row in summary.values()) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    try:
        sys.exit(run(parse_args()))
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
