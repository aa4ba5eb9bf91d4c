# SPDX-License-Identifier: Apache-2.0
"""docs/nca.md: each row of its table of differences, asked of a running server."""
import json

import pytest

import tables
from client import EXECUTE
from service import VERSION, Service

PATH = "/v1/toolkit"
NOBODY = {"HATCHERY_WEBHOOKS_ALLOW": "127.0.0.2/32"}  # where nothing listens


@pytest.fixture(scope="module")
def server():
    with Service(env=NOBODY) as service:
        yield service


def rows():
    return [row[0] for row in tables.rows("nca.md", "## What is different, and why")]


def result(server, code):
    return server.run(code).response["result"]


def long_string(server):
    assert result(server, "s = '''a\nb'''\nreturn s") == "a\nb"


def to_stderr(server):
    reply = server.run("import sys\nprint('x', file=sys.stderr)\nreturn 1")
    assert reply.response == {"result": 1, "stdout": "", "stderr": "x\n", "exit_code": 0}


def raises(server):
    reply = server.run("def f():\n    raise ValueError('boom')\nf()")
    assert (reply.status, reply["exit_code"], reply["reason"]) == (400, 1, "exception")
    assert reply["error"].startswith("Traceback") and "line 2" in reply["error"]


def exits_well(server):
    assert server.run("import sys\nsys.exit(0)").response["exit_code"] == 0


def exits(server):
    reply = server.run("import sys\nsys.exit(3)")
    assert (reply.status, reply["exit_code"], reply["reason"]) == (400, 3, "exit")


def syntax(server):
    reply = server.run("x = 1\ny = = 2")
    assert (reply.status, reply["reason"]) == (400, "syntax") and "line 2" in reply["error"] and "^" in reply["error"]


def empty(server):
    for code in ("", "# only a comment"):
        assert result(server, code) is None


def raw_output(server):
    reply = server.run("import os, subprocess\nos.write(1, b'raw ')\nsubprocess.run(['echo', 'child'])\nreturn 2")
    assert reply.response["result"] == 2 and reply.stdout == "raw child\n"


def module_level(server):
    assert result(server, "from __future__ import annotations\nfrom math import *\nreturn floor(2.5)") == 2


def leaves_a_child(server):
    reply = server.run("import subprocess\nsubprocess.Popen(['sleep', '100'])\nreturn 4")
    assert reply.response["result"] == 4 and reply["run_time"] < 10


def fails(server):
    reply = server.run("print('before')\n1 / 0")
    assert reply["response"] is None and reply["message"] == "ZeroDivisionError: division by zero"
    assert reply["stdout"] == "before\n" and isinstance(reply["error"], str) and "stderr" in reply


def reaches_out(server):
    assert server.run("import socket\nsocket.create_connection(('127.0.0.1', 80))").status == 400
    assert server.run("open('/etc/shadow')").status == 400


def no_webhook(server):
    assert server.request("POST", EXECUTE, {"code": "", "webhook_url": ""}).status == 400


def receiver_is_down(server):
    job = server.request("POST", EXECUTE, {"code": "", "webhook_url": "http://127.0.0.2:1999/"})["job_id"]
    reply = server.request("GET", f"/v1/jobs/{job}/deliveries")
    assert reply.status == 200
    hours = [word for _, default, *_ in tables.rows("configuration.md", "## Keys") for word in default.strip("`").split() if word.endswith("h")]
    assert 72 < sum(int(word[:-1]) for word in hours if word in "2h 5h 10h 14h 20h 24h".split()) < 80


def private_receiver(server):
    assert server.request("POST", EXECUTE, {"code": "", "webhook_url": "http://127.0.0.1:1999/"}).status == 400


def no_endpoint(server):
    assert "endpoint" not in server.run("return 1")


def sorted_ids(server):
    ids = [server.run("return 1")["job_id"] for _ in range(3)]
    assert ids == sorted(ids) and all(name[14] == "7" for name in ids)


def wrong_key(server):
    assert server.request("POST", EXECUTE, b"{" * 1000, headers={"x-api-key": "wrong"}).status == 401


CLAIMS = [long_string, to_stderr, raises, exits_well, exits, syntax, empty, raw_output, module_level, leaves_a_child, fails,
          reaches_out, no_webhook, receiver_is_down, private_receiver, no_endpoint, sorted_ids, wrong_key]


def test_every_row_has_its_check():
    assert len(rows()) == len(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_what_is_different(server, claim):
    claim(server)


def test_what_is_the_same(server):
    reply = server.run("print('out')\nreturn {'a': 1}", id="mine")
    assert reply.response == {"result": {"a": 1}, "stdout": "out\n", "stderr": "", "exit_code": 0}
    assert (reply["code"], reply["id"], reply["message"]) == (200, "mine", "success")
    for name in ("pid", "queue_id", "queue_length", "run_time", "queue_time", "total_time", "build_number", "job_id"):
        assert name in reply
    assert reply["build_number"] == VERSION
    assert server.run("while True: pass", timeout=1)["message"] == "Execution timed out after 1 seconds"
    assert server.request("GET", f"{PATH}/authenticate").status == 200
    assert server.run("return 1", timeout=301).status == 400 and server.run("return 1", extra=1).status == 400
    queued = server.run("return 1", webhook_url="http://127.0.0.2:1999/")
    assert (queued.status, queued["message"], queued["max_queue_length"]) == (202, "processing", 1000)
    status = server.request("POST", f"{PATH}/job/status", {"job_id": queued["job_id"]})
    assert status.response["job_status"] in ("queued", "running", "done")
    assert queued["job_id"] in server.request("POST", f"{PATH}/jobs/status", {}).response


@pytest.mark.parametrize("value", ["datetime.date(2026, 1, 2)", "decimal.Decimal('1.5')", "{1}", "float('nan')"])
def test_what_is_no_json(server, value):
    reply = server.run(f"import datetime, decimal\nreturn {value}")
    assert reply.status == 500 and json.loads(reply.body)["message"].startswith("Failed to parse execution result")


def test_nca_variables(make_server):
    with make_server(env={**NOBODY, "API_KEY": "nca", "MAX_QUEUE_LENGTH": "7", "GUNICORN_WORKERS": "4", "LOCAL_STORAGE_PATH": "/tmp"},
                     key="nca") as server:
        assert server.run("return 1", webhook_url="http://127.0.0.2:1999/")["max_queue_length"] == 7
