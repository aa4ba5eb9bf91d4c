# SPDX-License-Identifier: Apache-2.0
"""A layer that the kernel refuses: nothing runs, and the refusal names the layer, the errno and what to change."""
import errno
import glob
import json
import os
import platform
import resource

import pytest

import processes
import service

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86_64's")

CALLS = {
    "capset": 126, "clone": 56, "dup3": 292, "landlock_create_ruleset": 444, "landlock_restrict_self": 446, "mount": 165,
    "mount_setattr": 442, "pivot_root": 155, "prctl": 157, "prlimit64": 302, "seccomp": 317, "sethostname": 170, "setns": 308,
    "setresuid": 117, "setsid": 112, "umount2": 166, "unshare": 272,
}
NEWNS, NEWIPC, NEWUTS, NEWCGROUP = 0x20000, 0x8000000, 0x4000000, 0x2000000

# layer as the refusal names it, call, its arguments: only the box's own call is hit where others make it too
STEPS = [
    ("session", "setsid", []),
    ("namespaces", "unshare", [f"0={NEWNS | NEWIPC | NEWUTS | NEWCGROUP:#x}"]),
    ("scratch", "mount", ["3=14"]),
    ("hostname", "sethostname", []),
    ("capabilities", "prctl", ["0=28"]),
    ("landlock", "landlock_restrict_self", ["0=3-9"]),  # the ruleset's descriptor; the server's has a higher number
    ("descriptors", "dup3", ["1=1023"]),
    ("ids", "setresuid", ["0=1000-100000"]),
    ("mdwe", "prctl", ["0=65"]),
    ("limits", "prlimit64", [f"1={resource.RLIMIT_SIGPENDING}"]),
    ("seccomp", "seccomp", ["0=1", "1=1"]),
]


def start_refused(call, conditions, error=errno.EPERM):
    s = service.Service("--state", "none", start=False)  # without a courier, which confines itself with the same calls
    s.command = ["/usr/bin/python3", str(service.ROOT / "tests/e2e/refuse.py"), str(error), str(CALLS[call]), *conditions,
                 "--", *s.command]
    with pytest.raises(AssertionError, match="did not start"):
        s.start()
    status = s.process.wait(20)
    s.process = None
    text = s.log_text()
    s.directory.cleanup()
    assert status not in (0, None)
    assert s.announcement == ""
    return text


@pytest.mark.parametrize("layer,call,conditions", STEPS, ids=[f"{layer}-{call}" for layer, call, _ in STEPS])
def test_a_refused_step_stops_the_start(layer, call, conditions):
    if layer == "ids" and service.lacks("ids"):
        pytest.skip("boxes have ids of their own when started by root: there is no such step")
    text = start_refused(call, conditions)
    check_refusal(text, "a box could not enter its jail; nothing ran in it", layer)


def check_refusal(text, msg, layer, error="EPERM"):
    line = next(line for line in map(json.loads, filter(lambda line: line[:1] == "{", text.splitlines()))
                if line["msg"] == msg)
    assert (line["layer"], line["errno"]) == (layer, error)
    assert line["hint"]


@pytest.mark.parametrize("layer,call,conditions,error", [
    ("landlock", "landlock_restrict_self", ["0=10-1000"], "EPERM"),
    ("seccomp", "seccomp", ["0=1", "1=0"], "ECANCELED"),  # libseccomp's word for whatever the kernel says
], ids=["landlock", "seccomp"])
def test_a_server_that_can_not_confine_itself_does_not_start(layer, call, conditions, error):
    check_refusal(start_refused(call, conditions), "the server can't confine itself", layer, error)


@pytest.mark.parametrize("call,conditions,named", [
    ("clone", ["0=0x10000000-0xffffffff"], "namespaces"),
    ("pivot_root", [], "pivot_root"),
    ("mount_setattr", [], "/usr/lib"),
    ("umount2", [], "pivot_root"),
    ("prctl", ["0=38"], "no_new_privs"),
    ("landlock_create_ruleset", [], "the layer 'landlock' "),
], ids=lambda value: value if isinstance(value, str) else None)
def test_what_comes_before_the_boxes_stops_the_start(call, conditions, named):
    text = start_refused(call, conditions)
    assert named in text, text


def test_the_filter_itself_does_no_harm():
    """The control: a call that nobody makes is refused, and the server runs."""
    s = service.Service("--state", "none", start=False)  # without a courier, which confines itself with the same calls
    s.command = ["/usr/bin/python3", str(service.ROOT / "tests/e2e/refuse.py"), "1", "169", "--", *s.command]
    with s:
        s.start()
        assert s.run("print(1)").stdout == "1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs cgroups of its own")
def test_a_step_that_fails_later_ends_that_box_only(make_server):
    """The cgroup of a slot is gone: its box never runs anything, which is said, and the other slots serve."""
    s = make_server(env={"HATCHERY_POOL_SIZE": "2", "HATCHERY_POOL_MAX_RUNS": "1"})
    removed = 0
    for base in processes.cgroups_of(s.pid):
        for path in glob.glob(f"{base}/box-*"):
            try:
                os.rmdir(path)
                removed += 1
            except OSError:
                pass  # a box waits in it
    assert removed
    assert s.run("print('ran')").stdout == "ran\n"
    line = s.logged("a box could not enter its jail; nothing ran in it")
    assert line["layer"] == "cgroup"
