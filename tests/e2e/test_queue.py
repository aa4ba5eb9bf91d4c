# SPDX-License-Identifier: Apache-2.0
"""How many run, how many wait, and what becomes of those whose client leaves."""
import concurrent.futures
import contextlib
import os
import time

import pytest

from processes import is_alive, wait_for
from raw import Raw, post
from service import ASLEEP


def limits(max_runs, max_length=None):
    queue = "" if max_length is None else f"[queue]\nmax_length = {max_length}\n"
    return f"[pool]\nmax_runs = {max_runs}\nsize = {max_runs + 1}\n{queue}"


class Crowd:
    """Clients that have each asked for a long run."""

    def __init__(self, server, stack):
        self.server, self.stack, self.clients = server, stack, []

    def add(self, n, running, waiting):
        """@n more; then as many must be running and waiting in all."""
        for _ in range(n):
            self.clients.append(self.stack.enter_context(Raw(self.server, post(ASLEEP, timeout=300))))
        self.expect(running, waiting)

    def expect(self, running, waiting):
        wait_for(lambda: self.server.queue_length() == waiting, 20, f"{waiting} wait")
        wait_for(lambda: len(self.server.below("sleep")) == running, 20, f"{running} run")

    def leave(self, i):
        self.clients.pop(i).close()


@pytest.fixture
def crowd_of(make_server):
    with contextlib.ExitStack() as stack:
        def make(*arguments, **keywords):
            return Crowd(make_server(*arguments, **keywords), stack)
        yield make


def check_full(reply, max_length, waiting):
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert reply["error"] == reply["message"]
    assert f"MAX_QUEUE_LENGTH ({max_length}) reached" in reply["error"]
    assert reply["code"] == 429 and reply["response"] is None
    assert reply["id"] == "mine" and len(reply["job_id"]) == 36
    assert reply["queue_length"] == waiting


def test_no_more_than_max_runs_run_and_max_length_wait(crowd_of):
    crowd = crowd_of(config=limits(2, 3))
    server = crowd.server
    crowd.add(2, running=2, waiting=0)
    crowd.add(3, running=2, waiting=3)
    for _ in range(5):
        check_full(server.run("print('never')", id="mine"), 3, 3)
    crowd.expect(running=2, waiting=3)
    crowd.leave(0)
    crowd.expect(running=2, waiting=2)
    crowd.add(1, running=2, waiting=3)
    check_full(server.run("print('never')", id="mine"), 3, 3)
    server.logged("run finished", outcome="cancelled")
    assert len(server.log("run finished")) == 1


def test_programs_that_sleep_hold_up_no_others(crowd_of):
    """More of them than cores: they run at once, and all of them still do when others are through."""
    crowd = crowd_of()
    many = 2 * os.cpu_count() - 1
    crowd.add(many, running=many, waiting=0)
    for i in range(10):
        assert crowd.server.run(f"return {i}").response["result"] == i
    crowd.expect(running=many, waiting=0)


def test_queue_time_and_queue_length_are_true(make_server):
    server = make_server(config=limits(1))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(server.run, ASLEEP, timeout=300)
        wait_for(lambda: server.below("sleep"), what="it runs")
        began = time.monotonic()
        others, sent, seen = [], [], []
        for i in range(3):
            sent.append(time.monotonic())
            others.append(pool.submit(server.run, "import time; time.sleep(0.2)"))
            wait_for(lambda: server.queue_length() == i + 1)
            seen.append(time.monotonic())
        server.end_sleepers()
        replies = [other.result() for other in others]
    elapsed = time.monotonic() - began
    assert first.result()["queue_time"] + first.result()["run_time"] <= first.result()["total_time"]
    assert first.result()["queue_length"] == 3, "as many wait when it is answered"
    assert [reply["queue_length"] for reply in replies] == [2, 1, 0]
    times = [reply["queue_time"] for reply in replies]
    # Each came between the one moment and the other, and began so much later.
    for i in (1, 2):
        assert seen[i] + times[i] >= sent[i - 1] + times[i - 1] + 0.2, "first come, first served, one after the other"
    for reply in replies:
        assert reply["waited_for"] in ("runs", "queue") and "waited_for" not in first.result()
        assert 0 < reply["queue_time"] < elapsed
        assert reply["queue_time"] + reply["run_time"] <= reply["total_time"] <= elapsed
        assert reply["run_time"] >= 0.2


def test_waiting_does_not_count_as_running(make_server):
    """A timeout of 1 s, and more than that in the queue before it."""
    server = make_server(config=limits(1))
    for _ in range(3):  # a machine that stands still while it runs takes its second
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            pool.submit(server.run, ASLEEP, timeout=300)
            wait_for(lambda: server.below("sleep"), what="it runs")
            waiting = pool.submit(server.run, "return 1", timeout=1)
            wait_for(lambda: server.queue_length() == 1)
            time.sleep(1.1)  # its second, and a little
            server.end_sleepers()
            reply = waiting.result()
        if reply.status == 200:
            break
    assert reply.response["result"] == 1
    assert reply["queue_time"] > 1


def test_a_client_that_leaves_while_waiting_leaves_the_queue(crowd_of):
    crowd = crowd_of(config=limits(1, 3))
    crowd.add(1, running=1, waiting=0)
    crowd.add(3, running=1, waiting=3)
    crowd.leave(2)  # from the middle
    crowd.expect(running=1, waiting=2)
    crowd.leave(2)  # the last
    crowd.expect(running=1, waiting=1)
    crowd.leave(1)
    crowd.expect(running=1, waiting=0)
    assert crowd.server.log("run finished") == [], "none of them was run"


def test_a_client_that_leaves_while_running_has_its_box_killed(crowd_of):
    crowd = crowd_of(config=limits(1))
    server = crowd.server
    crowd.add(1, running=1, waiting=0)
    sleeper = server.below("sleep")[0]
    crowd.leave(0)
    line = server.logged("run finished")
    assert line["outcome"] == "cancelled"
    wait_for(lambda: not is_alive(sleeper))
    assert server.run("return 'free again'").response["result"] == "free again"


@pytest.mark.parametrize("code", [
    "import time\nwhile True:\n    try: time.sleep(100)\n    except BaseException: pass",
    "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "import os\nfor _ in range(5):\n    if os.fork() == 0:\n        while True: pass\nos.wait()",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
])
def test_no_program_survives_its_client(make_server, code):
    server = make_server(config=limits(1))
    raw = Raw(server, post("import subprocess; subprocess.Popen(['sleep', '250'])\n" + code, timeout=300))
    wait_for(lambda: server.below("sleep"), what="it runs")
    raw.close()
    server.logged("run finished", outcome="cancelled")
    wait_for(lambda: not server.below("sleep"), what="all of its box is gone")
    assert server.run("return 1").response["result"] == 1


def test_vanished_clients_do_not_wedge_the_queue(make_server):
    server = make_server(config=limits(2, 50))
    for i in range(40):
        raw = Raw(server, post(ASLEEP, timeout=300))
        if i % 4 == 3:
            wait_for(lambda: len(server.below("sleep")) >= 1, what="some run")
        raw.close()
    wait_for(lambda: server.queue_length() == 0, 20)
    wait_for(lambda: not server.below("sleep"), 20)
    for i in range(10):
        reply = server.run(f"return {i}")
        assert reply.response["result"] == i
    finished = [line["outcome"] for line in server.log("run finished")]
    assert finished.count("success") <= 10 and set(finished) == {"cancelled", "success"}
    assert 1 <= finished.count("cancelled") <= 40


def test_clients_that_vanish_all_at_once(crowd_of):
    crowd = crowd_of(config=limits(2, 50))
    crowd.add(40, running=2, waiting=38)
    while crowd.clients:
        crowd.leave(0)
    crowd.expect(running=0, waiting=0)
    assert crowd.server.run("return 1").response["result"] == 1


def test_max_queue_length_in_the_environment(crowd_of):
    crowd = crowd_of(env={"MAX_QUEUE_LENGTH": "1"}, config=limits(1))
    crowd.add(1, running=1, waiting=0)
    crowd.add(1, running=1, waiting=1)
    check_full(crowd.server.run("", id="mine"), 1, 1)


def test_our_own_variable_wins_over_max_queue_length(crowd_of):
    crowd = crowd_of(env={"MAX_QUEUE_LENGTH": "5", "HATCHERY_QUEUE_MAX_LENGTH": "1"}, config=limits(1, 7))
    crowd.add(1, running=1, waiting=0)
    crowd.add(1, running=1, waiting=1)
    check_full(crowd.server.run("", id="mine"), 1, 1)


def test_max_queue_length_0_is_unlimited(crowd_of):
    crowd = crowd_of(env={"MAX_QUEUE_LENGTH": "0"}, config=limits(1))
    crowd.add(1, running=1, waiting=0)
    crowd.add(100, running=1, waiting=100)


def test_pipelined_requests_wait_for_each_other_not_in_the_queue(make_server):
    server = make_server(config=limits(2, 1))
    with Raw(server, post("return 1") * 20) as raw:
        assert [raw.reply().status for _ in range(20)] == [200] * 20


def test_a_client_that_leaves_with_requests_sent_ahead_runs_none_of_them(make_server):
    server = make_server(config=limits(1))
    raw = Raw(server, post(ASLEEP, timeout=300) + post("return 'ahead'") * 5)
    wait_for(lambda: server.below("sleep"), what="it runs")
    raw.close()
    server.logged("run finished", outcome="cancelled")
    last = server.run("return 1")
    server.logged("run finished", job_id=last["job_id"])
    assert len(server.log("run finished")) == 2
