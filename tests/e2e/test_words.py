# SPDX-License-Identifier: Apache-2.0
"""What a failure says: `message` comes from the exception, and a hint stands where it helps and nowhere else."""
import pytest

# Programs, and the message that each one ends with.
MESSAGES = {
    "two_lines": ("raise ValueError('row 3: price is missing\\n  see https://example.com/help')",
                  "ValueError: row 3: price is missing"),
    "rule_below": ("raise RuntimeError('import stopped\\n' + '=' * 60)", "RuntimeError: import stopped"),
    "rule_above": ("raise LookupError('\\n' + '*' * 70 + '\\n  Resource \\x1b[93mpunkt\\x1b[0m not found.\\n' + '*' * 70)",
                   "LookupError: Resource \x1b[93mpunkt\x1b[0m not found."),
    "only_a_rule": ("raise ValueError('----')", "ValueError: ----"),
    "no_text": ("assert False", "AssertionError"),
    "blank_text": ("raise ValueError('\\n \\n')", "ValueError"),
    "carriage_returns": ("raise ValueError('one\\rtwo\\r\\nthree')", "ValueError: one"),
    "exit_lines": ("import sys\nsys.exit('config: key \"rows\" is missing\\nusage: main.py --rows N')",
                   'config: key "rows" is missing'),
    "exit_code": ("raise SystemExit(3)", "Exited with code 3"),
    "own_class": ("class Bad(Exception): pass\nraise Bad('why\\nbecause')", "Bad: why"),
    "nested_class": ("class A:\n    class Bad(Exception): pass\nraise A.Bad('why')", "A.Bad: why"),
    "library_class": ("import json\njson.loads('{')",
                      "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 "
                      "(char 1)"),
    "static_class": ("import socket\nraise socket.herror('x')", "socket.herror: x"),
    "chained": ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('second\\nline') from e",
                "ValueError: second"),
    "note": ("e = ValueError('text')\ne.add_note('TypeError: a note')\nraise e", "ValueError: text"),
    "group": ("raise ExceptionGroup('two\\nlines', [ValueError('a'), ExceptionGroup('b', [OSError('c')])])",
              "ExceptionGroup: two"),
    "suggestion": ("total = 1\nprint(totl)", "NameError: name 'totl' is not defined. Did you mean: 'total'?"),
    "syntax": ("x = 1\nif x\n    y", "SyntaxError: expected ':' (main.py, line 2)"),
    "indentation": ("if 1:\nx", "IndentationError: expected an indented block after 'if' statement on line 1 (main.py, "
                                "line 2)"),
    "syntax_in_exec": ("exec('1 +')", "SyntaxError: invalid syntax (<string>, line 1)"),
    "key": ("{}['a\\nb']", r"KeyError: 'a\nb'"),
    "str_fails": ("class Odd(Exception):\n    def __str__(self): raise ValueError('no')\nraise Odd",
                  "Odd: <exception str() failed>"),
    "str_is_asked_once": ("class Odd(Exception):\n    def __str__(self):\n        print('asked')\n"
                          "        return 'Odd: it\\nis'\nraise Odd", "Odd: Odd: it"),
    "lies_about_its_class": ("class Odd(Exception):\n    __class__ = OSError\nOdd.__module__ = 5\nraise Odd('x')", "Odd: x"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_is_the_exceptions_first_line(server, name):
    code, message = MESSAGES[name]
    reply = server.run(code)
    assert reply.status == 400 and reply["message"] == message, reply
    if name == "str_is_asked_once":
        assert reply["stdout"] == "asked\n"


def test_long_texts_are_cut(server):
    assert server.run("raise ValueError('x' * 10**6)")["message"] == "ValueError: " + "x" * 300 + "..."
    assert server.run("class X(Exception):\n    def __str__(self): return 'é' * 10**6\nraise X")["message"] \
        == "X: " + "é" * 150 + "..."
    assert server.run("raise type('N' * 10**6, (Exception,), {})('text')")["message"] == "N" * 256 + ": text"
