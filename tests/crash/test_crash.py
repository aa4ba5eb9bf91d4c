# SPDX-License-Identifier: Apache-2.0
"""Nothing that was accepted is lost: clients submit at full speed while processes are killed at random.

CRASH_KILLS is how many (50; the short form in `make test` has 3), CRASH_SEED repeats a run.  Afterwards every job that
got its 202 has exactly one result, and its webhook arrived at least once, under one webhook-id."""
import http.client
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from client import EXECUTE  # noqa: E402
from processes import wait_for  # noqa: E402
from receiver import Receiver  # noqa: E402
from service import Service  # noqa: E402

KILLS = int(os.environ.get("CRASH_KILLS", "3"))
SEED = int(os.environ.get("CRASH_SEED", time.time_ns() % 1000000))
CLIENTS = 4
VICTIMS = ["server", "server", "courier", "zygote", "supervisor"]


class Client(threading.Thread):
    """Submits until told to stop, whatever happens to the server; remembers what was accepted."""

    def __init__(self, number, shared):
        super().__init__(daemon=True)
        self.number, self.shared, self.accepted, self.failures = number, shared, {}, 0

    def run(self):
        connection, serial = None, 0
        while not self.shared.stop.is_set():
            if len(self.accepted) - self.shared.done() > 400:  # the receiver should have something to do, not hours
                self.shared.stop.wait(0.01)
                continue
            serial += 1
            value = f"{self.number}-{serial}"
            try:
                connection = connection or self.shared.service.connect(timeout=10)
                reply = self.shared.service.request("POST", EXECUTE, {
                    "code": f"import random, time; time.sleep(random.random() / 50); return '{value}'",
                    "webhook_url": self.shared.receiver.url("ok/crash")}, connection=connection)
                if reply.status == 202:
                    self.accepted[reply["job_id"]] = value
                else:
                    self.failures += 1
            except (OSError, http.client.HTTPException, AssertionError):  # the last: no reply while the server's back-off grows
                self.failures += 1
                connection = None
                self.shared.stop.wait(0.05)


class Shared:
    def __init__(self, service, receiver):
        self.service, self.receiver, self.stop = service, receiver, threading.Event()

    def done(self):
        return len(self.receiver.got) // CLIENTS


def kill_one(service, chance):
    """Kill a process of the service; the supervisor is started again as an init system would."""
    name = chance.choice(VICTIMS)
    if name == "supervisor":
        service.stop(signal.SIGKILL)
        service.announcement = ""
        service.start(60)
        return name
    pid = service.child(name)
    if pid:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: service.child(name) not in (None, pid), 60, f"a new {name}")
    return name


def ask(service, job_id):
    def answered():
        try:
            return service.request("GET", f"/v1/jobs/{job_id}")
        except (OSError, http.client.HTTPException):
            return None
    return wait_for(answered, 60, "an answer")


def test_crash(tmp_path):
    chance = random.Random(SEED)
    receiver = Receiver()
    # A unix socket: a port could be anybody's while the service is started again.
    service = Service(listen=f"unix:{tmp_path}/socket", env={
        "HATCHERY_WEBHOOKS_ALLOW": "private", "HATCHERY_WEBHOOKS_RETRIES": "200ms " * 20,
        "HATCHERY_WEBHOOKS_PER_HOST": "32", "MAX_QUEUE_LENGTH": "0", "HATCHERY_LOG_LEVEL": "warn"})
    shared = Shared(service, receiver)
    clients = [Client(n, shared) for n in range(CLIENTS)]
    try:
        for client in clients:
            client.start()
        killed = {}
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.0))
            name = kill_one(service, chance)
            killed[name] = killed.get(name, 0) + 1
        wait_for(lambda: any(client.accepted for client in clients), 60, "an accepted job")
        shared.stop.set()
        for client in clients:
            client.join()
        accepted = {job_id: value for client in clients for job_id, value in client.accepted.items()}
        check(service, receiver, accepted, killed, sum(client.failures for client in clients))
    finally:
        shared.stop.set()
        service.stop()
        receiver.stop()


def check(service, receiver, accepted, killed, failures):
    assert accepted

    def delivered():
        return accepted.keys() <= {json.loads(d.body)["job_id"] for d in list(receiver.got)}
    try:
        wait_for(delivered, 300, "every webhook")
    except AssertionError:
        missing = accepted.keys() - {json.loads(d.body)["job_id"] for d in receiver.got}
        print([ask(service, job_id).json for job_id in list(missing)[:5]], service.log_text()[-3000:])
        raise
    results, ids = {}, {}
    for delivery in receiver.got:
        body = json.loads(delivery.body)
        results.setdefault(body["job_id"], set()).add(delivery.body)
        ids.setdefault(body["job_id"], set()).add(delivery.headers["webhook-id"])
    dead, again = 0, 0
    for job_id, value in accepted.items():
        shown = ask(service, job_id)
        assert shown["state"] in ("done", "dead"), shown
        assert len(results[job_id]) == 1 and len(ids[job_id]) == 1, (results[job_id], ids[job_id])
        assert shown["reply"] == json.loads(next(iter(results[job_id])))
        dead += shown["state"] == "dead"
        again += shown["attempts"] > 1
        assert shown["state"] == "dead" or shown["reply"]["response"]["result"] == value
    distinct = {i for found in ids.values() for i in found}
    assert len(distinct) == len(results)
    print(f"\nseed {SEED}; killed {killed}: {len(accepted)} accepted, {len(results)} delivered, 0 lost, "
          f"0 with two results, {again} run again, {dead} dead, {len(receiver.got)} webhooks arrived, "
          f"{failures} requests refused or cut off")
