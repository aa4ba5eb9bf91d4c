#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does a test fail when the wall it is about is taken away?

Every wall is taken out of a copy of the source, the copy is built, and the attempts at that wall are made: at least one
must fail now.  Where several layers hold, each alone must hold: with one layer missing all attempts fail to get
through still, with all of them missing one does.  The table in README.md is written anew.

    tests/escape/walls.py [--only WALL ...]      needs what `make test` needs, and some minutes
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import table

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = pathlib.Path(__file__).with_name("README.md")
BEGIN, END = "<!-- walls -->\n", "<!-- end -->\n"

CALLS = "src/box/seccomp.def"
ENTER, ROOT_C, SECCOMP, LANDLOCK = "src/box/enter.c", "src/box/root.c", "src/box/seccomp.c", "src/box/landlock.c"
LAUNCH, CGROUP, SUPERVISOR = "src/supervisor/launch.c", "src/supervisor/cgroup_tree.c", "src/supervisor/supervisor.c"
ORDERS = "src/supervisor/orders.c"
ZYGOTE, SPAWN, RUN = "src/zygote/main.c", "src/zygote/spawn.c", "src/zygote/run.c"
SLOT = "src/server/pool/slot.c"

NO_FILTER = [
    (ENTER, "syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &box->own_filter) != 0", "0"),
    (ENTER, "syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &box->shared_filter) < 0", "box == NULL")]
NO_LANDLOCK = [(ENTER, "box->conf->landlock && kernel_landlock_restrict_self(box->landlock_fd) < 0", "0")]
HELD = "tests/e2e/test_cgroup.py::test_what_is_held_ends_when_its_client_goes"


def no_words(name):
    """The rule on one call's argument: any value passes."""
    return [(SECCOMP, "        if (row->front == front)",
             f'        if (row->front == front && (front != FRONT_VALUES || strcmp(row->name, "{name}") != 0))')]


class Wall:
    """@layers: lists of edits (file, text, replacement), each list one layer; @only: the attempts to make, where not
    all of the wall's can be made without harm or in bearable time; @test: what is run instead of them, where they need a
    machine that does nothing else."""

    def __init__(self, what, *layers, only=None, test=None):
        self.what, self.layers, self.only, self.test = what, layers, only, test


WALLS = {
    "root": Wall("more of the host is bound into the root", [
        (ROOT_C, 'binds[] = {\n', 'binds[] = {\n    "/etc/shadow", "/home", "/var", "/proc", "/sys", "/dev/tty",\n')]),
    "read-only": Wall("binds and root are mounted writable", [
        (ROOT_C, ".attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID", ".attr_set = MOUNT_ATTR_NOSUID"),
        (ROOT_C, "MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID", "MS_REMOUNT | MS_BIND | MS_NOSUID")]),
    "nosuid": Wall("no mount is `nosuid`", [
        (ROOT_C, ".attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID", ".attr_set = MOUNT_ATTR_RDONLY"),
        (ROOT_C, "MS_BIND | MS_RDONLY | MS_NOSUID", "MS_BIND | MS_RDONLY"),
        (ENTER, "MS_NOSUID | MS_NODEV | MS_NOEXEC", "MS_NODEV | MS_NOEXEC")]),
    "scratch-flags": Wall("the scratch tmpfs has no `nosuid,nodev,noexec`", [
        (ENTER, "MS_NOSUID | MS_NODEV | MS_NOEXEC", "0")]),
    "noexec": Wall("programs start from the scratch space, which its mount and Landlock forbid", [
        (ENTER, "MS_NOSUID | MS_NODEV | MS_NOEXEC", "0")], NO_LANDLOCK),
    "scratch-size": Wall("the scratch space may have 2 GiB", [
        (ENTER, "(long long) conf->limits.scratch_bytes", "2LL << 30")]),
    "scratch-inodes": Wall("the scratch space may have a million files", [
        (ENTER, "(long long) conf->limits.scratch_files + 4", "1000000LL")]),
    "scratch": Wall("boxes share a mount namespace, and so the place of their scratch space", [
        (ENTER, "unshare(CLONE_NEWNS | CLONE_NEWIPC", "unshare(CLONE_NEWIPC")]),
    "landlock": Wall("the ruleset is not enforced", NO_LANDLOCK),
    "rlimits": Wall("no limit is set", [
        (ENTER, "static int set_limits(const struct box *box)\n{\n",
         "static int set_limits(const struct box *box)\n{\n    return 0;\n")],
        only=["files/huge-sparse-file", "files/raise-file-size-limit", "memory/descriptors", "memory/raise-descriptors",
              "memory/stack-limit", "memory/memory-lock-limit", "memory/pending-signals", "cpu/real-time-limits",
              "kernel/core-dump-limit"]),
    "pids": Wall("processes are not counted, by the cgroup and by RLIMIT_NPROC", [
        (CGROUP, '"pids.max", pids, false', '"pids.max", "max", false')], [
        (ENTER, "if (box->conf->ids && set_limit(RLIMIT_NPROC,", "if (0 && set_limit(RLIMIT_NPROC,")],
        only=["processes/fork-bomb", "processes/thread-bomb", "processes/zombies"]),
    "memory": Wall("the cgroup's memory limit is 8 GiB", [
        (CGROUP, "(long long) limits->memory_bytes", "8LL << 30")], only=["memory/scratch-and-heap"]),
    "oom": Wall("nobody tells the server of a killed process (cgroup v1)", [
        (ORDERS, "while (cgroups_next_oom(", "while (0 && cgroups_next_oom(")]),
    "cpu": Wall("the cgroup has no quota", [
        (CGROUP, '"cpu.cfs_quota_us", quota', '"cpu.cfs_quota_us", "-1"'),
        (CGROUP, '"cpu.max", max', '"cpu.max", "max"')]),
    "pid-namespace": Wall("boxes stay in the zygote's pid namespace", [
        (SPAWN, "setns(pidfd, CLONE_NEWPID) < 0 ? -errno : 0", "0")],
        only=["processes/see-processes", "processes/parent", "neighbours/meet-as-processes"]),
    "session": Wall("a box stays in the zygote's process group", [(ENTER, "setsid() < 0 ? -1 : 0", "0")]),
    "kill": Wall("the server keeps the life pipe open; the zygote lets init live when the program has ended", [
        (SLOT, "fd_close(&slot->life_fd);", "")], [
        (SPAWN, "kill(brood->init, SIGKILL);", "(void) 0;")],
        only=["processes/outlive-by-daemon", "processes/outlive-stopped", "processes/hold-the-pipe"]),
    "clock": Wall("nothing happens at the deadline", [
        (SLOT, "    cut_short(slot, OUTCOME_TIMEOUT);\n", "    return;\n")],
        only=["cpu/busy-loop"]),
    "descriptors": Wall("what the zygote has open stays open", [
        (ENTER, "if (kernel_close_range(3, BOX_CONTROL_FD - 1, 0) < 0)", "if (0)")]),
    "ids": Wall("a box keeps the zygote's id", [(ENTER, "    if (box->conf->ids) {\n", "    if (0) {\n")]),
    "capabilities": Wall("the sets are not emptied", [
        (ENTER, "if (syscall(SYS_capset, &header, none) < 0)", "if (0)"),
        (ENTER, "SECBIT_NOROOT | SECBIT_NOROOT_LOCKED",
         "SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED")]),
    "bounding-set": Wall("the bounding set is not dropped", [
        (ENTER, "prctl(PR_CAPBSET_DROP, left[i], 0, 0, 0) < 0", "left[i] > 63")]),
    "no-new-privs": Wall("zygote and box do not set it: Landlock and the filter can't be had then, no box is made", [
        (ENTER, "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0", "0"),
        (ZYGOTE, "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0", "0")]),
    "dumpable": Wall("a box is dumpable", [
        (ENTER, "return prctl(PR_SET_DUMPABLE, 0,", "return prctl(PR_SET_DUMPABLE, 1,")]),
    "user-namespaces": Wall("user namespaces are allowed, by the filter and by `user.max_user_namespaces`", NO_FILTER, [
        (LAUNCH, 'fd_write_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", "0");', "")]),
    "mdwe": Wall("PR_SET_MDWE is not set", [
        (ENTER, "box->conf->mdwe && prctl(PR_SET_MDWE,", "0 && prctl(PR_SET_MDWE,")]),
    "seccomp": Wall("the filter is not installed", NO_FILTER),
    "foreign-abi": Wall("other ABIs pass the filter", [
        (SECCOMP, "SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS", "SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW")]),
    "clone-flags": Wall("any flags", [
        (CALLS, "WHEN(clone, NONE_OF(0, CLONE_NEWNS", "WHEN(clone, NONE_OF(0, 0 & (CLONE_NEWNS"),
        (CALLS, "0x80 /* CLONE_NEWTIME */))", "0x80)))")]),
    "socket": Wall("any socket", [(CALLS, "REFUSE(socket, EAFNOSUPPORT)", "ALLOW(socket)")],
                   only=["network/socket-inet", "network/socket-unix", "network/socket-netlink", "network/socket-vsock",
                         "network/socket-by-high-bits", "network/interfaces"]),
    "message-flags": Wall("any flags", [(CALLS, "NONE_OF(3, MSG_OOB | MSG_ERRQUEUE)", "NONE_OF(3, 0)")]),
    "prlimit": Wall("any process, any limit", [
        (CALLS, "WHEN(prlimit64, IS(0, 0), IS(1, RLIMIT_CPU))", "ALLOW(prlimit64)"),
        (CALLS, "WHEN(prlimit64, IS", "// "),
        (CALLS, "REFUSE(prlimit64,", "// ")]),
    "ioctl": Wall("any request", no_words("ioctl")),
    "fcntl": Wall("any command", no_words("fcntl")),
    "locks": Wall("locks are made", [
        (CALLS, "ANSWER(flock, 0)", "ALLOW(flock)"),
        (CALLS, "F_GETLK, F_DUPFD_CLOEXEC,", "F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC,"),
        (CALLS, "WHEN(fcntl, IS(1, F_GETLK))", "WHEN(fcntl, IS(1, F_GETLK)) WHEN(fcntl, IS(1, F_SETLK)) WHEN(fcntl, IS(1, F_SETLKW))"),
        (CALLS, "ANSWERED(fcntl, 1, 0, F_SETLK, F_SETLKW)", "")]),
    "epoll": Wall("every runtime has epoll", [(ENTER, "conf->epoll, &box->shared_filter", "true, &box->shared_filter")]),
    "convoys": Wall("nobody looks for queues at kernel locks", [
        (SUPERVISOR, "        convoy_look(s->convoy);", "        (void) convoy_look;")], test=HELD),
    "held": Wall("a box that makes such a queue is found, and goes on", [
        ("src/supervisor/cgroup.c", "int err = held ? hold(groups, slot) : 0;", "int err = held && 0 ? hold(groups, slot) : 0;")], test=HELD),
    "rest": Wall("the server looks at a program's output whenever some has come", [
        ("src/server/pool/output.c", "if (more && !rest)", "if (more)"),
        ("src/server/pool/slot.c", "else if (got == 0 && slot->strange)", "else if (0)")]),
    "stops": Wall("the zygote hears of a program that is stopped", [
        ("src/zygote/warm.c", ".sa_flags = SA_NOCLDSTOP", ".sa_flags = 0")]),
    "prctl": Wall("any option", no_words("prctl")),
    "arch-prctl": Wall("any option", no_words("arch_prctl")),
    "madvise": Wall("any advice", no_words("madvise")),
    "socket-options": Wall("any option", no_words("getsockopt")),
    "read-flags": Wall("any flags", no_words("preadv2")),
    "open-flags": Wall("any flags", [
        (CALLS, "WHEN(fcntl, IS(1, F_SETFL), NONE_OF(2, O_DIRECT))", "WHEN(fcntl, IS(1, F_SETFL))"),
        (CALLS, "REFUSE(fcntl, EINVAL, IS(1, F_SETFL), ALL_OF(2, O_DIRECT))", ""),
        (CALLS, "WITHOUT(open, 1, O_DIRECT, EINVAL)", "ALLOW(open)"),
        (CALLS, "WITHOUT(openat, 2, O_DIRECT, EINVAL)", "ALLOW(openat)")]),
    "mmap-flags": Wall("any flags", [
        (CALLS, "WITHOUT(mmap, 3, MAP_HUGETLB, EINVAL)", "ALLOW(mmap)"),
        (CALLS, "WITHOUT(mremap, 3, MREMAP_FIXED, EINVAL)", "ALLOW(mremap)")]),
    "memfd-flags": Wall("any flags", [(SECCOMP, "front != FRONT_CALLBACKS || f->callbacks", "front != FRONT_CALLBACKS")]),
    "callbacks": Wall("the filter does not know of isolation.callbacks", [
        (ENTER, "BOX_FILTER_SHARED, conf->callbacks", "BOX_FILTER_SHARED, true")]),
    "net-namespace": Wall("the host's network, without the filter, Landlock and a namespace of one's own", NO_FILTER,
                          NO_LANDLOCK, [
        (LAUNCH, "CLONE_NEWPID | CLONE_NEWNET |", "CLONE_NEWPID |")], only=["network/connect-loopback"]),
    "ipc-namespace": Wall("System V objects are shared, without the filter and a namespace of one's own", NO_FILTER, [
        (ENTER, "CLONE_NEWIPC | ", "")]),
    "uts-namespace": Wall("the host's names stay", [
        (ENTER, 'sethostname("box", 3) < 0 || setdomainname("", 0) < 0', "0")]),
    "environment": Wall("the zygote is started with the supervisor's environment", [
        (LAUNCH, "kernel_execveat(ZYGOTE_FD, argv, envp);", "kernel_execveat(ZYGOTE_FD, argv, environ);")]),
    "inherited": Wall("signals and file mode mask are left as they are", [
        (LAUNCH, "        kernel_signal_default(sig);", "        (void) sig;"), (ENTER, "    umask(022);\n", ""),
        (ROOT_C, "    umask(022);\n", "")]),
    "seeds": Wall("random is not seeded", [(RUN, "    renew();\n", "    (void) renew;\n")],
                  only=["leaks/random-module"]),
    "numpy": Wall("numpy is not seeded", [(RUN, "    renew();\n", "    (void) renew;\n")]),
    "guard": Wall("the outcome's socket is a descriptor as others", [
        (SECCOMP, "enum front front = FRONT_GUARDED; front", "enum front front = FRONT_ANSWERED; front")],
        only=["result/write-to-the-channel", "result/close-the-channel", "result/replace-the-channel",
              "result/shut-the-channel-down", "result/write-by-high-bits"]),
    "token": Wall("packets count without it", [
        ("src/server/pool/report.c", "sodium_memcmp(p, slot->token, TOKEN_SIZE) != 0", "0")],
        only=["result/forge-packets", "result/flood-the-channel"]),
    "encoder": Wall("numbers are not looked at", [
        ("src/zygote/encode.c", "if (!Py_IS_FINITE(d))", "if (0)")], only=["result/not-a-number", "result/infinity"]),
    "output": Wall("the server keeps what comes", [
        ("src/server/pool/outcome.c", "buf_init(&outcome->out.kept, (size_t) limits->output_bytes);",
         "buf_init(&outcome->out.kept, (size_t) limits->output_bytes * 100);")], only=["result/output-flood"]),
}


class Copy:
    """A copy of the source with a build directory of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
        for name in files.split("\0"):
            if name and (ROOT / name).is_file():
                (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.directory / name)
        subprocess.run(["meson", "setup", "build"], cwd=self.directory, check=True, capture_output=True)
        self.changed = set()

    def edit(self, edits):
        for name in self.changed:
            shutil.copyfile(ROOT / name, self.directory / name)
        self.changed = {name for name, _, _ in edits}
        for name, old, new in edits:
            text = (self.directory / name).read_text()
            assert old in text, f"walls.py is behind the source: {name} has no {old!r}"
            (self.directory / name).write_text(text.replace(old, new))
        subprocess.run(["ninja", "-C", "build", "hatchery", "hatchery-server", "hatchery-zygote", "hatchery-init", "hatchery-courier"],
                       cwd=self.directory, check=True, stdout=subprocess.DEVNULL)

    def fallen(self, attempts, test):
        """The attempts, by title, whose tests fail with this copy's build; or @test, if it does."""
        ids = [f"{ROOT}/tests/escape/test_escape.py::test_attempt[{attempt.title}]" for attempt in attempts]
        ids = [f"{ROOT}/{test}"] if test else ids
        result = subprocess.run(
            ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", *ids], cwd=ROOT,
            env={**os.environ, "HATCHERY": str(self.directory / "build" / "hatchery")}, capture_output=True, text=True)
        assert result.returncode in (0, 1), result.stdout + result.stderr
        return re.findall(r"^(?:FAILED|ERROR) \S+::(?:test_attempt\[)?([^\]\s]+)", result.stdout, re.M)


def try_wall(copy, name, wall, attempts):
    """The titles that fall, as a cell of the table; raises where the wall is not proved."""
    for layer in wall.layers if len(wall.layers) > 1 else []:
        copy.edit(layer)
        fallen = copy.fallen(attempts, wall.test)
        assert not fallen, f"{name}: one layer less and these fall: {fallen}"
    copy.edit([edit for layer in wall.layers for edit in layer])
    fallen = copy.fallen(attempts, wall.test)
    assert fallen, f"{name}: no test notices that it is gone"
    return fallen


def cell(titles):
    shown = [f"`{title}`" for title in titles[:4]]
    return ", ".join(shown) + (f" and {len(titles) - 4} more" if len(titles) > 4 else "")


def write_table(rows):
    """Rows that were not tried now stay as they are."""
    before, _, rest = README.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    lines = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ")}
    head = ["| wall | attempts | taken away | each layer holds alone | then these tests fail |",
            "|---|---|---|---|---|"]
    lines.update(rows)
    body = [lines[name] for name in WALLS if name in lines]
    README.write_text(before + BEGIN + "\n".join(head + body) + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WALLS, metavar="WALL")
    chosen = parser.parse_args().only or list(WALLS)
    attempts = table.load()
    named = {attempt.wall for attempt in attempts}
    assert named - {"accepted"} == set(WALLS), named ^ set(WALLS)
    rows, unproved = {}, []
    with tempfile.TemporaryDirectory(prefix="hatchery-walls-") as directory:
        os.chmod(directory, 0o755)  # the zygote is somebody else
        copy = Copy(directory)
        for name in chosen:
            wall = WALLS[name]
            of_wall = [attempt for attempt in attempts if attempt.wall == name]
            made = [attempt for attempt in attempts if attempt.title in wall.only] if wall.only else of_wall
            try:
                fallen = try_wall(copy, name, wall, made)
            except AssertionError as error:
                unproved.append(name)
                print(f"NOT PROVED  {error}", flush=True)
                continue
            several = f"yes ({len(wall.layers)})" if len(wall.layers) > 1 else "one layer"
            rows[name] = f"| {name} | {len(of_wall)} | {wall.what} | {several} | {cell(fallen)} |"
            print(f"{name}: {len(fallen)} of {len(made)} tests fail without it", flush=True)
            write_table(rows)
    return 1 if unproved else 0


if __name__ == "__main__":
    sys.exit(main())
