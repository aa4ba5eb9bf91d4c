# SPDX-License-Identifier: Apache-2.0
"""docs/syscalls.md has a line for every call that a program may make, and every word that an argument may be."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = [line.split("|")[1:-1] for line in (ROOT / "docs/syscalls.md").read_text().splitlines() if line.startswith("| `")]
DEF = (ROOT / "src/box/seccomp.def").read_text()
SOURCE = (ROOT / "src/box/seccomp.c").read_text()


def names(text):
    return re.findall(r"`(\w+)`", text)


def test_every_call_once():
    code = re.sub(r"/\*.*?\*/", "", DEF, flags=re.S)
    by_rule = re.findall(r"[a-z]\w+", DEF.partition("by name:")[2].partition("*/")[0])
    told = [name for row in TABLE for name in names(row[0])]
    assert sorted(told) == sorted([*re.findall(r"\b(?:ALLOW|EPOLL)\((\w+)\)", code), *by_rule])


def test_every_word_of_an_argument():
    """The lists of seccomp.c: what an ioctl, fcntl, prctl, getsockopt or madvise may ask for."""
    for call in ("ioctl", "fcntl", "prctl", "getsockopt", "madvise"):
        name = re.search(rf'WORDS\("{call}", \d, E\w+, (\w+)\)', SOURCE)[1]
        words = set(re.findall(r"\b[A-Z]+_?[A-Z_]+\b", re.search(rf"\b{name}\[\] = \{{(.*?)\}};", SOURCE, re.S)[1]))
        told = next(row for row in TABLE if call in names(row[0]))
        assert words <= set(names("".join(told))), call


def test_every_question_is_answered():
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in TABLE)
