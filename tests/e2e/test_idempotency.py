# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: the same request is run once, and answered as often as it is asked."""
import concurrent.futures
import json
import uuid

import pytest

from client import EXECUTE
from processes import wait_for
from receiver import HOOKS
from service import hatchery

COUNTED = "import time, uuid; time.sleep(0.5); return str(uuid.uuid4())"


def run(service, body, name, **headers):
    return service.request("POST", EXECUTE, body, headers={"idempotency-key": name, **headers})


def test_the_same_reply(hooks):
    name = str(uuid.uuid4())
    first, second = run(hooks, {"code": COUNTED}, name), run(hooks, {"code": COUNTED}, name)
    assert first.status == second.status == 200 and first.body == second.body


def test_quotes_do_not_matter(hooks):
    name = str(uuid.uuid4())
    assert run(hooks, {"code": COUNTED}, name).body == run(hooks, {"code": COUNTED}, f'"{name}"').body


def test_failures_are_remembered_too(hooks):
    name, body = str(uuid.uuid4()), {"code": "import uuid; raise ValueError(uuid.uuid4())"}
    first, second = run(hooks, body, name), run(hooks, body, name)
    assert first.status == second.status == 400 and first.body == second.body


def test_all_wait_for_the_one_run(hooks):
    name = str(uuid.uuid4())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: run(hooks, {"code": COUNTED}, name), range(8)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


def test_another_body_is_refused(hooks):
    name = str(uuid.uuid4())
    run(hooks, {"code": "return 1"}, name)
    reply = run(hooks, {"code": "return 2"}, name)
    assert reply.status == 422 and "Idempotency-Key" in reply["error"]


def test_asynchronous(hooks, receiver):
    name, body = str(uuid.uuid4()), {"code": COUNTED, "webhook_url": receiver.url("ok/idem")}
    first, second = run(hooks, body, name), run(hooks, body, name)
    assert first.status == second.status == 202 and first["job_id"] == second["job_id"]
    delivered = receiver.wait("ok/idem")
    third = run(hooks, body, name)
    assert third.status == 202 and third["job_id"] == first["job_id"]
    assert len(delivered) == 1 and json.loads(delivered[0].body)["job_id"] == first["job_id"]


def test_each_key_has_names_of_its_own(hooks):
    name = str(uuid.uuid4())
    other = hatchery("key", "new", "idem", "--state", str(hooks.state_dir)).stdout.strip()
    wait_for(lambda: hooks.request("GET", "/v1/toolkit/authenticate", headers={"x-api-key": other}).status == 200)
    mine = run(hooks, {"code": COUNTED}, name)
    theirs = run(hooks, {"code": COUNTED}, name, **{"x-api-key": other})
    assert mine["job_id"] != theirs["job_id"]


def test_a_client_that_left_comes_back(hooks):
    name = str(uuid.uuid4())
    known = {entry["job_id"] for entry in hooks.request("GET", "/v1/jobs?limit=100")["jobs"]}

    def begun():
        """Those that are new and run, or did so while the machine stood still."""
        return {entry["job_id"] for entry in hooks.request("GET", "/v1/jobs?limit=100")["jobs"]
                if entry["state"] != "queued"} - known

    connection = hooks.socket()
    body = json.dumps({"code": COUNTED}).encode()
    connection.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-type: application/json\r\n"
                       b"idempotency-key: %s\r\ncontent-length: %d\r\n\r\n%s"
                       % (EXECUTE.encode(), hooks.key.encode(), name.encode(), len(body), body))
    running = wait_for(begun)
    connection.close()
    reply = run(hooks, body, name)
    assert reply.status == 200 and reply["job_id"] in running


def test_it_survives_a_restart(make_server):
    service = make_server(env=HOOKS)
    name = str(uuid.uuid4())
    first = run(service, {"code": COUNTED}, name)
    service.stop()
    service.announcement = ""
    service.start()
    assert run(service, {"code": COUNTED}, name).body == first.body


@pytest.mark.parametrize("name", ["", '""', "a b", 'a"b', "x" * 256, "a\\b"])
def test_bad_names(hooks, name):
    reply = run(hooks, {"code": "return 1"}, name)
    assert reply.status == 400 and "Idempotency-Key" in reply["error"]


def test_by_id(make_server):
    service = make_server(env={**HOOKS, "HATCHERY_JOBS_IDEMPOTENCY_BY_ID": "yes"})
    assert service.run(COUNTED, id="one").body == service.run(COUNTED, id="one").body
    assert service.run("return 1", id="one").status == 422
    assert service.run(COUNTED).body != service.run(COUNTED).body


def test_an_id_alone_is_no_key(hooks):
    assert hooks.run(COUNTED, id="one")["job_id"] != hooks.run(COUNTED, id="one")["job_id"]
