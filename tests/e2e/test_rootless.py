# SPDX-License-Identifier: Apache-2.0
"""An ordinary user starts Hatchery: refused by default, because a layer is missing; works in the jail that it names."""
import os
import re
import subprocess

import pytest

from ordinary import as_user, executables_for_all, refused_layers, suggestion
from processes import wait_for
from service import Service, hatchery


@pytest.fixture(scope="module")
def user():
    return as_user()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return executables_for_all(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def offered(user, program):
    """What the refusal of the default offers."""
    return suggestion(refusal(user, program, "all").stderr)


@pytest.fixture(scope="module")
def rootless(user, program, offered):
    with Service(prefix=user, program=program, env={"HATCHERY_ISOLATION_REQUIRE": offered,
                                                    "HATCHERY_LIMITS_PROCESSES": "24",
                                                    "HATCHERY_LIMITS_MEMORY": "128M"}) as service:
        yield service


def refusal(user, program, require):
    done = hatchery("serve", "--listen", "127.0.0.1:0", key="k", prefix=user, program=program,
                    env={"HATCHERY_ISOLATION_REQUIRE": require})
    assert done.returncode not in (0, 2), done
    assert "listening" not in done.stdout
    return done


def test_the_default_is_refused_by_name(user, program):
    text = refusal(user, program, "all").stderr
    layers = refused_layers(text)
    assert layers["ids"] == "EPERM"
    assert "start as root" in text
    assert "-ids" in suggestion(text).split()
    assert ("cgroup" in layers) == ("-cgroup" in suggestion(text).split())


def test_ids_required_by_name_are_refused(user, program):
    assert refused_layers(refusal(user, program, "ids seccomp").stderr)["ids"] == "EPERM"


def test_the_log_names_every_missing_layer(rootless, offered):
    for word in offered.split()[1:]:
        assert any(line["layer"] == word[1:] for line in rootless.log() if "layer" in line)


def test_it_runs_programs(rootless):
    reply = rootless.run("import os\nprint(os.getuid(), os.getcwd())\nreturn 6 * 7")
    assert reply.response["result"] == 42
    assert reply.response["stdout"] == "0 /run/box/work\n"  # root of nothing: see the next test


def test_the_box_is_root_of_nothing(rootless):
    reply = rootless.run("""
import os, errno
def tried(what, *arguments):
    try:
        what(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "done"
print("here", flush=True)
return [tried(os.chroot, "/"), tried(os.setuid, 1), tried(os.unlink, "/usr/bin/python3"), tried(os.kill, 1, 9),
        tried(open, "/proc/self/status"), tried(os.listdir, "/home")]
""")
    assert reply.response["stdout"] == "here\n"
    assert "done" not in reply.response["result"][:3] + reply.response["result"][4:]
    # init is of the box's user where ids are shared, and yet the box goes on: pid 1 gets no signal from inside
    assert reply.response["result"][3] in ("done", "EPERM")


def test_memory_is_limited(rootless):
    reply = rootless.run("print('before', flush=True)\nb = bytearray(400 << 20)\nreturn len(b)")
    assert reply.status == 400 and reply["stdout"] == "before\n"
    assert reply["reason"] == "memory" or "MemoryError" in reply["error"]


def test_a_fork_bomb_ends_with_its_run(rootless, offered):
    bomb = """
import os, time
print("bomb", flush=True)
while True:
    try:
        if os.fork() == 0:
            time.sleep(0.01)
    except OSError:
        time.sleep(0.01)
"""
    watched = "-cgroup" in offered.split()
    reply = rootless.run(bomb, timeout=30 if watched else 2)
    assert "bomb" in reply["stdout"]
    if watched:
        assert reply.status == 400 and "Too many processes (24)" in reply["error"]
    else:
        assert reply.status == 408  # the cgroup refuses each fork, and the program goes on trying
    wait_for(lambda: rootless.run("return 1").status == 200, 60, "runs work again after the bomb")


def test_nothing_runs_as_anybody_else(rootless):
    """Every process of a rootless service belongs to the user who started it, with no capability on the host."""
    owner = os.stat(f"/proc/{rootless.pid}").st_uid
    for pid in [rootless.pid, rootless.child("server")]:
        status = open(f"/proc/{pid}/status").read()
        assert re.search(r"^Uid:\s+(\d+)\s+\1\s+\1\s+\1$", status, re.M)[1] == str(owner) or owner == 0
        if os.geteuid() == 0:
            assert int(re.search(r"^CapEff:\s+(\w+)$", status, re.M)[1], 16) == 0


def test_run_works_too(user, program, offered):
    done = hatchery("run", "-", stdin="print('ran'); raise SystemExit(3)", prefix=user, program=program,
                    env={"HATCHERY_ISOLATION_REQUIRE": offered})
    assert (done.returncode, done.stdout) == (3, "ran\n"), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes away what only root can take away")
def test_user_namespaces_forbidden(program, offered):
    """As where kernel.unprivileged_userns_clone = 0: the refusal says which layer and which sysctl."""
    limit = ["unshare", "--user", "--map-root-user", "sh", "-c",
             'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    if subprocess.run([*limit, "true"], capture_output=True).returncode:
        pytest.skip("a user namespace's own limit can't be set here")
    done = hatchery("run", "-", stdin="print('ran')", prefix=limit, program=program,
                    env={"HATCHERY_ISOLATION_REQUIRE": "all -ids -cgroup " + offered.removeprefix("all")})
    assert done.returncode != 0 and done.stdout == ""
    assert refused_layers(done.stderr) == {"namespaces": "ENOSPC"}
    assert "as root: sysctl -w user.max_user_namespaces=10000" in done.stderr
