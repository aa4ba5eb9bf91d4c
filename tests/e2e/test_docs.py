# SPDX-License-Identifier: Apache-2.0
"""/docs in Chromium: what it shows, that a request can be tried, on a small screen, in the dark, by keyboard."""
import json
import os
import pathlib
import re

import pytest

import browser as browser_module
from browser import CTRL, ENTER, TAB
from client import KEY
from processes import wait_for

pytestmark = pytest.mark.skipif(bool(browser_module.missing()), reason=f"not here: {browser_module.missing()} (make test-docs)")
PICTURES = os.environ.get("DOCS_PICTURES")  # a directory for a look at the page
# Elements that stick out of the screen, but for what is cut off and can be moved.
STICKING_OUT = """
const out = [];
for (const one of document.querySelectorAll("body *")) {
  const box = one.getBoundingClientRect();
  if (box.width && (box.right > innerWidth + 1 || box.left < -1)) out.push(one.tagName + "." + one.className + " " + one.textContent.slice(0, 40));
}
return [document.documentElement.scrollWidth > innerWidth, out];
"""
# Text of one element over that of another.
OVERLAPPING = """
const out = [];
for (const head of document.querySelectorAll("summary")) {
  const parts = [...head.children].flatMap((child) => [...child.getClientRects()].map((box) => [child, box]));
  for (const [a, one] of parts) for (const [b, two] of parts)
    if (a !== b && one.left < two.right - 1 && two.left < one.right - 1 && one.top < two.bottom - 6 && two.top < one.bottom - 6)
      out.push(head.textContent);
  const box = head.getBoundingClientRect();
  for (const [, one] of parts) if (one.bottom > box.bottom + 1) out.push("below: " + head.textContent);
}
return out;
"""
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"


@pytest.fixture(scope="module")
def browser():
    browser = browser_module.Browser()
    yield browser
    browser.close()


@pytest.fixture
def page(browser, server):
    def show(**how):
        browser.open(f"http://127.0.0.1:{server.port}/docs", **how)
        wait_for(lambda: browser.script("return document.querySelectorAll('#operations summary').length > 20"), 20, "the operations")
        return browser
    return show


def keep(browser, name):
    if PICTURES:
        browser.picture(pathlib.Path(PICTURES, name + ".png"))


def run(browser, code, how=None):
    """The reply that is shown to a program."""
    browser.set("#code", code)
    if how:
        how()
    else:
        browser.click("#run")
    wait_for(lambda: browser.script("return document.querySelector('#reply .verdict') && !document.querySelector('#run').disabled"), 30)
    return browser.text("#reply")


def test_a_program_can_be_tried(page):
    browser = page()
    assert "401" in run(browser, "return 1"), "without a key"
    assert "x-api-key" in browser.text("#reply")
    browser.set("#key", KEY)
    shown = run(browser, "import sys\nprint('<b>out</b>')\nprint('err', file=sys.stderr)\nreturn {'answer': [6 * 7]}")
    assert re.match(r"200 success \([\d.]+ ms here, [\d.]+ ms of it the program\)", shown), shown
    for part in ('result\n{\n  "answer": [\n    42\n  ]\n}', "stdout\n<b>out</b>\n", "stderr\nerr\n", "The whole reply"):
        assert part in shown, shown
    keep(browser, "run")
    shown = run(browser, "print('so far')\n1 / 0")
    assert "400 ZeroDivisionError: division by zero" in shown and "stdout\nso far" in shown and "reason: exception, exit code: 1" in shown
    assert "bad" in browser.script("return document.querySelector('#reply .verdict').className")
    keep(browser, "error")
    browser.set("#runtime", "nuts")
    assert "no runtime 'nuts' here" in run(browser, "return 1")
    browser.set("#runtime", "")
    browser.set("#timeout", "1")
    assert "408 Execution timed out" in run(browser, "while True: pass", lambda: browser.type("#code", CTRL + ENTER))
    assert not [line for line in browser.complaints() if "status of 4" not in line]


def test_any_operation_can_be_sent(page, server):
    browser = page()
    browser.set("#key", KEY)
    job = server.run("return 'sent by hand'", id="docs").json["job_id"]
    wait_for(lambda: server.request("GET", f"/v1/jobs/{job}").status == 200, 20)
    browser.script(OPEN_ALL)
    browser.set("#getJob-id", job)
    button = "document.querySelector('#getJob-id').parentElement.querySelector('button')"
    browser.script(f"{button}.click()")
    wait_for(lambda: browser.script(f"return {button}.parentElement.nextSibling.innerText"), 20)
    shown = browser.script(f"return {button}.parentElement.nextSibling.innerText")
    assert shown.startswith("200 (") and f'"job_id": "{job}"' in shown
    assert json.loads(browser.script("return document.querySelector('#execute-body').value"))["code"]


def test_the_plumbing_is_folded_away(page):
    browser = page()
    seen = browser.text("#operations")
    for word in ("/v1/code/execute/python", "/v1/jobs/{id}", "/v1/packages", "Plumbing"):
        assert word in seen
    for word in ("/livez", "docs.css", "/healthz"):
        assert word not in seen
    browser.script(OPEN_ALL)
    assert "/livez" in browser.text("#operations")
    keep(browser, "open-1280")


def test_no_connection_is_said(page, make_server):
    browser = page()
    other = make_server()
    browser.open(f"http://127.0.0.1:{other.port}/docs")
    wait_for(lambda: browser.script("return document.querySelectorAll('#operations summary').length > 20"), 20)
    other.stop()
    assert "There was no reply: " in run(browser, "return 1")
    browser.complaints()


@pytest.mark.parametrize("width", [390, 320, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out(page, width, dark):
    browser = page(width=width, dark=dark)
    keep(browser, f"closed-{width}{'-dark' if dark else ''}")
    for _ in range(2):
        wide, out = browser.script(STICKING_OUT)
        assert not wide and not out
        assert not browser.script(OVERLAPPING)
        browser.script(OPEN_ALL)
    browser.script("document.querySelectorAll('#operations details')[0].scrollIntoView()")
    keep(browser, f"open-{width}{'-dark' if dark else ''}")
    paper, ink = (browser.script(f"return getComputedStyle(document.documentElement).{name}") for name in ("colorScheme", "color"))
    assert paper == "light dark"
    bright = sum(int(word) for word in re.findall(r"\d+", ink)[:3]) > 384
    assert bright == dark


def test_by_keyboard_alone(page):
    browser = page()
    browser.press([TAB])
    seen = []
    for _ in range(12):
        seen.append(browser.script("return document.activeElement.id || document.activeElement.tagName"))
        browser.press([TAB])
    assert [word for word in seen if word in ("key", "code", "timeout", "run")] == ["key", "code", "timeout", "run"]
    assert "SUMMARY" in seen
    browser.type("#key", KEY)
    browser.type("#key", ENTER)
    wait_for(lambda: "200 success" in browser.text("#reply"), 20)


def test_it_loads_nothing_from_elsewhere(page, server):
    browser = page()
    names = browser.script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert sorted(names) == [f"http://127.0.0.1:{server.port}{path}" for path in ("/docs/docs.css", "/docs/docs.js", "/openapi.json")]
    assert browser.complaints() == []
