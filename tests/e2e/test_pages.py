# SPDX-License-Identifier: Apache-2.0
"""The pages as pages: README's examples run, every link leads somewhere, the index has every page, and every page leads to the
glossary.  Its figures: test_pictures.py."""
import json
import re
import shutil
import subprocess
import sys

import pytest

import tables
from client import EXECUTE, KEY
from service import ROOT, VERSION

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "SECURITY.md", "ARCHITECTURE.md", "HACKING.md", "CHANGELOG.md", "examples/README.md")] + DOCS
README = (ROOT / "README.md").read_text()


def blocks(word):
    return re.findall(rf"^```{word}\n(.*?)^```$", README, re.M | re.S)


def here(text, server):
    """README's address and key are the test's."""
    for old, new in {"127.0.0.1:8080": f"127.0.0.1:{server.port}", "my-secret": KEY}.items():
        assert old in text
        text = text.replace(old, new)
    return text


def typed(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- README ---


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_request_and_its_reply(server):
    (request,) = [block for block in blocks("sh") if block.startswith("curl ")]
    (shown,) = map(json.loads, blocks("json"))
    reply = json.loads(typed("sh", "-c", here(request, server)))
    assert list(reply) == list(shown)
    for name in ("code", "id", "response", "message", "build_number"):
        assert reply[name] == shown[name], name


def test_the_client_in_python(server):
    (code,) = blocks("python")
    assert typed(sys.executable, "-c", here(code, server)) == "42\n"
    assert typed(sys.executable, "-c", here(code, server).replace("return 6 * 7", "1 / 0")).endswith("ZeroDivisionError: division by zero\n\n")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not here")
def test_the_client_in_javascript(server):
    (code,) = blocks("js")
    assert typed("node", "--input-type=module", "-e", here(code, server)) == "42\n"
    assert "division by zero" in typed("node", "--input-type=module", "-e", here(code, server).replace("return 6 * 7", "1 / 0"))


def test_the_node_of_n8n(server):
    (body,) = re.findall(r"^\| Body \|.*?`(.*?)` \|$", README, re.M)
    reply = server.request("POST", EXECUTE, body.replace("{{ JSON.stringify($json.code) }}", json.dumps('return "quoted"')))
    assert reply.response["result"] == "quoted"


# --- docs/api.md ---


def test_the_request_that_fails(server):
    text = (ROOT / "docs/api.md").read_text()
    request, shown = map(json.loads, re.findall(r"^```json\n(.*?)^```$", text, re.M | re.S))
    reply = server.request("POST", EXECUTE, request).json
    assert list(reply) == list(shown)
    for name in ("code", "id", "response", "message", "reason", "stdout", "exit_code", "build_number"):
        assert reply[name] == shown[name], name
    for name in ("error", "stderr"):
        assert reply[name].startswith(shown[name].removesuffix(" ..."))


def test_every_way_to_end():
    """The first table has each outcome."""
    words = {row[2].split(";")[0].strip("`") for row in tables.rows("api.md", "## How a program ends")}
    reasons = {reason for _, _, reason, _ in tables.entries("base/outcome.def", "OUTCOME")}
    assert words == reasons


# --- all pages ---


def anchor(heading):
    """As GitHub makes it of a heading."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target, _, place in re.findall(r"\]\(([^)#]*)(#([^)]*))?\)", text):
        if "://" not in target:
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not place or place in anchors(file), f"{target}#{place}"


def test_the_index_has_every_page():
    listed = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \|", (ROOT / "docs/README.md").read_text(), re.M)
    assert {ROOT / "docs" / name for name in listed if "/" not in name} == {page for page in DOCS if page.name not in ("README.md", "glossary.md")}
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_leads_to_the_glossary(page):
    assert page.name == "glossary.md" or "](glossary.md)" in page.read_text()


def test_the_glossary_has_each_word_once():
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(), re.M)[1:]
    words = [word for word in words if not word.startswith("-")]
    assert words == sorted(set(words)) and {"box", "zygote", "slot", "runtime", "key", "job", "lease", "courier", "layer"} <= set(words)


def test_the_changelog_has_this_version():
    assert f"\n## [{VERSION}] - " in (ROOT / "CHANGELOG.md").read_text()
