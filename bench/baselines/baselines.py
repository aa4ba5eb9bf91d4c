# SPDX-License-Identifier: Apache-2.0
#
# What Hatchery is set beside, and what each needs. Nothing here has Hatchery's walls; bwrap has some.

import os
import shutil
import subprocess

from servers import BENCH, PYTHON, Server, find_program

BWRAP = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--proc", "/proc",
         "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv"]

# name: the words before the program's text
COMMANDS = {"python3 -c": [PYTHON, "-c"],
            "python3 -I -S -c": [PYTHON, "-I", "-S", "-c"],
            "bwrap python3 -c": [*BWRAP, PYTHON, "-c"]}


def fork_argv(build, parents):
    """A bare fork of a warm interpreter."""
    return [find_program("bench-fork", build), "--parents", str(parents), "--warmup", "20"]


def command_argv(build, name):
    """The baseline of this name in COMMANDS, or None where its program is missing or not allowed to work."""
    words = COMMANDS[name]
    if not shutil.which(words[0]):
        return None
    tried = subprocess.run([*words, "print('works')"], capture_output=True, text=True, check=False)
    return [find_program("bench-fork", build), "--warmup", "2", "--", *words] if tried.stdout == "works\n" else None


def flask_missing():
    """The Debian package that the Flask baseline lacks, or None."""
    for module, package in (("flask", "python3-flask"), ("gunicorn", "gunicorn")):
        if subprocess.run([PYTHON, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False).returncode:
            return package
    return None


def start_flask():
    """Flask under gunicorn, a process a core and threads, as its documentation has it."""
    argv = [PYTHON, "-m", "gunicorn", "--chdir", str(BENCH / "baselines"), "--bind", "127.0.0.1:0", "--worker-class",
            "gthread", "--workers", str(os.cpu_count() or 1), "--threads", "8", "--keep-alive", "80", "flask_app:app"]
    return Server("flask", argv, address_on="stderr", PYTHONDONTWRITEBYTECODE="1")
