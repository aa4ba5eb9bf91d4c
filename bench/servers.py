# SPDX-License-Identifier: Apache-2.0
#
# Servers that the bench starts, ends and looks into: Hatchery, and others that take the same requests.

import contextlib
import json
import os
import pathlib
import platform
import queue
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

BENCH = pathlib.Path(__file__).resolve().parent
BUILD = BENCH.parent / "build"
PYTHON = "/usr/bin/python3"


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


def machine():
    """What the figures were measured on, and when."""
    words = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", words, re.M)
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "cores": len(os.sched_getaffinity(0)),
            "processor": model[1] if model else platform.machine(), "virtual": " hypervisor" in words,
            "kernel": platform.release().partition("-")[0], "load": os.getloadavg()[0]}


def find_program(name, build=BUILD):
    for path in (pathlib.Path(build, "bench", name), pathlib.Path(build, name)):
        if os.access(path, os.X_OK):
            return str(path)
    raise BenchError(f"{name} is not in {build}: run `make build` first")


def figures(argv, what="", environment=None):
    """What a program prints of its measurement, the errors that it counted too. @what: how a message begins."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, env=environment, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise BenchError(f"{what}{os.path.basename(argv[0])} ended with {done.returncode} and no figures") from None


def faultless(argv):
    found = figures(argv)
    if found["errors"]:
        raise BenchError(f"{os.path.basename(argv[0])}: {found['errors']} errors")
    return found


def ask_load(server, *options):
    """bench-load against @server, which must answer all of it."""
    return faultless([find_program("bench-load"), "--url", server.url, "--key", server.key, *options])


class Server:
    """A server that prints http://127.0.0.1:PORT once it listens. Its log goes to a file, shown where it fails."""

    def __init__(self, name, argv, address_on="stdout", **environment):
        self.name, self.key = name, secrets.token_hex(16)
        self.log = tempfile.TemporaryFile()
        streams = {"stdout": self.log, "stderr": self.log, address_on: subprocess.PIPE}
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, **streams, start_new_session=True,
                                        env={**os.environ, "API_KEY": self.key, **environment})
        self.found, self.url = queue.Queue(), None
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
            self.url = self.url or self.found.get(timeout=seconds)
        if self.url:
            return self.url
        self.stop()
        raise BenchError(f"{self.name} ended, or printed no http://127.0.0.1:PORT in {seconds} s\n{self.log_tail()}")

    def log_tail(self):
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 2000))
        return self.log.read().decode(errors="replace")

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"x-api-key": self.key})
        return urllib.request.urlopen(request, timeout=60).read().decode()

    def stop(self):
        """SIGTERM, as a user would. Returns whether it still ran and that was enough."""
        if self.process.poll() is not None:
            return False
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return False
        return True


class Hatchery(Server):
    """One with a state directory of its own, and what the kernel says of its processes."""

    def __init__(self, build=BUILD, name="hatchery", **environment):
        program = os.environ.get("HATCHERY") or find_program("hatchery", build)
        self.state = tempfile.TemporaryDirectory(prefix="hatchery-bench-")
        super().__init__(name, [program, "serve", "--listen", "127.0.0.1:0", "--state", self.state.name], **environment)

    def stop(self):
        ended = super().stop()
        self.state.cleanup()
        return ended

    def processes(self):
        """{"supervisor": pid, "server": pid, "zygote": pid, "boxes": [pid, ...], "inits": [pid, ...], ...}"""
        found = {"supervisor": self.process.pid, "boxes": [], "inits": []}
        for pid in children(self.process.pid):
            name = command(pid).removeprefix("hatchery-")
            found["courier" if name == "courie" else name] = pid  # comm has 15 bytes
        for pid in children(found.get("zygote")):
            found["inits" if command(pid) == "hatchery-init" else "boxes"].append(pid)
        return found

    def wait_for_boxes(self, n, seconds=30):
        """Until @n boxes wait and each has rehearsed; returns processes()."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if f'hatchery_slots{{state="idle"}} {n}\n' in self.get("/metrics"):
                time.sleep(0.1)  # a rehearsal begins 2 ms after a box is counted and takes a millisecond
                return self.processes()
            time.sleep(0.02)
        raise BenchError(f"{self.name}: {n} boxes do not wait within {seconds} s\n{self.log_tail()}")

    def phases(self):
        """{(kind, phase): (microseconds, how many)}; kind is request or sandbox (docs/metrics.md)."""
        found = {}
        pattern = r'hatchery_(request|sandbox)_phase_seconds_(sum|count){phase="(\w+)"} (\S+)'
        for kind, what, phase, value in re.findall(pattern, self.get("/metrics")):
            us, n = found.get((kind, phase), (0, 0))
            found[kind, phase] = (float(value) * 1e6, n) if what == "sum" else (us, float(value))
        return found

    def cpu_ns(self):
        """Processor time of the server process, all threads, to the nanosecond."""
        tasks = pathlib.Path(f"/proc/{self.processes()['server']}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)


def children(pid):
    """Direct ones; those that are gone by now are left out."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found


def command(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def memory(pid):
    """(unique, proportional) KiB of a process: proc_pid_smaps(5), smaps_rollup."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kib["Private_Clean"] + kib["Private_Dirty"], kib["Pss"]
