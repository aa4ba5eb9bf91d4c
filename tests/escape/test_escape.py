# SPDX-License-Identifier: Apache-2.0
"""Every attempt of the table, through the same path as a request."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import threading
import time

import pytest

import table

ATTEMPTS = table.load()


def has_numpy():
    return subprocess.run(["/usr/bin/python3", "-c", "import numpy"], capture_output=True).returncode == 0


def skip_unless_possible(attempt):
    needs = attempt.options.get("needs")
    if attempt.options.get("arch", platform.machine()) != platform.machine():
        pytest.skip("another machine's numbers")
    if needs == "numpy" and not has_numpy():
        pytest.skip("no numpy for /usr/bin/python3")


def lines_of(reply, word):
    """The rest of stdout's lines that begin with @word."""
    return [line[len(word):].strip() for line in reply.stdout.splitlines() if line.startswith(word)]


def seen(reply):
    """What became of an attempt, in the table's words."""
    verdicts = [line for line in reply.stdout.splitlines() if line.startswith(("REFUSED", "THROUGH", "FAULT"))]
    kind = "success" if reply.status == 200 else reply["reason"]
    words = [f"run {kind} {reply['message']}"]
    if reply.status == 200:
        words.append("result " + json.dumps(reply.response["result"]))
    return verdicts[-1:] + words


def matches(expected, words):
    if expected.startswith("run "):
        return any(word == expected or word.startswith(expected + " ") for word in words) or any(
            word.startswith("run ") and " ".join(expected.split()[:2]) == " ".join(word.split()[:2])
            and expected.partition(" ")[2].partition(" ")[2] in word for word in words)
    if expected.startswith("result "):
        return any(word.startswith("result ") and json.loads(word[7:]) == json.loads(expected[7:]) for word in words)
    return expected in words


def expected_of(attempt, server):
    """What must be seen: where the layer that holds it is missing, the doing of what stands in for it."""
    missing = server.request("GET", "/readyz", key=False)["isolation"]["missing"]
    if attempt.options.get("needs") not in missing:
        return attempt.expect
    if "instead" not in attempt.options:
        pytest.skip(f"nothing stands in for the layer {attempt.options['needs']}, which is missing here")
    return attempt.expect + attempt.options["instead"].partition(": ")[2].split(" | ")


def check(attempt, expect, reply):
    assert reply.stdout.startswith("ATTEMPT\n"), f"it was never made: {reply}"
    words = seen(reply)
    assert any(matches(expected, words) for expected in expect), (expect, words,
                                                                  reply["stderr"] if "stderr" in reply else "")
    if "truncated" in attempt.options:
        shown = reply["response"] or reply.json
        assert shown[attempt.options["truncated"] + "_truncated"] is True
        assert len(shown[attempt.options["truncated"]]) <= 1 << 20


def make(server, attempt):
    """On a machine that stood still its time may be up before it has begun: then it has another turn."""
    for _ in range(5):
        begin = time.monotonic()
        reply = server.run(attempt.source, timeout=int(attempt.options.get("timeout", 20)))
        took = time.monotonic() - begin
        if reply.status != 408 or reply.stdout:
            break
    assert took < float(attempt.options.get("within", 60)), f"the reply took {took:.1f} s"
    return reply


def make_all(server, attempt):
    """The replies of all its runs."""
    if attempt.options.get("twice"):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda _: make(server, attempt), range(2)))
    return [make(server, attempt) for _ in range(int(attempt.options.get("runs", 1)))]


def check_all(attempt, expect, replies):
    if attempt.expect[0] in ("DISTINCT", "SAME"):
        values = [value for reply in replies for value in lines_of(reply, "VALUE")]
        assert len(values) == len(replies), replies
        assert len(set(values)) == (1 if attempt.expect == ["SAME"] else len(values)), values
    elif attempt.expect[0].startswith("THROUGH"):
        # A known channel: at least one of the two saw the other.
        assert any(attempt.expect[0] in seen(reply) for reply in replies), [seen(reply) for reply in replies]
    else:
        for reply in replies:
            check(attempt, expect, reply)


# What the host may notice of a program.  Wide, so that a machine that is busy with others stays below.
UNCHARGED, CLOSE_US, LATE_MS, CPU_SHARE = 64 << 20, 300, 15, 0.25
EXEC_MS, NEXT_MS = 500, 400  # to start a process; to have the next program run
WAKES = {"zygote": 300, "supervisor": 300, "init": 20000, "server": 6000}  # in the whole of an attempt


def run_others(server, over):
    """How long the slowest of many small programs took, in ms."""
    worst = 0.0
    while not over.wait(0.05):
        begin = time.monotonic()
        assert server.run("return 1").response["result"] == 1
        worst = max(worst, time.monotonic() - begin)
    return worst * 1e3


@contextlib.contextmanager
def watched(server, others):
    """What is measured beside (probe.py), and if @others how long other programs take; empty for whoever may not look."""
    seen = {}
    if os.geteuid() != 0:
        yield seen
        return
    command = ["/usr/bin/python3", str(pathlib.Path(__file__).with_name("probe.py")), str(server.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert probe.stdout.readline() == "ready\n"
        over = threading.Event()
        slowest = pool.submit(run_others, server, over) if others else None
        try:
            yield seen
        finally:
            over.set()
            if slowest:
                seen["next_ms"] = round(slowest.result(), 1)
            probe.stdin.close()
            seen.update(json.loads(probe.stdout.readline()))


def check_host(seen):
    if not seen:
        return
    assert seen["slab"] < UNCHARGED and seen["close_us"] < CLOSE_US and seen["late_ms"] < LATE_MS, seen
    assert seen["exec_ms"] < EXEC_MS and seen.get("next_ms", 0) < NEXT_MS, seen
    for role, wakes in WAKES.items():
        assert seen["cpu"].get(role, 0) < 0.2 + CPU_SHARE * seen["seconds"], (role, seen)
        # Others' programs wake them too.
        assert seen["wakes"].get(role, 0) < wakes or "next_ms" in seen, (role, seen)


def make_beside_the_probe(server, attempt, expect):
    """An attack does the same each time, chance does not."""
    for left in reversed(range(3)):
        with watched(server, others=attempt.options.get("twice")) as seen:
            check_all(attempt, expect, make_all(server, attempt))
        try:
            check_host(seen)
            return
        except AssertionError:
            if not left:
                raise


def must_meet(attempt):
    """Two that are expected to run at once: the second may come too late, on a machine that stood still."""
    return attempt.options.get("twice") and attempt.expect[0].startswith(("THROUGH", "DISTINCT"))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.title)
def test_attempt(attempt, server_for, gone):
    skip_unless_possible(attempt)
    server = server_for(attempt.options.get("server", ""))
    expect = expected_of(attempt, server)
    for left in reversed(range(3)):
        try:
            if attempt.group == "host":
                make_beside_the_probe(server, attempt, expect)
            else:
                check_all(attempt, expect, make_all(server, attempt))
            break
        except AssertionError:
            if not left or not must_meet(attempt):
                raise
    if "gone" in attempt.options:
        gone(attempt.options["gone"])
    assert server.run("return 1").response["result"] == 1


def test_there_are_enough():
    groups = {attempt.group for attempt in ATTEMPTS}
    assert groups == {"cpu", "files", "host", "kernel", "leaks", "memory", "neighbours", "network", "privileges", "processes",
                      "result"}
    assert len(ATTEMPTS) >= 120
