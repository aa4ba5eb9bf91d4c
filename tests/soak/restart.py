#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Restarts under a load that does not wait for the server: no request fails, and no accepted job is lost.

restart.py [--seconds 20] [--restarts 4] [--rate 1000] [--jobs 1000] [--socket kept|own] [--json FILE]

bench-load offers a request at each of even distances, whether the service keeps up or not; half of them over a connection
of their own, half over connections that are kept. Meanwhile the service is told to stop (SIGTERM) and started again, as
often as --restarts says. First over a socket that outlives it, as with systemd: at 80 % of what the machine can do, at
--rate a second, which may be more than that, and --jobs asynchronous jobs a second, each with a webhook. Then without that
socket: requests may be answered 503 or be refused a connection, and nothing else may go wrong. Of the jobs each that was
accepted (202) must be delivered once the service is there again. Exit status 0 only if all of that holds."""
import argparse
import http.server
import json
import pathlib
import socket
import socketserver
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from manager import give, restart  # noqa: E402  the path above is where it is
from processes import wait_for  # noqa: E402
from service import ROOT, Service  # noqa: E402

CONNECTIONS = 900  # in all
CONFIG = f"""
[server]
max_connections_per_address = 2000
[queue]
max_length = 0
[webhooks]
allow = private
retries = 200ms 500ms 1s
per_host = 16
"""
BENCH_LOAD = ROOT / "build" / "bench" / "bench-load"


class Load:
    """bench-load at work; wait() gives what it has counted."""

    def __init__(self, address, key, *options):
        self.process = subprocess.Popen([BENCH_LOAD, "--url", f"http://{address[0]}:{address[1]}", "--key", key, "--warmup", "0",
                                         *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self):
        out, error = self.process.communicate()
        found = {}
        for line in out.splitlines():
            found.update(json.loads(line))
        return {"away": 0, **found, "error": error}


class Receiver(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Takes webhooks and keeps their ids."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hook)
        self.ids, self.again = set(), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.again += self.headers["webhook-id"] in self.server.ids
        self.server.ids.add(self.headers["webhook-id"])

    def log_message(self, *_):
        pass


def listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


def free_address():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


class Case:
    """One server and what is done to it."""

    def __init__(self, arguments, held):
        self.arguments = arguments
        self.sock = listening() if held else None
        self.address = self.sock.getsockname() if held else free_address()
        self.server = Service(start=False, config=CONFIG, listen="%s:%d" % self.address)
        if held:
            give(self.server, (self.sock,), ("hatchery.socket",))
        self.server.start()

    def close(self):
        self.server.stop(at_once=True)
        if self.sock:
            self.sock.close()
        self.server.directory.cleanup()

    def capacity(self):
        found = Load(self.address, self.server.key, "--connections", "32", "--seconds", "5").wait()
        if found["errors"]:
            raise SystemExit(f"the service failed while its capacity was measured: {found['error']}")
        return found["rps"]

    def start_load(self, rate, *options):
        """Half of it over connections that are kept, half over new ones."""
        half = ["--pace-us", str(round(2e6 / rate)), "--connections", str(CONNECTIONS // 2), "--seconds", f"{self.arguments.seconds:g}",
                *options, *([] if self.sock else ["--restarts"])]
        return [Load(self.address, self.server.key, *half), Load(self.address, self.server.key, *half, "--close")]

    def restart_often(self):
        """At even distances within the time; returns the seconds that each took."""
        took, began = [], time.monotonic()
        for n in range(self.arguments.restarts):
            time.sleep(max(0, began + (n + 0.5) * self.arguments.seconds / self.arguments.restarts - time.monotonic()))
            at = time.monotonic()
            if restart(self.server) != 0:
                raise SystemExit("the service did not end in order: " + self.server.log_text()[-2000:])
            took.append(time.monotonic() - at)
        return took


def sum_up(name, rate, took, loads):
    """One row of the table from what both loads have counted, and what is wrong."""
    row = {"name": name, "offered_per_second": round(rate), "restarts_s": [round(s, 2) for s in took],
           "answered": sum(load["requests"] for load in loads), "away": sum(load["away"] for load in loads),
           "failed": sum(load["errors"] for load in loads), "seconds": max(load["seconds"] for load in loads),
           "p50_ms": [load["p50_us"] / 1e3 for load in loads], "p99_ms": [load["p99_us"] / 1e3 for load in loads],
           "max_ms": [load["max_us"] / 1e3 for load in loads]}
    row["offered"] = row["answered"] + row["away"] + row["failed"]
    print(f"{name}: {row['offered_per_second']} a second, {row['offered']} offered, {row['answered']} answered, "
          f"{row['away']} told to come back, {row['failed']} failed, in {row['seconds']:.1f} s; restarts took "
          f"{' '.join(f'{s:.2f}' for s in took)} s")
    for kind, p50, p99, longest in zip(("kept connections", "new connections"), row["p50_ms"], row["p99_ms"], row["max_ms"]):
        print(f"    {kind}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, the longest {longest:.1f} ms")
    return row, [f"{name}: {load['error'].strip()}" for load in loads if load["errors"]]


def requests(case, name, rate):
    loads = case.start_load(rate)
    took = case.restart_often()
    return sum_up(name, rate, took, [load.wait() for load in loads])


def jobs(case, name, rate, receiver):
    before, again = len(receiver.ids), receiver.again
    loads = case.start_load(rate, "--webhook", receiver.url(), "--code", "return 6 * 7", "--expect", "")
    took = case.restart_often()
    row, wrong = sum_up(name, rate, took, [load.wait() for load in loads])
    try:
        wait_for(lambda: len(receiver.ids) - before >= row["answered"], 120)
    except AssertionError:
        pass
    row["delivered"], row["twice"] = len(receiver.ids) - before, receiver.again - again
    print(f"    of {row['answered']} accepted jobs {row['delivered']} were delivered, {row['twice']} of them twice")
    return row, wrong + ([f"{name}: jobs are lost"] if row["delivered"] != row["answered"] else [])


def run(arguments):
    receiver, found = Receiver(), []
    parts = [("kept", "over the socket"), ("own", "without it")]
    for socket_is, words in (part for part in parts if arguments.socket in (None, part[0])):
        held = socket_is == "kept"
        case = Case(arguments, held)
        try:
            capacity = case.capacity()
            print(f"{words}: {capacity:.0f} programs a second at full speed", flush=True)
            found.append(requests(case, f"80 % of that {words}", capacity * 0.8))
            if held:
                found.append(requests(case, f"programs {words}", arguments.rate))
            found.append(jobs(case, f"jobs {words}", arguments.jobs, receiver))
            errors = [line for line in case.server.log() if line["level"] == "error"]
            found.append((None, [f"the log says: {line}" for line in errors[:20]]))
        finally:
            case.close()
    return [row for row, _ in found if row], [sentence for _, wrong in found for sentence in wrong]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--restarts", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--jobs", type=float, default=1000)
    parser.add_argument("--socket", choices=["kept", "own"], help="only one of both parts")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows, wrong = run(arguments)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1))
    for sentence in wrong:
        print("WRONG:", sentence)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
