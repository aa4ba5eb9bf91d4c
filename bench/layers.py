#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What each step of making a box takes: layers.py [BOXES].  The times are the product's own (log.level = debug), taken
in the box between one step and the next; nothing traces it.  Medians in microseconds."""
import json
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from service import Service, wait_for  # noqa: E402

FIRST = ["init_ns", "fork_ns", "hooks_ns"]
LAST = ["rehearsal_ns"]
NOT_TIMES = {"ts", "level", "logger", "msg"}


def main():
    boxes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with Service(env={"HATCHERY_LOG_LEVEL": "debug"}) as service:
        connection = service.connect()
        for _ in range(boxes):
            assert service.run("pass", connection).status == 200
        lines = wait_for(lambda: service.log("box ready"), what="boxes in the log")
    steps = FIRST + [name for name in lines[0] if name not in {*FIRST, *LAST, *NOT_TIMES}] + LAST
    total = 0
    for name in steps:
        middle = statistics.median(line[name] for line in lines) / 1000
        total += middle
        print(f"{name.removesuffix('_ns'):16} {middle:8.1f}")
    print(f"{'together':16} {total:8.1f}   medians of {len(lines)} boxes, load {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
