# SPDX-License-Identifier: Apache-2.0
"""Hatchery where a container engine would have put it: `--user 1000 --cap-drop ALL --security-opt no-new-privileges
--read-only --tmpfs /tmp --tmpfs /run`, made with unshare and setpriv."""
import os
import re
import shutil
import stat

import pytest

from ordinary import executables_for_all, refused_layers, suggestion
from service import Service, hatchery

ENTER = r"""
set -e
bin=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755,nosuid,nodev run /run
mkdir /run/hatchery
mount --bind "$bin" /run/hatchery
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec tmp /tmp
mount --bind /proc/sys /proc/sys
for kept in / /sys /proc/sys; do mount -o remount,bind,ro "$kept"; done
mount -t tmpfs -o ro,size=0 masked /proc/driver 2>/dev/null || true
cd /
exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay out a container's mounts"),
    pytest.mark.skipif(not shutil.which("setpriv") or not shutil.which("unshare"), reason="no setpriv or unshare here"),
]
PROGRAM = "/run/hatchery/hatchery"


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    bin = tmp_path_factory.mktemp("bin")
    executables_for_all(bin)
    return ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(bin)]


@pytest.fixture(scope="module")
def offered(container):
    done = hatchery("serve", "--listen", "127.0.0.1:0", key="k", prefix=container, program=PROGRAM,
                    env={"HATCHERY_ISOLATION_REQUIRE": "all"})
    assert done.returncode not in (0, 2), done
    layers = refused_layers(done.stderr)
    assert layers["ids"] == "EPERM" and layers["cgroup"] in ("EROFS", "EACCES"), done.stderr
    return suggestion(done.stderr)


@pytest.fixture(scope="module")
def service(container, offered):
    with Service(prefix=container, program=PROGRAM, env={"HATCHERY_ISOLATION_REQUIRE": offered}) as service:
        yield service


def test_the_container_is_one(service):
    status = open(f"/proc/{service.pid}/status").read()
    assert re.search(r"^Uid:\s+1000\s", status, re.M)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(re.search(rf"^{name}:\s+(\w+)$", status, re.M)[1], 16) == 0, name
    assert os.statvfs(f"/proc/{service.pid}/root/").f_flag & os.ST_RDONLY


def test_it_runs_programs(service):
    assert service.run("import json\nreturn json.loads('[1, 2]')").response["result"] == [1, 2]
    for _ in range(20):
        assert service.run("print('again')").stdout == "again\n"


def test_the_boxes_scratch_is_writable_and_nothing_else_is(service):
    reply = service.run("""
open("note", "w").write("mine")
open("/tmp/note", "w").write("mine")
refused = []
for path in ("/usr/lib/x", "/etc/x", "/run/x", "/x"):
    try:
        open(path, "w")
    except OSError:
        refused.append(path)
return [open("note").read(), len(refused)]
""")
    assert reply.response["result"] == ["mine", 4]


def test_nothing_stays(service):
    service.run("open('/tmp/left', 'w').write('x')")
    assert service.run("import os\nreturn os.listdir('/tmp') + os.listdir('.')").response["result"] == []
    root = f"/proc/{service.pid}/root/tmp"
    assert stat.S_ISDIR(os.stat(root).st_mode) and os.listdir(root) == []


def test_root_by_name_only_is_told_what_it_lacks():
    prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    done = hatchery("run", "-", stdin="print('ran')", prefix=prefix, env={"HATCHERY_ISOLATION_REQUIRE": "ids"})
    assert done.returncode != 0 and done.stdout == ""
    assert refused_layers(done.stderr)["ids"] == "EPERM"
    assert "SETUID, SETGID, SETPCAP, KILL" in done.stderr


def test_root_without_capabilities_can_not_be_mapped():
    prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    done = hatchery("run", "-", stdin="print('ran')", prefix=prefix,
                    env={"HATCHERY_ISOLATION_REQUIRE": "seccomp", "HATCHERY_ISOLATION_CGROUP": "none"})
    assert done.returncode != 0 and done.stdout == ""
    assert refused_layers(done.stderr) == {"namespaces": "EPERM"}
    assert "start as another user" in done.stderr
