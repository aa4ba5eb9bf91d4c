# SPDX-License-Identifier: Apache-2.0
"""hatchery doctor and hatchery selftest: what they say is what is so, and their exit status says it too."""
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess

import pytest

import processes
import service
from ordinary import executables_for_all
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
    assert status == 0 and report["ready"] is True and "weaker" not in report
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
    ("seccomp", 317, ["0=1", "1=1-25"]),
], ids=lambda value: value if isinstance(value, str) else None)
def test_a_missing_layer(layer, call, conditions):
    done = refused(call, *conditions)
    assert done.returncode == 1, done
    report = json.loads(done.stdout)
    assert report["ready"] is False
    entry = next(entry for entry in report["layers"] if entry["layer"] == layer)
    assert entry["state"] == "missing" and entry["errno"] == "EPERM" and entry["change"]
    assert ("weaker" in report) == (layer in ("landlock", "ids")), "what an operator may do without is offered, no more"
    others = {word: state for word, state in states(report).items()
              if word != layer and not word.startswith("landlock_")}
    if layer == "landlock":  # an operator may do without: the others were put on
        assert set(others.values()) == {"holds"}, others
    else:
        assert set(others.values()) == {"granted"}, "no program was run, so nothing was seen to hold"
    text = refused(call, *conditions, arguments=("doctor",))
    assert text.returncode == 1 and re.search(rf"^  {layer} +MISSING ", text.stdout, re.M), text.stdout
    assert "refuses to start" in text.stdout


def test_what_is_behind_a_missing_layer_is_seen_too(tmp_path):
    """Neither ids nor a cgroup, perhaps more: all that is missing is told, the rest is seen to hold."""
    as_somebody = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if as_somebody and not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not here")
    env = {"HATCHERY_ISOLATION_REQUIRE": "all", "HATCHERY_ISOLATION_CGROUP": None}
    done = hatchery("doctor", "--json", prefix=as_somebody, env=env, program=executables_for_all(tmp_path))
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["ready"] is False
    missing = {layer["layer"]: layer for layer in report["layers"] if layer["state"] == "missing"}
    assert "ids" in missing and all(layer["errno"] and layer["change"] for layer in missing.values())
    assert {state for word, state in states(report).items() if word not in missing} == {"holds"}
    assert ALWAYS & set(missing) == set()
    line, _, words = report["weaker"].partition(" = ")
    assert line == "isolation.require" and words.split() == ["all", *(f"-{word}" for word in missing)]


@X86
def test_without_namespaces_each_layer_is_tried_by_itself():
    """clone(2) and unshare(2) refuse user namespaces, as a container's profile does, and another call besides."""
    command = [service.HATCHERY, "doctor", "--json"]
    for number, conditions in ((56, ["0=0x10000000-0xffffffff"]), (272, ["0=0x10000000-0xffffffff"]), (317, ["0=1", "1=1-25"])):
        command = ["/usr/bin/python3", str(service.ROOT / "tests/e2e/refuse.py"), "1", str(number), *conditions, "--",
                   *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=service.environment())
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["ready"] is False
    found = states(report)
    assert found["namespaces"] == found["seccomp"] == "missing"
    assert found["files"] == found["scratch"] == found["capabilities"] == "unknown"
    assert found["no_new_privs"] == found["limits"] == "granted"
    for layer in report["layers"]:
        assert ("change" in layer) == (layer["state"] == "missing") and ("because" in layer) == (layer["state"] == "unknown")


def test_doctor_leaves_nothing_behind():
    done = subprocess.Popen([service.HATCHERY, "doctor"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done.wait(60)
    assert processes.cgroups_of(done.pid) == []


def selftest(*arguments, **env):
    done = hatchery("selftest", "--verbose", *arguments, env=env, timeout=300)
    counts = re.search(r"(\d+) attempts were made: (\d+) ran into their wall, (\d+) are known .*, (\d+) GOT THROUGH", done.stdout)
    return done, [int(n) for n in counts.groups()]


@ROOT
def test_who_has_epoll_is_told(tmp_path):
    path = tmp_path / "hatchery.conf"
    path.write_text("[runtime.one]\nepoll = yes\n[runtime.two]\nidle = 0\n")
    for arguments, told in ((["--config", str(path)], "in: one. One can keep"), ([], None)):
        notes = json.loads(hatchery("doctor", "--json", *arguments).stdout)["notes"]
        assert [note for note in notes if "epoll" in note] == [note for note in notes if told and told in note]
        assert bool(told) == any("epoll" in note for note in notes)


@pytest.mark.parametrize("group", ["privileges/", "result/"])
def test_the_attempts_run_into_their_walls(group):
    done, (made, held, accepted, through) = selftest("--only", group)
    assert done.returncode == 0, done.stdout
    others = len(re.findall(r"^not held .* the layer '(?:ids|cgroup)' is not required here: ", done.stdout, re.M))
    assert made >= 10 and held + accepted + others == made and through == 0
    assert not others or service.lacks("ids")
    assert len(re.findall(r"^held ", done.stdout, re.M)) == held


def test_what_only_a_layer_holds_that_is_not_required():
    done, (made, held, _, through) = selftest("--only", "memory/write-and-execute", HATCHERY_ISOLATION_MDWE="no")
    assert done.returncode == 0 and (made, held, through) == (1, 0, 0), done.stdout
    assert re.search(r"^not held mdwe .* the layer 'mdwe' is not required here: THROUGH ", done.stdout, re.M)


CRAFTED = {
    "held": "# expect: REFUSED EPERM\ntell('ATTEMPT')\ntell('REFUSED EPERM')\n",
    "open": "# expect: REFUSED EPERM\ntell('ATTEMPT')\ntell('THROUGH the wall')\n",
    "lacking": "# needs: mdwe\n# expect: REFUSED EPERM\ntell('ATTEMPT')\ntell('THROUGH the wall')\n",
    "stand-in": "# needs: mdwe\n# expect: REFUSED EPERM\n# instead: a fence: REFUSED EROFS | REFUSED ENOENT\n"
                "tell('ATTEMPT')\ntell('REFUSED ENOENT')\n",
    "never-made": "# needs: mdwe\n# expect: REFUSED EPERM\ntell('REFUSED EPERM')\n",
}


@pytest.fixture(scope="module")
def crafted(tmp_path_factory):
    """The command beside attempts of our own."""
    top = tmp_path_factory.mktemp("installed")
    attempts = top / "share/hatchery/attempts"
    attempts.mkdir(parents=True)
    shutil.copy(service.ROOT / "tests/escape/attempts/prologue.py", attempts)
    (attempts / "crafted.py").write_text("\n".join(f"# attempt: {name}\n# wall: ours\n{text}" for name, text in
                                                   CRAFTED.items()))
    (top / "bin").mkdir()
    return executables_for_all(top / "bin")


@pytest.mark.parametrize("name,mdwe,status,line", [
    ("held", "yes", 0, "held +ours +crafted/held +REFUSED EPERM"),
    ("open", "yes", 1, "THROUGH +ours +crafted/open +THROUGH the wall"),
    ("open", "no", 1, "THROUGH +ours +crafted/open +THROUGH the wall"),
    ("lacking", "yes", 1, "THROUGH +ours +crafted/lacking +THROUGH the wall"),
    ("lacking", "no", 0, "not held +ours +crafted/lacking +the layer 'mdwe' is not required here: THROUGH the wall"),
    ("stand-in", "yes", 1, "THROUGH +ours +crafted/stand-in +REFUSED ENOENT"),
    ("stand-in", "no", 0, "held +ours +crafted/stand-in +refused by a fence, as the layer 'mdwe' is not required here: "
                          "REFUSED ENOENT"),
    ("never-made", "no", 1, "THROUGH +ours +crafted/never-made +REFUSED EPERM"),
])
def test_a_line_says_what_was_seen(crafted, name, mdwe, status, line):
    done = hatchery("selftest", "-v", "--only", name, env={"HATCHERY_ISOLATION_MDWE": mdwe}, program=crafted)
    assert done.returncode == status, done.stdout
    assert re.search(f"^{line}$", done.stdout, re.M), done.stdout


def test_what_was_held_needs_no_line(crafted):
    """Unless it is asked for; on a terminal one line says how far it is."""
    quiet = hatchery("selftest", "--only", "crafted/", program=crafted)
    assert re.findall(r"^\w+", quiet.stdout, re.M) == ["THROUGH"] * 4 + ["5"], quiet.stdout
    verbose = hatchery("selftest", "--verbose", "--only", "crafted/held", program=crafted)
    assert re.match("outcome +wall +attempt +what it saw\nheld +ours +crafted/held +REFUSED EPERM\n\n1 attempts", verbose.stdout)
    ours, theirs = os.openpty()
    with subprocess.Popen([crafted, "selftest", "--only", "crafted/"], stdout=theirs, stderr=theirs, env=service.environment()) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the last one has closed it
            while data := os.read(ours, 65536):
                said += data
        os.close(ours)
    text = said.decode()
    assert process.returncode == 1 and "4/5 crafted/" in text and "\x1b[K0/5 crafted/held" in text
    assert len(re.findall("^THROUGH ", text.replace("\r\x1b[K", "\n"), re.M)) == 4 and "5 attempts were made" in text


def test_a_service_that_runs_nothing_is_not_taken_for_open_walls(crafted, tmp_path):
    shutil.copytree(pathlib.Path(crafted).parents[1], tmp_path / "broken")
    program = tmp_path / "broken/bin/hatchery"
    shutil.copy("/bin/false", program.with_name("hatchery-zygote"))
    done = hatchery("selftest", program=program)
    assert done.returncode == 1
    assert "does not start: the program 'pass' got " in done.stdout
    # Whichever was known first: that a zygote ended, or that the runtime was given up.
    assert re.search("the zygote could not start|The runtime 'default' does not start: ", done.stdout), done.stdout
    assert "\n0 attempts were made" in done.stdout and "0 GOT THROUGH" in done.stdout


def test_no_attempt_is_no_success():
    done, (made, *_) = selftest("--only", "there is no such attempt")
    assert "no attempt has 'there is no such attempt' in its name" in done.stderr
    assert done.returncode == 1 and made == 0


def test_what_stands_in_for_a_cgroup_is_named():
    done, counts = selftest("--only", "memory/heap", HATCHERY_ISOLATION_CGROUP="none")
    assert done.returncode == 0 and counts == [1, 1, 0, 0], done.stdout
    assert re.search(r"^held +memory .* refused by the limit of each process, as the layer 'cgroup' is not required here: ",
                     done.stdout, re.M), done.stdout
