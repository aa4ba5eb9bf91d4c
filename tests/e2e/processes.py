# SPDX-License-Identifier: Apache-2.0
"""Processes and cgroups as the kernel shows them, and how to wait for them."""
import glob
import os
import re
import time


def wait_for(condition, seconds=30, what="condition"):
    """Poll @condition until it is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def children(pid):
    """The pids below @pid, at any depth."""
    found = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            direct = [int(word) for word in open(task).read().split()]
        except OSError:
            continue
        for child in direct:
            found += [child] + children(child)
    return found


def is_alive(pid):
    """Does the process exist and is it more than a zombie?  One whose first thread has ended may have others yet, and
    with them all of its descriptors."""
    try:
        if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX":
            return True
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def memory(pid):
    """Resident and proportional KiB of a process (proc_pid_smaps(5), smaps_rollup)."""
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:]
    values = dict(line.split(":") for line in lines)
    return {name: int(values[name].split()[0]) for name in ("Rss", "Pss")}


OLDER = {}  # pid of a supervisor: directories that were there before it, of one that was killed and had its number


def cgroups_of(pid):
    """Directories that the supervisor @pid has made in any hierarchy."""
    older = OLDER.get(pid, ())
    return [path for path in supervisors_cgroups() if path.endswith(f"/hatchery-{pid}") and path not in older]


def supervisors_cgroups():
    for path, below, _ in os.walk("/sys/fs/cgroup"):
        yield from (os.path.join(path, name) for name in below if re.fullmatch(r"hatchery-\d+", name))
        below[:] = [name for name in below if not re.fullmatch(r"hatchery-\d+", name)]
