# SPDX-License-Identifier: Apache-2.0
"""The bench runs, counts what is wrong, and says of each row whether it holds.  Its figures are for `make bench`."""
import json
import socket
import subprocess
import sys

import pytest

from service import ROOT, SANITIZED

sys.path.insert(0, str(ROOT / "bench"))
import bench  # noqa: E402  the path above is where it is
import page  # noqa: E402
import pictures  # noqa: E402

LOAD = ROOT / "build" / "bench" / "bench-load"
pytestmark = pytest.mark.skipif(SANITIZED, reason="nothing is measured of a sanitized server")


def load(server, *options):
    """bench-load's lines, the last of them for all, and its exit status."""
    done = subprocess.run([LOAD, "--url", f"http://{server.host}:{server.port}", "--key", server.key, *options],
                          capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr


def test_the_table(tmp_path):
    out = tmp_path / "figures.json"
    done = subprocess.run(["/usr/bin/python3", ROOT / "bench" / "bench.py", "--check", "--json", out], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())
    skipped = " ".join(figures["skipped"])
    for row in bench.ROWS:
        if not any(name in target or name.split()[0] in target for target in row.targets for name in skipped.split()):
            assert f"{row.name[:46]:46}" in done.stdout, row.name
    assert all(row["errors"] == 0 and row["requests"] for row in figures["summary"].values())
    assert all(row["verdict"] for row in figures["rows"] if row["least"] is not None)
    kept = page.take([out, out])
    assert kept["rounds"] == 2 and set(kept["targets"]) == set(figures["summary"]) and kept["machine"] == figures["machine"]
    pictures.draw(kept, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(pictures.DRAWN)


@pytest.mark.parametrize("options, requests", [
    (["--requests", "20", "--close"], 20),
    (["--requests", "20", "--pace-us", "1000", "--connections", "3"], 20),
    (["--connections", "10", "--burst"], 10),
    (["--requests", "10", "--mix", "W2:3,W5:1,W6:1,crash:1", "--connections", "2"], 10),
])
def test_every_way_of_asking(server, options, requests):
    lines, status, errors = load(server, *options)
    assert status == 0, errors
    assert lines[-1]["requests"] == requests and lines[-1]["errors"] == 0
    assert lines[-1]["own_cpu_us"] > 0


def test_a_server_that_is_away():
    """Only with --restarts is it no error."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        argv = [LOAD, "--url", "http://127.0.0.1:%d" % nobody.getsockname()[1], "--key", "k", "--requests", "5", "--warmup", "0"]
        for options, away, errors in (([], None, 5), (["--restarts"], 5, 0)):
            out = subprocess.run([*argv, *options], capture_output=True, text=True, timeout=60).stdout
            found = [json.loads(line) for line in out.splitlines()]
            assert found[-1]["errors"] == errors and found[0].get("away") == away


def test_clients_that_hang_up(server):
    lines, _, _ = load(server, "--requests", "3", "--mix", "cancel")
    assert lines[-2] == {"hung_up": 3} and lines[-1]["requests"] == 0


@pytest.mark.parametrize("options, why", [
    (["--code", "print('other')", "--expect", '"hello'], "a body without the expected text"),
    (["--code", "1/0", "--expect", ""], "not the expected status"),
    (["--mix", "W1", "--key", "wrong"], "not the expected status"),
])
def test_what_is_wrong_is_counted(server, options, why):
    lines, status, errors = load(server, "--requests", "5", *options)
    assert status == 1 and lines[-1]["errors"] == 5 and lines[-1]["requests"] == 0
    assert why in errors


def test_verdicts():
    row = bench.ratio("a", "b", "p50_us", "a / b", "<=", 0.9, 0.6)

    def verdict(a, errors=0):
        rounds = [{"a": {"p50_us": a, "errors": errors}, "b": {"p50_us": 10, "errors": 0}}]
        return bench.judge(row, row.value(rounds[0]), rounds)

    assert [verdict(a) for a in (6, 9, 9.1)] == ["holds, aim reached", "holds", "MISSED"]
    assert verdict(6, errors=1) == "VOID (errors)"
