# SPDX-License-Identifier: Apache-2.0
"""packaging/systemd: what systemd's own tools say of the units, and what the jail says under their hardening."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from service import HATCHERY, ROOT, SANITIZED

UNITS = ROOT / "packaging" / "systemd"
pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")


@pytest.fixture
def units(tmp_path):
    """The units as they are installed, but for the executable, whose path has no space."""
    (tmp_path / "hatchery").symlink_to(HATCHERY)
    for name in ("hatchery.service.in", "hatchery.socket"):
        text = (UNITS / name).read_text().replace("@BINDIR@", str(tmp_path)).replace("@SYSCONFDIR@", "/etc")
        (tmp_path / name.removesuffix(".in")).write_text(text)
    return tmp_path


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "LC_ALL": "C.UTF-8"})


def test_systemd_finds_nothing_wrong(units):
    done = analyze("verify", "--man=no", units / "hatchery.service", units / "hatchery.socket")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_manual_has_the_figure_and_what_is_off(units):
    text = analyze("security", "--offline=true", units / "hatchery.service").stdout
    figure = re.search(r"exposure level for hatchery.service: (\S+)", text)[1]
    assert f"an exposure of {figure}" in (ROOT / "docs" / "systemd.md").read_text()
    unit = (UNITS / "hatchery.service.in").read_text()
    for name in {match[1] for match in re.finditer(r"^✗ (\w+)=", text, re.M)}:
        assert re.search(rf"^(# .*\b)?{name}=", unit, re.M), f"{name}= is neither on nor named with a reason"


def test_the_user_is_made(tmp_path):
    if not shutil.which("systemd-sysusers"):
        pytest.skip("systemd-sysusers is not here")
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", UNITS / "hatchery.sysusers"], check=True, timeout=60)
    assert re.search(r"^hatchery:", (tmp_path / "etc" / "passwd").read_text(), re.M)


@pytest.mark.skipif(os.geteuid() != 0 or SANITIZED, reason="only root can do by hand what systemd does, and a sanitizer asks for more")
def test_every_layer_holds_under_the_hardening():
    """As far as it can be had without systemd as process 1: sandbox.py."""
    state = pathlib.Path("/var/lib/hatchery")
    there = state.exists()
    state.mkdir(exist_ok=True)
    try:
        done = subprocess.run([sys.executable, ROOT / "tests" / "systemd" / "sandbox.py", HATCHERY, "doctor"],
                              capture_output=True, text=True, timeout=120)
    finally:
        if not there:
            state.rmdir()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search("missing|MISSING|off ", done.stdout)
