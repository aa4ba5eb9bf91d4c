# SPDX-License-Identifier: Apache-2.0
"""Interpreters are replaced now and then, and nobody notices: no request waits or fails, runs in hand go on."""
import threading

from processes import is_alive, wait_for

HASH = "return hash('the hash seed is the zygote\\'s')"


def zygotes(s):
    return [line for line in s.log() if line["msg"] == "a new zygote makes the boxes from here"]


def test_after_a_number_of_boxes(make_server):
    s = make_server(env={"HATCHERY_PYTHON_ROTATE_RUNS": "40"})
    first = s.child("zygote")
    hashes = set()
    boxes = 0

    def seen():
        nonlocal boxes
        boxes += 1
        hashes.add(s.run(HASH).response["result"])
        return len(hashes) >= 3

    wait_for(seen, 60, "three interpreters, one after the other")
    assert boxes > 40
    assert len(zygotes(s)) >= 2
    wait_for(lambda: not is_alive(first), 10, "the first zygote has gone")
    assert not [line for line in s.log() if line["level"] in ("warn", "error") and "layer" not in line]


def test_after_some_time(make_server):
    s = make_server(env={"HATCHERY_PYTHON_ROTATE_AGE": "200ms"})
    before = s.run(HASH).response["result"]
    s.logged("a new zygote makes the boxes from here")
    wait_for(lambda: s.run(HASH).response["result"] != before, 10, "another hash seed")


def test_a_run_outlives_its_zygotes_retirement(make_server):
    s = make_server(env={"HATCHERY_PYTHON_ROTATE_RUNS": "20", "HATCHERY_POOL_MAX_RUNS": "3"})
    first = s.child("zygote")
    replies = []
    connection = s.connect()
    code = "import subprocess\nsubprocess.run(['sleep', '250'])\nprint('all of it')"
    long = threading.Thread(target=lambda: replies.append(s.run(code, connection, timeout=300)))
    long.start()
    wait_for(lambda: s.below("sleep"), 20, "it runs")
    wait_for(lambda: s.run("print(1)").stdout == "1\n" and zygotes(s), 60, "another zygote makes the boxes")
    assert is_alive(first)
    s.end_sleepers()
    long.join()
    assert replies[0].stdout == "all of it\n"
    wait_for(lambda: not is_alive(first), 10, "the first zygote has gone")


def test_never(make_server):
    s = make_server(env={"HATCHERY_PYTHON_ROTATE_RUNS": "0", "HATCHERY_PYTHON_ROTATE_AGE": "0"})
    assert len({s.run(HASH).response["result"] for _ in range(50)}) == 1
