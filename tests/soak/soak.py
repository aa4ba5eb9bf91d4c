#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A mixed load for a long time: every reply is right, and nothing of the service grows.

soak.py --minutes 60 [--clients 6]

Clients send, at random, every kind of program that the table KINDS has, and some hang up on theirs.  At the end, which
is after the load, the service must be as it was before it: as many processes and cgroups, as many descriptors of each
of its processes; and the memory and the p99 of the last fifth are held against those of the second (the first warms
up).  Exit status 0 only if all of that holds."""
import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from service import EXECUTE, Service, memory, wait_for  # noqa: E402  the path above is where it is

BOXES = 8
CONFIG = f"""
[limits]
memory = 128M
[pool]
size = {BOXES}
max_runs = 6
[queue]
max_length = 1000
[log]
format = json
"""

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


def mebibyte(n):
    return f"print('x' * {MEBIBYTE - 1})", ok(None, "x" * (MEBIBYTE - 1) + "\n")


def flood(n):
    return f"print('x' * {MEBIBYTE + 1 + n % 100000})", flooded


def long_source(n):
    return f"print({n})\n# " + "x" * 65536 + "\nprint('end')", ok(None, f"{n}\nend\n")


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


def crash(n):
    return "print('falling', flush=True)\nimport os\nos.abort()", failed(400, "signal", "SIGABRT", "falling\n")


def memory_kill(n):
    code = "print('eating')\nheld = []\nwhile True:\n    held.append(bytearray(b'x' * (1 << 20)))"
    return code, failed(400, "memory", "Memory limit exceeded (128 MiB)", "eating\n")


def sleeper(n):
    return "print('waiting')\nimport time\ntime.sleep(60)", failed(408, "timeout", "out after 1 second", "waiting\n")


def spinner(n):
    return "print('spinning')\nwhile True:\n    pass", failed(408, "timeout", "timed out after 1 second", "spinning\n")


def hung_up(n):
    """The client is gone before its reply is there."""
    return "import time\ntime.sleep(30)", None


# program, how often among the others, timeout in seconds
KINDS = [(hello, 400, 30), (imports, 60, 30), (processor, 60, 30), (mebibyte, 20, 30), (flood, 20, 30),
         (long_source, 40, 30), (large_result, 20, 30), (files, 40, 30), (subprocesses, 30, 30), (threads, 20, 30),
         (exception, 50, 30), (syntax, 20, 30), (leaves, 20, 30), (no_json, 10, 30), (crash, 20, 30),
         (memory_kill, 10, 30), (sleeper, 3, 1), (spinner, 3, 1), (hung_up, 20, 30)]


class Client(threading.Thread):
    def __init__(self, server, seed, end):
        super().__init__()
        self.server, self.random, self.end = server, random.Random(seed), end
        self.taken, self.wrong = [], []  # (kind, when it began, seconds); sentences

    def hang_up(self, code):
        connection = self.server.connect()
        connection.request("POST", EXECUTE, body=json.dumps({"code": code}),
                           headers={"x-api-key": self.server.key, "content-type": "application/json"})
        time.sleep(self.random.random() * 0.05)  # sometimes before the program has begun, sometimes after
        connection.close()

    def run(self):
        connection = self.server.connect()
        kinds, weights = [kind for kind in KINDS], [kind[1] for kind in KINDS]
        while time.monotonic() < self.end and len(self.wrong) < 20:
            kind, _, timeout = self.random.choices(kinds, weights)[0]
            code, check = kind(self.random.randrange(1000000))
            began = time.monotonic()
            try:
                if check is None:
                    self.hang_up(code)
                    continue
                reply = self.server.run(code, connection=connection, timeout=timeout)
                if not check(reply):
                    self.wrong.append(f"{kind.__name__}: {repr(reply)[:600]}")
            except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
                self.wrong.append(f"{kind.__name__}: {error!r}")
                connection.close()
                connection = self.server.connect()
            self.taken.append((kind.__name__, began, time.monotonic() - began))
        connection.close()


def processes(server):
    """The service's own processes; a zygote is replaced from time to time."""
    found = {"supervisor": server.pid, "server": server.child("server"), "zygote": server.child("zygote")}
    return {name: pid for name, pid in found.items() if pid}


def descriptors(server):
    return {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in processes(server).items()}


def sample(server, began):
    """(seconds since the beginning, name -> resident KiB, name -> descriptors)"""
    while True:
        try:
            resident = {name: memory(pid)["Rss"] for name, pid in processes(server).items()}
            return time.monotonic() - began, resident, descriptors(server)
        except OSError:
            pass  # a zygote was replaced just now


def fifth(samples, n, total, when):
    return [s for s in samples if n * total / 5 <= when(s) < (n + 1) * total / 5]


def median(values):
    return sorted(values)[len(values) // 2]


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def soak(server, rest, minutes, n_clients, seed):
    """Sentences about what is wrong."""
    server.run("print()")  # the first connection opens what is then kept open
    server.settle(rest)
    fds_before = descriptors(server)
    began = time.monotonic()
    total = minutes * 60
    clients = [Client(server, seed + i, began + total) for i in range(n_clients)]
    samples = []
    for client in clients:
        client.start()
    said = began
    while any(client.is_alive() for client in clients):
        samples.append(sample(server, began))
        if time.monotonic() - said >= 30:
            said = time.monotonic()
            at, resident, fds = samples[-1]
            replies, wrong = sum(len(c.taken) for c in clients), sum(len(c.wrong) for c in clients)
            print(f"{at:6.0f} s  {replies:8} replies  {wrong} wrong  RSS {resident}  descriptors {fds}", flush=True)
        time.sleep(1)
    for client in clients:
        client.join()
    taken = [t for client in clients for t in client.taken]
    wrong = [w for client in clients for w in client.wrong]
    return wrong + judge(server, samples, taken, began, total) + compare_rest(server, rest, fds_before)


def judge(server, samples, taken, began, total):
    wrong = []
    counts = collections.Counter(kind for kind, _, _ in taken)
    print(f"{len(taken)} replies, {len(taken) / total:.0f}/s:", ", ".join(f"{k} {n}" for k, n in counts.most_common()))
    early, late = (fifth(samples, n, total, lambda s: s[0]) for n in (1, 4))
    for name in ("supervisor", "server", "zygote"):
        first, last = (median([s[1][name] for s in part if name in s[1]]) for part in (early, late))
        most = max(s[1].get(name, 0) for s in samples)
        print(f"{name}: RSS {first} KiB in the second fifth, {last} KiB in the last, at most {most}")
        if last > first * 1.25 + 4096:
            wrong.append(f"the memory of the {name} grows: {first} KiB, then {last} KiB")
    for kind in ("hello", "imports", "processor"):
        first, last = (quantile([t for k, at, t in part if k == kind], .99)
                       for part in (fifth(taken, n, total, lambda t: t[1] - began) for n in (1, 4)))
        print(f"{kind}: p99 {first * 1e3:.1f} ms in the second fifth, {last * 1e3:.1f} ms in the last")
        if last > first * 3 + 0.2:
            wrong.append(f"{kind} becomes slower: p99 {first * 1e3:.1f} ms, then {last * 1e3:.1f} ms")
    return wrong + [f"the log says: {line}" for line in server.log() if line["level"] == "error"][:20]


def compare_rest(server, rest, fds_before):
    try:
        server.settle(rest)
        wait_for(lambda: descriptors(server) == fds_before, 10,
                 f"descriptors as before, {fds_before}; are {descriptors(server)}")
    except AssertionError as error:
        return [str(error)]
    print(f"at rest again: processes and cgroups {rest}, descriptors {fds_before}")
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.randrange(1 << 30) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with Service(config=CONFIG) as server:
        wrong = soak(server, server.first_rest(BOXES), arguments.minutes, arguments.clients, seed)
    print("\n".join(wrong) or "nothing is wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
