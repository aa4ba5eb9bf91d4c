# SPDX-License-Identifier: Apache-2.0
"""The log: JSON lines, one for each run, and nothing in it that a client or a program wrote."""
import json
import os
import re
import time
import uuid

import pytest

from client import EXECUTE
from processes import wait_for
from raw import Raw, head, post
from receiver import HOOKS
from service import Service, lacks

KEY = "marker-key-5a1d"
FIELDS = {"ts", "level", "logger", "msg", "job_id", "outcome", "exit_code", "queue_time", "run_time", "cpu_user",
          "cpu_system", "peak_memory_bytes", "stdout_bytes", "stderr_bytes", "slot"}

ENDINGS = [
    ("return 1", "success", 0),
    ("import sys; sys.exit(3)", "exit", 3),
    ("1 / 0", "exception", 1),
    ("x = = 1", "syntax", 1),
    ("return {1, 2}", "result", 0),
    ("import os; os.kill(os.getpid(), 11)", "signal", 139),
    ("while True: pass", "timeout", 137),
    # Without a cgroup a limit on each process stands in, which is an exception to Python.
    ("x = bytearray(100 << 20)", *(("exception", 1) if lacks("cgroup") else ("memory", 137))),
]


@pytest.fixture(scope="module")
def server():
    with Service(key=KEY, config="[limits]\nmemory = 64M\n") as service:
        yield service


def finished(server, reply):
    """The run's only line."""
    server.logged("run finished", job_id=reply["job_id"])
    # The line of a later run is written after a second one of this run would have been.
    last = server.run("return 1")
    server.logged("run finished", job_id=last["job_id"])
    lines = [line for line in server.log("run finished") if line["job_id"] == reply["job_id"]]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("code, outcome, exit_code", ENDINGS)
def test_a_line_for_each_run(server, code, outcome, exit_code):
    reply = server.run(code, **({"timeout": 1} if outcome == "timeout" else {}))
    line = finished(server, reply)
    assert set(line) == FIELDS
    assert (line["outcome"], line["exit_code"]) == (outcome, exit_code)
    assert (line["level"], line["logger"]) == ("info", "server")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    assert str(uuid.UUID(line["job_id"])) == line["job_id"]
    assert line["queue_time"] == reply["queue_time"]
    assert line["run_time"] == reply["run_time"]
    assert line["peak_memory_bytes"] > 1 << 20


def trace(server, *values, **members):
    """A run with these traceparents: the reply, its header's value, its log line."""
    headers = "".join(f"traceparent: {value}\r\n" for value in values)
    with Raw(server, post("return 1", **members).replace(b"test-key", KEY.encode()).replace(b"\r\n", f"\r\n{headers}".encode(), 1)) as raw:
        reply = raw.reply()
    assert reply.status in (200, 202), reply
    return reply, reply.headers.get("traceparent"), server.logged("run finished", job_id=reply["job_id"])


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_trace_goes_on(server):
    _, header, line = trace(server, f"00-{TRACE}-{SPAN}-01")
    version, trace_id, span, flags = header.split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "01")
    assert re.fullmatch("[0-9a-f]{16}", span) and span not in (SPAN, "0" * 16)
    assert (line["trace_id"], line["span_id"]) == (TRACE, span)
    assert set(line) == FIELDS | {"trace_id", "span_id"}


@pytest.mark.parametrize("values", [
    [], [""], ["00"], [f"00-{TRACE}-{SPAN}"], [f"00-{TRACE.upper()}-{SPAN}-01"], [f"ff-{TRACE}-{SPAN}-01"],
    [f"00-{'0' * 32}-{SPAN}-01"], [f"00-{TRACE}-{SPAN}-01-x"], [f"00-{TRACE}-{SPAN}-01"] * 2, [f"00-{TRACE}-{SPAN}-01", "x"]])
def test_what_is_no_trace(server, values):
    _, header, line = trace(server, *values)
    assert header is None and set(line) == FIELDS


def test_a_trace_reaches_the_receiver(make_server, receiver):
    server = make_server(key=KEY, env=HOOKS)
    _, header, line = trace(server, f"00-{TRACE}-{SPAN}-00", webhook_url=receiver.url("ok/trace"))
    assert receiver.wait("ok/trace")[0].headers["traceparent"] == header
    assert header.startswith(f"00-{TRACE}-") and header.endswith("-00") and SPAN not in header
    assert header.split("-")[2] == line["span_id"] == server.logged("webhook", outcome="delivered")["span_id"]
    server.run("return 1", webhook_url=receiver.url("ok/no-trace"))
    assert "traceparent" not in receiver.wait("ok/no-trace")[0].headers


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_journal_is_told_priorities(make_server, form):
    """systemd says by JOURNAL_STREAM which stream is the journal's."""
    server = make_server(start=False, config=f"[log]\nformat = {form}\n[server]\ndrain_timeout = 1s\n")
    server.log_path.touch()
    stat = os.stat(server.log_path)
    server.env["JOURNAL_STREAM"] = f"{stat.st_dev}:{stat.st_ino}"
    server.start()
    server.run("return 1")
    os.kill(server.child("zygote"), 9)
    wait_for(lambda: "a zygote is gone" in server.log_text() and "run finished" in server.log_text())
    wait_for(lambda: "process ended" in server.log_text())
    begin = r"\{" if form == "json" else r"\w+: "
    for line in server.whole_lines().splitlines():
        match = re.match(rf"<([3467])>{begin}", line)
        assert match, line
        levels = {"run finished": "6", "a zygote is gone": "4", "process ended": "3"}
        for words, priority in levels.items():
            assert words not in line or match[1] == priority, line


def test_another_streams_journal_is_not_ours(make_server):
    server = make_server(env={"JOURNAL_STREAM": "1:2"})
    server.run("return 1")
    server.logged("run finished")
    assert "<6>" not in server.log_text()


def test_what_a_run_used(server):
    reply = server.run("import sys, time\nx = bytearray(30 << 20)\nend = time.process_time() + 0.3\n"
                       "while time.process_time() < end: pass\nsys.stdout.write('x' * 2000000)\nsys.stderr.write('y' * 30)")
    line = finished(server, reply)
    assert line["stdout_bytes"] == 2000000, "what was written, not what was kept"
    assert line["stderr_bytes"] == 30
    assert 0.25 < line["cpu_user"] + line["cpu_system"] < 5
    assert line["peak_memory_bytes"] > 30 << 20


def test_a_run_that_was_refused_has_none(server):
    last = server.run("return 1")
    server.logged("run finished", job_id=last["job_id"])
    before = len(server.log("run finished"))
    assert server.run("", timeout=0).status == 400
    assert server.request("POST", EXECUTE, {"code": ""}, key=False).status == 401
    finished(server, server.run("return 1"))
    assert len(server.log("run finished")) == before + 2


def test_nothing_of_a_client_or_a_program_is_in_the_log(server):
    """Markers in everything that comes from outside; the text of the log has none of them."""
    mark = "MARKER-7f3e"
    members = {"timeout": 1, "id": f"{mark}-id"}
    for code, _, _ in ENDINGS:
        server.run(f"import sys\nprint('{mark}-out')\nprint('{mark}-err', file=sys.stderr)\n{code}  # {mark}-code", **members)
    server.run(f"raise ValueError('{mark}-exception')", **members)
    server.run(f"import sys; sys.exit('{mark}-exit')", **members)
    server.run(f"return {{'{mark}-result': object()}}", **members)
    server.run(f"import os; os.write(1023, b'{mark}-forged'); os.kill(os.getpid(), 9)", **members)
    server.run(f"import ctypes; ctypes.CDLL(None).prctl(15, b'{mark[:15]}'); 1 / 0", **members)
    server.run("", **{f"{mark}-member": 1})
    server.run("", webhook_url=f"http://127.0.0.1/{mark}")
    server.request("POST", EXECUTE, f"{{{mark}-body".encode())
    server.request("POST", EXECUTE, {"code": ""}, headers={"x-api-key": f"{mark}-key"})
    server.request("GET", f"/{mark}-path?{mark}-query")
    for data in (f"{mark} / HTTP/1.1\r\nHost: h\r\n\r\n", f"GET / HTTP/1.1\r\n{mark}\0: x\r\n\r\n",
                 f"GET / HTTP/1.1\r\nHost: {mark}\r\nHost: {mark}\r\n\r\n"):
        with Raw(server, data.encode()) as raw:
            raw.reply()
    with Raw(server, head("POST", EXECUTE, f"Content-Length: 100{mark}", key=KEY)) as raw:
        raw.reply()
    with Raw(server, post("import time; time.sleep(100)", id=mark).replace(b"test-key", KEY.encode())):
        pass
    last = server.run("return 1")
    server.logged("run finished", job_id=last["job_id"])
    text = server.log_text() + server.announcement
    assert "MARKER" not in text and mark[:15] not in text
    assert "marker-key" not in text


def test_every_line_is_json(server):
    server.run("import os; os.write(2, b'\\n\\x1b[31m{\"msg\": \"forged\"}\\n\\0\\xff')")
    finished(server, server.run("return 1"))
    for line in server.whole_lines().splitlines():
        fields = json.loads(line)
        assert list(fields)[:4] == ["ts", "level", "logger", "msg"]
    assert not server.log("forged")


def test_text_lines(make_server):
    server = make_server(config="[log]\nformat = text\n")
    reply = server.run("return 1")
    wanted = re.compile(rf"^\S+Z info  server: run finished job_id={reply['job_id']} outcome=success exit_code=0 .* slot=\d+$",
                        re.M)
    wait_for(lambda: wanted.search(server.log_text()))
    assert "{" not in server.log_text()


def test_levels(make_server):
    server = make_server(config="[log]\nlevel = warn\n")
    for i in range(3):
        server.run(f"return {i}")
    assert server.stop() == 0
    assert server.log("run finished") == server.log("stopping") == []


def test_starting_and_stopping_says_little(make_server):
    server = make_server()
    assert server.stop() == 0
    said = [line["msg"] for line in server.log() if line["level"] == "info"]
    assert server.logged("listening")["url"] == f"http://127.0.0.1:{server.port}"
    assert said == ["listening", "stopping", "stopped: all requests in hand are answered"]


# --- refusals ---


def test_a_refused_key_is_a_line(make_server):
    """With the address of whoever has connected, and nothing that was sent."""
    server = make_server()
    asked = {"x-forwarded-for": "192.0.2.1", "authorization": "Bearer surely-wrong"}
    assert server.request("POST", EXECUTE, {"code": ""}, headers=asked, key=False).status == 401
    line = server.logged("a key was refused")
    assert {name: line[name] for name in ("level", "address", "path", "key", "left_out")} == \
        {"level": "warn", "address": "127.0.0.1", "path": EXECUTE, "key": "wrong", "left_out": 0}
    assert "surely-wrong" not in server.log_text() and "192.0.2.1" not in server.log_text()


def test_refused_keys_do_not_fill_the_log(make_server):
    """At most one line a second for each address; the next one has how many there were."""
    server = make_server()
    connection = server.connect()
    began = time.monotonic()
    for _ in range(300):
        assert server.request("GET", "/v1/jobs", key=False, connection=connection).status == 401
    seconds = time.monotonic() - began

    def told():
        server.request("GET", "/v1/jobs", key=False)
        lines = server.log("a key was refused")
        return lines if len(lines) > 1 and sum(line["left_out"] + 1 for line in lines) >= 300 else None

    lines = wait_for(told)
    assert len(lines) <= seconds + 4 + 2, "of 300"
    assert lines[0]["key"] == "none"


def test_other_refusals_are_told_at_debug(make_server):
    server = make_server(env={"HATCHERY_LOG_LEVEL": "debug"})
    mark = "surely-not-in-the-log"
    for method, path, body, status in (("GET", f"/{mark}", None, 404), ("PUT", EXECUTE, {mark: mark}, 405),
                                       ("POST", EXECUTE, {mark: mark}, 400)):
        assert server.request(method, path, body).status == status
        line = server.logged("a request was refused", status=status)
        assert line["address"] == "127.0.0.1" and line["path"] == (EXECUTE if status == 400 else None)
    assert mark not in server.log_text()
    assert server.run("1 / 0").status == 400
    server.logged("run finished")
    assert len(server.log("a request was refused")) == 3, "a program that failed is no request that was refused"
