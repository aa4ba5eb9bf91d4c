# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md and README.md show what bench/figures.json has: each table, and each picture with all of its series."""
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from service import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import page  # noqa: E402  the path above is where it is
import pictures  # noqa: E402

FOUND = json.loads(pictures.FIGURES.read_text())
SVG = "{http://www.w3.org/2000/svg}"
SERIES = {"latency": set(pictures.ALTERNATIVES), "phases": set(pictures.PHASED), "connections": {*pictures.PERCENTILES, "rps"},
          "load": set(pictures.PERCENTILES), "cores": set(pictures.CORES) & set(FOUND["cores"]["rows"])}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    pictures.draw(FOUND, directory)
    return {path.stem: path.read_text() for path in directory.iterdir()}


def words(tree):
    return [element.text for element in tree.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", SERIES)
def test_a_picture(drawn, name):
    tree = ElementTree.fromstring(drawn[name])
    assert {group.get("data-series") for group in tree.iter(f"{SVG}g")} == SERIES[name]
    assert all(tree.find(f"{SVG}{part}").text for part in ("title", "desc"))
    assert int(tree.get("width")) <= 480 and len(drawn[name]) < 12000
    said = " ".join(words(tree))
    machine = (FOUND[name] if name in ("load", "cores") else FOUND)["machine"]
    assert machine["date"] in said and machine["processor"] in said
    assert re.search(r"millisecond|microsecond", said), "an axis has its unit"
    assert "prefers-color-scheme:dark" in drawn[name] and "http" not in drawn[name].replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("name", SERIES)
def test_nothing_leaves_the_card(drawn, name):
    tree = ElementTree.fromstring(drawn[name])
    width, height = int(tree.get("width")), int(tree.get("height"))
    for element in tree.iter():
        x, y = (float(element.get(key) or element.get("c" + key) or 0) for key in "xy")
        assert 0 <= x <= width and 0 <= y <= height, ElementTree.tostring(element)
        assert x + float(element.get("width") or 0) <= width


def test_the_pictures_are_those_of_the_figures(drawn):
    assert drawn == {path.stem: path.read_text() for path in pictures.PICTURES.iterdir()}, "bench/page.py draws them anew"
    text = (ROOT / "docs/performance.md").read_text()
    assert all(f"](pictures/{name}.svg)" in text for name in drawn)


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_the_tables_are_those_of_the_figures(path):
    text = path.read_text()
    assert page.fill(text, FOUND) == text, "bench/page.py writes them anew"


def test_every_table_is_shown():
    shown = re.findall(r"<!-- figures: (\w+) -->", "".join(path.read_text() for path in page.PAGES))
    assert sorted(shown) == sorted(page.TABLES)
