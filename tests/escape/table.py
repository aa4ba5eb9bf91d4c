# SPDX-License-Identifier: Apache-2.0
"""The attempts: programs that try to get out of the jail, with what must become of them.

attempts/*.py hold them one after the other, each a block of `# key: value` lines, comments and a program:

    attempt    its name
    wall       what it runs into: a name in walls.py, or `accepted`
    expect     what must be seen, alternatives separated by ` | `:
                   REFUSED word    the verdict line
                   THROUGH what    a known channel: it works
                   run reason      how the run ends (success, or the reply's "reason"), and words of its message
                   result JSON     the run's result
                   DISTINCT, SAME  the VALUE lines of several runs, compared
    server     a line of configuration, section.key=value, that it needs a server of its own with
    timeout    the request's, in seconds; 20 otherwise
    within     seconds in which the reply must be here
    twice      yes: in two boxes at once
    runs       how often, one after the other
    gone       no process of this name is left soon after the reply
    truncated  the stream that was cut
    needs      the layer that holds it, where that may be left out (src/box/layers.def); or numpy
    instead    WHO: EXPECT, what stands in where that layer is missing, and what is seen then
    arch       the machine whose numbers it uses

A program is prologue.py and the block's text; nothing else is needed to make the attempt elsewhere.
"""
import dataclasses
import pathlib
import re

DIRECTORY = pathlib.Path(__file__).parent / "attempts"
KEYS = {"attempt", "wall", "expect", "server", "timeout", "within", "twice", "runs", "gone", "truncated", "needs",
        "arch", "instead"}


@dataclasses.dataclass
class Attempt:
    group: str
    name: str
    wall: str
    expect: list
    source: str
    options: dict

    @property
    def title(self):
        return f"{self.group}/{self.name}"


def parse(group, text, prologue):
    for block in re.split(r"^(?=# attempt: )", text, flags=re.M)[1:]:
        options = {}
        for line in block.splitlines():
            match = re.fullmatch(r"# (\w+): (.+)", line)
            if not match or match[1] not in KEYS:
                break
            options[match[1]] = match[2]
        name, wall, expect = options.pop("attempt"), options.pop("wall"), options.pop("expect").split(" | ")
        yield Attempt(group, name, wall, expect, prologue + "\n" + block, options)


def load():
    prologue = (DIRECTORY / "prologue.py").read_text()
    files = sorted(path for path in DIRECTORY.glob("*.py") if path.stem != "prologue")
    attempts = [attempt for path in files for attempt in parse(path.stem, path.read_text(), prologue)]
    titles = [attempt.title for attempt in attempts]
    assert len(set(titles)) == len(titles), "two attempts have the same name"
    return attempts
