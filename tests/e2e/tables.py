# SPDX-License-Identifier: Apache-2.0
"""The tables of the source (*.def) as a test sees them: one tuple of arguments an entry."""
import re

from service import ROOT

ARGUMENT = r'"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*|[^",()]+|\([^()]*\)'


def arguments(text):
    """What stands between commas; strings without their quotes."""
    found = []
    for piece in re.findall(rf"\s*((?:{ARGUMENT})+)\s*(?:,|$)", text, re.S):
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', piece)
        found.append("".join(strings).replace('\\"', '"') if strings and piece.startswith('"') else piece.strip())
    return tuple(found)


def entries(path, name):
    """Every NAME(...) of a file below src/, comments apart."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src" / path).read_text(), flags=re.S)
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    found = []
    for match in re.finditer(rf"^{name}\(", text, re.M):
        end, depth, quoted = match.end(), 1, False
        while depth:
            c = text[end]
            if c == '"' and text[end - 1] != "\\":
                quoted = not quoted
            depth += (c == "(") - (c == ")") if not quoted else 0
            end += 1
        found.append(arguments(text[match.end():end - 1]))
    return found


def metrics():
    """{name: (type, unit, [label's word], help)} with the names that a scraper sees."""
    suffix = {"COUNTER": "_total", "INFO": "_info"}
    words = {entry[0]: entry[1] for name in ("LABEL", "LABEL_FROM", "LABEL_GIVEN") for entry in entries("server/metrics/metrics.def", name)}
    return {name + suffix.get(kind, ""): (kind, unit, [words[label] for label in labels if label != "NONE"], sentence)
            for _, name, kind, unit, *labels, sentence in entries("server/metrics/metrics.def", "METRIC")}


def rows(path, heading):
    """The cells of the table below @heading in a file of docs/."""
    text = (ROOT / "docs" / path).read_text().partition(f"\n{heading}\n")[2]
    table = re.search(r"\n\|.*\n\|[-| ]+\n((?:\|.*\n)+)", text)
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in table[1].splitlines()]
