# SPDX-License-Identifier: Apache-2.0
"""A store that an older version has written: what it has is answered, delivered and repeated as that version wrote it."""
import contextlib
import json
import os
import pathlib
import sqlite3
import uuid

from client import EXECUTE
from receiver import HOOKS

OLD = pathlib.Path(__file__).parent / "stores" / "schema-6.sql"
STATES = ["queued", "running", "done", "failed", "cancelled", "dead"]
ENV = {**HOOKS, "HATCHERY_JOBS_RETENTION_AGE": "0", "HATCHERY_JOBS_RETENTION_COUNT": "0"}


def lay(service, receiver, more=""):
    """Put the old store where @service will find it; {path of the webhook, or "": (id, state, reply as bytes)}."""
    service.start().stop()
    service.announcement = ""
    path = service.state_dir / "jobs.db"
    owner = os.stat(path)
    for old in service.state_dir.glob("jobs.db*"):
        old.unlink()
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.executescript(OLD.read_text().replace("RECEIVER", receiver.url("").split("/")[2]) + more)
        found = store.execute("SELECT j.id, j.state, r.body, j.url, j.client_id FROM jobs j "
                              "LEFT JOIN results r USING(seq)").fetchall()
    os.chown(path, owner.st_uid, owner.st_gid)
    return {url.partition("//")[2].partition("/")[2] if url else (client_id or b"").decode():
            (str(uuid.UUID(bytes=id_)), state, body) for id_, state, body, url, client_id in found}


def rows(service):
    store = sqlite3.connect(service.state_dir / "jobs.db")
    with contextlib.closing(store):
        return [*store.iterdump(), store.execute("PRAGMA user_version").fetchone()]


def reply_of(service, job_id):
    """The bytes of the member reply, which is the last."""
    whole = service.request("GET", f"/v1/jobs/{job_id}").body
    return whole[whole.index(b'"reply": ') + len(b'"reply": '):-1]


def test_what_an_older_version_has_stored(make_server, receiver):
    service = make_server(env=ENV, start=False)
    service.contract = None  # a reply of that version has a number as build_number
    jobs = lay(service, receiver)
    service.start()
    for name, (job_id, state, body) in jobs.items():
        if not body:
            continue
        assert service.request("GET", f"/v1/jobs/{job_id}")["state"] == STATES[state], name
        assert reply_of(service, job_id) == body and b'"build_number": 1}' in body, name
        status = service.request("POST", "/v1/toolkit/job/status", {"job_id": job_id})
        assert json.dumps(json.loads(body)) in json.dumps(status.json), name
    due = receiver.wait("down/old-pending", 1)[0]
    assert due.body == jobs["down/old-pending"][2]
    for name, result in (("ok/old-running", "again"), ("ok/old-queued", "queued")):
        reply = json.loads(receiver.wait(name)[0].body)
        assert reply["response"]["result"] == result and reply["job_id"] == jobs[name][0], name
        assert json.loads(reply_of(service, jobs[name][0])) == reply
    request = {"code": "print('once'); return 7", "id": "k"}
    again = service.request("POST", EXECUTE, request, headers={"Idempotency-Key": "old-key"})
    assert again.status == 200 and again.body == jobs["k"][2]
    assert service.request("POST", f"/v1/jobs/{jobs['gone/old-failed'][0]}/redeliver").status == 202
    assert receiver.wait("gone/old-failed")[0].body == jobs["gone/old-failed"][2]
    assert service.request("POST", f"/v1/jobs/{jobs['ok/old-dead'][0]}/requeue").status == 202


def test_the_same_key_the_same_bytes(make_server, receiver):
    """What a job ended with is worded each time it is asked for, by each server: always the same."""
    service = make_server(env=ENV)
    programs = ["print('é \\x00', 1); return {'a': [1.50, 10**30]}", "import sys; sys.stderr.write('x' * 2_000_000); [][1]",
                "print('y' * 3_000_000); return 'z' * 100_000", "import os; os.kill(os.getpid(), 9)", "1 +"]
    for number, code in enumerate(programs):
        request, headers = {"code": code, "id": f"n {number} \\"}, {"Idempotency-Key": f"same-{number}"}
        first = service.request("POST", EXECUTE, request, headers=headers)
        assert service.request("POST", EXECUTE, request, headers=headers).body == first.body
        assert reply_of(service, first["job_id"]) == first.body
    hooked = service.run(programs[2], id="hooked", webhook_url=receiver.url("ok/worded"))["job_id"]
    delivered = receiver.wait("ok/worded")[0].body
    assert reply_of(service, hooked) == delivered and json.loads(delivered)["response"]["result"] == "z" * 100_000
    service.stop()
    service.announcement = ""
    service.start()
    assert service.request("POST", EXECUTE, request, headers=headers).body == first.body
    assert reply_of(service, hooked) == delivered


def test_a_later_store_is_left_alone(make_server, receiver):
    service = make_server(env=ENV, start=False)
    lay(service, receiver, "PRAGMA user_version = 999;")
    before = rows(service)
    service.start()
    refused = service.run("return 1", webhook_url=receiver.url("ok/later"))
    assert refused.status == 503 and service.run("return 1").status == 200
    error = service.logged("asynchronous jobs are not available")["error"]
    assert "was written by a later version of Hatchery (schema 999" in error
    service.stop()
    assert rows(service) == before
