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
