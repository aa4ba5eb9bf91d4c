#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which room of src/ includes which, drawn from the sources.  An include reaches down, never up.

    tests/includes.py       the arrows, with the number of includes; status 1 where one is not in ROOMS

A room is a directory of src/ with its files.  ROOMS names each one, the lowest first, and after it the rooms that it may
include.  It may name only rooms above it in the list, so no circle is possible.  Where a new arrow points down and is
needed, add its room to the line; where it points up, move what both rooms need to a lower one.
"""
import collections
import pathlib
import re
import sys

SRC = pathlib.Path(__file__).resolve().parents[1] / "src"

ROOMS = """
base
conf                 base
box                  base
courier              base
zygote               base box
server/metrics       base box
server/http          base
server/store         base server/metrics
server/store/sqlite  base server/metrics server/store
server/pool          base box server/metrics
server/jobs          base courier server/metrics server/store server/pool
server/api           base box server/metrics server/http server/store server/pool server/jobs
server               base box server/metrics server/http server/store server/pool server/jobs server/api
supervisor           base conf box courier
command/check        base conf box supervisor
command              base conf box supervisor command/check
"""


def allowed():
    """{room: the rooms that it may include}; wrong where a room is named before it has its line."""
    table = {}
    for room, *below in map(str.split, ROOMS.strip().splitlines()):
        unknown = [name for name in below if name not in table]
        if unknown:
            sys.exit(f"includes.py: ROOMS: {room} may include only rooms above its line, and {unknown[0]} is not")
        table[room] = set(below)
    return table


def includes():
    """(file, line, included file) below src/.  A name without a directory is a file that the build makes."""
    for path in sorted(SRC.rglob("*")):
        if path.suffix not in (".c", ".h", ".def"):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if match and ("/" in match[1] or (path.parent / match[1]).exists()):
                yield path.relative_to(SRC), number, pathlib.PurePosixPath(match[1])


def main():
    table = allowed()
    arrows, wrong = {room: collections.Counter() for room in table}, []
    for path, number, target in includes():
        here, there = str(path.parent), str(target.parent)
        where = f'src/{path}:{number}: "{target}"'
        if not (SRC / target).is_file():
            wrong.append(f"{where}: write it from src/")
        elif here not in table or there not in table:
            wrong.append(f"{where}: ROOMS has no line for {here if here not in table else there}")
        elif here != there:
            arrows[here][there] += 1
            if there not in table[here]:
                wrong.append(f"{where}: {here} must not include {there}")
    width = max(map(len, table))
    for room, below in arrows.items():
        print(f"{room:{width}}  " + "  ".join(f"{name} {below[name]}" for name in table if below[name]))
    print("\n".join(["", *wrong]) if wrong else f"{sum(map(len, arrows.values()))} arrows, all of them down")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
