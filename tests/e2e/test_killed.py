# SPDX-License-Identifier: Apache-2.0
"""Any process of the service is killed: the rest goes on, and nobody waits for ever."""
import concurrent.futures
import contextlib
import glob
import http.client
import os
import signal
import stat
import time

import pytest

from processes import cgroups_of, children, is_alive, wait_for
from raw import Raw, post, running
from service import ASLEEP


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
    server.wait_until_back()
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
    server.wait_until_back()


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
    server.wait_until_back()
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
    server.wait_until_back()
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
    server.wait_until_back()


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
    server.wait_until_back()


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
    server.wait_until_back()
    wait_for(lambda: len(server.below("hatchery-zygote")) < 12, 20, "no heap of old boxes")
    assert server.stop() == 0
