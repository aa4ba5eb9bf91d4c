# SPDX-License-Identifier: Apache-2.0
"""Several keys: made, listed and revoked while the server runs; what each may ask for."""
import concurrent.futures
import contextlib
import json
import os
import socket
import stat

import pytest

from client import EXECUTE
from processes import wait_for
from raw import Raw, head
from service import Service, hatchery


@pytest.fixture(scope="module")
def service():
    with Service(env={"HATCHERY_POOL_MAX_RUNS": "4"}) as service:
        yield service


def key(service, name, *options):
    result = hatchery("key", "new", name, *options, "--state", str(service.state_dir))
    assert result.returncode == 0, result.stderr
    text = result.stdout.strip()
    wait_for(lambda: service.request("GET", "/healthz").status == 200)
    service_log(service)
    return text


def service_log(service):
    """The server has read the file as it is now."""
    lines = sum(1 for _ in open(service.state_dir / "keys"))
    wait_for(lambda: (read := service.log("keys read")) and read[-1]["keys"] == lines, 30, "keys read")


def run(service, key, code="return 1", **members):
    return service.request("POST", EXECUTE, {"code": code, **members}, headers={"x-api-key": key})


def test_a_new_key_works_at_once_and_not_after_it_was_revoked(service):
    text = key(service, "bob")
    assert run(service, text).status == 200
    assert hatchery("key", "revoke", "bob", "--state", str(service.state_dir)).returncode == 0
    wait_for(lambda: run(service, text).status == 401, 30, "the key is refused")
    assert service.run("return 1").status == 200


def test_only_hashes_are_kept(service):
    text = key(service, "secret-keeper")
    for path in service.state_dir.iterdir():
        assert text.encode() not in path.read_bytes(), path
    info = os.stat(service.state_dir / "keys")
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(service.state_dir).st_mode) == 0o700
    assert text not in service.log_text()


def test_list(service):
    key(service, "listed", "--weight", "3", "--rate", "600")
    result = hatchery("key", "list", "--state", str(service.state_dir))
    line = next(line for line in result.stdout.splitlines() if line.startswith("listed"))
    assert line.split()[1:5] == ["3", "unlimited", "unlimited", "600"]


@pytest.mark.parametrize("name", ["default", "", "a b", "../x", "x" * 65, "a\nb"])
def test_bad_names(service, name):
    assert hatchery("key", "new", name, "--state", str(service.state_dir)).returncode == 1


@pytest.mark.parametrize("options", [["--weight", "0"], ["--rate", "x"], ["--max-runs", "-1"], ["--rate", "1000001"]])
def test_bad_limits(service, options):
    result = hatchery("key", "new", "limits", *options, "--state", str(service.state_dir))
    assert result.returncode == 2 and options[0] in result.stderr


def test_no_two_of_one_name(service):
    key(service, "twice")
    result = hatchery("key", "new", "twice", "--state", str(service.state_dir))
    assert result.returncode == 1 and "revoke" in result.stderr


def test_revoking_what_is_not_there(service):
    assert hatchery("key", "revoke", "nobody", "--state", str(service.state_dir)).returncode == 1
    assert "API_KEY" in hatchery("key", "revoke", "default", "--state", str(service.state_dir)).stderr


def test_rate(service):
    text = key(service, "rated", "--rate", "5")
    replies = [run(service, text) for _ in range(7)]
    assert [reply.status for reply in replies[:5]] == [200] * 5
    assert replies[6].status == 429 and "5 requests a minute" in replies[6]["error"]
    assert 1 <= int(replies[6].headers["retry-after"]) <= 12
    assert replies[0].headers["ratelimit-policy"] == '"default";q=5;w=60'
    assert replies[0].headers["ratelimit"].startswith('"default";r=4;t=')
    assert replies[6].headers["ratelimit"].startswith('"default";r=0;t=')
    assert "ratelimit" not in service.run("return 1").headers


def test_the_rate_is_counted_before_the_body_comes(service):
    text = key(service, "hasty", "--rate", "2")
    heads = head("POST", EXECUTE, "Content-Length: 1000000", "Expect: 100-continue", key=text)
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(Raw(service, heads)) for _ in range(2)]
        assert [raw.reply().status for raw in raws] == [100, 100]
        with Raw(service, heads) as raw:
            assert raw.reply().status == 429, "and no 100 before it"


def test_most_runs_at_once(service):
    text = key(service, "narrow", "--max-runs", "1")
    code = "import time; begin = time.monotonic(); time.sleep(0.3); return [begin, time.monotonic()]"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        spans = sorted(reply.response["result"] for reply in pool.map(lambda _: run(service, text, code), range(4)))
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:])), spans


def test_most_waiting(service):
    text = key(service, "short", "--max-runs", "1", "--max-waiting", "1")
    body = json.dumps({"code": "import time; time.sleep(60)", "timeout": 60}).encode()
    long = head("POST", EXECUTE, f"content-length: {len(body)}", key=text) + body
    with Raw(service, long), Raw(service, long):  # they run and wait until their clients go
        wait_for(lambda: service.queue_length() == 1, 20, "one waits")
        for _ in range(4):
            full = run(service, text)
            assert full.status == 429 and "short" in full["error"] and "retry-after" in full.headers
    wait_for(lambda: run(service, text).status == 200, 20, "there is room again")


def test_one_key_does_not_fill_the_queue_for_others(make_server):
    """With no limit of the key's own.  The others' part is small, and nobody gets beyond their part."""
    service = make_server(env={"HATCHERY_POOL_MAX_RUNS": "1", "HATCHERY_QUEUE_MAX_LENGTH": "4"})
    crowd, victim = key(service, "crowd"), key(service, "victim")

    def send(of):
        body = json.dumps({"code": "import time; time.sleep(60)", "timeout": 60}).encode()
        return Raw(service, head("POST", EXECUTE, f"content-length: {len(body)}", key=of) + body)

    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(send(crowd))
        wait_for(lambda: service.queue_length() == 4, 20, "four wait")
        refused = run(service, crowd)
        assert refused.status == 429 and "MAX_QUEUE_LENGTH (4) reached" in refused["error"]
        for n in (5, 6):
            stack.enter_context(send(victim))
            wait_for(lambda: service.queue_length() == n, 20, "the victim waits, too")
        assert run(service, victim).status == run(service, crowd).status == 429


def test_one_key_does_not_fill_the_store_for_others(make_server):
    """Neither with replies, for which others' would be forgotten, nor with such as can't be delivered."""
    service = make_server(env={"HATCHERY_JOBS_MAX_BYTES": "16M", "HATCHERY_LIMITS_RESULT": "1M",
                               "HATCHERY_LIMITS_OUTPUT": "64K", "HATCHERY_WEBHOOKS_ALLOW": "private"})
    crowd, victim = key(service, "crowd"), key(service, "victim")
    large = "return 'x' * 1000000"

    def send(of, code="import time; return time.time()", idem=None, **members):
        headers = {"x-api-key": of, **({"idempotency-key": idem} if idem else {})}
        return service.request("POST", EXECUTE, {"code": code, **members}, headers=headers)

    first = send(victim, idem="pay-invoice-1")
    replies = [send(crowd, large, f"crowd-{i}") for i in range(30)]
    assert [reply.status for reply in replies] == [200] * 30, "its own oldest make room"
    again = send(victim, idem="pay-invoice-1")
    assert again["job_id"] == first["job_id"] and again.response["result"] == first.response["result"]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        for _ in range(12):
            assert send(crowd, large, webhook_url=dead).status == 202
        for i in range(30):
            refused = send(crowd, large + "#" * 900000, webhook_url=dead)
            if refused.status != 202:
                break
        assert refused.status == 429 and "crowd" in refused["error"] and "jobs.max_bytes" in refused["error"]
        assert "retry-after" in refused.headers
        for i in range(5):
            assert send(victim, idem=f"while-{i}").status == 200
        assert send(victim, webhook_url=dead).status == 202
        again = send(victim, idem="pay-invoice-1")
        assert again["job_id"] == first["job_id"] and again.response["result"] == first.response["result"]
    assert sum(path.stat().st_size for path in service.state_dir.glob("jobs.db")) < 24 << 20


def test_max_bytes(make_server):
    service = make_server(env={"HATCHERY_LIMITS_RESULT": "1M"})
    text = key(service, "small", "--max-bytes", "2M", "--runtime", "default")
    listed = hatchery("key", "list", "--state", str(service.state_dir)).stdout.splitlines()
    assert listed[1].split()[:6] == ["small", "1", "unlimited", "unlimited", "unlimited", str(2 << 20)]
    ids = []
    for i in range(4):
        reply = service.request("POST", EXECUTE, {"code": "return 'x' * 900000"},
                                headers={"x-api-key": text, "idempotency-key": f"k{i}"})
        assert reply.status == 200, reply
        ids.append(reply["job_id"])

    def kept():
        return [job_id for job_id in ids
                if service.request("GET", f"/v1/jobs/{job_id}", headers={"x-api-key": text}).status == 200]

    wait_for(lambda: kept() and kept() in (ids[-1:], ids[-2:]), 30, "the oldest go")
    assert hatchery("key", "new", "x", "--max-bytes", "much", "--state", str(service.state_dir)).returncode == 2


def test_a_damaged_file_locks_nobody_out(make_server):
    service = make_server()
    text = key(service, "stays")
    with open(service.state_dir / "keys", "a") as file:
        file.write("half a line")
    service.logged("the file of keys cannot be read: the keys before it stay valid", line=2)
    assert run(service, text).status == 200
    assert service.run("return 1").status == 200


def test_a_server_with_no_other_key(make_server, tmp_path):
    state = tmp_path / "state"
    text = hatchery("key", "new", "only", "--state", str(state)).stdout.strip()
    service = make_server("--state", str(state), key=None)
    assert run(service, text).status == 200
    assert run(service, "").status == 401


@pytest.mark.parametrize("text", ["", "x", "hk_", "\x7f", "k" * 5000])
def test_wrong_keys(service, text):
    reply = run(service, text)
    assert reply.status in (400, 401)


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/full")])
def test_what_stands_in_the_way_is_replaced(tmp_path, plant):
    """A server that was taken over can write to its state directory: the command neither waits nor follows."""
    state = tmp_path / "state"
    assert hatchery("key", "new", "first", "--state", str(state)).returncode == 0
    plant(state / "keys.new")
    assert hatchery("key", "new", "second", "--state", str(state), timeout=30).returncode == 0
    assert "second" in hatchery("key", "list", "--state", str(state)).stdout
