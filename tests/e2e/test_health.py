# SPDX-License-Identifier: Apache-2.0
"""/healthz and /readyz: what they say is so, and readiness is what goes first when the server is told to stop."""
import http.client
import json
import os
import re
import signal

import pytest

from processes import wait_for
from raw import Raw, post
from service import ASLEEP, hatchery


def watch(server, path):
    """A request to metrics.listen: status, JSON."""
    match = re.search(r"Metrics are at http://(\S+):(\d+)/metrics", server.announcement)
    connection = http.client.HTTPConnection(match[1], int(match[2]), timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def ready(server):
    return server.request("GET", "/readyz", key=False)


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/health"])
def test_it_lives(server, path):
    for method in ("GET", "HEAD"):
        reply = server.request(method, path, key=False)
        assert reply.status == 200 and reply.json == ({"status": "ok"} if method == "GET" else None)
    assert server.request("POST", path, {}, key=False).status == 405


def test_ready(server):
    reply = wait_for(lambda: r if (r := ready(server)).status == 200 and r["boxes"]["waiting"] else None)
    assert set(reply.json) == {"status", "draining", "store", "zygote", "boxes", "isolation", "runtimes"}
    assert (reply["status"], reply["draining"], reply["store"], reply["zygote"]) == ("ready", False, "ok", "warm")
    doctor = json.loads(hatchery("doctor", "--json").stdout)
    layers = {layer["layer"]: layer["state"] for layer in doctor["layers"]}
    assert set(reply["isolation"]["layers"]) == {name for name, state in layers.items() if state == "holds"}
    assert set(reply["isolation"]["missing"]) == {name for name, state in layers.items() if state != "holds"}
    assert reply["isolation"]["tier"] == ("reduced" if reply["isolation"]["missing"] else "full")


def test_without_a_store(make_server):
    assert ready(make_server("--state", "none"))["store"] == "none"


def test_a_store_that_cannot_be_used(make_server):
    """Asynchronous jobs are refused, programs run: the server is ready and says what is wrong."""
    server = make_server(start=False)
    server.state_dir.mkdir()
    (server.state_dir / "hatchery.lock").touch()
    (server.state_dir / "jobs.db").write_bytes(b"no database " * 1000)
    if os.geteuid() == 0:
        os.chmod(server.state_dir / "jobs.db", 0o666)
    server.start()
    reply = ready(server)
    assert (reply.status, reply["store"]) == (200, "failing")
    assert server.run("return 1").response["result"] == 1
    assert server.run("return 1", webhook_url="http://example.org/").status == 503


def test_readiness_goes_first(make_server):
    """Told to stop, with a delay: it says so, and serves what comes as before."""
    server = make_server(config="[server]\ndrain_delay = 10min\n[metrics]\nlisten = 127.0.0.1:0\n")
    assert ready(server).status == 200
    server.process.send_signal(signal.SIGTERM)
    server.logged("not ready any more; stopping after a while", delay=600)
    for status, body in ((ready(server).status, ready(server).json), watch(server, "/readyz")):
        assert (status, body["status"], body["draining"]) == (503, "not ready", True)
        assert "stopping" in body["error"]
    assert server.request("GET", "/healthz", key=False).status == 200
    assert [server.run(f"return {i}").response["result"] for i in range(20)] == list(range(20))
    server.process.send_signal(signal.SIGTERM)  # the second one is obeyed at once
    assert server.process.wait(20) == 0


def test_then_what_runs_is_waited_for(make_server):
    server = make_server(config="[server]\ndrain_delay = 200ms\n[metrics]\nlisten = 127.0.0.1:0\n")
    with Raw(server, post(f"{ASLEEP}; return 'done'", timeout=250)) as raw:
        wait_for(lambda: server.below("sleep"), 20)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.run("return 1").status == 503, 20, "new requests are refused")
        status, body = watch(server, "/readyz")
        assert status == 503 and body["draining"], "who watches is answered to the end"
        assert watch(server, "/healthz")[0] == 200
        server.end_sleepers()
        assert raw.reply().response["result"] == "done"
    assert server.process.wait(20) == 0


def test_the_command_asks(make_server):
    """What a container engine's health check runs."""
    server = make_server("--state", "none")
    listen = f"{server.host}:{server.port}"
    wait_for(lambda: ready(server).status == 200)
    done = hatchery("health", "--listen", listen, env={"http_proxy": "http://127.0.0.1:9"})
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "ready"
    os.kill(server.child("zygote"), signal.SIGSTOP)
    while ready(server)["boxes"]["waiting"]:
        server.request("POST", "/v1/code/execute/python", {"code": "", "timeout": 1})
    done = hatchery("health", "--listen", listen)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, ready(server)["status"])
    os.kill(server.child("zygote"), signal.SIGCONT)
    server.stop(at_once=True)
    done = hatchery("health", "--listen", listen)
    assert done.returncode == 1 and done.stdout == "" and listen in done.stderr


def test_the_command_asks_a_unix_socket(make_server, tmp_path):
    with make_server("--state", "none", listen=f"unix:{tmp_path}/socket"):
        wait_for(lambda: hatchery("health", "--listen", f"unix:{tmp_path}/socket").returncode == 0)
