# SPDX-License-Identifier: Apache-2.0
"""A built Hatchery as a test sees it: started, stopped, and looked over for what it left behind.  It is asked by client.py."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import tempfile
import time

from client import KEY, Client
from processes import OLDER, cgroups_of, children, is_alive, supervisors_cgroups, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
HATCHERY = os.environ.get("HATCHERY", str(ROOT / "build" / "hatchery"))
SANITIZED = b"__asan_init" in pathlib.Path(HATCHERY).read_bytes()
REQUIRE = os.environ.get("TEST_REQUIRE")  # isolation.require of every server and run that does not set its own
VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
# Its running can be seen from outside: as long as it runs there is a `sleep`, which Service.end_sleepers() ends.
ASLEEP = "import subprocess; subprocess.run(['sleep', '250'])"


def lacks(layer):
    """Has TEST_REQUIRE taken this layer away from what the tests' servers require?"""
    return f"-{layer}" in (REQUIRE or "").split()


def environment(**more):
    """For a command that is started by hand: ours, without what configures it but TEST_REQUIRE.  That layers are missing
    was asked for: `run` shall not say it before all that a program says."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HATCHERY_", "API_KEY", "MAX_QUEUE"))}
    if REQUIRE:
        env.update(HATCHERY_ISOLATION_REQUIRE=REQUIRE, HATCHERY_LOG_LEVEL="error")
    return {**env, **more}


class Service(Client):
    """`hatchery serve`, and the client that asks it.  @env are more environment variables, @config the text of a configuration file, @prefix the
    words of a command that ends by executing the words after it."""

    def __init__(self, *arguments, env=None, config=None, listen="127.0.0.1:0", key=KEY, start=True, prefix=(),
                 program=HATCHERY):
        self.directory = tempfile.TemporaryDirectory(prefix="hatchery-test-")
        self.listen = listen
        self.log_path = pathlib.Path(self.directory.name, "log")
        self.env = environment()
        self.env.pop("HATCHERY_LOG_LEVEL", None)
        if key is not None:
            self.env["API_KEY"] = key
        self.key = key
        self.env.update(env or {})
        self.state_dir = pathlib.Path(self.directory.name, "state")
        # Another user cannot reach the directory that is ours.
        state = [] if "--state" in arguments or "HATCHERY_SERVER_STATE" in self.env else \
            ["--state", "none" if prefix else str(self.state_dir)]
        self.command = [*prefix, program, "serve", "--listen", listen, *state, *arguments]
        if config is not None:
            path = pathlib.Path(self.directory.name, "hatchery.conf")
            path.write_text(config)
            self.command += ["--config", str(path)]
        self.process = None
        self.pass_fds = ()
        self.announcement = ""
        if start:
            self.start()

    def start(self, seconds=60):
        with open(self.log_path, "ab") as log:
            older = set(supervisors_cgroups())
            self.process = subprocess.Popen(self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=log, start_new_session=True, pass_fds=self.pass_fds)
        OLDER[self.pid] = older
        end = time.monotonic() + seconds
        while "\n\n" not in self.announcement.partition("curl")[2]:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                status = self.process.poll()
                raise AssertionError(f"did not start (exit status {status}): {self.announcement}{self.log_text()}")
            self.announcement += data.decode()
        if self.listen.startswith("unix:"):
            self.path = self.listen[5:]
        else:
            match = re.search(r"listening on http://(\S+):(\d+)", self.announcement)
            self.host, self.port = match[1].strip("[]"), int(match[2])
        return self

    def start_by(self, script):
        """Start it by a shell: @script ends in "$@"."""
        self.command = ["/bin/sh", "-c", script, "sh", *self.command]
        return self.start()

    @property
    def pid(self):
        return self.process.pid

    def child(self, name):
        """The pid of the child called hatchery-@name, or None."""
        for pid in children(self.pid):
            try:
                if open(f"/proc/{pid}/comm").read().strip() == f"hatchery-{name}"[:15]:
                    return pid
            except OSError:
                pass
        return None

    def below(self, name):
        """The pids of all processes called @name below the supervisor, those of programs included."""
        found = []
        for pid in children(self.pid):
            try:
                if open(f"/proc/{pid}/comm").read().strip() == name:
                    found.append(pid)
            except OSError:
                pass
        return found

    def end_sleepers(self):
        """End every `sleep` below, for whose end a program (ASLEEP) waits: it goes on when a test has what it wanted to
        see, and not when some time has passed."""
        for pid in self.below("sleep"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_zygote_under(self, job_id):
        """Kill the zygote while the job runs, three times; before it has begun it is not lost."""
        for attempt in range(1, 4):
            wait_for(lambda: (job := self.request("GET", f"/v1/jobs/{job_id}"))["attempts"] == attempt
                     and job["state"] == "running", 30, f"attempt {attempt}")
            os.kill(self.child("zygote"), signal.SIGKILL)

    def why_no_reply(self):
        """What its processes wait for and the end of its log."""
        lines = []
        for pid in [self.pid, *children(self.pid)]:
            try:
                words = [open(f"/proc/{pid}/{name}").read().strip() for name in ("comm", "wchan", "syscall")]
                stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
                lines.append(f"{pid} (parent {stat[1]}): {stat[0]} {' '.join(words)}")
            except OSError:
                pass
        return "\n".join(lines) + "\n" + self.log_text()[-3000:]

    def busy_counts(self):
        """(processes below it, cgroups of boxes with a process in them): constant when every box waits."""
        occupied = 0
        for base in cgroups_of(self.pid):
            for procs in pathlib.Path(base).glob("box-*/cgroup.procs"):
                occupied += bool(procs.read_text())
        return len(children(self.pid)), occupied

    def wait_until_full(self, boxes, seconds=60):
        """Wait until a new server has all its @boxes; returns busy_counts() of then."""
        expected = len(cgroups_of(self.pid)) * boxes
        wait_for(lambda: self.busy_counts()[1] == expected, seconds, f"{boxes} boxes")
        return self.busy_counts()

    def wait_until_idle(self, expected, seconds=60):
        """Wait until every box that was used is gone and one waits in its place."""
        try:
            wait_for(lambda: self.busy_counts() == expected, seconds)
        except AssertionError as error:
            raise AssertionError(f"not at rest: {expected} processes and cgroups, {self.busy_counts()}") from error

    def wait_until_back(self, seconds=20):
        """Wait until it runs programs again, of which a process was killed."""
        def answers():
            try:
                reply = self.run("return 'back'")
            except (ConnectionError, http.client.HTTPException):
                return False
            return reply.status != 503 and reply.response["result"] == "back"
        wait_for(answers, seconds, "the service is back")

    def log_text(self):
        return self.log_path.read_text(errors="replace")

    def whole_lines(self):
        """The log's text but for a line that is being written."""
        return self.log_text().rpartition("\n")[0]

    def log(self, msg=None):
        """The log's lines as objects, or those with this msg."""
        lines = [json.loads(line) for line in self.whole_lines().splitlines() if line.startswith("{")]
        return [line for line in lines if msg is None or line["msg"] == msg]

    def logged(self, msg, seconds=30, **fields):
        """Wait for a line of the log with this msg and these fields."""
        def find():
            return next((line for line in self.log(msg) if all(line.get(k) == v for k, v in fields.items())), None)
        return wait_for(find, seconds, f"log line {msg!r} {fields}")

    def stop(self, how=signal.SIGTERM, seconds=60, at_once=False):
        """End it (@at_once: whatever runs is not waited for) and see that nothing of it is left.  Returns the exit
        status."""
        if self.process is None:
            return None
        below = children(self.pid) if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(how)
            if at_once:
                self.process.send_signal(signal.SIGINT)  # the second request to stop
        status = self.process.wait(seconds)
        self.process.stdout.close()
        wait_for(lambda: not [pid for pid in below if is_alive(pid)], 30, "all processes are gone")
        if how != signal.SIGKILL:
            assert cgroups_of(self.pid) == []
        self.process = None
        return status

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        self.directory.cleanup()


def hatchery(*arguments, env=None, key=None, stdin=None, timeout=60, prefix=(), program=HATCHERY):
    """Run the command to its end (a variable of @env that is None is unset); the result has returncode, stdout and stderr as text."""
    full = environment()
    if "HATCHERY_ISOLATION_REQUIRE" in (env or {}):  # what is missing then is for the test to see
        full.pop("HATCHERY_LOG_LEVEL", None)
    if key is not None:
        full["API_KEY"] = key
    if arguments[:1] == ("serve",) and "--state" not in arguments:
        full["HATCHERY_SERVER_STATE"] = "none"
    full.update(env or {})
    full = {name: value for name, value in full.items() if value is not None}
    return subprocess.run([*prefix, program, *arguments], env=full, input=stdin, capture_output=True, text=True,
                          timeout=timeout)
