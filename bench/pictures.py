#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# The pictures of docs/performance.md, drawn from the figures that page.py keeps. pictures.py [DIR]: draw them in DIR
# (default: docs/pictures). Each is a card of its own colours, light or dark as the reader's system is, and is as wide as a
# telephone can show. The same figures make the same bytes.

import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape, quoteattr

BENCH = pathlib.Path(__file__).resolve().parent
FIGURES = BENCH / "figures.json"
PICTURES = BENCH.parent / "docs" / "pictures"

WIDTH, MARGIN = 480, 16  # in the units of the drawing, which are pixels where there is room
INNER = WIDTH - 2 * MARGIN

# class: its colour on a light and on a dark card
COLOURS = {"ink": ("#1f2328", "#e6edf3"), "soft": ("#59636e", "#9ea7b3"), "own": ("#0969da", "#58a6ff"),
           "other": ("#6e7781", "#8b949e"), "c0": ("#57606a", "#9ea7b3"), "c1": ("#d0d7de", "#3d444d"),
           "c2": ("#bc4c00", "#f0883e"), "c3": ("#0969da", "#58a6ff"), "c4": ("#1a7f37", "#3fb950"),
           "c5": ("#8250df", "#bc8cff"), "c6": ("#bf3989", "#f778ba"), "on": ("#ffffff", "#0d1117"),
           "d50": ("#0969da", "#58a6ff"), "d95": ("#bc4c00", "#f0883e"), "d99": ("#8250df", "#bc8cff")}
LINES = {"grid": ("#d1d9e0", "#30363d"), "p50": ("#0969da", "#58a6ff"), "p95": ("#bc4c00", "#f0883e"),
         "p99": ("#8250df", "#bc8cff"), "whisker": ("#6e7781", "#8b949e"), "gap": ("#ffffff", "#0d1117"),
         "ownwhisker": ("#0969da", "#58a6ff")}
PERCENTILES = {"p50": "half within", "p95": "95 % within", "p99": "99 % within"}


def style():
    def rules(which):
        return "".join(f".{name}{{fill:{pair[which]}}}" for name, pair in COLOURS.items()) + \
               "".join(f".{name}{{stroke:{pair[which]}}}" for name, pair in LINES.items())
    card = ".card{fill:#fff;stroke:#d1d9e0}", ".card{fill:#0d1117;stroke:#30363d}"
    return ("text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif}.small{font-size:12px}.head{font-size:15px;font-weight:600}"
            ".strong{font-weight:600}.grid{stroke-width:1}.p50,.p95,.p99{fill:none;stroke-width:2.5;stroke-linejoin:round}"
            ".whisker,.ownwhisker{stroke-width:3;stroke-linecap:round}.gap{fill:none;stroke-width:4}"
            + rules(0) + card[0] + "@media(prefers-color-scheme:dark){" + rules(1) + card[1] + "}")


def ms(us):
    """A time in milliseconds, to two digits or three."""
    value = us / 1000
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def where(machine, rounds):
    kind = f"{machine['cores']} cores{' of a virtual machine' if machine['virtual'] else ''}, {machine['processor']}"
    how = f", median of {rounds} rounds" if rounds > 1 else ""
    return f"{machine['date']}: {kind}, Linux {machine['kernel']}{how}"


class Picture:
    """A card with a headline and a footer; what is drawn goes downwards from @y."""

    def __init__(self, title, description, footer):
        self.title, self.description, self.footer, self.parts, self.y = title, description, footer, [], 30
        self.text(MARGIN, self.y, title, "ink head")

    def add(self, part):
        self.parts.append(part)

    def text(self, x, y, words, kind, anchor="start"):
        self.add(f'<text x="{x:g}" y="{y:g}" class="{kind}"' + (f' text-anchor="{anchor}"' if anchor != "start" else "")
                 + f">{escape(words)}</text>")

    def line(self, x1, y1, x2, y2, kind):
        self.add(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" class="{kind}"/>')

    def bar(self, x, y, width, height, kind):
        self.add(f'<rect x="{x:.1f}" y="{y:g}" width="{max(width, 0.5):.1f}" height="{height}" class="{kind}"/>')

    def series(self, name, words):
        """What follows belongs to it, until end()."""
        self.add(f"<g data-series={quoteattr(name)}><title>{escape(words)}</title>")

    def end(self):
        self.add("</g>")

    def legend(self, entries, step):
        """(class, words) in as many lines as it takes; a class of LINES is a stroke."""
        x, self.y = MARGIN, self.y + 24
        for kind, words in entries:
            if x > MARGIN and x + step > WIDTH - MARGIN + 8:
                x, self.y = MARGIN, self.y + 20
            if kind in LINES:
                self.line(x, self.y - 4, x + 14, self.y - 4, kind)
            else:
                self.bar(x, self.y - 10, 12, 12, kind)
            self.text(x + 19, self.y, words, "soft")
            x += step

    def svg(self):
        words, lines = self.footer.split(" "), [""]
        for word in words:
            if len(lines[-1]) + len(word) > 70:
                lines.append("")
            lines[-1] += word + " "
        for line in lines:
            self.text(MARGIN, self.y + 26, line.strip(), "soft small")
            self.y += 17
        height = round(self.y + 24)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
                f'role="img" aria-labelledby="t d">\n<title id="t">{escape(self.title)}</title>\n'
                f'<desc id="d">{escape(self.description)}</desc>\n<style>{style()}</style>\n'
                f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="card"/>\n'
                + "\n".join(self.parts) + "\n</svg>\n")


class Scale:
    """Values to places: from @low to @high, at @start to @stop."""

    def __init__(self, low, high, start, stop, logarithmic=False):
        self.turn = math.log10 if logarithmic else float
        self.low, self.high, self.start, self.stop = self.turn(low), self.turn(high), start, stop

    def __call__(self, value):
        part = (self.turn(value) - self.low) / (self.high - self.low)
        return self.start + min(max(part, 0), 1) * (self.stop - self.start)


def decades(low, high):
    """1, 3, 10, 30 ... of milliseconds around what is in microseconds: the first and last are below and above all."""
    steps = [digit * 10 ** power for power in range(0, 8) for digit in (1, 3)]
    first = max(step for step in steps if step <= low)
    last = min(step for step in steps if step >= high)
    return [step for step in steps if first <= step <= last]


def evenly(high, parts=4):
    """0 and some round steps up to more than @high."""
    rough = high / parts
    power = 10 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= rough)
    return [step * i for i in range(math.ceil(high / step) + 1)]


# --- what runs Python, and how fast ---

ALTERNATIVES = {"W1 every 20 ms": "Hatchery, a request every 20 ms", "W1 one connection": "Hatchery, one after the other",
                "bare fork": "fork of a warm Python: no jail, no HTTP", "python3 -I -S -c": "python3 -I -S -c: no jail, no HTTP",
                "python3 -c": "python3 -c: no jail, no HTTP", "bwrap python3 -c": "python3 -c in bwrap: no HTTP",
                "flask one connection": "Flask under gunicorn: no jail"}


def latency(found):
    rows = sorted((row for row in found["targets"].items() if row[0] in ALTERNATIVES), key=lambda row: row[1]["p50_us"])
    ticks = decades(min(row["p50_us"] for _, row in rows), max(row["p99_us"] for _, row in rows))
    described = "; ".join(f"{ALTERNATIVES[name]}: {ms(row['p50_us'])} and {ms(row['p99_us'])}" for name, row in rows)
    picture = Picture('From "Hello, World!" to its output', "Half of the answers, and 99 %, come within so many milliseconds. "
                      + described + ".", where(found["machine"], found["rounds"]))
    picture.text(MARGIN, 52, "● half of the answers, and to the end of the line 99 % of them.", "soft")
    picture.text(MARGIN, 70, "The axis is logarithmic.", "soft")
    scale = Scale(ticks[0], ticks[-1], MARGIN + 8, WIDTH - MARGIN - 8, True)
    top, picture.y = 84, 84
    bottom = top + 44 * len(rows)
    for tick in ticks:
        picture.line(scale(tick), top, scale(tick), bottom, "grid")
        picture.text(scale(tick), bottom + 17, f"{tick / 1000:g}", "soft small", "middle")
    for name, row in rows:
        own = "own" if name.startswith("W1") else "other"
        picture.series(name, f"{ms(row['p50_us'])} and {ms(row['p99_us'])} ms")
        picture.text(MARGIN + 2, picture.y + 18, ALTERNATIVES[name], "ink strong" if own == "own" else "ink")
        picture.text(WIDTH - MARGIN - 2, picture.y + 18, f"{ms(row['p50_us'])} · {ms(row['p99_us'])} ms", "soft", "end")
        picture.line(scale(row["p50_us"]), picture.y + 33, scale(row["p99_us"]), picture.y + 33,
                     "ownwhisker" if own == "own" else "whisker")
        picture.add(f'<circle cx="{scale(row["p50_us"]):.1f}" cy="{picture.y + 33}" r="6" class="{own}"/>')
        picture.end()
        picture.y += 44
    picture.text(WIDTH - MARGIN, bottom + 34, "milliseconds", "soft small", "end")
    picture.y = bottom + 26
    return picture.svg()


# --- where a request's time goes ---

PHASED = {"W1 every 20 ms": "a request every 20 ms", "W1 one connection": "one connection, one after the other",
          "W1 8 connections": "eight connections at once", "W3 every 20 ms": "with numpy, a request every 20 ms"}


def phases(found):
    columns = {name: found["phases"]["request"][name] for name in PHASED if name in found["phases"]["request"]}
    names = list(dict.fromkeys(phase for column in columns.values() for phase in column))
    sums = {name: sum(column.values()) for name, column in columns.items()}
    long = "W1 8 connections"  # a bar that is cut: nearly all of it is the wait for a box
    most = max((sums[name] - column["admission"]) * 1.2 if name == long else sums[name] for name, column in columns.items())
    described = " ".join(f"{PHASED[name]}: " + ", ".join(f"{phase} {us:,.0f}" for phase, us in column.items())
                         + f", together {sums[name]:,.0f}." for name, column in columns.items())
    picture = Picture("Where a request's time goes", "Means in microseconds. " + described,
                      where(found["machine"], found["rounds"]))
    picture.legend([(f"c{i}", phase) for i, phase in enumerate(names)], 114)
    ticks = evenly(most)
    scale = Scale(0, ticks[-1], MARGIN, WIDTH - MARGIN - 8)
    top = picture.y + 14
    bottom = top + 54 * len(columns)
    for tick in ticks:
        picture.line(scale(tick), top + 4, scale(tick), bottom, "grid")
        picture.text(scale(tick), bottom + 17, f"{tick:,.0f}", "soft small", "start" if tick == 0 else "middle")
    picture.text(WIDTH - MARGIN, bottom + 34, "microseconds", "soft small", "end")
    for row, (name, column) in enumerate(columns.items()):
        y, x, cut = top + 54 * row, MARGIN, name == long and sums[name] > ticks[-1]
        picture.series(name, PHASED[name])
        picture.text(MARGIN, y + 19, PHASED[name], "ink")
        picture.text(WIDTH - MARGIN, y + 19, f"{sums[name]:,.0f} µs", "ink strong", "end")
        for i, phase in enumerate(names):
            us = column.get(phase, 0)
            width = us / ticks[-1] * (scale.stop - scale.start)
            if cut and phase == "admission":  # the bar is longer than the card: what is left of it ends at the edge
                width = scale.stop - MARGIN - (sums[name] - us) / ticks[-1] * (scale.stop - scale.start)
            picture.bar(x, y + 27, width, 22, f"c{i}")
            label = f"{us:,.0f}" + (", cut short" if cut and phase == "admission" else "")
            if width > 7.5 * len(label):
                picture.text(x + width / 2, y + 42.5, label, ("ink" if phase == "admission" else "on") + " small", "middle")
            x += width
        if cut:
            picture.add(f'<path d="M{MARGIN + 18} {y + 25}l6 13l-6 13" class="gap"/>')
        picture.end()
    picture.y = bottom + 26
    return picture.svg()


# --- lines over an axis ---


def curves(picture, xs, places, series, height, x_words):
    """Percentiles in a logarithmic panel below picture.y. @xs: words below the axis; @places: 0 to 1."""
    values = [value for line in series.values() for value in line]
    ticks = decades(min(values), max(values))
    left, right, top = MARGIN + 42, WIDTH - MARGIN - 26, picture.y + 30
    scale, across = Scale(ticks[0], ticks[-1], top + height, top, True), Scale(0, 1, left + 12, right)
    picture.text(MARGIN, top - 12, "milliseconds from request to reply", "soft small")
    for tick in ticks:
        picture.line(left, scale(tick), right + 12, scale(tick), "grid")
        picture.text(left - 6, scale(tick) + 4, f"{tick / 1000:,g}", "soft small", "end")
    for words, place in zip(xs, places):
        picture.text(across(place), top + height + 18, words, "soft small", "middle")
    if x_words:
        picture.text(right + 12, top + height + 36, x_words, "soft small", "end")
    for name, line in series.items():
        points = [(across(place), scale(value)) for place, value in zip(places, line)]
        picture.series(name, ", ".join(f"{ms(value)} ms" for value in line))
        picture.add(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" class="{name}"/>')
        for x, y in points:
            picture.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="d{name[1:]}"/>')
        picture.end()
    picture.y = top + height + 30
    return left, right, across


CONNECTIONS = {"W1 one connection": 1, "W1 2 connections": 2, "W1 8 connections": 8, "W1 32 connections": 32,
               "W1 128 connections": 128}


def connections(found):
    rows = {number: found["targets"][name] for name, number in CONNECTIONS.items() if name in found["targets"]}
    described = "; ".join(f"{number}: {ms(row['p50_us'])}, {ms(row['p95_us'])} and {ms(row['p99_us'])} ms, {row['rps']:,.0f} a second"
                          for number, row in rows.items())
    picture = Picture("More connections than cores wait in line", "Connections that each ask again at once: half, 95 % and 99 % of the "
                      f"answers come within so many milliseconds, and so many come a second. {described}.",
                      where(found["machine"], found["rounds"]))
    picture.legend([(name, words) for name, words in PERCENTILES.items()], 130)
    places = [i / (len(rows) - 1) for i in range(len(rows))]
    series = {name: [row[f"{name}_us"] for row in rows.values()] for name in PERCENTILES}
    left, right, across = curves(picture, [str(number) for number in rows], places, series, 190, "")
    ticks = evenly(1.1 * max(row["rps"] for row in rows.values()), 2)
    top, height = picture.y + 36, 80
    scale = Scale(0, ticks[-1], top + height, top)
    picture.text(MARGIN, top - 14, "replies a second, all connections together", "soft small")
    for tick in ticks:
        picture.line(left, scale(tick), right + 12, scale(tick), "grid")
        picture.text(left - 6, scale(tick) + 4, f"{tick:,.0f}", "soft small", "end")
    picture.series("rps", ", ".join(f"{row['rps']:,.0f}" for row in rows.values()))
    for (number, row), place in zip(rows.items(), places):
        picture.bar(across(place) - 13, round(scale(row["rps"]), 1), 26, round(top + height - scale(row["rps"]), 1), "own")
        picture.text(across(place), scale(row["rps"]) - 5, f"{row['rps']:,.0f}", "ink small", "middle")
        picture.text(across(place), top + height + 18, str(number), "soft small", "middle")
    picture.end()
    picture.text(right + 12, top + height + 36, "connections", "soft small", "end")
    picture.y = top + height + 28
    return picture.svg()


def load(found):
    steps, most = found["load"]["steps"], found["load"]["most"]
    described = "; ".join(f"{step['share']:.0%}: {ms(step['p50_us'])}, {ms(step['p95_us'])} and {ms(step['p99_us'])} ms" for step in steps)
    picture = Picture("How long a reply takes, by load", f"Requests at even intervals, in percent of what eight connections get "
                      f"({most:,.0f} a second); half, 95 % and 99 % of the answers come within so many milliseconds. {described}.",
                      where(found["load"]["machine"], 1))
    picture.legend([(name, words) for name, words in PERCENTILES.items()], 130)
    series = {name: [step[f"{name}_us"] for step in steps] for name in PERCENTILES}
    curves(picture, [f"{step['share']:.0%}" for step in steps], [step["share"] for step in steps], series, 220,
           f"requests a second, in percent of {most:,.0f}")
    return picture.svg()


# --- one core and more ---

CORES = {"W1 8 connections, a second": "Hatchery, 8 connections", "W1 128 connections, a second": "Hatchery, 128 connections",
         "bare fork, a parent a core: a second": "fork of a warm Python", "W1 every 20 ms, p50": "Hatchery, every 20 ms",
         "W1 one connection, p50": "Hatchery, one connection", "bare fork, a parent a core: p50": "fork of a warm Python"}


def cores(found):
    rows = {name: {int(n): value for n, value in found["cores"]["rows"][name].items()} for name in CORES if name in found["cores"]["rows"]}
    counts = list(next(iter(rows.values())))
    said = {n: f"{n} core{'s' * (n > 1)}" for n in counts}
    described = "; ".join(f"{CORES[name]}: " + ", ".join(f"{value / 1000:.2f} ms" if "p50" in name else f"{value:,.0f} a second"
                                                        for value in row.values()) for name, row in rows.items())
    picture = Picture("With " + " and ".join(said.values()), f"Server and client share {' or '.join(said.values())}. {described}.",
                      where(found["cores"]["machine"], found["cores"]["rounds"]))
    picture.legend([(f"c{(0, 3)[i > 0]}", words) for i, words in enumerate(said.values())], 110)
    for what, unit in (("replies a second", "a second"), ("milliseconds, median", "p50")):
        panel = {name: row for name, row in rows.items() if name.endswith(unit)}
        scale = Scale(0, max(value for row in panel.values() for value in row.values()), 0, INNER - 60)
        picture.y += 30
        picture.text(MARGIN, picture.y, what, "soft small")
        for name, row in panel.items():
            picture.series(name, ", ".join(f"{said[n]}: {value:,.0f}" for n, value in row.items()))
            picture.text(MARGIN, picture.y + 22, CORES[name], "ink")
            picture.y += 28
            for i, value in enumerate(row.values()):
                picture.bar(MARGIN, picture.y, scale(value), 14, f"c{(0, 3)[i > 0]}")
                words = f"{value / 1000:.2f}" if unit == "p50" else f"{value:,.0f}"
                picture.text(MARGIN + scale(value) + 6, picture.y + 11.5, words, "ink small")
                picture.y += 17
            picture.end()
    return picture.svg()


DRAWN = {"latency": latency, "phases": phases, "connections": connections, "load": load, "cores": cores}


def draw(found, directory):
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in DRAWN.items():
        (directory / f"{name}.svg").write_text(make(found), encoding="utf-8")


if __name__ == "__main__":
    draw(json.loads(FIGURES.read_text(encoding="utf-8")), pathlib.Path(sys.argv[1]) if sys.argv[1:] else PICTURES)
