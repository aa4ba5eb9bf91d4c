# SPDX-License-Identifier: Apache-2.0
"""docs/log.md has every event of the code, with its level, its process and its fields, and no other."""
import re

from service import ROOT
import tables

PROCESSES = {"base": "each", "jobs": "server", "courier": "courier", "supervisor": "supervisor", "zygote": "zygote"}
STRING = r'"(?:[^"\\]|\\.)*"'


def end_of(text, at):
    """Where the parenthesis that was opened before @at is closed."""
    depth = 1
    while depth:
        string = re.match(STRING, text[at:])
        if string:
            at += string.end()
            continue
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
    return at - 1


def events():
    """(event, level, process, fields) of every call in src/."""
    for path in sorted((ROOT / "src").rglob("*.c")):
        text = path.read_text()
        process = PROCESSES.get(path.parent.name, "server")
        for call in re.finditer(r"\b(?:log_(debug|info|warn|error)|log_write|imports_log_error)\(", text):
            body = text[call.end():end_of(text, call.end())]
            level = call[1] or ("debug" if "LOG_DEBUG" in body else "warn")
            message = re.match(rf"\s*(?:LOG_\w+,\s*)?((?:{STRING}\s*)+)", body)
            if not message:
                continue  # a function that is given its message
            words = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', message[1]))
            fields = ["name", "reason"] if "imports_log_error" in call[0] else re.findall(r'LOG_(?:S|I|US|SOME)\("(\w+)"', body)
            yield words, level, process, tuple(fields)


def test_the_table_is_the_code():
    found = set(events())
    assert len(found) > 35
    rows = [(event, level, process, tuple(re.findall(r"`(\w+)`", fields)))
            for event, level, process, fields, _ in tables.rows("log.md", "## Events")]
    assert len(rows) == len(set(rows))
    assert set(rows) == found


def test_all_are_found():
    """A call that the search above does not understand would have no row."""
    calls = sum(len(re.findall(r"^[ \t]+.*\blog_(?:debug|info|warn|error)\(", path.read_text(), re.M))
                for path in (ROOT / "src").rglob("*.c"))
    found = sum(1 for words, *_ in events() if words != "box ready")
    given = 1  # imports.c: log_warn(msg, ...), whose callers name the message
    callers = sum(len(re.findall(r"^[ \t]+.*imports_log_error\(", path.read_text(), re.M))
                  for path in (ROOT / "src/zygote").glob("*.c"))
    assert found == calls - given + callers
