# SPDX-License-Identifier: Apache-2.0
"""Started, stopped and killed: what is answered, what comes back by itself, and that nothing is left behind."""
import concurrent.futures
import contextlib
import glob
import http.client
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

import pytest

from client import EXECUTE
from processes import cgroups_of, children, is_alive, wait_for
from raw import GET_HEALTHZ, Raw, head, post
from service import ASLEEP, HATCHERY, Service, environment, hatchery

WOKEN = ASLEEP + "; print('said'); return 'finished'"


@contextlib.contextmanager
def running(server, code, **members):
    """A connection whose program runs."""
    with Raw(server, post(code, **members), timeout=60) as raw:
        wait_for(lambda: server.below("sleep"), 20, "it runs")
        yield raw


def mounts():
    """Of this machine, without those of other tests that run at the same time."""
    points = sorted(line.split()[4] for line in open("/proc/self/mountinfo"))
    return [point for point in points if "/pytest-of-" not in point]


def stop_signal(server, how):
    server.process.send_signal(how)
    server.logged("stopping", signal=how.name.removeprefix("SIG"))


def drains(server):
    return server.request("GET", "/readyz", key=False)["draining"]


# --- stopping ---


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_behind(make_server, how):
    before = mounts()
    server = make_server()
    for _ in range(5):
        server.run("import subprocess; subprocess.Popen(['sleep', '250']); open('/tmp/x', 'w').write('x')")
    pid = server.pid
    assert server.stop(how) == 0  # which sees to the processes and the cgroups
    assert mounts() == before
    assert children(pid) == []
    with pytest.raises(ConnectionRefusedError):
        server.socket()


def test_nohup(make_server):
    server = start_by(make_server(start=False), 'trap "" HUP; exec "$@"')
    server.process.send_signal(signal.SIGHUP)
    assert server.run("return 1").response["result"] == 1
    assert server.run("import os; os.kill(os.getpid(), 1)")["exit_code"] == 129
    assert server.log("stopping") == []


def check_draining(reply):
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1 and reply.headers["connection"] == "close"
    assert "shutting down" in reply["error"] and reply["error"] == reply["message"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_answered_and_what_comes_is_refused(make_server, how):
    """The listener stays open for as long as something runs: who comes is told to come back, and is not left hanging."""
    server = make_server(env={"HATCHERY_WEBHOOKS_ALLOW": "private"})
    over = server.run("return 'over'")["job_id"]
    wait_for(lambda: server.request("GET", f"/v1/jobs/{over}").status == 200)
    idle = Raw(server, GET_HEALTHZ)
    assert idle.reply().status == 200
    half = Raw(server, post("return 'half'")[:-1])
    with running(server, WOKEN) as raw:
        stop_signal(server, how)
        assert idle.rest() == b"", "an idle connection is closed"
        ready = server.request("GET", "/readyz", key=False)
        assert ready.status == 503 and ready["draining"] and "stopping" in ready["error"]
        check_draining(server.run("return 'new'"))
        check_draining(server.run("return 'new'", webhook_url="http://127.0.0.1:1999/"))
        check_draining(server.request("POST", EXECUTE, {"code": "return 1"}, headers={"idempotency-key": "k"}))
        check_draining(server.request("POST", f"/v1/jobs/{over}/requeue"))
        check_draining(server.request("POST", f"/v1/jobs/{over}/redeliver"))
        half.send(post("return 'half'")[-1:])
        check_draining(half.reply())
        # Whoever only asks is answered to the end.
        asked = server.request("GET", f"/v1/jobs/{over}")
        assert asked["state"] == "done" and asked.headers["connection"] == "close"
        assert server.request("GET", "/healthz", key=False).status == 200
        server.end_sleepers()
        reply = raw.reply()
        assert reply.response == {"result": "finished", "stdout": "said\n", "stderr": "", "exit_code": 0}
        assert reply.headers["connection"] == "close"
        assert raw.rest() == b""
    assert server.process.wait(20) == 0
    assert is_refused(server)
    assert server.log("run finished")[-1]["outcome"] == "success"


def test_a_request_that_crosses_the_signal_is_answered(make_server):
    """It has arrived, and the server hears of its end before it comes to read it."""
    server = make_server()
    below = server.child("server")
    with Raw(server, GET_HEALTHZ) as kept, Raw(server) as new, Raw(server) as silent:
        assert kept.reply().status == 200
        assert server.request("GET", "/healthz", key=False).status == 200, "those before it are accepted"
        os.kill(below, signal.SIGSTOP)
        stop_signal(server, signal.SIGTERM)
        kept.send(post("return 1"))
        new.send(GET_HEALTHZ)
        os.kill(below, signal.SIGCONT)
        check_draining(kept.reply())
        assert new.reply().headers["connection"] == "close"
        assert silent.rest() == b""
    assert server.process.wait(20) == 0


def test_a_flood_does_not_hold_up_a_stop(make_server):
    """What comes while it stops is answered, and not waited for."""
    server = make_server()
    answers = []

    def flood():
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            while True:
                answers.append(server.run("return 'new'").status)

    with running(server, WOKEN) as raw, concurrent.futures.ThreadPoolExecutor(4) as pool:
        stop_signal(server, signal.SIGTERM)
        wait_for(lambda: drains(server))
        floods = [pool.submit(flood) for _ in range(4)]
        wait_for(lambda: len(answers) > 100, 20, "a flood")
        server.end_sleepers()
        assert raw.reply().response["result"] == "finished"
        assert server.process.wait(20) == 0  # and not server.drain_timeout, or never
        for done in floods:
            done.result()
    assert set(answers) == {503}


def is_refused(server):
    try:
        server.socket().close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_waits_is_answered_too(make_server):
    server = make_server(config="[pool]\nmax_runs = 1\nsize = 1\n")
    with running(server, WOKEN) as first, Raw(server, post("return 'second'")) as second:
        wait_for(lambda: server.queue_length() == 1)
        stop_signal(server, signal.SIGTERM)
        wait_for(lambda: drains(server))
        server.end_sleepers()
        assert first.reply().response["result"] == "finished"
        assert second.reply().response["result"] == "second"
    assert server.process.wait(20) == 0


def test_requests_sent_ahead_are_not_begun(make_server):
    server = make_server()
    with running(server, WOKEN) as raw:
        raw.send(post("return 'ahead'") * 3)
        stop_signal(server, signal.SIGTERM)
        wait_for(lambda: drains(server))
        server.end_sleepers()
        reply = raw.reply()
        assert reply.response["result"] == "finished"
        assert reply.headers["connection"] == "close", "which says that nothing else was run"
        assert raw.rest() == b""
    assert server.process.wait(20) == 0


def test_a_second_signal_ends_it_at_once(make_server):
    server = make_server()
    with running(server, ASLEEP, timeout=300) as raw:
        stop_signal(server, signal.SIGTERM)
        assert is_alive(server.child("server"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert raw.rest() == b""
    wait_for(lambda: not children(server.pid))
    assert cgroups_of(server.pid) == []


def test_drain_timeout(make_server):
    server = make_server(config="[server]\ndrain_timeout = 1s\n")
    with running(server, ASLEEP, timeout=300) as raw:
        below = children(server.pid)
        began = time.monotonic()
        stop_signal(server, signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert 0.9 < time.monotonic() - began < 15
        assert raw.rest() == b""
    wait_for(lambda: not [pid for pid in below if is_alive(pid)])
    assert cgroups_of(server.pid) == []


def test_clients_that_hold_on_do_not_hold_it_up(make_server):
    server = make_server(config="[server]\nhead_timeout = 2s\nbody_timeout = 2s\nwrite_timeout = 2s\n")
    held = [Raw(server), Raw(server, GET_HEALTHZ), Raw(server, b"GET"), Raw(server, post("return 1")[:-1]),
            Raw(server, head("POST", "/v1/code/execute/python", "Content-Length: 9999"))]
    never_reads = Raw(server, post("return 'x' * (7 << 20)") + post("return 1"))
    server.logged("run finished")
    assert server.stop(seconds=20) == 0
    for raw in [*held, never_reads]:
        raw.close()


def test_stopping_while_starting(tmp_path):
    for delay in (0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08):
        process = subprocess.Popen([HATCHERY, "serve", "--listen", "127.0.0.1:0"],
                                   env=environment(API_KEY="k", HATCHERY_SERVER_STATE=str(tmp_path / "state")),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(delay)  # any moment will do: it is the moments in between that are tried
        process.terminate()
        _, log = process.communicate(timeout=20)
        assert process.returncode in (0, -signal.SIGTERM), log
        assert cgroups_of(process.pid) == []


# --- killed ---


def test_a_killed_supervisor_takes_all_along(make_server, tmp_path):
    path = tmp_path / "socket"
    server = make_server(listen=f"unix:{path}")
    connection = server.connect()
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    pids = children(server.pid)
    assert len(pids) >= 4
    old = server.pid
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not [pid for pid in pids if is_alive(pid)], what="no orphan")
    assert path.exists() and stat.S_ISSOCK(path.stat().st_mode), "nobody was there to remove it"
    # The next one takes the socket over and tidies up.
    again = make_server(listen=f"unix:{path}")
    assert again.run("return 1").response["result"] == 1
    assert cgroups_of(old) == []
    server.process.stdout.close()
    server.process = None


def test_a_killed_supervisor_takes_running_programs_along(make_server):
    server = make_server()
    with running(server, ASLEEP, timeout=300) as raw:
        pids = children(server.pid)
        server.stop(signal.SIGKILL)
        assert not [pid for pid in pids if is_alive(pid)]
        assert raw.rest() == b""


def comes_back(server):
    def answers():
        try:
            reply = server.run("return 'back'")
        except (ConnectionError, http.client.HTTPException):
            return False
        return reply.status != 503 and reply.response["result"] == "back"
    wait_for(answers, 20, "the service is back")


def test_a_killed_server_comes_back(make_server):
    server = make_server()
    with running(server, ASLEEP, timeout=300) as raw:
        pid = server.child("server")
        below = [p for p in children(server.pid) if p not in (pid, server.child("courier"))]
        os.kill(pid, signal.SIGKILL)
        assert raw.rest() == b"", "nobody is left to answer"
    line = server.logged("process ended", process="server")
    assert line["signal"] == 9
    assert server.logged("restarting", process="server")["in_ms"] >= 100
    comes_back(server)
    assert server.child("server") != pid
    wait_for(lambda: not [p for p in below if is_alive(p)], what="the old zygote and its boxes are gone")
    assert server.stop() == 0


def check_internal(reply):
    assert reply.status == 500
    assert reply["reason"] == "internal"
    assert reply["response"] is None
    assert "not the program's fault" in reply["error"] and reply["error"] == reply["message"]
    assert reply["exit_code"] == 137


def test_a_killed_zygote_comes_back_and_what_ran_is_answered(make_server):
    server = make_server(config="[pool]\nmax_runs = 1\nsize = 2\n")
    with running(server, "print('so far')\n" + ASLEEP, timeout=300) as raw, Raw(server, post("return 'waited'")) as waiting:
        wait_for(lambda: server.queue_length() == 1)
        pid = server.child("zygote")
        os.kill(pid, signal.SIGKILL)
        reply = raw.reply()
        check_internal(reply)
        assert reply["stdout"] == "so far\n"
        assert waiting.reply().response["result"] == "waited", "what had not begun is run by the next one"
        raw.send(post("return 'same connection'"))
        assert raw.reply().response["result"] == "same connection"
    line = server.logged("run finished", job_id=reply["job_id"])
    assert line["outcome"] == "internal"
    assert server.logged("process ended", process="zygote")["signal"] == 9
    server.logged("restarting", process="zygote")
    assert server.child("zygote") != pid
    assert server.stop() == 0


def test_readyz_tells_when_there_is_no_zygote(make_server):
    server = make_server(config="[python]\nimports = json asyncio\n")
    assert server.request("GET", "/readyz", key=False).status == 200

    def killed():
        """The back-off grows: sooner or later there is none for long enough to be asked about."""
        if zygote := server.child("zygote"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(zygote, signal.SIGKILL)
        return not_ready(server)

    reply = wait_for(killed, 30, "not ready")
    assert int(reply.headers["retry-after"]) >= 1
    assert server.request("GET", "/healthz", key=False).status == 200
    wait_for(lambda: server.request("GET", "/readyz", key=False).status == 200, 20)
    comes_back(server)


def not_ready(server):
    reply = server.request("GET", "/readyz", key=False)
    return reply if reply.status == 503 else None


def check_no_box(server, reply):
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert "No box can be made" in reply["error"] and "nothing was run" in reply["error"]
    assert reply["message"] == reply["error"] and reply["response"] is None
    assert reply["queue_time"] > 1 and reply["run_time"] == 0
    assert not_ready(server)
    server.logged("no box can be had: the jobs that wait are refused")


def a_zygote_that_hangs(make_server):
    server = make_server(config="[pool]\nmax_runs = 1\nsize = 1\n")
    zygote = server.child("zygote")
    os.kill(zygote, signal.SIGSTOP)
    assert server.run("return 1").response["result"] == 1, "in the box that waited"
    wait_for(lambda: not_ready(server))
    check_no_box(server, server.run("return 2", id="mine"))
    os.kill(zygote, signal.SIGCONT)
    comes_back(server)
    wait_for(lambda: not not_ready(server))
    assert server.stop() == 0


def cgroups_that_vanish(make_server):
    server = make_server(config="[pool]\nmax_runs = 1\nsize = 1\n")
    groups = cgroups_of(server.pid)
    if not groups:
        return  # what shall vanish is not there

    def remove_boxes():
        for box in (path for group in groups for path in glob.glob(f"{group}/box-*")):
            with contextlib.suppress(OSError):
                os.rmdir(box)

    status = 200
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        while status == 200:  # until the boxes that are in theirs have been used
            reply = pool.submit(server.run, "return 1")
            while not reply.done():
                remove_boxes()
            status = reply.result().status
    check_no_box(server, reply.result())
    server.logged("a box could not enter its jail; nothing ran in it", layer="cgroup")
    assert server.request("GET", "/healthz", key=False).status == 200
    assert server.stop() == 0


def test_who_waits_for_a_box_is_not_kept_waiting_for_ever(make_server):
    """It takes a while: the reasons why none comes are tried at the same time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for tried in [pool.submit(why, make_server) for why in (a_zygote_that_hangs, cgroups_that_vanish)]:
            tried.result()


@pytest.mark.parametrize("name", ["server", "zygote"])
def test_the_back_off_grows(make_server, name):
    server = make_server()
    for i in range(4):
        pid = wait_for(lambda: server.child(name), 20)
        os.kill(pid, signal.SIGKILL)
        server.logged("restarting", 20, process=name, failures=i + 1)
    waits = [line["in_ms"] for line in server.log("restarting") if line["process"] == name]
    assert waits == [100, 200, 400, 800]
    comes_back(server)
    assert server.stop() == 0


def inits(server):
    return server.below("hatchery-init")


def test_a_killed_init_of_a_waiting_box(make_server):
    server = make_server(config="[pool]\nmax_runs = 2\nsize = 3\n")
    wait_for(lambda: len(inits(server)) == 3)
    old = inits(server)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not [pid for pid in old if is_alive(pid)])
    assert server.run("return 1").response["result"] == 1, "no program is given to a dead box"
    wait_for(lambda: len(inits(server)) == 3 and not set(old) & set(inits(server)), 20, "new boxes")
    for _ in range(10):
        assert server.run("return 1").response["result"] == 1


def init_of(server, name):
    """The hatchery-init in whose pid namespace @name runs."""
    space = os.stat(f"/proc/{server.below(name)[0]}/ns/pid").st_ino
    return next(pid for pid in inits(server) if os.stat(f"/proc/{pid}/ns/pid").st_ino == space)


def test_a_killed_init_of_a_running_box(make_server):
    server = make_server()
    with running(server, "print('so far')\n" + ASLEEP, timeout=300) as raw:
        os.kill(init_of(server, "sleep"), signal.SIGKILL)
        reply = raw.reply()
    assert reply.status == 400
    assert reply["exit_code"] == 137
    assert reply["error"] == "Killed by signal 9 (SIGKILL)"
    assert reply["stdout"] == "so far\n"
    wait_for(lambda: not server.below("sleep"))
    server.logged("run finished", job_id=reply["job_id"])
    comes_back(server)


def test_a_killed_program(make_server):
    server = make_server()
    with running(server, "print('so far')\n" + ASLEEP, timeout=300) as raw:
        sleeper = server.below("sleep")[0]
        parent = int(open(f"/proc/{sleeper}/stat").read().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGKILL)
        reply = raw.reply()
    assert reply.status == 400
    assert reply["error"] == "Killed by signal 9 (SIGKILL)"
    assert reply["stdout"] == "so far\n"
    wait_for(lambda: not is_alive(sleeper), what="its child goes with it")
    comes_back(server)


def test_killed_again_and_again_under_load(make_server):
    """Every request gets an answer or a closed connection, never silence; nothing is left over."""
    server = make_server()
    seen = set()

    def ask(_):
        try:
            return server.request("POST", "/v1/code/execute/python", {"code": "import time; time.sleep(0.01); return 1"},
                                  timeout=30).status
        except (ConnectionError, http.client.HTTPException):
            return "closed"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, range(300))
        for name in ("zygote", "init", "server", "zygote", "init", "init", "zygote"):
            victims = server.below(f"hatchery-{name}"[:15])
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(victims[0], signal.SIGKILL)
            time.sleep(0.1)  # let it go on for a while
        seen = set(answers)
    assert 200 in seen and seen <= {200, 400, 500, 503, "closed"}
    comes_back(server)
    wait_for(lambda: len(server.below("hatchery-zygote")) < 12, 20, "no heap of old boxes")
    assert server.stop() == 0


# --- starting ---


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = hatchery("serve", "--listen", f"127.0.0.1:{port}", key="k")
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "something else listens there" in result.stderr and "--listen" in result.stderr
    assert result.stdout == ""


def test_an_address_that_is_not_ours():
    result = hatchery("serve", "--listen", "192.0.2.1:0", key="k")
    assert result.returncode == 1
    assert "192.0.2.1:0" in result.stderr and "no such address" in result.stderr


def test_a_unix_socket_of_a_living_server_is_not_taken(make_server, tmp_path):
    path = tmp_path / "socket"
    server = make_server(listen=f"unix:{path}")
    result = hatchery("serve", "--listen", f"unix:{path}", key="k")
    assert result.returncode == 1
    assert "something else listens there" in result.stderr
    assert server.run("return 1").response["result"] == 1, "and it can still be reached"


def test_a_file_in_the_place_of_a_unix_socket_is_kept(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    result = hatchery("serve", "--listen", f"unix:{path}", key="k")
    assert result.returncode == 1
    assert path.read_text() == "data"


@pytest.mark.parametrize("content, words", [
    (None, ["cannot read", "No such file"]),
    (b"", ["empty"]),
    (b"\nsecond line\n", ["empty"]),
    (b"a b\n", ["space"]),
    (b"a\0b\n", ["NUL"]),
    (b"k\xc3\xa4y\n", ["ASCII"]),
    (b"x" * 600, ["out of bounds"]),
], ids=["absent", "empty", "empty line", "blank", "NUL", "umlaut", "long"])
def test_a_bad_key_file(tmp_path, content, words):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    result = hatchery("serve", "--listen", "127.0.0.1:0", env={"API_KEY_FILE": str(path)})
    assert result.returncode == 2
    assert str(path) in result.stderr
    for word in words:
        assert word in result.stderr
    assert "second" not in result.stderr and "xxx" not in result.stderr, "never what is in it"


def test_the_generated_key(make_server):
    server = make_server("--generate-key", key=None)
    key = server.announcement.partition("API key (made for this start")[2].partition("): ")[2].split()[0]
    assert len(key) == 32
    server.key = key
    assert server.run("return 1").response["result"] == 1
    server.key = key[:-1]
    assert server.run("return 1").status == 401
    assert key not in server.log_text()


@pytest.mark.parametrize("generated", [False, True])
def test_the_announced_command_works(make_server, generated):
    """As it stands where the key was made for this start; a key of the operator's is not shown, but asked for."""
    server = make_server("--generate-key", key=None) if generated else make_server()
    line = next(line for line in server.announcement.splitlines() if "curl" in line)
    assert ("YOUR-KEY" in line) != generated
    assert generated or server.key not in server.announcement
    result = subprocess.run(line.replace("YOUR-KEY", server.key or ""), shell=True, capture_output=True, text=True, timeout=20)
    assert '"stdout": "Hello, World!\\n"' in result.stdout, result


# --- what a program inherits from whoever started the server: nothing ---


INHERITED = ("import os, signal, resource\n"
             "ignored = [n for n in range(1, 65) if n not in (9, 19, 32, 33) "
             "and signal.getsignal(n) == signal.SIG_IGN]\n"
             "return {'ignored': ignored, 'sigint': repr(signal.getsignal(signal.SIGINT)), "
             "'blocked': [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])], "
             "'open': [fd for fd in range(3, 1023) if fd_open(fd)], "
             "'umask': os.umask(0o22), 'core': resource.getrlimit(resource.RLIMIT_CORE)}\n")
INHERITED = "def fd_open(fd):\n    try: os.fstat(fd)\n    except OSError: return False\n    return True\n" + INHERITED


def shows_descriptors(pid):
    """What is not dumpable shows them to root alone; of the supervisor anybody sees at least their own."""
    try:
        return bool(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        assert os.geteuid() != 0
        return False


def start_by(server, script):
    """Start @server by a shell: @script ends in "$@"."""
    server.command = ["/bin/sh", "-c", script, "sh", *server.command]
    return server.start()


def check_inherited(server):
    result = server.run("import os\n" + INHERITED).response["result"]
    # SIGPIPE and SIGXFSZ are Python's own doing.
    assert result["ignored"] == [signal.SIGPIPE, signal.SIGXFSZ]
    assert "default_int_handler" in result["sigint"]
    assert result["blocked"] == []
    assert result["open"] == []
    assert result["umask"] == 0o22
    assert result["core"] == [1, 1]  # at 0 a core_pattern's handler would be started all the same


@pytest.mark.parametrize("script", [
    'exec "$@"',
    'trap "" INT QUIT; exec "$@"',  # what a shell does for `command &`
    'trap "" HUP TERM CHLD USR1 ALRM XCPU; exec "$@"',
    'umask 0; exec "$@"',
    'umask 0777; exec "$@"',
    'exec "$@" <&-',
    'exec 5</etc/passwd 6>/dev/null 7</ 8</etc/hostname 9</; exec "$@"',
])
def test_nothing_is_inherited(make_server, script):
    server = start_by(make_server(start=False), script)
    check_inherited(server)
    reply = server.run("import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)")
    assert reply["exit_code"] == 130
    assert server.run("import os; os.kill(os.getpid(), 15)")["exit_code"] == 143
    assert server.run("import subprocess; return subprocess.run(['sh', '-c', 'kill -INT $$; kill -QUIT $$']).returncode"
                      ).response["result"] == -2
    for name in ("server", "zygote"):  # and it all still restarts
        os.kill(server.child(name), signal.SIGKILL)
        server.logged("process ended", process=name)
        comes_back(server)
    assert server.stop(signal.SIGINT) == 0


def test_many_leaked_descriptors(make_server):
    """Numbers that are in use all around those that the children are given."""
    server = make_server(start=False)
    files = [os.open("/etc/hostname", os.O_RDONLY) for _ in range(200)]
    for fd in files:
        os.set_inheritable(fd, True)
    start = subprocess.Popen

    def leaking(*arguments, **keywords):
        return start(*arguments, **keywords, close_fds=False)

    try:
        subprocess.Popen = leaking
        server.start()
    finally:
        subprocess.Popen = start
        for fd in files:
            os.close(fd)
    assert len(os.listdir(f"/proc/{server.pid}/fd")) > 200, "the test leaks"
    for name in ("server", "zygote"):
        links = []
        for fd in os.listdir(f"/proc/{server.child(name)}/fd") if shows_descriptors(server.child(name)) else []:
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                links.append(os.readlink(f"/proc/{server.child(name)}/fd/{fd}"))
        assert not [link for link in links if "hostname" in link]
    check_inherited(server)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(tmp_path, closed):
    """Then the next descriptors that are opened get their numbers, and a message for a person could go anywhere."""
    path = tmp_path / "socket"
    process = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", HATCHERY, "serve", "--listen", f"unix:{path}"],
                               env=environment(API_KEY="k", HATCHERY_SERVER_STATE="none"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = object.__new__(Service)
        server.listen, server.path, server.key, server.process = f"unix:{path}", str(path), "k", process

        def answers():
            try:
                return server.run("import os\nos.write(1, b'out'); os.write(2, b'err')").response
            except OSError:
                assert process.poll() is None, "it has ended"
                return None
        response = wait_for(answers, 20)
        assert (response["stdout"], response["stderr"]) == ("out", "err")
        for pid in (process.pid, server.child("server"), server.child("zygote")):
            if not shows_descriptors(pid):
                continue
            for fd in (0, 1, 2):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                assert link.endswith("/null"), f"descriptor {fd} is {link}"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_log_may_go_nowhere(make_server):
    """A reader of the log that is stuck, or has gone, does not stop the service."""
    server = make_server(start=False)
    os.mkfifo(server.log_path)
    reader = os.open(server.log_path, os.O_RDONLY | os.O_NONBLOCK)
    server.start()
    for i in range(3):
        assert server.run(f"return {i}").response["result"] == i
    filler = os.open(server.log_path, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, b"x" * 4096)
    for i in range(20):
        assert server.run(f"return {i}").response["result"] == i
    os.close(filler)
    os.close(reader)
    for i in range(20):
        assert server.run(f"return {i}").response["result"] == i
    server.process.terminate()
    assert server.process.wait(20) == 0


def test_two_servers_side_by_side(make_server):
    first, second = make_server(), make_server()
    with running(first, ASLEEP, timeout=300) as raw:
        assert second.run("return 1").response["result"] == 1
        assert second.stop() == 0
        assert first.below("sleep")
        assert first.run("return 1").response["result"] == 1
        raw.close()


OTHER_PIDS = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"]), "--pid", "--fork", "--kill-child",
              "--mount-proc"]


def test_a_supervisor_of_another_pid_namespace_leaves_our_cgroups_alone(make_server):
    """It does not see our pid, and must not take us for dead."""
    server = make_server()
    command = [*OTHER_PIDS, HATCHERY, "run", "-"]
    for _ in range(3):
        result = subprocess.run(command, input="print('other')", capture_output=True, text=True, timeout=60,
                                env=environment())
        assert (result.returncode, result.stdout) == (0, "other\n"), result
    for i in range(30):  # more than there are slots
        assert server.run(f"return {i}").response["result"] == i
    assert not [line for line in server.log() if line["level"] == "error"]


def test_two_supervisors_with_the_same_pid(make_server):
    inside = [*OTHER_PIDS, HATCHERY, "run", "-"]
    both = [subprocess.Popen(inside, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    for process in both:
        process.stdin.write("import time; time.sleep(1); print('done')")
        process.stdin.close()
    for process in both:
        assert (process.stdout.read(), process.stderr.read(), process.wait(60)) == ("done\n", "", 0)
        process.stdout.close()
        process.stderr.close()
    # Another one's may be there for a moment: it is the machine that is looked at.
    wait_for(lambda: not cgroups_of(1), 30)


def test_it_runs_from_anywhere(make_server, tmp_path):
    link = tmp_path / "hatchery-link"
    link.symlink_to(HATCHERY)
    server = make_server(start=False)
    server.command[0] = str(link)
    server.command = ["/bin/sh", "-c", 'cd /; exec "$@"', "sh", *server.command]
    server.start()
    assert server.run("return 1").response["result"] == 1
    assert pathlib.Path(f"/proc/{server.pid}/exe").resolve() == pathlib.Path(HATCHERY).resolve()
