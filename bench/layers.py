#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What each step of making a box takes, and what a box costs besides: layers.py [BOXES].  docs/performance.md says what
the lines mean.

The times of the steps are the product's own (log.level = debug), taken in the box between one step and the next; nothing
traces it.  Medians in microseconds: of boxes that are made one at a time, while nothing else runs, and of boxes made as
fast as one client uses them up.  The rest is what the kernel has counted for the processes, divided by the boxes."""
import json
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from processes import wait_for  # noqa: E402
from service import Service  # noqa: E402

FIRST = ["init_ns", "fork_ns", "hooks_ns"]
LAST = ["renewal_ns"]
NOT_TIMES = {"ts", "level", "logger", "msg"}
POOL = 4
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def counted(service):
    """What proc_pid_stat(5) has counted until now, by process; what a zygote has reaped are its boxes."""
    found = {}
    for name, pid in (("supervisor", service.pid), ("server", service.child("server")), ("zygote", service.child("zygote"))):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        faults, faults_below, _, _, user, system, user_below, system_below = map(int, fields[7:15])
        found[name] = ((user + system) * TICK_US, faults)
        if name == "zygote":
            found["boxes"] = ((user_below + system_below) * TICK_US, faults_below)
    return found


def run(service, boxes, one_at_a_time):
    """Use up @boxes.  Returns what the log says of those that were made meanwhile, and what was counted for each."""
    connection = service.connect()
    at_rest = service.wait_until_full(POOL)
    before = counted(service)
    with open(service.log_path) as log:
        log.seek(0, os.SEEK_END)
        made = []

        def all_made(wanted):
            # A look costs nearly nothing: more would be work beside the box that is measured.
            made.extend(line for line in log if '"box ready"' in line)
            return len(made) >= wanted

        for used in range(1, boxes + 1):
            assert service.run("pass", connection).status == 200
            if one_at_a_time:
                wait_for(lambda used=used: all_made(used), what="the next box")
        wait_for(lambda: all_made(boxes), what="the last box")
    service.wait_until_idle(at_rest)
    after = counted(service)
    counts = {name: [(b - a) / boxes for a, b in zip(before[name], after[name])] for name in after}
    return [json.loads(line) for line in made], counts


def main():
    boxes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with Service(env={"HATCHERY_LOG_LEVEL": "debug", "HATCHERY_POOL_SIZE": str(POOL)}) as service:
        single, counts = run(service, boxes, True)
        crowded, counts_crowded = run(service, boxes, False)
    steps = FIRST + [name for name in single[0] if name not in {*FIRST, *LAST, *NOT_TIMES}] + LAST
    total = [0, 0]
    print(f"{'µs':16} {'one at a time':>14} {'at full speed':>14}")
    for name in steps:
        middle = [statistics.median(line[name] for line in lines) / 1000 for lines in (single, crowded)]
        total = [a + b for a, b in zip(total, middle)]
        print(f"{name.removesuffix('_ns'):16} {middle[0]:14.1f} {middle[1]:14.1f}")
    print(f"{'together':16} {total[0]:14.1f} {total[1]:14.1f}   medians of {boxes} boxes, load {os.getloadavg()[0]:.2f}")
    print("for each box: processor time in µs, page faults")
    for name in counts:
        print(f"{name:16} {counts[name][0]:14.0f} {counts_crowded[name][0]:14.0f}   {counts[name][1]:8.1f} {counts_crowded[name][1]:8.1f}")


if __name__ == "__main__":
    main()
