# SPDX-License-Identifier: Apache-2.0
"""What can be asked about jobs, and what cannot."""
import base64
import concurrent.futures
import json
import time

import pytest

from processes import is_alive, wait_for
from service import ASLEEP, hatchery

UNKNOWN = "01a20dd0-d7be-7fdd-b408-489266bfe471"
BAD_IDS = ["x", UNKNOWN.upper(), UNKNOWN[:-1], UNKNOWN + "0", "..%2f..%2fetc%2fpasswd", "%00", UNKNOWN.replace("-", "_")]


def finished(hooks, receiver, code="return 7", path="ok/status", **members):
    reply = hooks.run(code, webhook_url=receiver.url(path), **members)
    assert reply.status == 202
    wait_for(lambda: hooks.request("GET", f"/v1/jobs/{reply['job_id']}")["state"] not in ("queued", "running"), 30, "its end")
    return reply["job_id"]


def test_nca_job_status(hooks, receiver):
    job_id = finished(hooks, receiver, id="a")
    reply = hooks.request("POST", "/v1/toolkit/job/status", {"job_id": job_id})
    assert set(reply.response) == {"job_id", "job_status", "queue_id", "process_id", "response"}
    assert reply.response["job_status"] == "done" and reply.response["job_id"] == job_id
    assert reply.response["response"]["response"]["result"] == 7 and reply.response["response"]["id"] == "a"
    failed = finished(hooks, receiver, "1/0")
    assert hooks.request("POST", "/v1/toolkit/job/status", {"job_id": failed}).response["job_status"] == "failed"


def test_nca_states_of_a_job_that_waits_and_runs(make_server, receiver):
    from receiver import HOOKS
    service = make_server(env={**HOOKS, "HATCHERY_POOL_MAX_RUNS": "1"})
    jobs = [service.run("import time; time.sleep(30)", webhook_url=receiver.url("ok/states"))["job_id"] for _ in range(10)]

    def status(job_id):
        return service.request("POST", "/v1/toolkit/job/status", {"job_id": job_id}).response
    wait_for(lambda: status(jobs[0])["job_status"] == "running")
    assert status(jobs[9])["job_status"] == "queued" and status(jobs[9])["response"] is None
    # Leased ahead or on disk: until a box has it, it is queued.
    since = service.request("POST", "/v1/toolkit/jobs/status", {"since_seconds": 600}).response
    assert since == {job_id: "running" if job_id == jobs[0] else "queued" for job_id in jobs}
    assert [status(job_id)["job_status"] for job_id in jobs] == list(since[job_id] for job_id in jobs)
    shown = service.request("GET", f"/v1/jobs/{jobs[1]}")
    assert (shown["state"], shown["attempts"], shown["started_at"]) == ("queued", 0, None)
    assert [entry["job_id"] for entry in service.request("GET", "/v1/jobs?state=running")["jobs"]] == jobs[:1]
    queued, cursor = [], ""
    while cursor is not None:
        page = service.request("GET", f"/v1/jobs?state=queued&limit=2{cursor}")
        queued += [entry["job_id"] for entry in page["jobs"]]
        cursor = page["next_cursor"] and "&cursor=" + page["next_cursor"]
    assert queued == jobs[:0:-1]


def test_nca_unknown_job(hooks):
    reply = hooks.request("POST", "/v1/toolkit/job/status", {"job_id": UNKNOWN})
    assert reply.status == 404 and reply["error"] == "Job not found" and reply["job_id"] == UNKNOWN


@pytest.mark.parametrize("body", [{}, {"job_id": 7}, {"job_id": "x"}, {"job_id": UNKNOWN, "more": 1}, [], "{", None,
                                  {"job_id": "../../etc/passwd"}, {"job_id": UNKNOWN + "\0"}])
def test_nca_bad_bodies(hooks, body):
    assert hooks.request("POST", "/v1/toolkit/job/status", body).status in (400, 415)


@pytest.mark.parametrize("path", ["job", "jobs"])
def test_a_body_that_is_no_json_is_told_what_helps(hooks, path):
    for body, words in ((b" ", "The body is empty: it must be a JSON object"),
                        ('{"job_id": "ä"}'.encode("latin-1"), "send UTF-8"), (b'{"job_id": "\n"}', r"write it as \n")):
        reply = hooks.request("POST", f"/v1/toolkit/{path}/status", body)
        assert reply.status == 400 and words in reply["error"]


@pytest.mark.parametrize("since", [0, -1, "1", 1.5, True, None, 2 ** 63, 1e400])
def test_nca_bad_since(hooks, since):
    assert hooks.request("POST", "/v1/toolkit/jobs/status", {"since_seconds": since}).status == 400


@pytest.mark.parametrize("job_id", BAD_IDS)
@pytest.mark.parametrize("method, rest", [("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/redeliver")])
def test_bad_ids(hooks, method, rest, job_id):
    reply = hooks.request(method, f"/v1/jobs/{job_id}{rest}")
    assert reply.status == 400 and "job_id" in reply["error"]


@pytest.mark.parametrize("path", ["/v1/jobs/", "/v1/jobs/a/b", f"/v1/jobs/{UNKNOWN}/deliveries/", f"/v1/jobs/../jobs/{UNKNOWN}",
                                  f"/v1/jobs/{UNKNOWN}/"])
def test_paths_that_are_none(hooks, path):
    assert hooks.request("GET", path).status == 404


def test_methods(hooks):
    reply = hooks.request("POST", f"/v1/jobs/{UNKNOWN}")
    assert reply.status == 405 and set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}
    assert hooks.request("GET", f"/v1/jobs/{UNKNOWN}", key=False).status == 401


def test_a_key_sees_its_own_jobs_only(hooks, receiver):
    job_id = finished(hooks, receiver)
    other = hatchery("key", "new", "other", "--state", str(hooks.state_dir)).stdout.strip()
    headers = {"x-api-key": other}
    wait_for(lambda: hooks.request("GET", "/v1/toolkit/authenticate", headers=headers).status == 200)
    for method, rest in [("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/redeliver")]:
        assert hooks.request(method, f"/v1/jobs/{job_id}{rest}", headers=headers).status == 404
    assert hooks.request("POST", "/v1/toolkit/job/status", {"job_id": job_id}, headers=headers).status == 404
    assert hooks.request("GET", "/v1/jobs", headers=headers)["jobs"] == []
    assert hooks.request("POST", "/v1/toolkit/jobs/status", {}, headers=headers).response == {}


def test_pages(hooks, receiver):
    jobs = [finished(hooks, receiver) for _ in range(5)]
    seen, cursor = [], ""
    while True:
        reply = hooks.request("GET", f"/v1/jobs?limit=2&state=done{cursor}")
        assert reply.status == 200 and len(reply["jobs"]) <= 2
        seen += [entry["job_id"] for entry in reply["jobs"]]
        if not reply["next_cursor"]:
            break
        cursor = "&cursor=" + reply["next_cursor"]
    assert [job_id for job_id in seen if job_id in jobs] == jobs[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("mark", ["x", "\x01"], ids=["as they are", "six times as long in JSON"])
def test_a_page_of_long_ids_ends_early(make_server, mark):
    """At about half a MiB, and the next one goes on behind it."""
    service = make_server()
    sent = [service.run("", id=f"{i:04}" + mark * 16380)["job_id"] for i in range(80)]
    wait_for(lambda: len(service.request("POST", "/v1/toolkit/jobs/status", {}).response) == len(sent))
    listed, sizes, cursor = [], [], ""
    while cursor is not None:
        page = service.request("GET", "/v1/jobs?limit=1000" + (cursor and f"&cursor={cursor}"))
        listed += [job["job_id"] for job in page["jobs"]]
        sizes.append(len(page.body))
        cursor = page["next_cursor"]
    assert listed == sent[::-1]
    assert all(1 << 19 < size < (1 << 19) + (1 << 17) for size in sizes[:-1]) and len(sizes) > 1, sizes


@pytest.mark.parametrize("query", ["state=x", "state=", "limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=x",
                                   "limit=1&limit=2", "state=%zz", "state=%00", "cursor=", "cursor=AAAA", "cursor=%2e%2e"])
def test_bad_queries(hooks, query):
    assert hooks.request("GET", "/v1/jobs?" + query).status == 400


@pytest.mark.parametrize("query, name", [
    ("page=2", "page"), ("limit=1&state=done&sate=done", "sate"), ("st%61te=done", "st%61te"), ("Limit=1", "Limit"),
    ("limit=1&x", "x"), ("=1", ""), ("x" * 900 + "=1", "x" * 64), ('"\\=1', '"\\')])
def test_parameters_that_are_none(hooks, query, name):
    reply = hooks.request("GET", "/v1/jobs?" + query)
    assert reply.status == 400
    assert reply["error"] == f"{name}: unknown parameter in the query; allowed are: state limit cursor"


@pytest.mark.parametrize("query", ["", "&", "limit=1&", "&&limit=1&&state=done"])
def test_queries_that_say_nothing(hooks, query):
    assert hooks.request("GET", "/v1/jobs?" + query).status == 200


@pytest.mark.parametrize("query", ["state", "limit", "cursor&limit=1"])
def test_parameters_without_a_value(hooks, query):
    reply = hooks.request("GET", "/v1/jobs?" + query)
    assert reply.status == 400 and reply["error"].startswith(query.partition("&")[0] + ": must be")


def test_cursors_that_were_tampered_with(hooks, receiver):
    for _ in range(2):
        finished(hooks, receiver)
    cursor = hooks.request("GET", "/v1/jobs?limit=1")["next_cursor"]
    assert hooks.request("GET", "/v1/jobs?cursor=" + cursor).status == 200
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for i in range(len(raw)):
        changed = base64.urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1:]).decode().rstrip("=")
        assert hooks.request("GET", "/v1/jobs?cursor=" + changed).status == 400
    other = hatchery("key", "new", "cursor", "--state", str(hooks.state_dir)).stdout.strip()
    wait_for(lambda: hooks.request("GET", "/v1/toolkit/authenticate", headers={"x-api-key": other}).status == 200)
    assert hooks.request("GET", "/v1/jobs?cursor=" + cursor, headers={"x-api-key": other}).status == 400


def test_a_url_of_a_mebibyte(hooks):
    assert hooks.request("GET", "/v1/jobs?cursor=" + "x" * (1 << 20)).status in (414, 431)
    assert hooks.request("GET", "/v1/jobs", headers={"x-long": "x" * (1 << 20)}).status == 431


def test_cancel_a_queued_job(make_server, receiver):
    from receiver import HOOKS
    service = make_server(env={**HOOKS, "HATCHERY_POOL_MAX_RUNS": "1"})
    service.run(ASLEEP, timeout=300, webhook_url=receiver.url("ok/blocker"))
    wait_for(lambda: service.below("sleep"), 20, "it runs")
    jobs = [service.run("return 1", webhook_url=receiver.url("ok/queued"))["job_id"] for _ in range(12)]
    # Those leased already wait in memory, the others on disk: both can be cancelled.
    for job_id in jobs:
        reply = service.request("DELETE", f"/v1/jobs/{job_id}")
        assert reply.status == 200 and reply["state"] == "cancelled"
        assert service.request("DELETE", f"/v1/jobs/{job_id}").status == 409
        shown = service.request("GET", f"/v1/jobs/{job_id}")
        assert shown["state"] == "cancelled" and shown["started_at"] is None and shown["reply"]["reason"] == "cancelled"
        assert shown["attempts"] == 0 and shown["reply"]["stdout"] == ""
    receiver.wait("ok/queued", 12)
    service.end_sleepers()
    receiver.wait("ok/blocker")


def test_cancel_a_running_job(hooks, receiver):
    code = "import subprocess, sys; print('so far'); print('as well', file=sys.stderr); subprocess.run(['sleep', '60'])"
    job_id = hooks.run(code, timeout=60, webhook_url=receiver.url("ok/running"), id="mine")["job_id"]
    wait_for(lambda: hooks.below("sleep"), 20, "it runs")
    assert hooks.request("DELETE", f"/v1/jobs/{job_id}").status == 200
    assert hooks.request("DELETE", f"/v1/jobs/{job_id}").status == 409
    line = hooks.logged("run finished", job_id=job_id)
    assert (line["outcome"], line["exit_code"], line["stdout_bytes"], line["stderr_bytes"]) == ("cancelled", 137, 7, 8)
    reply = json.loads(receiver.wait("ok/running")[0].body)
    assert (reply["code"], reply["reason"], reply["exit_code"], reply["response"]) == (400, "cancelled", 137, None)
    assert (reply["stdout"], reply["stderr"], reply["id"]) == ("so far\n", "as well\n", "mine"), "what it said is kept"
    assert reply["message"] == reply["error"] == "The run was cancelled" and reply["run_time"] > 0
    shown = hooks.request("GET", f"/v1/jobs/{job_id}")
    assert (shown["state"], shown["attempts"], shown["reply"]) == ("cancelled", 1, reply)


def test_a_cancelled_run_is_killed_at_once(hooks, receiver):
    """Within 100 ms of the request; what else the machine does only ever adds to it."""
    took = []
    for n in range(20):
        job_id = hooks.run("import subprocess; subprocess.run(['sleep', '60'])", timeout=60,
                           webhook_url=receiver.url(f"ok/at-once/{n}"))["job_id"]
        wait_for(lambda: hooks.below("sleep"), 20, "it runs")
        pids = hooks.below("sleep")
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(hooks.request, "DELETE", f"/v1/jobs/{job_id}")
            while any(is_alive(pid) for pid in pids):
                assert time.monotonic() - begin < 10
                time.sleep(0.001)  # who asks is a thread beside this one
            took.append(time.monotonic() - begin)
            assert asked.result().status == 200
        if took[-1] < 0.1:
            break
    print("killed after", *(f"{seconds * 1000:.1f} ms" for seconds in took))
    assert took[-1] < 0.1


def test_deliveries_and_redelivery(hooks, receiver):
    job_id = finished(hooks, receiver, path="ok/again")
    first = receiver.wait("ok/again")[0]
    shown = wait_for(lambda: (r := hooks.request("GET", f"/v1/jobs/{job_id}/deliveries"))["state"] == "delivered" and r)
    assert len(shown["attempts"]) == 1 and shown["attempts"][0]["status"] == 200
    assert shown["attempts"][0]["address"] == "127.0.0.1" and shown["attempts"][0]["error"] is None
    assert hooks.request("POST", f"/v1/jobs/{job_id}/redeliver").status == 202
    second = receiver.wait("ok/again", 2)[1]
    assert second.body == first.body and second.headers["webhook-id"] == first.headers["webhook-id"]
    wait_for(lambda: len(hooks.request("GET", f"/v1/jobs/{job_id}/deliveries")["attempts"]) == 2)


def test_redelivery_of_what_has_no_webhook(hooks):
    job_id = hooks.run("return 1")["job_id"]
    wait_for(lambda: hooks.request("GET", f"/v1/jobs/{job_id}").status == 200)
    assert hooks.request("POST", f"/v1/jobs/{job_id}/redeliver").status == 409
    assert hooks.request("GET", f"/v1/jobs/{job_id}/deliveries")["state"] == "none"
