# SPDX-License-Identifier: Apache-2.0
"""What the Debian package is made of agrees with the tree.  The package itself is tested by `make test-package`."""
import re
import shutil
import subprocess

import pytest

from service import ROOT, VERSION

MESON = (ROOT / "meson.build").read_text()


def test_the_version_is_the_trees():
    assert (ROOT / "debian/changelog").read_text().startswith(f"hatchery ({VERSION}) ")


def test_it_needs_to_be_built_what_make_installs():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installed = set(re.search(r"^BUILD_PACKAGES := (.*)$", makefile, re.M)[1].split())
    source = (ROOT / "debian/control").read_text().partition("\n\n")[0]
    listed = {line.split()[0].rstrip(",") for line in source.partition("Build-Depends:\n")[2].splitlines() if line.startswith(" ")}
    # what every build has, and what is needed beside the build
    assert listed - {"debhelper-compat"} == installed - {"gcc", "libc6-dev", "ninja-build", "ca-certificates", "python3", "curl"}


def test_who_maintains_it():
    for name in ("control", "changelog", "copyright"):
        assert "Hatchery maintainers <maintainers@hatchery.invalid>" in (ROOT / "debian" / name).read_text()
    assert "license: 'Apache-2.0'" in MESON and "License: Apache-2.0\n" in (ROOT / "debian/copyright").read_text()


@pytest.mark.skipif(not shutil.which("apparmor_parser"), reason="apparmor_parser is not here (Debian: apparmor)")
def test_apparmor_reads_the_profile(tmp_path):
    """The parser of 3.0 knows neither the rule nor that ABI: it reads the rest."""
    text = (ROOT / "packaging/apparmor/hatchery").read_text()
    assert re.search(r"^  userns,$", text, re.M)
    version = re.search(r"version (\d+)", subprocess.run(["apparmor_parser", "--version"], capture_output=True, text=True).stdout)[1]
    if int(version) < 4:
        text = re.sub(r"^  userns,$", "", text, flags=re.M).replace("abi/4.0", "abi/3.0")
    (tmp_path / "hatchery").write_text(text)
    result = subprocess.run(["apparmor_parser", "-QK", tmp_path / "hatchery"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
