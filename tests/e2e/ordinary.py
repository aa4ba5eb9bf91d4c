# SPDX-License-Identifier: Apache-2.0
"""Starting Hatchery as somebody who is not root."""
import os
import pathlib
import re
import shutil

import pytest

from service import HATCHERY

USER = 65534
EXECUTABLES = ["hatchery", "hatchery-server", "hatchery-zygote", "hatchery-init", "hatchery-courier"]


def as_user():
    """Words that make a command an ordinary user's: none where we are one."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not here")
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


def executables_for_all(directory):
    """The command where any user may execute it, whatever the modes of the directories above the tree: a copy."""
    directory = pathlib.Path(directory)
    beside = pathlib.Path(HATCHERY).resolve().parent
    for name in EXECUTABLES:
        source = beside / name
        if not source.exists():
            pytest.skip(f"{name} is not beside {HATCHERY}: only a build tree can be copied")
        shutil.copy2(source, directory / name)
        (directory / name).chmod(0o755)
    for above in [directory, *directory.parents]:
        if above.stat().st_uid == os.geteuid() and above.stat().st_mode & 0o055 != 0o055:
            above.chmod(above.stat().st_mode | 0o055)
        if above.name.startswith("pytest-of-"):
            break
    return str(directory / "hatchery")


def suggestion(text):
    """The value that a refused start offers: "isolation.require = ..."."""
    match = re.search(r"^hatchery: to run in a weaker jail, name it: isolation\.require = (.+)$", text, re.M)
    assert match, text
    return match[1]


def refused_layers(text):
    """The layers that a refused start names, with their errno."""
    return dict(re.findall(r"^hatchery: the layer '(\w+)' \(.*?\) is required and can't be had \((\w+)\): \S", text, re.M))
