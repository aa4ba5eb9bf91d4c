# SPDX-License-Identifier: Apache-2.0
"""/metrics: what happened is what it says, in both formats, to who may see it; and what is made of it in packaging/."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

import tables
from client import EXECUTE, KEY
from processes import memory, wait_for
from raw import Raw, post
from receiver import HOOKS
from service import ROOT, VERSION, Service

METRICS = tables.metrics()
OPEN = "application/openmetrics-text"
PACKAGING = ROOT / "packaging"
PROMTOOL = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here (Debian: prometheus)")


def scrape(server, accept=None, headers=None, key=True, host=None):
    """Status, media type, text."""
    connection = http.client.HTTPConnection(*(host or (server.host, server.port)), timeout=20)
    headers = dict(headers or {})
    if key:
        headers["x-api-key"] = KEY
    if accept:
        headers["accept"] = accept
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["content-type"], text


def values(server, **arguments):
    """{'name{labels}': value} of all samples."""
    status, _, text = scrape(server, **arguments)
    assert status == 200, text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, _, value in lines}
    assert len(found) == len(lines), "a sample is there twice"
    return found


def change(server, act, wait=None):
    """What @act changes in the metrics: {sample: difference}.  @wait: samples that take a moment to follow."""
    before = values(server)
    act()

    def difference():
        after = values(server)
        return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    if wait:
        wait_for(lambda: all(name in difference() for name in wait), 20, f"{wait} in {difference()}")
    return difference()


# --- form ---


def test_every_metric_of_the_table(server):
    server.run("return 1")
    server.request("POST", EXECUTE, {"code": "return 1"}, headers={"idempotency-key": "every-metric"})
    _, kind, text = scrape(server)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    kinds = {"COUNTER": "counter", "GAUGE": "gauge", "HISTOGRAM": "histogram", "INFO": "gauge"}
    assert dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)) == {name: kinds[m[0]] for name, m in METRICS.items()}
    assert dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.M)) == {name: m[3] for name, m in METRICS.items()}
    for name, (kind, _, labels, _) in METRICS.items():
        sample = name + ("_count" if kind == "HISTOGRAM" else "")
        found = re.findall(rf"^{sample}(?:\{{(.*)\}})? \S+$", text, re.M)
        assert found, sample
        if kind != "INFO":
            assert {tuple(re.findall(r'(\w+)="', one)) for one in found} == {tuple(labels)}, sample


def test_openmetrics(server):
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="python3-prometheus-client is not here")
    server.run("return 1")
    _, kind, text = scrape(server, OPEN)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    names = {re.sub(r"_(total|info)$", "", name): m for name, m in METRICS.items()}
    assert set(families) == set(names)
    units = {"SECONDS": "seconds", "SHORT": "seconds", "BYTES": "bytes"}
    for name, (kind, unit, _, sentence) in names.items():
        assert (families[name].type, families[name].documentation) == (kind.lower(), sentence)
        assert families[name].unit == units.get(unit, "")


@PROMTOOL
def test_promtool_finds_nothing_to_say(server):
    done = subprocess.run(["promtool", "check", "metrics"], input=scrape(server)[2], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("accept, opens", [
    (None, False), ("*/*", False), (OPEN, True), (f"text/plain;q=0.5, {OPEN};version=1.0.0", True), (f"{OPEN};q=0", False),
    ("x" * 7000, False), ("," * 4000, False), (f"{OPEN};version=9", False)])
def test_who_gets_which_format(server, accept, opens):
    status, kind, text = scrape(server, accept)
    assert status == 200 and kind.startswith(OPEN) == opens and text.endswith("# EOF\n") == opens


def test_head(server):
    with Raw(server, f"HEAD /metrics HTTP/1.1\r\nHost: h\r\nx-api-key: {KEY}\r\nConnection: close\r\n\r\n".encode()) as raw:
        head, _, body = raw.rest().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and body == b""
    assert int(re.search(rb"Content-Length: (\d+)", head)[1]) > 1000


# --- who may see it ---


@pytest.mark.parametrize("headers, status", [
    ({}, 401),
    ({"x-api-key": "wrong"}, 401),
    ({"x-api-key": KEY}, 200),
    ({"authorization": f"Bearer {KEY}"}, 200),
    ({"authorization": f"bearer  {KEY}"}, 200),
    ({"authorization": KEY}, 401),
    ({"authorization": "Bearer "}, 401),
    ({"authorization": "Bearer wrong"}, 401),
    ({"authorization": f"Basic {KEY}"}, 401),
    ({"authorization": f"Bearer {KEY}", "x-api-key": KEY}, 200),
    ({"authorization": "Bearer wrong", "x-api-key": KEY}, 401),
])
def test_on_the_main_listener_it_needs_the_key(server, headers, status):
    assert scrape(server, headers=headers, key=False)[0] == status


def watch_host(server):
    match = re.search(r"Metrics are at http://(\S+):(\d+)/metrics", server.announcement)
    return match[1], int(match[2])


def test_a_listener_of_its_own(make_server):
    server = make_server(config="[metrics]\nlisten = 127.0.0.1:0\n")
    host = watch_host(server)
    server.run("return 1")
    found = values(server, key=False, host=host)
    assert found['hatchery_runs_total{mode="sync",outcome="ok"}'] == 1
    assert scrape(server)[0] == 404, "it is there alone"
    # The first box was there alone, maybe, and has been used.
    wait_for(lambda: values(server, key=False, host=host)['hatchery_slots{state="idle"}'] > 0, 20, "another box")
    for path, status in (("/healthz", 200), ("/livez", 200), ("/health", 200), ("/readyz", 200), (EXECUTE, 404), ("/v1/jobs", 404)):
        connection = http.client.HTTPConnection(*host, timeout=20)
        connection.request("GET", path, headers={"x-api-key": KEY})
        assert connection.getresponse().status == status, path
        connection.close()
    os.kill(server.child("server"), signal.SIGKILL)  # it comes back, with both listeners
    wait_for(lambda: comes_back(server), 20)
    assert values(server, key=False, host=host)['hatchery_runs_total{mode="sync",outcome="ok"}'] >= 1


def comes_back(server):
    try:
        return server.run("return 1").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_unix_socket(make_server, tmp_path):
    path = tmp_path / "metrics"
    server = make_server(env={"HATCHERY_METRICS_LISTEN": f"unix:{path}"})
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/metrics")
    assert b"hatchery_ready 1\n" in connection.getresponse().read()
    connection.close()
    assert server.stop() == 0
    assert not path.exists()


def test_nowhere(make_server):
    server = make_server(env={"HATCHERY_METRICS_LISTEN": "none"})
    assert scrape(server)[0] == 404
    assert "Metrics are" not in server.announcement


# --- what happened ---


@pytest.fixture(scope="module")
def small():
    """A server with little room."""
    with Service(config="[pool]\nmax_runs = 1\nsize = 1\n[queue]\nmax_length = 1\n[limits]\nmemory = 64M\nprocesses = 8\n") as service:
        yield service


@pytest.mark.parametrize("code, outcome, violation", [
    ("return 1", "ok", None),
    ("1 / 0", "error", None),
    ("x = = 1", "error", None),
    ("return {1, 2}", "error", None),
    ("import os; os._exit(3)", "error", None),
    ("while True: pass", "timeout", None),
    ("import os; os.kill(os.getpid(), 11)", "killed", None),
    ("x = bytearray(100 << 20)", "oom", "memory"),
    ("import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(1,)).start()", "error", "processes"),
])
def test_runs_by_outcome(small, code, outcome, violation):
    members = {"timeout": 2} if outcome == "timeout" else {}
    moved = change(small, lambda: small.run(code, **members), wait=["hatchery_run_cpu_seconds_total", "hatchery_zygote_forks_total"])
    runs = {name: n for name, n in moved.items() if name.startswith("hatchery_runs_total")}
    assert runs == {f'hatchery_runs_total{{mode="sync",outcome="{outcome}"}}': 1}
    assert moved['hatchery_run_duration_seconds_count{mode="sync"}'] == 1
    assert moved["hatchery_queue_wait_seconds_count"] == 1
    assert moved["hatchery_run_cpu_seconds_total"] > 0
    violations = {name: n for name, n in moved.items() if name.startswith("hatchery_sandbox_violations")}
    assert violations == ({f'hatchery_sandbox_violations_total{{kind="{violation}"}}': 1} if violation else {})
    assert sum(n for name, n in moved.items() if name.startswith(f'hatchery_http_requests_total{{route="{EXECUTE}"')) == 1
    assert moved[f'hatchery_http_request_duration_seconds_count{{route="{EXECUTE}"}}'] == 1


PHASES = ["parse", "admission", "handover", "compile", "run", "outcome", "reply"]


def phases(moved, name="request", what="sum"):
    """{phase: value} of hatchery_NAME_phase_seconds."""
    found = {}
    for sample, value in moved.items():
        match = re.fullmatch(rf'hatchery_{name}_phase_seconds_{what}{{phase="(\w+)"}}', sample)
        if match:
            found[match[1]] = value
    return found


def test_phases_of_a_request(small):
    for _ in range(10):
        moved = change(small, lambda: [small.run("import time; time.sleep(0.2)"), small.run("1/0")])
        counts, seconds = phases(moved, what="count"), phases(moved)
        assert counts == {phase: 2 for phase in PHASES}
        whole = moved[f'hatchery_http_request_duration_seconds_sum{{route="{EXECUTE}"}}']
        assert 0.2 <= seconds["run"] < whole <= sum(seconds.values())
        if sum(seconds.values()) < whole + 0.05:  # the reply's way out is not in the former: a busy machine adds to it
            break
    assert sum(seconds.values()) < whole + 0.05


@pytest.mark.parametrize("code", ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)", "while True: pass"])
def test_no_phases_of_what_reports_nothing(small, code):
    assert not phases(change(small, lambda: small.run(code, timeout=1)), what="count")


def test_steps_of_a_box(small):
    def act():
        small.run("pass")
    steps = {"init", "fork", "hooks", "renewal", *(word for _, word, _ in tables.entries("box/box.def", "STEP"))}
    moved = change(small, act, wait=[f'hatchery_sandbox_phase_seconds_count{{phase="{phase}"}}' for phase in steps | {"exit"}])
    counts = phases(moved, "sandbox", "count")
    assert steps | {"exit"} <= set(counts) <= steps | {"exit", "rehearsal"}
    assert all(phases(values(small), "sandbox")[step] < 20 for step in counts)


def test_output_and_memory(small):
    code = "import sys\nx = bytearray(30 << 20)\nsys.stdout.write('x' * 1000)\nsys.stderr.write('y' * 7)"
    moved = change(small, lambda: small.run(code), wait=["hatchery_run_memory_peak_bytes_count"])
    assert moved['hatchery_run_output_bytes_total{stream="stdout"}'] == 1000
    assert moved['hatchery_run_output_bytes_total{stream="stderr"}'] == 7
    assert moved["hatchery_run_memory_peak_bytes_sum"] > 30 << 20


def test_requests_by_route_and_status(server):
    def act():
        server.request("GET", "/healthz", key=False)
        server.request("HEAD", "/healthz", key=False)
        server.request("GET", "/no/such/path?x=1", key=False)
        server.request("PUT", "/healthz", key=False)
        server.request("POST", EXECUTE, {"code": ""}, key=False)
        server.request("GET", "/v1/jobs/01234567-89ab-7def-8123-456789abcdef")
        server.request("GET", "/v1/jobs/not-an-id/deliveries")
        with Raw(server, b"\r\0 what\r\n\r\n") as raw:
            raw.reply()
    moved = change(server, act)
    for route, method, code in (("/healthz", "GET", 200), ("/healthz", "HEAD", 200), ("other", "GET", 404), ("other", "other", 405),
                                (EXECUTE, "POST", 401), ("/v1/jobs/{id}", "GET", 404), ("/v1/jobs/{id}/deliveries", "GET", 400),
                                ("other", "other", 400)):
        assert moved[f'hatchery_http_requests_total{{route="{route}",method="{method}",code="{code}"}}'] == 1, moved
    assert not [name for name in moved if "no/such" in name or "not-an-id" in name]


def test_queue(small):
    with Raw(small, post("import subprocess; subprocess.run(['sleep', '100'])")) as running:
        wait_for(lambda: small.below("sleep"), 20)
        with Raw(small, post("return 1")) as waiting:
            wait_for(lambda: small.queue_length() == 1)
            now = values(small)
            assert now['hatchery_slots{state="busy"}'] == now['hatchery_queue_jobs{state="running"}'] == 1
            assert now['hatchery_queue_jobs{state="waiting"}'] == 1
            assert now["hatchery_slots_limit"] == 1
            assert now["hatchery_http_inflight_requests"] == 3, "two runs and the scrape"
            wait_for(lambda: values(small)["hatchery_queue_oldest_age_seconds"] > now["hatchery_queue_oldest_age_seconds"])
            moved = change(small, lambda: small.run("return 2"))
            assert moved['hatchery_queue_rejected_total{reason="full"}'] == 1
            assert moved['hatchery_runs_total{mode="sync",outcome="rejected"}'] == 1

            def leave():
                waiting.close()
                wait_for(lambda: small.queue_length() == 0)
            assert change(small, leave)['hatchery_runs_total{mode="sync",outcome="cancelled"}'] == 1

        def end():
            running.close()
            wait_for(lambda: not small.below("sleep"), 20)
        moved = change(small, end, wait=['hatchery_runs_total{mode="sync",outcome="cancelled"}'])
        assert moved['hatchery_runs_total{mode="sync",outcome="cancelled"}'] == 1
    assert values(small)["hatchery_queue_oldest_age_seconds"] == 0


def test_async_and_webhooks(make_server, receiver):
    server = make_server(env=HOOKS)
    before = values(server)
    assert before["hatchery_store_up"] == 1
    for path in ("ok/metrics", "flaky/metrics", "gone/metrics"):
        assert server.run("return 1", webhook_url=receiver.url(path)).status == 202
    assert server.run("1 / 0", webhook_url=receiver.url("ok/failed")).status == 202
    receiver.wait("flaky/metrics", 2)
    receiver.wait("gone/metrics", 1)
    wait_for(lambda: values(server)["hatchery_webhook_pending"] == 0
             and values(server)["hatchery_webhook_duration_seconds_count"] == 5, 20)
    now = values(server)
    assert now['hatchery_runs_total{mode="async",outcome="ok"}'] == 3
    assert now['hatchery_runs_total{mode="async",outcome="error"}'] == 1
    assert now['hatchery_webhook_deliveries_total{outcome="delivered"}'] == 3
    assert now['hatchery_webhook_deliveries_total{outcome="failed"}'] == 1
    assert now['hatchery_webhook_deliveries_total{outcome="given_up"}'] == 1
    assert now['hatchery_store_op_duration_seconds_count{op="enqueue"}'] == 4
    assert now['hatchery_store_op_duration_seconds_count{op="finish"}'] == 4
    assert now['hatchery_store_op_duration_seconds_count{op="commit"}'] == now["hatchery_store_batch_size_count"] > 0
    assert sum(n for name, n in now.items() if name.startswith("hatchery_store_errors")) == 0


def test_webhooks_that_wait(make_server, receiver):
    """Counted again by the next server, and given up by an answer of 410."""
    env = {**HOOKS, "HATCHERY_WEBHOOKS_RETRIES": "10min 10min"}
    server = make_server(env=env)
    job = server.run("return 1", webhook_url=receiver.url("down/pending"))["job_id"]
    receiver.wait("down/pending")
    wait_for(lambda: values(server)['hatchery_webhook_deliveries_total{outcome="failed"}'] == 1, 20)
    assert values(server)["hatchery_webhook_pending"] == 1
    assert server.stop() == 0
    server.announcement = ""
    server.start()
    wait_for(lambda: values(server)["hatchery_webhook_pending"] == 1, 20)
    assert server.request("POST", f"/v1/jobs/{job}/redeliver").status == 202
    receiver.wait("down/pending", 2)
    wait_for(lambda: values(server)['hatchery_webhook_deliveries_total{outcome="failed"}'] == 1, 20)
    assert values(server)["hatchery_webhook_pending"] == 1


def test_jobs_on_disk(make_server, receiver):
    """They wait while the one box is taken; their age is known a few seconds late."""
    server = make_server(env=HOOKS, config="[pool]\nmax_runs = 1\nsize = 1\n")
    with Raw(server, post("import subprocess; subprocess.run(['sleep', '100'])")):
        wait_for(lambda: server.below("sleep"), 20)
        jobs = [server.run("return 1", webhook_url=receiver.url("ok/disk"))["job_id"] for _ in range(12)]
        wait_for(lambda: values(server)['hatchery_queue_jobs{state="stored"}'] > 0, 20)
        wait_for(lambda: values(server)["hatchery_queue_oldest_age_seconds"] > 0, 20)
        moved = change(server, lambda: server.request("DELETE", f"/v1/jobs/{jobs[-1]}"))
        assert moved['hatchery_runs_total{mode="async",outcome="cancelled"}'] == 1
    receiver.wait("ok/disk", 12)
    wait_for(lambda: values(server)['hatchery_queue_jobs{state="stored"}'] == 0, 20)


def test_without_a_store(make_server):
    server = make_server("--state", "none")
    moved = change(server, lambda: server.run("return 1", webhook_url="http://example.org/"))
    assert moved['hatchery_queue_rejected_total{reason="store"}'] == 1
    assert moved['hatchery_runs_total{mode="async",outcome="rejected"}'] == 1
    assert "hatchery_store_up" not in values(server)


def test_a_zygote_that_ends(make_server):
    server = make_server()
    os.kill(server.child("zygote"), signal.SIGKILL)
    wait_for(lambda: values(server)["hatchery_zygote_restarts_total"] == 1, 20)
    wait_for(lambda: values(server)["hatchery_ready"] == 1, 20)


def test_rates_are_told(make_server):
    server = make_server()
    made = subprocess.run([server.command[0], "key", "new", "slow", "--rate", "1", "--state", str(server.state_dir)], env=server.env,
                          capture_output=True, text=True, timeout=20)
    key = made.stdout.strip().splitlines()[-1].split()[-1]
    wait_for(lambda: server.request("GET", "/v1/toolkit/authenticate", headers={"x-api-key": key}).status == 200, 20)
    moved = change(server, lambda: server.request("GET", "/v1/toolkit/authenticate", headers={"x-api-key": key}))
    assert moved['hatchery_queue_rejected_total{reason="rate"}'] == 1


def test_infos(server):
    text = scrape(server)[2]
    assert re.search(rf'^hatchery_build_info{{version="{VERSION}",revision="\w+",python="3\.11"}} 1$', text, re.M)
    ready = server.request("GET", "/readyz", key=False)["isolation"]
    assert re.search(rf'^hatchery_sandbox_info{{tier="{ready["tier"]}",userns="yes",cgroup="(v1|v2|none)",'
                     r'landlock_abi="\d+",seccomp="yes"} 1$', text, re.M)


def test_scrapers_take_no_memory(server):
    """Also those that never read what they asked for: the kernel's buffers are theirs, ours are bounded by connections."""
    pid = server.child("server")
    for _ in range(50):
        scrape(server)
    before = memory(pid)["Rss"]
    connection = server.connect()
    for _ in range(1000):
        connection.request("GET", "/metrics", headers={"x-api-key": KEY})
        assert connection.getresponse().read().endswith(b"\n")
    connection.close()
    assert memory(pid)["Rss"] - before < 4096
    now = values(server)
    assert now["process_resident_memory_bytes"] > 1 << 20 and now["process_open_fds"] > 10


# --- what is made of it ---


def names_in(text):
    """Metrics that an expression names, without what Prometheus adds to a histogram's."""
    found = set()
    for name in re.findall(r"\b(?:hatchery|process)_[a-z_]+\b(?=[{\[\s),]|$)", text):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if METRICS.get(base, ("",))[0] == "HISTOGRAM" else name)
    return found


def expressions():
    yaml = pytest.importorskip("yaml")
    rules = yaml.safe_load((PACKAGING / "prometheus" / "hatchery.rules.yml").read_text())
    alerts = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    board = json.loads((PACKAGING / "grafana" / "hatchery.json").read_text())
    panels = {panel["title"]: [t["expr"] for t in panel["targets"]] for panel in board["panels"] if panel["type"] != "row"}
    return alerts, panels, board


def test_alerts_and_dashboard_know_the_metrics():
    alerts, panels, board = expressions()
    shown = set()
    for where, text in [*alerts.items(), *((title, expr) for title, exprs in panels.items() for expr in exprs)]:
        names = names_in(text)
        assert names or text.startswith("up{"), where
        assert names <= set(METRICS), where
        for name in names:
            for label in re.findall(rf"{name}(?:_\w+)?{{([^}}]*)}}", text):
                known = {"instance", "job", "tier", *METRICS[name][2]}
                assert set(re.findall(r"(\w+)\s*[=!]~?", label)) <= known, where
        shown |= names
    assert names_in(board["templating"]["list"][1]["query"]) <= set(METRICS)
    own = {name for name in METRICS if name.startswith("hatchery_")}
    assert own - shown <= {"hatchery_build_info"}, "nobody looks at these"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def test_the_manual_has_the_tables():
    kinds = {"COUNTER": "counter", "GAUGE": "gauge", "HISTOGRAM": "histogram", "INFO": "info"}
    assert tables.rows("metrics.md", "## Table") == [
        [f"`{name}`", kinds[kind], " ".join(f"`{label}`" for label in labels), sentence]
        for name, (kind, _, labels, sentence) in METRICS.items()]
    assert [row[0] for row in tables.rows("metrics.md", "## Alerts")] == [f"`{name}`" for name in expressions()[0]]


@PROMTOOL
def test_promtool_accepts_the_rules():
    for command in (["check", "rules", "hatchery.rules.yml"], ["test", "rules", "hatchery.rules.test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=PACKAGING / "prometheus", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
