#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# Where the processors' time goes while programs run as fast as they can: perf(1) samples all of the machine, and each
# sample of a process of Hatchery's counts for the first of the groups below that its stack goes through. Needs root and
# Debian's linux-perf. profile.py [SECONDS]

import collections
import os
import re
import subprocess
import sys
import tempfile

from servers import BenchError, Hatchery, find_program

HZ = 1999
# What a stack is in, by a function of the kernel's or a library's; the first that matches.
GROUPS = [
    ("end of a process", r"do_exit|do_group_exit|exit_mmap|zap_pid_ns|release_task"),
    ("fork", r"kernel_clone"),
    ("execve of hatchery-init", r"do_execveat|execve"),
    ("page faults", r"exc_page_fault|madvise_populate|do_madvise"),  # a box takes most of its pages by madvise(2)
    ("namespaces", r"unshare|setns|free_nsproxy|put_mnt_ns|cleanup_net|ksys_setns"),
    ("mounts and directories", r"path_mount|do_mkdir|__x64_sys_mount|umount|chown|cleanup_mnt"),
    ("seccomp and Landlock, put on", r"seccomp_set_mode|do_seccomp|prctl_set_seccomp|landlock_restrict"),
    ("cgroups", r"cgroup|kernfs"),
    ("pipes, sockets, descriptors", r"sendmsg|recvmsg|sys_send|sys_recv|socketpair|pipe2|sys_close|close_range|ksys_read|"
                                   r"ksys_write|splice|sys_writev|sys_readv|do_writev|do_readv"),
    ("epoll, poll, timers", r"epoll|do_sys_poll|timerfd|ep_poll"),
    ("reaping", r"do_wait|kernel_wait4"),
    ("ids, limits, signals and other calls", r"do_syscall_64"),
]
PROCESSES = {"hatchery-zygote": "boxes and zygote", "hatchery-server": "server", "hatchery": "supervisor",
             "hatchery-init": "init", "hatchery-courie": "courier", "bench-load": "the client"}


def group_of(stack):
    text = " ".join(stack)
    for name, pattern in GROUPS:
        if re.search(pattern, text):
            return name
    # The zygote has moved the interpreter to anonymous memory (zygote/pages.c): perf has no names there.
    if any(re.search(r"libpython|_Py|/perf-\d+\.map", frame) for frame in stack):
        return "Python's own code"
    return "interrupts and switches" if not any("hatchery" in frame or ".so" in frame for frame in stack) else "own code and libraries"


def samples(data):
    """(process, [frame, ...]) of each sample."""
    script = subprocess.Popen(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace")
    name, stack = "", []
    for line in script.stdout:
        if not line.strip():
            if name:
                yield name, stack
            name, stack = "", []
        elif not name:
            name = line.strip()
        else:
            stack.append(line.strip())


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as directory:
        data = os.path.join(directory, "perf.data")
        server = Hatchery(HATCHERY_LOG_LEVEL="warn")
        try:
            server.wait_for_url()
            load = subprocess.Popen([find_program("bench-load"), "--url", server.url, "--key", server.key, "--connections", "8",
                                     "--warmup", "200", "--seconds", str(seconds + 2)], stdout=subprocess.PIPE, text=True)
            recorded = subprocess.run(["perf", "record", "-o", data, "-a", "-F", str(HZ), "-e", "cpu-clock", "-g", "--",
                                       "sleep", str(seconds)], capture_output=True, text=True, check=False)
            figures = load.communicate()[0]
        finally:
            server.stop()
        if recorded.returncode:
            raise BenchError(f"perf record: {recorded.stderr[-500:]}")
        counts, others = collections.defaultdict(collections.Counter), 0
        for name, stack in samples(data):
            if name in PROCESSES:
                counts[PROCESSES[name]][group_of(stack)] += 1
            elif name != "swapper":
                others += 1
    total = sum(sum(groups.values()) for groups in counts.values())
    if not total:
        raise BenchError("perf saw nothing of Hatchery")
    print(f"8 connections: {figures.strip()}")
    print(f"{total} samples of Hatchery's and the client's, {others} of others that ran beside them; shares of the former\n")
    names = [name for name in PROCESSES.values() if name in counts]
    print("| % | " + " | ".join(names) + " | all |")
    print("|---|" + "---|" * (len(names) + 1))
    for group in sorted({g for groups in counts.values() for g in groups}, key=lambda g: -sum(c[g] for c in counts.values())):
        cells = [counts[name][group] * 100 / total for name in names]
        print(f"| {group} | " + " | ".join(f"{cell:.1f}" if cell >= 0.05 else "" for cell in cells) + f" | {sum(cells):.1f} |")
    sums = [sum(counts[name].values()) * 100 / total for name in names]
    print("| **together** | " + " | ".join(f"{value:.1f}" for value in sums) + " | 100 |")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(print(f"bench: {error}", file=sys.stderr) or 2)
