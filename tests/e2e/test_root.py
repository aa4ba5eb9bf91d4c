# SPDX-License-Identifier: Apache-2.0
"""isolation.root: what programs see comes from a directory of the service's own, not from the host."""
import glob
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from service import HATCHERY, hatchery

STDLIB = pathlib.Path("/usr/lib/python3.11")
MARKER = "this_is_not_the_hosts"


def libraries(*files):
    """The shared libraries that these need, as ldd(1) finds them."""
    text = subprocess.run(["ldd", *files], capture_output=True, text=True).stdout
    return {path for path in re.findall(r"(?:=> |^\s+)(/\S+)", text, re.M)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("root")
    top.chmod(0o755)  # the jail's ids are nobody's
    top.parent.chmod(0o755)
    shutil.copytree(STDLIB, top / STDLIB.relative_to("/"), symlinks=True,
                    ignore=shutil.ignore_patterns("test", "config-*", "__pycache__", "idlelib", "ensurepip"))
    (top / f"usr/lib/python3.11/{MARKER}.py").write_text("here = True\n")
    programs = [str(pathlib.Path(HATCHERY).with_name("hatchery-zygote")), *glob.glob(f"{STDLIB}/lib-dynload/*.so")]
    for path in libraries(*programs):
        real = pathlib.Path("/usr" + path if path.startswith(("/lib/", "/lib64/")) else path)
        (top / real.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(real, top / real.relative_to("/"))
    return top


def test_programs_see_the_directory(root, make_server):
    s = make_server(env={"HATCHERY_ISOLATION_ROOT": str(root)})
    reply = s.run(f"import {MARKER}, os, json, sqlite3\nreturn [os.path.exists('/usr/bin'), os.path.exists('/dev/null'), "
                  "os.stat('/usr/lib').st_ino]")
    assert reply.response["result"] == [False, True, os.stat(root / "usr/lib").st_ino]
    host = s.run("import os\nos.open('/usr/lib/x', os.O_CREAT | os.O_WRONLY)")
    assert "Read-only file system" in host["error"] or "Permission denied" in host["error"]


@pytest.mark.skipif(os.geteuid() != 0, reason="what is shown must be root's")
def test_what_packages_reach_for(root, make_server):
    """What a link in dist-packages leads to below /usr/share, and what dpkg says that a Python package has there; nothing
    that others could have put there, and no link that leads elsewhere."""
    packages, lists = root / "usr/lib/python3/dist-packages", root / "var/lib/dpkg/info"
    for path in (packages / "deep/er", lists, root / "etc/secret", root / "var/lib/secret", root / "home/secret"):
        path.mkdir(parents=True)
    for name in ("linked", "relative", "listed", "theirs", "open", "closed", "other"):
        (root / "usr/share" / name).mkdir(parents=True)
        (root / "usr/share" / name / "file").write_text(name)
    os.chown(root / "usr/share/theirs", 12345, 12345)
    (root / "usr/share/open").chmod(0o777)
    (root / "usr/share/closed").chmod(0o700)
    (root / "usr/share/led").symlink_to("../../etc/secret")
    targets = ["/usr/share/linked/file", "../../../../../share/relative/file", "/usr/share/theirs", "/usr/share/open/file",
               "/usr/share/closed", "/usr/share/led", "/usr/share/../../etc/secret", "/etc/secret", "/var/lib/secret",
               "../../../../../../../../home/secret", "/usr/share"]
    for i, target in enumerate(targets):
        (packages / f"deep/er/link{i}").symlink_to(target)
    (lists / "python3-some.list").write_text("/.\n/usr/lib/python3/dist-packages/some.py\n/usr/share/listed\n/usr/share/doc/x\n")
    (lists / "python-is-none.list").write_text("/.\n/usr/share/other\n")
    (lists / "other.list").write_text("/usr/lib/python3/dist-packages/x.py\n/usr/share/other/file\n")
    s = make_server(env={"HATCHERY_ISOLATION_ROOT": str(root)})
    found = s.run("import os\nreturn sorted(os.listdir('/usr/share')), sorted(os.listdir('/')), sorted(os.listdir('/etc')), "
                  "open('/usr/lib/python3/dist-packages/deep/er/link0').read(), "
                  "open('/usr/lib/python3/dist-packages/deep/er/link1').read()").response["result"]
    shares, top, etc, first, second = found
    assert set(shares) & {"linked", "relative", "listed", "theirs", "open", "closed", "led", "other"} == {"linked", "relative", "listed"}
    assert (first, second) == ("linked", "relative") and not {"var", "home"} & set(top) and "secret" not in etc


@pytest.mark.parametrize("content", [[], ["usr"]])
def test_a_directory_without_a_python_is_refused(tmp_path, content):
    for name in content:
        (tmp_path / name).mkdir()
    done = hatchery("run", "-", stdin="print(1)", env={"HATCHERY_ISOLATION_ROOT": str(tmp_path)})
    assert done.returncode != 0 and done.stdout == ""
    assert "isolation.root" in done.stderr and "ENOENT" in done.stderr


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    done = hatchery("run", "-", stdin="print(1)", env={"HATCHERY_ISOLATION_ROOT": str(tmp_path / "none")})
    assert done.returncode != 0 and done.stdout == ""
    assert "isolation.root" in done.stderr
