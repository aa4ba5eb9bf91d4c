# SPDX-License-Identifier: Apache-2.0
"""Started and stopped: what is answered, and that nothing is left behind.  Killed: test_killed.py."""
import concurrent.futures
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time

import pytest

from client import EXECUTE
from processes import cgroups_of, children, is_alive, wait_for
from raw import GET_HEALTHZ, Raw, head, post, running
from service import ASLEEP, HATCHERY, environment, hatchery

WOKEN = ASLEEP + "; print('said'); return 'finished'"


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
    server = make_server(start=False).start_by('trap "" HUP; exec "$@"')
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
