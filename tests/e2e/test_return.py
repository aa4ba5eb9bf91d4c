# SPDX-License-Identifier: Apache-2.0
"""A `return` at top level: what it means (tests/unit/test_prelude.py has the cases), and what it costs.

A box compiles a program in pieces (src/zygote/split.c), so each case is sent to one: with returns that are a piece of their
own, within another statement, and many of them.
"""
import json
import pathlib
import random
import sys
import textwrap

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "unit"))
import test_prelude as cases  # noqa: E402

SHOW = """
_names = {_n: repr(_v) if isinstance(_v, (int, str, list, dict, tuple, set, type(None))) else type(_v).__name__
          for _n, _v in globals().items() if not _n.startswith("_") or _n in ("__annotations__", "__doc__")}
"""
TAILS = ["return _names", "if 1:\n    return _names", "try:\n    return _names\nfinally:\n    pass", "while 1: return _names",
         "return (_names)  # as it is\n# the end", "return \\\n    _names;", "if 0:\n    return 1\nreturn _names"]
BIG = "_ = '''\n" + "return 5\n" * 600 + "'''\n"  # more than what goes with a return beside it


def names_of(server, source):
    reply = server.run(source)
    assert reply.status == 200, reply
    return reply.response["result"], reply.stdout


@pytest.mark.parametrize("name", cases.MODULES)
def test_names_are_those_of_a_module(server, name):
    source = cases.MODULES[name] + "\n" + SHOW
    plain = server.run(source + "import json, sys\nsys.stdout.write(json.dumps(_names))")
    assert plain.status == 200, plain
    *printed, names = plain.stdout.splitlines(True)
    expected = json.loads(names), "".join(printed)
    for tail in TAILS:
        assert names_of(server, source + tail) == expected, tail
    if "__future__" not in source and "__doc__" not in source and name not in ("global_at_top", "unbound_then_bound"):
        early = "if 0:\n    return 0\n"
        assert names_of(server, early + source + TAILS[1]) == expected
        assert names_of(server, BIG + early + BIG + source + BIG + TAILS[0]) == expected


@pytest.mark.parametrize("name", cases.FLOWS)
def test_flow_is_that_of_a_function(server, name):
    body = "log = []\n" + cases.FLOWS[name]
    space = {}
    exec(cases.NOTE, space)
    exec("def main():\n    global log\n" + textwrap.indent(body, "    "), space)
    expected = json.loads(json.dumps([space["main"](), space["log"]]))
    keep = "import atexit\natexit.register(lambda: print(log))\n"
    for before in ("", BIG):
        reply = server.run(keep + cases.NOTE + before + body)
        assert [reply.response["result"], eval(reply.stdout)] == expected, reply


@pytest.mark.parametrize("name", cases.ERRORS)
def test_errors_are_the_same_where_the_program_returns(server, name):
    source = cases.ERRORS[name]
    expected = server.run(source)
    if name in ("indent", "unclosed") or name.startswith("return_"):
        return
    for text in (source + "\nreturn 2", source + "\n" + BIG + "if 1:\n    return 2\n"):
        reply = server.run(text)
        assert reply.status == 400 and reply["reason"] == "syntax" and reply["error"] == expected["error"], text
    if "__future__" not in source:
        late = server.run("if 0: return 2\n" + BIG + source)
        assert late.status == 400 and late["reason"] == "syntax" and late["message"].split(" (")[0].split(" on line")[0] \
            == expected["message"].split(" (")[0].split(" on line")[0]


REFUSED = ["return x for x in [1]", "return y := 1", "return *[1]", "return = 1", "return 1 2", "return (1", "return yield",
           "return 1\n  return 2", "return 'a\nb'", "return lambda: (yield), yield", "return 1)", "return (1))\n((2", "return x.return"]


@pytest.mark.parametrize("source", REFUSED)
def test_what_a_return_may_not_have(server, source):
    reply = server.run(BIG + source)
    assert reply.status == 400 and reply["reason"] == "syntax", reply


VALUES = {"return": None, "return # 5": None, "return\\\n5": 5, "return(5)": 5, "return[5]": [5], "return-5": -5, "return'5'": "5",
          "return 5,": [5], "return 5, *[6]": [5, 6], "return 5 if 0 else 6": 6, "return [y := 5, y]": [5, 5],
          "return [x for x in [1]]": [1], "return '''\n#'''": "\n#", "return (\n5\n)\n\n# end": 5, "return 5;": 5,
          "return '\\\n5'": "5", "return f'{5:>{2}}'": " 5", "return r'\\''": "\\'",
          "x = 5; return x": 5, "\freturn 5": 5, "return\t5\r\n": 5, "return 5\\\n + 1": 6, "def f(): return 1\nreturn f()": 1,
          "async def f():\n    return 1\nreturn 2": 2, "@(lambda f: 3)\ndef f():\n    return 1\nreturn f": 3,
          "class A:\n    def f(self): return 1\n    x = 2\nreturn A.x": 2, "if 1:\n def f(): return 1\n return 2": 2,
          "# return 1\n'return 2'\nreturn 3": 3, "x = {'return': 1}\nreturn x['return']": 1, "return 1\nreturn 2": 1,
          "if 0:\n    pass\nelse:\n    return 4": 4, "for x in 'a': pass\nelse: return 5": 5, "return 5": 5}


@pytest.mark.parametrize("source", VALUES)
def test_what_a_return_gives(server, source):
    for before in ("", "\ufeff", "# a comment\n\n", "x = 1\r\n", BIG, "'doc'\nfrom __future__ import annotations\n"):
        reply = server.run(before + source)
        assert reply.status == 200 and reply.response["result"] == VALUES[source], reply


def test_tracebacks_have_the_users_lines(server):
    for returns in ("return f(x)", "if x:\n    return f(x)"):
        source = f"x = [\n 1]\n{BIG}def f(y):\n    return y / 0\n\n'''\n'''\n{returns}\n"
        lines = source.splitlines()
        at, inner = len(lines), lines.index("    return y / 0") + 1
        reply = server.run(source)
        assert reply["error"].splitlines()[1:3] == [f'  File "main.py", line {at}, in <module>', "    return f(x)"]
        assert f'  File "main.py", line {inner}, in f\n    return y / 0\n' in reply["error"]


@pytest.mark.parametrize("tail", ["return len(rows)", "if rows:\n    return len(rows)"])
def test_the_cost_is_that_of_the_statements_with_a_return(server, tail):
    """As trees of Python's objects these rows would be more than the limit of memory."""
    reply = server.run("rows = [" + "[1,2]," * 170000 + "]\n" + tail, timeout=120)
    assert reply.status == 200 and reply.response["result"] == 170000, reply


def statement(chance, depth=0):
    """A random statement whose effect is in `log`, maybe with returns in it."""
    pad = "    " * depth
    kind = chance.choice(["log", "text", "if", "for", "while", "with", "try", "match", "def", "return", "semi", "import", "doc"]
                         if depth < 3 else ["log", "return", "text"])
    n = chance.randrange(100)
    block = lambda: "".join(statement(chance, depth + 1) for _ in range(chance.randrange(1, 3)))  # noqa: E731
    if kind == "return":
        return pad + (f"return {n}\n" if chance.random() < 0.2 else f"log.append({n})\n")
    return {
        "log": lambda: f"{pad}log.append({n})\n",
        "text": lambda: f"{pad}log.append('''{n} \"\\'\n   return # (\n''')  # it's (\n",
        "if": lambda: f"{pad}if len(log) % 2:\n{block()}{pad}elif {n} > 50:\n{block()}{pad}else:\n{block()}",
        "for": lambda: f"{pad}for i{depth} in range(2):\n{block()}{pad}else:\n{block()}",
        "while": lambda: f"{pad}while len(log) < {n % 5}:\n{block()}{pad}    log.append(0)\n",
        "with": lambda: f"{pad}with note(log):\n{block()}",
        "try": lambda: f"{pad}try:\n{block()}{pad}    1 // {n % 2}\n{pad}except ZeroDivisionError:\n{block()}{pad}finally:\n{block()}",
        "match": lambda: f"{pad}match len(log) % 2, {n}:\n{pad}    case 0, x:\n{pad}        log.append(x)\n{pad}    case _:\n"
                         + textwrap.indent(block(), "    "),
        "def": lambda: f"{pad}@staticmethod\n{pad}def f(x={n}):\n{pad}    if x: return x\n\n# at the margin\n{pad}    return 1\n"
                       f"{pad}log.append(f())\n",
        "semi": lambda: f"{pad}log.append({n}); log += [\n{n}, (\n2)]; v = {n}\n",
        "import": lambda: f"{pad}from math import pi as p{n}; log.append(\\\n{n})\n",
        "doc": lambda: f"{pad}'{n} return'\n",
    }[kind]()


def test_random_programs_return_what_a_function_does(server):
    chance = random.Random(14)
    returned = 0
    for _ in range(250):
        source = "".join(statement(chance) for _ in range(chance.randrange(1, 12)))
        filler = BIG if chance.random() < 0.3 else ""
        source = source + filler + "log.append('more')\n" + "".join(statement(chance) for _ in range(3)) + "return 'end'\n"
        space = {"log": []}
        exec(cases.NOTE, space)
        exec("def main():\n    global log\n" + "".join("    " + line for line in source.splitlines(True)).replace(
            "\n    return 5", "\nreturn 5").replace("\n       return # (", "\n   return # ("), space)
        expected = space["main"]()
        reply = server.run("import atexit\nlog = []\natexit.register(lambda: print(repr(log)))\n" + cases.NOTE + source)
        assert reply.status == 200, (source, reply)
        got = [text.replace("    ", "") if isinstance(text, str) else text for text in eval(reply.stdout)]
        want = [text.replace("    ", "") if isinstance(text, str) else text for text in space["log"]]
        assert (reply.response["result"], got) == (expected, want), source
        returned += expected != "end"
    assert 50 < returned < 240
