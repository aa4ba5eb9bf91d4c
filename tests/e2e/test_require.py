# SPDX-License-Identifier: Apache-2.0
"""isolation.require: nothing is started in a weaker jail than was asked for."""
import ctypes
import os

import pytest

from ordinary import refused_layers, suggestion
from service import hatchery

LIBC = ctypes.CDLL(None, use_errno=True)
PR_GET_MDWE, SYS_LANDLOCK_CREATE_RULESET = 66, 444
PROGRAM = "print('ran')"


def lacking():
    """The layers that this kernel has not got, found out without Hatchery."""
    abi = LIBC.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1)
    names = {name for name, least in (("landlock", 1), ("landlock_net", 4), ("landlock_scopes", 6)) if abi < least}
    return names | ({"mdwe"} if LIBC.prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0 else set())


def run(require=None, **env):
    if require is not None:
        env["HATCHERY_ISOLATION_REQUIRE"] = require
    return hatchery("run", "-", stdin=PROGRAM, env=env)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's default is test_rootless.py's")
def test_everything():
    done = run("all")
    missing = lacking()
    if not missing:
        assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
        return
    assert done.returncode != 0 and done.stdout == ""
    assert set(refused_layers(done.stderr)) == missing
    weaker = run(suggestion(done.stderr))
    assert (weaker.returncode, weaker.stdout) == (0, "ran\n"), weaker.stderr
    for layer in missing:
        assert f'"layer":"{layer}"' in weaker.stderr, "the log does not say that it is missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's default is test_rootless.py's")
def test_the_default_is_all_that_the_kernel_is_new_enough_for():
    done = run()
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    for layer in lacking():
        assert f'"layer":"{layer}"' in done.stderr, "the log does not say that it is missing"
    if not lacking():
        assert done.stderr == ""


def test_unknown_layers_are_refused_with_the_known_ones():
    for word in ("landlok", "-landlok", "sec", "-all", "ALL"):
        done = run(f"all {word}")
        assert done.returncode == 2 and done.stdout == ""
        assert f"'{word}' is not a layer" in done.stderr
        for layer in ("cgroup", "ids", "namespaces", "landlock_scopes", "mdwe", "seccomp"):
            assert f" {layer}," in done.stderr


def test_check_config_reads_it_too(tmp_path):
    path = tmp_path / "conf"
    path.write_text("[isolation]\nrequire = all -nothing\n")
    done = hatchery("check-config", str(path), env={"HATCHERY_ISOLATION_REQUIRE": None})
    assert done.returncode == 1 and "'-nothing' is not a layer" in done.stderr


@pytest.mark.parametrize("layer", ["namespaces", "files", "scratch", "capabilities", "no_new_privs", "limits", "seccomp"])
def test_what_makes_a_jail_can_not_be_left_out(layer):
    done = run(f"all -{layer}")
    assert done.returncode == 2 and done.stdout == ""
    assert f"'{layer}' can't be left out" in done.stderr


def test_a_list_that_names_nothing_is_refused():
    for text, sentence in ((" ", "names no layer"), (",", "names no layer"), ("-mdwe", "takes away from nothing")):
        done = run(text)
        assert done.returncode == 2 and done.stdout == "" and sentence in done.stderr


def test_a_required_cgroup_that_is_not_there():
    kind = "v1" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v2"
    done = run("cgroup", HATCHERY_ISOLATION_CGROUP=kind)
    assert done.returncode != 0 and done.stdout == ""
    assert "cgroup" in refused_layers(done.stderr)


def test_a_key_that_turns_a_layer_off_names_the_weaker_jail():
    absent = " ".join(f"-{layer}" for layer in sorted(lacking() | ({"ids"} if os.geteuid() else set())))
    done = run(f"all {absent}", HATCHERY_ISOLATION_CGROUP="none", HATCHERY_ISOLATION_MDWE="no")
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert '"layer":"cgroup"' in done.stderr and '"layer":"mdwe"' in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's jail is never whole")
def test_readyz_says_what_is_missing(make_server):
    whole = make_server().request("GET", "/readyz", key=False)
    assert set(whole["isolation"]["missing"]) == lacking()
    assert whole["isolation"]["tier"] == ("reduced" if lacking() else "full")
    weaker = make_server(env={"HATCHERY_ISOLATION_MDWE": "no"}).request("GET", "/readyz", key=False)
    assert weaker.status == 200 and weaker["isolation"]["tier"] == "reduced"
    assert set(weaker["isolation"]["missing"]) == lacking() | {"mdwe"}


@pytest.fixture
def without_cgroup():
    absent = " ".join(f"-{layer}" for layer in sorted(lacking() | ({"ids"} if os.geteuid() else set())))
    return {"HATCHERY_ISOLATION_REQUIRE": f"all {absent}", "HATCHERY_ISOLATION_CGROUP": "none",
            "HATCHERY_LIMITS_MEMORY": "96M", "HATCHERY_LIMITS_PROCESSES": "16"}


def test_without_a_cgroup_memory_of_a_process_is_limited(without_cgroup):
    done = hatchery("run", "-", stdin="print('before', flush=True)\nb = bytearray(256 << 20)\nprint('after')",
                    env=without_cgroup)
    assert done.stdout == "before\n" and "MemoryError" in done.stderr and done.returncode == 1


@pytest.mark.parametrize("who", ["children", "orphans"])
def test_without_a_cgroup_memory_of_a_run_is_watched(without_cgroup, who):
    """Eight processes that each stay below the limit; the orphans are init's children and nobody else's."""
    done = hatchery("run", "-", env=without_cgroup, stdin=f"""
import os, time
print("before", flush=True)
for _ in range(8):
    child = os.fork()
    if child == 0:
        if {who == "orphans"} and os.fork():
            os._exit(0)
        block = bytearray(os.urandom(1)) * (40 << 20)
        time.sleep(60)
        os._exit(0)
    if {who == "orphans"}:
        os.waitpid(child, 0)
time.sleep(60)
print("after")
""")
    assert done.stdout == "before\n"
    assert done.returncode == 137 and "Memory limit exceeded (96 MiB)" in done.stderr


def test_without_a_cgroup_what_processes_share_is_counted_once(without_cgroup):
    done = hatchery("run", "-", env=without_cgroup, stdin="""
import os, time
block = bytearray(os.urandom(1)) * (40 << 20)
children = []
for _ in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        time.sleep(1)
        os._exit(0)
for child in children:
    os.waitpid(child, 0)
print("after")
""")
    assert (done.returncode, done.stdout) == (0, "after\n"), done.stderr


def test_without_a_cgroup_processes_are_limited(without_cgroup):
    done = hatchery("run", "-", env=without_cgroup, stdin="""
import os, time
made = 0
try:
    while made < 1000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except BlockingIOError:
    print("refused after", made)
if made >= 16:
    time.sleep(60)  # the watch looks ten times a second
""")
    if os.geteuid() == 0:  # by the id of the box's own
        words = done.stdout.split()
        assert words[:2] == ["refused", "after"] and int(words[2]) < 16, (done.stdout, done.stderr)
    else:  # by the watch
        assert done.returncode == 137 and "Too many processes (16)" in done.stderr


def test_without_a_cgroup_threads_count_as_processes(without_cgroup):
    done = hatchery("run", "-", env=without_cgroup, stdin="""
import threading, time
threading.stack_size(65536)  # or the stacks would be refused as memory
try:
    for _ in range(40):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
except RuntimeError:
    print("refused")
else:
    time.sleep(60)
""")
    assert "refused" in done.stdout if os.geteuid() == 0 else "Too many processes (16)" in done.stderr
