#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A mixed load for a long time at 80 % of what the machine can do: every reply is right, and nothing of the service grows.

soak.py --minutes 30 [--share 0.8] [--json FILE]

First bench-load finds out how much the machine can do: the programs W1 to W6 of the bench, timeouts, crashes, memory kills
and clients that hang up, as fast as they go, while one more client sends, at random, programs of the table KINDS.  Then
the same at the share of it that was asked for, one request after the other at even distances, whether the service keeps
up or not.  In the end the service must be as it was before: as many processes and cgroups, as many descriptors of each of
its processes; no process of it may have grown; and the p99 of each program in the last minute (of a short soak: the last
fifth) is at most 1.5 times that of the first.  Exit status 0 only if all of that holds."""
import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from client import EXECUTE  # noqa: E402  the path above is where it is
from processes import cgroups_of, wait_for  # noqa: E402  the path above is where it is
from service import ROOT, Service  # noqa: E402  the path above is where it is

BOXES = 8
CONFIG = f"""
[limits]
memory = 128M
[pool]
size = {BOXES}
[queue]
max_length = 1000
[python]
imports = {{imports}}
[log]
format = json
"""
IMPORTS = "json re datetime math random collections itertools functools traceback io asyncio"
# How often each program of bench-load's is sent among a thousand or so.
MIX = {"W1": 600, "W2": 150, "W3": 100, "W4": 10, "W5": 40, "W6": 20, "timeout": 1, "crash": 10, "memory": 2, "cancel": 10}
CONNECTIONS = 64
CAPACITY_SECONDS = 20
KINDS_A_SECOND = 5
# What is flat: so many times as much memory and a little; so much of a p99, of as many replies as make one.
GROWTH, GROWTH_KIB, SLOWER, REPLIES = 1.1, 2048, 1.5, 300
CACHE_KIB = 16384 + 2000  # the server's besides: what SQLite keeps of its database (cache_size), of the writer and the reader

MEBIBYTE = 1 << 20


def ok(result=None, stdout="", stderr=""):
    def check(reply):
        response = {"result": result, "stdout": stdout, "stderr": stderr, "exit_code": 0}
        return reply.status == 200 and reply["response"] == response
    return check


def failed(status, reason, words, stdout=""):
    def check(reply):
        return (reply.status == status == reply["code"] and reply["reason"] == reason
                and words in reply["error"] + reply["message"] and reply["stdout"] == stdout)
    return check


def flooded(reply):
    return (reply.status == 200 and reply["response"]["stdout"] == "x" * MEBIBYTE
            and reply["response"]["stdout_truncated"] is True)


def hello(n):
    return f"print('hello', {n})\nreturn {n}", ok(n, f"hello {n}\n")


def imports(n):
    code = ("import csv, decimal, email, hashlib, html, sqlite3, xml.etree.ElementTree\n"
            f"row = sqlite3.connect(':memory:').execute('select {n} + 1').fetchone()\nreturn row[0]")
    return code, ok(n + 1)


def processor(n):
    return f"total = {n}\nfor i in range(300000):\n    total += i\nreturn total", ok(n + sum(range(300000)))


def flood(n):
    return f"print('x' * {MEBIBYTE + 1 + n % 100000})", flooded


def large_result(n):
    return f"return [{n}] * 50000", ok([n] * 50000)


def files(n):
    code = ("for i in range(50):\n    with open(f'f{i}', 'w') as f:\n        f.write(str(i) * 1000)\n"
            f"import os, tempfile\ntempfile.mkdtemp()\nreturn len(os.listdir('.')) + {n}")
    return code, ok(50 + n)


def subprocesses(n):
    code = f"import subprocess\nreturn subprocess.run(['sh', '-c', 'echo {n}'], capture_output=True, text=True).stdout"
    return code, ok(f"{n}\n")


def threads(n):
    code = ("import threading\n"
            "ts = [threading.Thread(target=print, args=('t\\n',), kwargs={'end': ''}) for _ in range(8)]\n"
            f"[t.start() for t in ts]\n[t.join() for t in ts]\nreturn {n}")
    return code, ok(n, "t\n" * 8)


def exception(n):
    code = f"print('before')\nraise ValueError('number {n}')"
    return code, failed(400, "exception", f"ValueError: number {n}", "before\n")


def syntax(n):
    return f"print({n}\n", failed(400, "syntax", "SyntaxError")


def leaves(n):
    return f"import sys\nprint('bye')\nsys.exit({n % 100 + 1})", failed(400, "exit", "", "bye\n")


def no_json(n):
    return "return {1, 2}", failed(500, "result", "Failed to parse execution result")


def sleeper(n):
    return "print('waiting')\nimport time\ntime.sleep(60)", failed(408, "timeout", "out after 1 seconds", "waiting\n")


def hung_up(n):
    """The client is gone before its reply is there."""
    return "import time\ntime.sleep(30)", None


# program, how often among the others, timeout in seconds
KINDS = [(hello, 20, 30), (imports, 60, 30), (processor, 60, 30), (flood, 20, 30), (large_result, 20, 30), (files, 40, 30),
         (subprocesses, 30, 30), (threads, 20, 30), (exception, 50, 30), (syntax, 20, 30), (leaves, 20, 30), (no_json, 10, 30),
         (sleeper, 3, 1), (hung_up, 20, 30)]


class Client(threading.Thread):
    """Sends programs of KINDS until it is told to end."""

    def __init__(self, server, seed):
        super().__init__()
        self.server, self.random, self.end = server, random.Random(seed), threading.Event()
        self.taken, self.wrong = collections.Counter(), []  # by kind; sentences

    def hang_up(self, code):
        connection = self.server.connect()
        connection.request("POST", EXECUTE, body=json.dumps({"code": code}),
                           headers={"x-api-key": self.server.key, "content-type": "application/json"})
        self.end.wait(self.random.random() * 0.05)  # sometimes before the program has begun, sometimes after
        connection.close()

    def send(self, connection):
        kind, _, timeout = self.random.choices(KINDS, [kind[1] for kind in KINDS])[0]
        code, check = kind(self.random.randrange(1000000))
        self.taken[kind.__name__] += 1
        if check is None:
            self.hang_up(code)
            return
        reply = self.server.run(code, connection=connection, timeout=timeout)
        if not check(reply):
            self.wrong.append(f"{kind.__name__}: {repr(reply)[:600]}")

    def run(self):
        connection = self.server.connect()
        while not self.end.wait(self.random.random() * 2 / KINDS_A_SECOND) and len(self.wrong) < 20:
            try:
                self.send(connection)
            except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                connection.close()
                connection = self.server.connect()
        connection.close()


class Load:
    """bench-load at work: a thread reads its lines."""

    def __init__(self, server, mix, *options):
        argv = [ROOT / "build" / "bench" / "bench-load", "--url", f"http://{server.host}:{server.port}", "--key", server.key,
                "--mix", ",".join(f"{name}:{weight}" for name, weight in mix.items()), "--connections", str(CONNECTIONS),
                "--warmup", "0", *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.parts, self.sums, self.error = [], {}, ""  # {workload: figures} of each interval, and of all
        self.thread = threading.Thread(target=self._read, args=(len(mix),))
        self.thread.start()

    def _read(self, kinds):
        lines = [json.loads(line) for line in self.process.stdout]
        self.error = self.process.stderr.read()
        named = [line for line in lines if "workload" in line]
        parts = [{line["workload"]: line for line in named[at:at + kinds]} for at in range(0, len(named), kinds)]
        self.parts, self.sums = parts[:-1], parts[-1] if parts else {}
        for line in lines:
            self.sums["all" if "workload" not in line and "requests" in line else line.get("workload", "hung up")] = line

    def wait(self):
        """The exit status."""
        self.thread.join()
        return self.process.wait()

    def rate(self):
        """Requests a second, those without a reply among them."""
        return (self.sums["all"]["requests"] + self.sums.get("hung up", {}).get("hung_up", 0)) / self.sums["all"]["seconds"]


def processes(server):
    """The service's own processes; a zygote is replaced from time to time."""
    found = {"supervisor": server.pid, **{name: server.child(name) for name in ("server", "courier", "zygote")}}
    return {name: pid for name, pid in found.items() if pid}


def descriptors(server):
    """Without the supervisor's that watch a slot: programs that run for long bring slots that stay."""
    found = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in processes(server).items()}
    found["supervisor"] -= len([path for base in cgroups_of(server.pid) for path in pathlib.Path(base).glob("box-*/memory.oom_control")])
    return found


def unique(pid):
    """KiB that a process has alone."""
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:]
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return values["Private_Clean"] + values["Private_Dirty"]


def sample(server):
    """name -> KiB that are its own."""
    while True:
        try:
            return {name: unique(pid) for name, pid in processes(server).items()}
        except OSError:
            pass  # a zygote was replaced just now


def watch(server, load, client, total):
    """Look at the memory until the load is over: [(seconds, {name: KiB})]."""
    began = said = time.monotonic()
    samples = []
    while load.thread.is_alive():
        samples.append((time.monotonic() - began, sample(server)))
        if time.monotonic() - said >= 30:
            said = time.monotonic()
            print(f"{samples[-1][0]:6.0f} of {total:.0f} s  unique KiB {samples[-1][1]}  {len(client.wrong)} wrong", flush=True)
        load.thread.join(1)
    return samples


def judge_memory(samples, part):
    """The first part against the last."""
    wrong = []
    last_at = samples[-1][0] - part
    for name in samples[0][1]:
        first, last = (statistics.median([kib[name] for at, kib in samples if inside(at) and name in kib])
                       for inside in (lambda at: at <= part, lambda at: at >= last_at))
        most = max(kib.get(name, 0) for _, kib in samples)
        print(f"{name}: {first:.0f} KiB of its own at first, {last:.0f} at last, at most {most}")
        if last > first * GROWTH + GROWTH_KIB + (CACHE_KIB if name == "server" else 0):
            wrong.append(f"the memory of the {name} grows: {first} KiB, then {last} KiB")
    return wrong


def judge_times(parts):
    wrong = []
    first, last = parts[0], parts[-1]
    print(f"{'':10}{'p50 first':>12}{'p50 last':>12}{'p99 first':>12}{'p99 last':>12}{'replies':>10}   ms, each part's")
    for name in first:
        a, b = first[name], last[name]
        counts = min(a["requests"], b["requests"]) >= REPLIES
        slower = counts and b["p99_us"] > a["p99_us"] * SLOWER
        figures = "".join(f"{figures[key] / 1000:12.2f}" for key in ("p50_us", "p99_us") for figures in (a, b))
        print(f"{name:10}{figures}{b['requests']:10}   {'SLOWER' if slower else 'flat' if counts else 'too few to judge'}")
        if slower:
            wrong.append(f"{name} becomes slower: p99 {a['p99_us']:.0f} µs, then {b['p99_us']:.0f} µs")
    return wrong


def compare_rest(server, rest, fds_before):
    try:
        server.wait_until_idle(rest)
        wait_for(lambda: descriptors(server) == fds_before, 10,
                 f"descriptors as before, {fds_before}; are {descriptors(server)}")
    except AssertionError as error:
        return [str(error)]
    print(f"at rest again: processes and cgroups {rest}, descriptors {fds_before}")
    return []


def measure_capacity(server, mix, seconds):
    load = Load(server, mix, "--seconds", f"{seconds:g}")
    if load.wait() != 0:
        raise SystemExit(f"the service failed while its capacity was measured: {load.error}")
    return load.rate()


def soak(server, mix, arguments, client):
    """Sentences about what is wrong."""
    rest = server.wait_until_full(BOXES)
    server.run("print()")  # the first connection opens what is then kept open
    server.wait_until_idle(rest)
    fds_before = descriptors(server)
    total = arguments.minutes * 60
    part = min(60, total / 5)
    client.start()
    capacity = measure_capacity(server, mix, min(CAPACITY_SECONDS, total))
    rate = capacity * arguments.share
    print(f"capacity {capacity:.0f} requests/s; {arguments.share:.0%} of it for {arguments.minutes:g} minutes", flush=True)
    load = Load(server, mix, "--pace-us", str(round(1e6 / rate)), "--seconds", f"{total:g}", "--every", f"{part:g}")
    samples = watch(server, load, client, total)
    status = load.wait()
    client.end.set()
    client.join()
    print(f"{load.rate():.0f} requests/s, {load.sums['all']['requests']} replies, {load.sums.get('hung up', {}).get('hung_up', 0)} clients "
          f"that hung up; of the other client: {dict(client.taken)}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"capacity": capacity, "parts": load.parts, "sums": load.sums,
                                                            "memory": samples}, indent=1))
    wrong = client.wrong + ([load.error] if status else [])
    if load.rate() < rate * 0.98:
        wrong.append(f"{rate:.0f} requests/s were asked for and {load.rate():.0f} answered: the machine has slowed down, or the service")
    wrong += judge_memory(samples, part) + judge_times(load.parts) + compare_rest(server, rest, fds_before)
    return wrong + [f"the log says: {line}" for line in server.log() if line["level"] == "error"][:20]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity (0.8)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--json", metavar="FILE", help="write what was measured to FILE")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 30) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    mix, imports = dict(MIX), IMPORTS + " numpy"
    if subprocess.run(["/usr/bin/python3", "-c", "import numpy"], stderr=subprocess.DEVNULL, check=False).returncode:
        print("W3 is left out: python3-numpy is not installed")
        del mix["W3"]
        imports = IMPORTS
    with Service(config=CONFIG.format(imports=imports)) as server:
        client = Client(server, seed)
        try:
            wrong = soak(server, mix, arguments, client)
        finally:
            client.end.set()
    print("\n".join(wrong) or "nothing is wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service is ended
    main()
