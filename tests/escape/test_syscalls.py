# SPDX-License-Identifier: Apache-2.0
"""docs/syscalls.md has a line for every call that a program may make, and every word that an argument may be."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = [line.split("|")[1:-1] for line in (ROOT / "docs/syscalls.md").read_text().splitlines() if line.startswith("| `")]
DEF = (ROOT / "src/box/seccomp.def").read_text()
CODE = re.sub(r"^#.*$", "", re.sub(r"/\*.*?\*/", "", DEF, flags=re.S), flags=re.M)


def names(text):
    return re.findall(r"`(\w+)`", text)


def test_every_call_once():
    asked = re.findall(r"\b(?:ALLOW|EPOLL|WHEN|REFUSE|WITHOUT|GUARDED|VALUES|ONLY|CALLBACKS)\((\w+)", CODE)
    told = [name for row in TABLE for name in names(row[0])]
    assert sorted(told) == sorted(set(asked))


def test_every_word_of_an_argument():
    """The lists of seccomp.def: what an ioctl, fcntl, prctl, getsockopt or madvise may ask for."""
    for call in ("ioctl", "fcntl", "prctl", "getsockopt", "madvise"):
        words = set(re.findall(r"\b[A-Z]+_?[A-Z_]+\b", re.search(rf"\b(?:VALUES|ONLY)\({call}, \d, E\w+, (.*?)\)", CODE, re.S)[1]))
        told = next(row for row in TABLE if call in names(row[0]))
        assert words <= set(names("".join(told))), call


def test_every_question_is_answered():
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in TABLE)
