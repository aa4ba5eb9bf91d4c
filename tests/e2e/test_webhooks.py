# SPDX-License-Identifier: Apache-2.0
"""Deliveries end to end: receivers that misbehave, signatures, retries, a courier that dies."""
import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess

import pytest

from processes import wait_for
from receiver import HOOKS, OLD_SECRET, SECRET


def send(service, receiver_url, code="return 1"):
    reply = service.run(code, webhook_url=receiver_url)
    assert reply.status == 202, reply
    return reply["job_id"]


def deliveries(service, job_id):
    return service.request("GET", f"/v1/jobs/{job_id}/deliveries")


def wait_over(service, job_id, state, seconds=60):
    return wait_for(lambda: (r := deliveries(service, job_id))["state"] == state and r, seconds, f"{state}")


def sign(secret, headers, body):
    key = base64.b64decode(secret[len("whsec_"):])
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize("path, count, statuses", [("flaky", 2, [500, 200]), ("unready", 2, [404, 200]),
                                                   ("later", 2, [429, 200]), ("ok", 1, [200])])
def test_until_it_is_taken(hooks, receiver, path, count, statuses):
    path += "/taken"
    job_id = send(hooks, receiver.url(path))
    got = receiver.wait(path, count)
    shown = wait_over(hooks, job_id, "delivered")
    assert [attempt["status"] for attempt in shown["attempts"]] == statuses
    assert len({d.headers["webhook-id"] for d in got}) == 1
    assert len({d.body for d in got}) == 1


def test_long_replies_arrive_whole(hooks, receiver):
    """A thread writes each to a file, and several are under way; a short one beside them is none of them."""
    sent = {send(hooks, receiver.url("ok/long"), f"return {i!r} * {n}"): i * n for i, n in (("a", 3_000_000), ("b", 70_000), ("c", 5), ("d", 4_000_000))}
    got = receiver.wait("ok/long", len(sent))
    assert {body["job_id"]: body["response"]["result"] for body in (json.loads(d.body) for d in got)} == sent
    for job_id in sent:
        wait_over(hooks, job_id, "delivered")


def test_retry_after_is_honoured(hooks, receiver):
    job_id = send(hooks, receiver.url("later/honoured"))
    receiver.wait("later/honoured", 2)
    first, second = wait_over(hooks, job_id, "delivered")["attempts"]
    assert second["at"] > first["at"]
    assert int(receiver.wait("later/honoured", 2)[1].headers["webhook-timestamp"]) \
        >= int(receiver.wait("later/honoured", 2)[0].headers["webhook-timestamp"]) + 1


def test_receivers_that_never_answer(make_server, receiver):
    service = make_server(env={**HOOKS, "HATCHERY_WEBHOOKS_TIMEOUT": "1s"})
    jobs = [(send(service, receiver.url(f"{path}/never")), error)
            for path, error in (("hang", "answer within"), ("drip", "within"), ("close", None))]
    for job_id, error in jobs:
        shown = wait_over(service, job_id, "given up")
        assert len(shown["attempts"]) == 4
        assert all(attempt["status"] is None and attempt["error"] for attempt in shown["attempts"])
        assert error is None or any(error in attempt["error"].lower() for attempt in shown["attempts"])


def test_a_port_nobody_listens_on(hooks):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        job_id = send(hooks, f"http://127.0.0.1:{closed.getsockname()[1]}/x")
        shown = wait_over(hooks, job_id, "given up")
    assert [attempt["status"] for attempt in shown["attempts"]] == [None] * 4
    assert all(attempt["error"] for attempt in shown["attempts"])
    assert hooks.request("GET", f"/v1/jobs/{job_id}")["state"] == "done"


def test_redirects_are_not_followed(hooks, receiver):
    job_id = send(hooks, receiver.url("redirect/r"))
    shown = wait_over(hooks, job_id, "given up")
    assert [attempt["status"] for attempt in shown["attempts"]] == [307] * 4
    assert not [d for d in receiver.got if d.path == "/ok/redirected"]


def test_410_stops(hooks, receiver):
    job_id = send(hooks, receiver.url("gone/g"))
    shown = wait_over(hooks, job_id, "given up")
    assert [attempt["status"] for attempt in shown["attempts"]] == [410]


def test_an_endless_answer_is_not_read(hooks, receiver):
    job_id = send(hooks, receiver.url("endless/e"))
    shown = wait_for(lambda: (r := deliveries(hooks, job_id))["attempts"] and r, 30, "an attempt")
    assert shown["attempts"][0]["duration"] < 10


def test_a_slow_receiver_holds_up_no_other(make_server, receiver):
    # Two host names, one receiver: limits are by host.
    service = make_server(env={**HOOKS, "HATCHERY_WEBHOOKS_TIMEOUT": "60s", "HATCHERY_WEBHOOKS_IN_ALL": "8",
                               "HATCHERY_WEBHOOKS_PER_HOST": "2"})
    for _ in range(10):
        send(service, receiver.url("hang/slow"))
    receiver.wait("hang/slow", 2)
    quick = receiver.url("ok/quick").replace("127.0.0.1", "localhost")
    for _ in range(5):
        send(service, quick)
    receiver.wait("ok/quick", 5, 20)
    assert len(receiver.wait("hang/slow", 2)) == 2


def test_every_secret_signs(hooks, receiver):
    job_id = send(hooks, receiver.url("ok/signed"))
    delivery = receiver.wait("ok/signed")[0]
    assert delivery.headers["webhook-id"] == "msg_" + job_id.replace("-", "")
    assert delivery.headers["webhook-signature"].split() == [sign(secret, delivery.headers, delivery.body)
                                                             for secret in (SECRET, OLD_SECRET)]


def test_an_independent_implementation_verifies(hooks, receiver, tmp_path):
    if not shutil.which("node"):
        pytest.skip("no Node.js here")
    modules = os.environ.get("STANDARDWEBHOOKS_MODULES")
    if not modules:
        modules = tmp_path / "node_modules"
        try:
            got = subprocess.run(["npm", "install", "--prefix", tmp_path, "--no-audit", "--no-fund", "--ignore-scripts",
                                  "standardwebhooks@1.0.0"], capture_output=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired):
            got = None
        if not got or got.returncode:
            pytest.skip("standardwebhooks cannot be had from npm here")
    send(hooks, receiver.url("ok/verified"))
    delivery = receiver.wait("ok/verified")[0]
    script = """
const { Webhook } = require("standardwebhooks");
const [secret, headers, body] = JSON.parse(require("fs").readFileSync(0));
new Webhook(secret).verify(body, headers);
const other = { "webhook-id": "msg_other", "webhook-timestamp": String(headers["webhook-timestamp"] - 1) };
const forged = [[body + " ", headers], ...Object.keys(other).map((name) => [body, { ...headers, [name]: other[name] }])];
for (const [text, head] of forged) {
    try { new Webhook(secret).verify(text, head) } catch (e) { continue }
    process.exit(3);
}
console.log("verified");
"""
    for secret in (SECRET, OLD_SECRET):
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        given = json.dumps([secret, {name: delivery.headers[name] for name in names}, delivery.body.decode()])
        result = subprocess.run(["node", "-e", script], input=given, capture_output=True, text=True,
                                env={**os.environ, "NODE_PATH": str(modules)}, timeout=60)
        assert result.stdout == "verified\n", result.stderr


def test_unsigned_without_a_secret(make_server, receiver):
    env = {k: v for k, v in HOOKS.items() if k != "HATCHERY_WEBHOOKS_SECRET"}
    service = make_server(env=env)
    for _ in range(2):
        send(service, receiver.url("ok/unsigned"))
    assert all("webhook-signature" not in d.headers for d in receiver.wait("ok/unsigned", 2))
    unsigned = [line for line in service.log() if line["logger"] == "courier" and "not signed" in line["msg"]]
    assert len(unsigned) == 1


def test_the_secret_is_in_no_log_and_no_environment(hooks):
    assert SECRET not in hooks.log_text()
    assert SECRET.encode() not in open(f"/proc/{hooks.pid}/environ", "rb").read()


def test_secret_file(make_server, receiver, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    env = {**HOOKS, "HATCHERY_WEBHOOKS_SECRET_FILE": str(tmp_path / "secret")}
    del env["HATCHERY_WEBHOOKS_SECRET"]
    service = make_server(env=env)
    send(service, receiver.url("ok/file"))
    delivery = receiver.wait("ok/file")[0]
    assert delivery.headers["webhook-signature"] == sign(SECRET, delivery.headers, delivery.body)


def test_a_private_name_is_a_failed_delivery(make_server, receiver):
    # A name says nothing of its address until it is looked up: what is refused then is the delivery.
    env = {**HOOKS, "HATCHERY_WEBHOOKS_ALLOW": ""}
    service = make_server(env=env)
    name = socket.gethostname()
    if name == "localhost" or not socket.gethostbyname_ex(name)[2]:
        pytest.skip("this host has no name of its own")
    reply = service.run("return 1", webhook_url=f"http://{name}:{receiver.port}/ok/private")
    assert reply.status == 202
    shown = wait_over(service, reply["job_id"], "given up")
    assert "webhooks.allow" in shown["attempts"][0]["error"].lower().replace("_", ".")
    assert not [d for d in receiver.got if d.path == "/ok/private"]


def test_what_a_dead_courier_had_is_delivered_by_the_next(make_server, receiver):
    service = make_server(env={**HOOKS, "HATCHERY_WEBHOOKS_TIMEOUT": "60s"})
    job_id = send(service, receiver.url("hang/courier"))
    receiver.wait("hang/courier")
    os.kill(service.child("courier"), signal.SIGKILL)
    receiver.wait("hang/courier", 2)
    other = send(service, receiver.url("ok/courier"))
    receiver.wait("ok/courier")
    wait_over(service, other, "delivered")
    assert deliveries(service, job_id)["state"] == "sending"


def test_what_a_dead_server_had_ordered_is_delivered(make_server, receiver):
    service = make_server(env={**HOOKS, "HATCHERY_WEBHOOKS_TIMEOUT": "60s"})
    send(service, receiver.url("hang/server"))
    receiver.wait("hang/server")
    os.kill(service.child("server"), signal.SIGKILL)
    first, second = receiver.wait("hang/server", 2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body


def test_the_courier_runs_as_nobody(hooks):
    if os.geteuid() != 0:
        pytest.skip("ids of their own need root")
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{hooks.child('courier')}/status").read().splitlines()
                  if ":\t" in line)
    server = open(f"/proc/{hooks.child('server')}/status").read()
    uid = status["Uid"].split()[0]
    assert int(uid) > 0 and f"Uid:\t{uid}" not in server
    assert status["CapEff"] == "0000000000000000" and status["NoNewPrivs"] == "1"
