# SPDX-License-Identifier: Apache-2.0
"""Each file of programs/ behaves in a box as under `python3 main.py`.

A file is all that a new case needs.  Comments in it that are read here:
    # needs: numpy pandas     skipped where plain python3 can't import one of them
    # needs layer: cgroup     skipped where the tests' servers have no such layer
    # stderr differs: reason  only stdout, exit code and the last line of stderr are compared
"""
import functools
import pathlib
import re
import signal
import subprocess
import tempfile

import pytest

from service import lacks

PROGRAMS = sorted((pathlib.Path(__file__).parent / "programs").glob("*.py"))
PYTHON = "/usr/bin/python3"
BOX_HOME = "/run/box/work"

# Ways to return at the end of a program, and the result that each gives.
TAILS = {
    "if": ('\nif True:\n    return {"done": 1}\n', {"done": 1}),
    "with": ('\nimport contextlib\nwith contextlib.suppress(ValueError):\n    for _ in range(3):\n'
             '        try:\n            return [_, __name__]\n        finally:\n            del contextlib\n',
             [0, "__main__"]),
    "match": ('\nmatch (1, "é"):\n    case (int(_a), _b):\n        return _b * 2\n', "éé"),
    "bare": ("\nreturn", None),
}


def text_of(path):
    return path.read_bytes().decode("utf-8")


def comment(source, word):
    match = re.search(rf"^# {word}: *(.*?)\r?$", source, re.M)
    return match[1] if match else None


@functools.lru_cache(None)
def importable(name):
    return subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True).returncode == 0


@functools.lru_cache(None)
def plain(source):
    """(stdout, stderr, exit code) of `python3 main.py` in an empty directory with a box's environment."""
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as temporary:
        pathlib.Path(work, "main.py").write_bytes(source.encode("utf-8"))
        env = {"PATH": "/usr/bin:/bin", "HOME": work, "LANG": "C.UTF-8", "TMPDIR": temporary,
               "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([PYTHON, "main.py"], cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60)
        stdout, stderr = (s.decode("utf-8", "replace").replace(work + "/main.py", "main.py").replace(work, BOX_HOME)
                          for s in (done.stdout, done.stderr))
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return stdout, stderr, code


def falls_off(source):
    """Does the program end by reaching its end?"""
    return plain(source + "\nraise SystemExit(77)\n")[2] == 77


def comparable(text):
    """Without what differs from one python3 to the next: addresses and the times of unittest."""
    return re.sub(r"\bin \d+\.\d{3}s\b", "in 0.000s", re.sub(r"\bat 0x[0-9a-f]{6,}\b", "at 0x0", text))


def last_line(text):
    lines = text.rstrip().splitlines()
    return lines[-1] if lines else ""


def said(stderr):
    """The line of @stderr that has the exception's type: the last at the margin that is one, without what follows it."""
    return [line.lstrip("| ") for line in stderr.splitlines()
            if re.match(r"(  \| )?[^\W\d]\w*(\.\w+)*(: |$)", line) and not line.startswith("Traceback")][-1]


def one_line_of(reply):
    """The message, without what it has beside the last line of the traceback: where the syntax error is, and a hint."""
    message = reply["message"]
    assert "\n" not in message
    if "hint" in reply.json:
        message = message.removesuffix(f" (hint: {reply['hint']})")
    return re.sub(r" \((main\.py|<string>), line \d+\)$", "", message) if re.match("Syntax|Indentation|Tab", message) else message


def check_needs(source):
    for name in (comment(source, "needs") or "").split():
        if not importable(name):
            pytest.skip(f"needs {name}")
    for layer in (comment(source, "needs layer") or "").split():
        if lacks(layer):
            pytest.skip(f"needs {layer}")


def the_same(reply, source, expected):
    stdout, stderr, code = expected
    body = reply["response"] or reply.json
    assert comparable(body["stdout"]) == comparable(stdout)
    assert body["exit_code"] == code, reply
    if comment(source, "stderr differs") is None:
        assert comparable(body["stderr"]) == comparable(stderr)
    else:
        assert last_line(body["stderr"]) == last_line(stderr)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_as_under_python(server, path):
    source = text_of(path)
    check_needs(source)
    expected = plain(source)
    reply = server.run(source)
    the_same(reply, source, expected)
    assert reply.status == (200 if expected[2] == 0 else 400)
    if reply.status == 200:
        assert reply["response"]["result"] is None
        assert reply["message"] == "success"
    elif reply["reason"] == "signal":
        assert expected[2] > 128
        number = expected[2] - 128
        assert reply["error"] == f"Killed by signal {number} ({signal.Signals(number).name})"
    elif reply["reason"] in ("exception", "syntax"):
        assert last_line(reply["error"]) == last_line(expected[1])
        assert one_line_of(reply) == said(expected[1])
    else:
        assert reply["reason"] == "exit"
        assert expected[1] == "" or comparable(reply["error"]).rstrip() in comparable(expected[1])


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_with_a_return_after_it(server, path, tail):
    source = text_of(path)
    check_needs(source)
    expected = plain(source)
    text, result = TAILS[tail]
    if source.endswith("\\"):
        pytest.skip("the end of the file is its point")
    reply = server.run(source + text)
    if falls_off(source):
        the_same(reply, source, expected)
        assert reply["response"]["result"] == result, reply
    elif reply.status == 200:  # it ends before the return, as it did
        the_same(reply, source, expected)
        assert reply["response"]["result"] is None


def test_the_corpus_is_there():
    assert len(PROGRAMS) >= 70
