#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# From measurements to docs/performance.md and README.md. page.py [FILE ...]: take what `bench.py --json` and
# `curves.py --json` have written (the rounds of several runs of the bench are one measurement), keep what is shown in
# bench/figures.json, write the tables of both pages and draw the pictures. Without FILE: the same of bench/figures.json.
# A table stands between <!-- figures: NAME --> and <!-- end of figures -->.

import json
import pathlib
import re
import sys

import bench
import pictures
from servers import BENCH

PAGES = [BENCH.parent / "docs" / "performance.md", BENCH.parent / "README.md"]


def take(files):
    """What the pages show of these measurements, and what they showed before of all others."""
    measured = [json.loads(pathlib.Path(file).read_text(encoding="utf-8")) for file in files]
    rounds = [turn for found in measured for turn in found.get("rounds", [])]
    kept = json.loads(pictures.FIGURES.read_text(encoding="utf-8")) if pictures.FIGURES.exists() else {}
    for found in measured:
        on = {"machine": found["machine"]}
        kept.update({name: {**on, **found[name]} for name in ("load", "cores") if name in found})
        if "rounds" in found:
            kept.update(on)
    if rounds:
        kept.update(rounds=len(rounds), targets=bench.summarise(rounds), phases=bench.phases(rounds), rows=bench.compare(rounds))
    return kept


def table(heads, rows):
    def line(cells):
        return "| " + " | ".join(cells) + " |\n"
    return line(heads) + "|" + "---|" * len(heads) + "\n" + "".join(map(line, rows))


def costs(found):
    rows = []
    for name, isolation, target, several in (
            ("Hatchery, a request every 20 ms", "all of the above", "W1 every 20 ms", None),
            ("Hatchery, one request after the other", "all of the above", "W1 one connection", "W1 8 connections"),
            ("`python3 -c`, no HTTP", "none", "python3 -c", None),
            ("`bwrap python3 -c`, no HTTP", "namespaces", "bwrap python3 -c", None),
            ("Flask under gunicorn, which starts `python3`", "none", "flask one connection", "flask 8 connections")):
        one = found["targets"][target]
        rows.append([name, isolation, f"{one['p50_us'] / 1000:.1f} ms", f"{one['p99_us'] / 1000:.1f} ms",
                     "" if "every" in target else f"{one['rps']:.0f}", f"{found['targets'][several]['rps']:.0f}" if several else ""])
    return table(["", "isolation", "median", "99 % within", "1 client", "8 clients"], rows)


def goals(found):
    return table(["", "median", "min to max", "at least", "aim", ""], [
        [row["row"], f"{row['median']:.2f}", f"{row['min']:.2f} to {row['max']:.2f}",
         f"{'≤' if row['bound'] == '<=' else '≥'} {row['least']:g}" if row["least"] is not None else "",
         f"{row['aim']:g}" if row["aim"] is not None else "", row["verdict"]] for row in found["rows"]])


def targets(found):
    return table(["", "p50, µs", "p95, µs", "p99, µs", "a second"], [
        [name, *(f"{row[figure]:,.0f}" for figure in bench.FIGURES[:3]), f"{row['rps']:,.1f}" if row["rps"] < 100 else f"{row['rps']:,.0f}"]
        for name, row in found["targets"].items()])


def phases(found):
    columns = found["phases"]["request"]
    names = dict.fromkeys(phase for column in columns.values() for phase in column)
    def cell(us):
        return f"{us:.1f}" if us < 10 else f"{us:,.0f}"
    return table(["µs", *columns], [[phase, *(cell(column.get(phase, 0)) for column in columns.values())] for phase in names]
                 + [["**together**", *(f"**{sum(column.values()):,.0f}**" for column in columns.values())]])


def load(found):
    return table(["share", "requests a second", "p50, ms", "p95, ms", "p99, ms"], [
        [f"{step['share']:.0%}", f"{step['rps']:,.0f}", *(f"{step[name] / 1000:,.2f}" for name in bench.FIGURES[:3])]
        for step in found["load"]["steps"]])


def cores(found):
    rows = found["cores"]["rows"]
    counts = list(next(iter(rows.values())))
    return table(["", *(f"{n} core{'s' * (int(n) > 1)}" for n in counts)], [
        [name, *(f"{row[n]:,.0f}" + (" µs" if "p50" in name else "") for n in counts)] for name, row in rows.items()])


def measured(found):
    """Where the figures are from, as a sentence of the page."""
    return f"Measured {pictures.where(found['machine'], found['rounds'])}.\n"


TABLES = {"costs": costs, "goals": goals, "targets": targets, "phases": phases, "load": load, "cores": cores, "measured": measured}


def fill(text, found):
    """The page with the tables of these figures."""
    def one(match):
        return f"{match[1]}\n{TABLES[match[2]](found)}\n{match[3]}"
    return re.sub(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", one, text, flags=re.S)


def main(files):
    found = take(files)
    pictures.FIGURES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    pictures.draw(found, pictures.PICTURES)


if __name__ == "__main__":
    main(sys.argv[1:])
