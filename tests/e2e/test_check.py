# SPDX-License-Identifier: Apache-2.0
"""hatchery doctor and hatchery selftest: what they say is what is so, and their exit status says it too."""
import json
import os
import platform
import re
import subprocess

import pytest

import service
from service import hatchery

ALWAYS = {"namespaces", "files", "scratch", "capabilities", "no_new_privs", "limits", "seccomp"}
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has to name a weaker jail")
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86_64's")


def doctor(**env):
    done = hatchery("doctor", "--json", env=env)
    return done.returncode, json.loads(done.stdout)


def states(report):
    return {layer["layer"]: layer["state"] for layer in report["layers"]}


@ROOT
def test_all_is_well():
    status, report = doctor()
    assert status == 0 and report["ready"] is True
    for layer in report["layers"]:
        assert not layer["required"] or layer["state"] == "holds", layer
    assert ALWAYS <= set(states(report))
    assert report["user"] == "root" and report["kernel"] == os.uname().release
    assert report["cgroup"] in ("v1", "v2")
    assert re.fullmatch(r"3\.11\.\d+", report["python"]["version"])


@ROOT
def test_as_text():
    done = hatchery("doctor")
    assert done.returncode == 0, done.stdout
    for layer in ALWAYS:
        assert re.search(rf"^  {layer} +holds ", done.stdout, re.M), done.stdout
    assert "Everything that is required holds" in done.stdout


@ROOT
def test_what_is_turned_off_is_not_said_to_hold():
    status, report = doctor(HATCHERY_ISOLATION_MDWE="no", HATCHERY_ISOLATION_CGROUP="none")
    assert status == 0 and report["ready"] is True
    assert states(report)["mdwe"] == "off" and states(report)["cgroup"] == "off" and report["cgroup"] == "none"


def refused(call, *conditions, arguments=("doctor", "--json")):
    """The command while the kernel refuses a system call."""
    return subprocess.run(["/usr/bin/python3", str(service.ROOT / "tests/e2e/refuse.py"), "1", str(call), *conditions, "--",
                           service.HATCHERY, *arguments], capture_output=True, text=True, timeout=60)


# What the kernel alone decides, what the start of a zygote shows, and what only a box shows.
@ROOT
@X86
@pytest.mark.parametrize("layer,call,conditions", [
    ("landlock", 444, []),
    ("namespaces", 56, ["0=0x10000000-0xffffffff"]),
    ("files", 155, []),
    ("scratch", 165, ["3=14"]),
    ("ids", 117, ["0=1000-100000"]),
    ("seccomp", 317, ["0=1", "1=1"]),
], ids=lambda value: value if isinstance(value, str) else None)
def test_a_missing_layer(layer, call, conditions):
    done = refused(call, *conditions)
    assert done.returncode == 1, done
    report = json.loads(done.stdout)
    assert report["ready"] is False
    entry = next(entry for entry in report["layers"] if entry["layer"] == layer)
    assert entry["state"] == "missing" and entry["errno"] == "EPERM" and entry["change"]
    assert "holds" not in states(report).values(), "no program was run, so nothing was seen to hold"
    text = refused(call, *conditions, arguments=("doctor",))
    assert text.returncode == 1 and re.search(rf"^  {layer} +MISSING ", text.stdout, re.M), text.stdout
    assert "refuses to start" in text.stdout


def test_doctor_leaves_nothing_behind():
    done = subprocess.Popen([service.HATCHERY, "doctor"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done.wait(60)
    assert service.cgroups_of(done.pid) == []


def selftest(*arguments, **env):
    done = hatchery("selftest", *arguments, env=env, timeout=300)
    counts = re.search(r"(\d+) attempts were made: (\d+) ran into their wall, (\d+) are known .*, (\d+) GOT THROUGH", done.stdout)
    return done, [int(n) for n in counts.groups()]


@ROOT
@pytest.mark.parametrize("group", ["privileges/", "result/"])
def test_the_attempts_run_into_their_walls(group):
    done, (made, held, accepted, through) = selftest("--only", group)
    assert done.returncode == 0, done.stdout
    assert made >= 10 and held + accepted == made and through == 0
    assert len(re.findall(r"^held ", done.stdout, re.M)) == held


@ROOT
def test_a_wall_that_is_not_there_is_seen():
    done, (made, _, _, through) = selftest("--only", "memory/write-and-execute", HATCHERY_ISOLATION_MDWE="no")
    assert done.returncode == 1 and made >= 1 and through >= 1, done.stdout
    assert re.search(r"^THROUGH +mdwe ", done.stdout, re.M)


def test_no_attempt_is_no_success():
    done, (made, *_) = selftest("--only", "there is no such attempt")
    assert done.returncode == 1 and made == 0


def test_what_no_cgroup_can_refuse_is_left_out():
    done = hatchery("selftest", "--only", "memory/heap", env={"HATCHERY_ISOLATION_CGROUP": "none"})
    assert "left out memory " in done.stdout and "isolation.require does not name cgroup" in done.stdout, done
    assert "0 attempts were made" in done.stdout and done.returncode == 1
