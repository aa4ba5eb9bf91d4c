# SPDX-License-Identifier: Apache-2.0
"""cgroup v2 alone: limits, delegation, tidying up.  Skipped where the controllers are v1's; see tests/vm."""
import os
import pathlib
import signal
import subprocess

import pytest

from ordinary import USER, as_user, executables_for_all, refused_layers
from processes import cgroups_of, wait_for
from service import REQUIRE, Service, hatchery

TOP = pathlib.Path("/sys/fs/cgroup")
CONTROLLERS = "+memory +pids +cpu"


def has_controllers():
    try:
        return {"memory", "pids", "cpu"} <= set((TOP / "cgroup.controllers").read_text().split())
    except OSError:
        return False


pytestmark = [
    pytest.mark.skipif(not has_controllers(), reason="the controllers of this host are not cgroup v2's"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay out cgroups"),
]


def within(group):
    """Words that put the command after them into @group."""
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]


def remove(group):
    for path, _, _ in os.walk(group, topdown=False):
        wait_for(lambda path=path: rmdir(path), 30, f"{path} can be removed")


def rmdir(path):
    try:
        os.rmdir(path)
        return True
    except OSError:
        return False


@pytest.fixture
def slice_group():
    """A group like a slice of systemd's: no processes, controllers for its children."""
    group = TOP / "hatchery-test.slice"
    group.mkdir()
    (TOP / "cgroup.subtree_control").write_text(CONTROLLERS)
    (group / "cgroup.subtree_control").write_text(CONTROLLERS)
    yield group
    remove(group)


@pytest.fixture
def unit(slice_group):
    """A group like a unit's with Delegate=yes."""
    group = slice_group / "hatchery.service"
    group.mkdir()
    return group


def give(group, user):
    """What systemd does for User= and Delegate=."""
    for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(group / name, user, user)


def base_of(service):
    groups = cgroups_of(service.pid)
    assert len(groups) == 1, groups
    return pathlib.Path(groups[0])


def own_group(pid):
    return TOP / open(f"/proc/{pid}/cgroup").read().split("::/", 1)[1].strip()


def read(path):
    return path.read_text().strip()


def test_every_slot_has_its_limits(make_server):
    server = make_server(env={"HATCHERY_LIMITS_MEMORY": "96M", "HATCHERY_LIMITS_PROCESSES": "17",
                              "HATCHERY_LIMITS_CPU_PERCENT": "150"})
    slots = list(base_of(server).glob("box-*"))
    assert slots
    for slot in slots:
        assert read(slot / "memory.max") == str(96 << 20)
        assert read(slot / "memory.oom.group") == "1"
        assert read(slot / "pids.max") == "17"
        assert read(slot / "cpu.max") == "150000 100000"
        if (slot / "memory.swap.max").exists():
            assert read(slot / "memory.swap.max") == "0"


def test_a_box_is_in_its_group_and_sees_none_of_it(make_server):
    server = make_server()
    base = base_of(server)
    waiting = wait_for(lambda: [s for s in base.glob("box-*") if read(s / "cgroup.procs")], 20, "a box waits in its group")
    for slot in waiting:
        for pid in read(slot / "cgroup.procs").split():
            assert open(f"/proc/{pid}/comm").read().startswith("hatchery-zygot")
    reply = server.run("import os\nreturn [os.path.exists('/sys'), os.path.exists('/proc/self/cgroup')]")
    assert reply.response["result"] == [False, False]
    for name in ("server", "zygote"):
        assert not own_group(server.child(name)).name.startswith("box-")


def test_boxes_are_born_in_their_groups(make_server):
    """A move waits for all forks of the host, so a bomb in one box would hold up the making of others."""
    server = make_server(config="[log]\nformat = json\nlevel = debug\n")
    assert own_group(server.child("zygote")) == base_of(server) / "zygote"
    for n in range(8):
        assert server.run(f"return {n}").response["result"] == n
    words = [line["msg"] for line in server.log()]
    assert "box ready" in words and "a box was not born in its cgroup" not in words


def test_a_group_that_can_only_be_joined(make_server):
    """Where the zygote may not fork into a group, its boxes join by their own hand."""
    server = make_server(config="[log]\nformat = json\nlevel = debug\n")
    for slot in base_of(server).glob("box-*"):
        os.chown(slot / "cgroup.procs", 0, 0)
        os.chmod(slot / "cgroup.procs", 0o600)

    def joined():
        assert server.run("return 1").response["result"] == 1
        return [line for line in server.log() if line["msg"] == "a box was not born in its cgroup"]

    wait_for(joined, 60, "a box joined")
    for slot in base_of(server).glob("box-*"):
        for pid in read(slot / "cgroup.procs").split():
            assert own_group(int(pid)) == slot


def test_memory_ends_the_whole_run(make_server):
    server = make_server(env={"HATCHERY_LIMITS_MEMORY": "96M"})
    reply = server.run("""
import os
print("before", flush=True)
if os.fork() == 0:
    block = bytearray(300 << 20)
    os._exit(0)
os.wait()
print("the child died and we did not")
""")
    assert reply.status == 400 and reply["stdout"] == "before\n"
    assert reply["reason"] == "memory" and "Memory limit exceeded (96 MiB)" in reply["error"]
    assert server.run("return 1").response["result"] == 1


def test_scratch_counts_as_memory(make_server):
    server = make_server(env={"HATCHERY_LIMITS_MEMORY": "96M", "HATCHERY_LIMITS_SCRATCH": "512M"})
    reply = server.run("""
print("before", flush=True)
with open("big", "wb") as f:
    for _ in range(400):
        f.write(bytes(1 << 20))
""")
    assert reply.status == 400 and reply["stdout"] == "before\n" and reply["reason"] == "memory"


def test_processes_are_limited(make_server):
    server = make_server(env={"HATCHERY_LIMITS_PROCESSES": "12"})
    reply = server.run("""
import os, time
made = 0
print("before", flush=True)
while made < 100:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    made += 1
""")
    assert reply.status == 400 and reply["stdout"] == "before\n"
    assert "Too many processes (12)" in reply["error"] + reply["message"]


def test_processor_is_limited(make_server):
    server = make_server(env={"HATCHERY_LIMITS_CPU_PERCENT": "20"})
    reply = server.run("""
import time
end = time.monotonic() + 2
while time.monotonic() < end:
    pass
return time.process_time()
""")
    assert reply.response["result"] < 1.2
    throttled = [int(line.split()[1]) for slot in base_of(server).glob("box-*")
                 for line in read(slot / "cpu.stat").splitlines() if line.startswith("nr_throttled ")]
    assert max(throttled) > 0


def test_a_unit_of_its_own(unit):
    with Service(prefix=within(unit)) as service:
        assert service.run("return 1").response["result"] == 1
        assert base_of(service).parent == unit
        assert own_group(service.pid) == unit / "supervisor"
        assert read(unit / "cgroup.procs") == ""
        assert set(read(unit / "cgroup.subtree_control").split()) >= {"memory", "pids", "cpu"}
    assert [p.name for p in unit.iterdir() if p.is_dir()] == []


def test_a_unit_is_restarted_in_the_same_group(unit):
    for _ in range(3):
        with Service(prefix=within(unit)) as service:
            assert service.run("return 1").response["result"] == 1
            assert base_of(service).parent == unit


@pytest.fixture
def crowded(unit):
    """A group as a login session is: with a process that is not ours."""
    with subprocess.Popen([*within(unit), "sleep", "600"]) as other:
        wait_for(lambda: str(other.pid) in read(unit / "cgroup.procs").split(), 30, "the other process is there")
        yield unit
        other.kill()


def test_a_group_shared_with_others(crowded):
    """The group above is divided, and the other process stays where it was."""
    others = read(crowded / "cgroup.procs")
    with Service(prefix=within(crowded)) as service:
        assert service.run("return 1").response["result"] == 1
        assert base_of(service).parent == crowded.parent
        assert set(others.split()) <= set(read(crowded / "cgroup.procs").split())
    assert [p.name for p in crowded.iterdir() if p.is_dir()] == []


def test_what_a_killed_supervisor_left_is_removed(crowded):
    first = Service(prefix=within(crowded))
    left = base_of(first)
    first.stop(signal.SIGKILL)
    assert left.is_dir(), "nothing was left: the test shows nothing"
    with Service(prefix=within(crowded)) as second:
        assert not left.exists()
        assert second.run("return 1").response["result"] == 1
    first.directory.cleanup()


def test_what_lives_is_not_removed(slice_group):
    """Two in one slice: the second takes nothing of the first for stale."""
    units = [slice_group / name for name in ("a", "b")]
    sleepers = []
    for group in units:
        group.mkdir()
        sleepers.append(subprocess.Popen([*within(group), "sleep", "600"]))
        wait_for(lambda group=group: read(group / "cgroup.procs"), 30, "the group is in use")
    try:
        with Service(prefix=within(units[0])) as first, Service(prefix=within(units[1])) as second:
            assert base_of(first).parent == base_of(second).parent == slice_group
            assert first.run("return 1").response["result"] == second.run("return 1").response["result"] == 1
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def test_a_user_with_delegation(unit, tmp_path):
    give(unit, USER)
    program = executables_for_all(tmp_path)
    prefix = [*within(unit), *as_user()]
    with Service(prefix=prefix, program=program, env={"HATCHERY_ISOLATION_REQUIRE": f"{REQUIRE or 'all'} -ids",
                                                      "HATCHERY_LIMITS_MEMORY": "96M"}) as service:
        assert base_of(service).parent == unit
        reply = service.run("print('before', flush=True)\nb = bytearray(300 << 20)")
        assert reply["stdout"] == "before\n" and "Memory limit exceeded (96 MiB)" in reply["error"]
    assert [p.name for p in unit.iterdir() if p.is_dir()] == []


def test_a_user_without_delegation_is_told(unit, tmp_path):
    program = executables_for_all(tmp_path)
    done = hatchery("run", "-", stdin="print('ran')", prefix=[*within(unit), *as_user()], program=program,
                    env={"HATCHERY_ISOLATION_REQUIRE": f"{REQUIRE or 'all'} -ids"})
    assert done.returncode != 0 and done.stdout == ""
    assert refused_layers(done.stderr) == {"cgroup": "EACCES"}
    assert "Delegate=yes" in done.stderr and str(unit) in done.stderr


def test_a_missing_controller_is_named(unit, tmp_path):
    """Systemd gives users memory and pids, and cpu only when asked."""
    give(unit, USER)
    (unit.parent / "cgroup.subtree_control").write_text("-cpu")
    program = executables_for_all(tmp_path)
    done = hatchery("run", "-", stdin="print('ran')", prefix=[*within(unit), *as_user()], program=program,
                    env={"HATCHERY_ISOLATION_REQUIRE": f"{REQUIRE or 'all'} -ids"})
    assert done.returncode != 0 and done.stdout == ""
    assert "cgroup" in refused_layers(done.stderr)
    assert f"{unit} has not got the controller cpu" in done.stderr


def test_no_group_is_left_after_many_runs(make_server):
    server = make_server()
    base = base_of(server)
    for n in range(30):
        assert server.run(f"return {n}").response["result"] == n
    assert server.stop() == 0
    assert not base.exists()
