# SPDX-License-Identifier: Apache-2.0
"""src/zygote/prelude.py by itself: what a program that returns at top level means.

Loaded as the zygote loads it.  Names must be those of a module, which compile() and exec() of the same text
without its returns tell; control flow must be that of a function, which the same text in a real function tells.
"""
import builtins
import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import warnings

import pytest

PRELUDE = pathlib.Path(__file__).resolve().parents[2] / "src" / "zygote" / "prelude.py"


def load():
    space = {"__builtins__": builtins}
    exec(compile(PRELUDE.read_text(), "<hatchery>", "exec"), space)
    return space


prelude = load()
compile_program = prelude["compile_program"]
STAR = prelude["STAR"]


def fresh():
    return {"__name__": "__main__", "__builtins__": builtins, "__annotations__": {}, "__doc__": None}


def run(source, space=None):
    """(value, globals, stdout) of @source as run.c runs it."""
    space = fresh() if space is None else space
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        value = run_codes(compile_program(textwrap.dedent(source)), space)
    return value, space, out.getvalue()


def run_codes(codes, space):
    """As compile_run() of compile.c."""
    for code in codes:
        if STAR in code.co_names:
            space[STAR] = lambda module, level: exec(f"from {'.' * level}{module} import *", space)
        value = eval(code, space)
        space.pop(STAR, None)
        if value is not None:
            return value[0]
    return None


def plain(source):
    """(globals, stdout) of @source as a module."""
    space, out = fresh(), io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(textwrap.dedent(source), "main.py", "exec"), space)
    return space, out.getvalue()


def shown(space):
    plain_kinds = (int, str, list, dict, tuple, set, type(None))
    return {name: repr(value) if isinstance(value, plain_kinds) else type(value).__name__
            for name, value in space.items() if name != "__builtins__"}


# --- return as in a function ---

FLOWS = {
    "if": "if True:\n    return 1\nlog.append('no')",
    "else": "if not log:\n    if log: return 1\n    else: return 2",
    "no_value": "log.append(1)\nreturn\nlog.append(2)",
    "never_reached": "if log:\n    return 1\nlog.append('end')",
    "for": "for i in range(5):\n    log.append(i)\n    if i == 2:\n        return i\nelse:\n    log.append('else')",
    "for_else": "for i in range(2):\n    log.append(i)\nelse:\n    return 'else'",
    "while": "n = 0\nwhile True:\n    n += 1\n    if n > 3: return n",
    "while_else": "while False: pass\nelse: return 'e'",
    "with": "with note(log):\n    return 5",
    "two_with": "with note(log), note(log) as b:\n    with note(log):\n        return log[:]",
    "with_suppress": "with note(log, True):\n    1 / 0\nreturn 'after'",
    "try_finally": "try:\n    return 1\nfinally:\n    log.append('finally')",
    "finally_wins": "try:\n    return 1\nfinally:\n    return 2",
    "finally_swallows": "for i in range(2):\n    try:\n        1 / 0\n    finally:\n        return 'swallowed'",
    "finally_continues": "for i in range(3):\n    try:\n        return i\n    finally:\n        if i < 2: continue",
    "bare_except": "try:\n    return 1\nexcept:\n    log.append('caught')\nelse:\n    log.append('else')",
    "except": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    return str(e)",
    "except_star": "try:\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept* ValueError as e:\n"
                   "    log.append(len(e.exceptions))\nreturn 9",
    "try_else": "try:\n    pass\nexcept ValueError:\n    return 1\nelse:\n    return 2\nfinally:\n    log.append(3)",
    "match": "match [1, (2, 3)]:\n    case [1, (a, *b)] if b:\n        return a, b\n    case _:\n        return None",
    "nested": "for a in range(3):\n    while True:\n        with note(log):\n            try:\n"
              "                if a == 1:\n"
              "                    match a:\n                        case 1:\n"
              "                            return log[:]\n"
              "                break\n            finally:\n                log.append(a)",
    "tuple": "return 1, *[2, 3]",
    "star_tuple": "return *'ab',",
    "lambda": "return (lambda x: x + 1)(1)",
    "walrus": "return (y := 5) + y",
    "conditional": "return 1 if log else 2",
    "fstring": "v = 3\nreturn f'{v!r:>4}{(lambda: v)()}'",
    "docstring_like": "'not a docstring'\nreturn 'text'",
    "await_free_comprehension": "return [x * y for x in range(3) if x for y in range(x)], {k: v for k, v in "
                                "zip('ab', 'cd')}",
    "raises": "try:\n    return {}['k']\nexcept KeyError as e:\n    log.append(repr(e))\n    return 'handled'",
    "two_returns": "return 1\nreturn 2",
    "semicolons": "log.append(1); return 2; log.append(3)",
    "one_line_suite": "if 1: log.append(1); return 2",
    "del": "x = 1\ndel x\nreturn 'x' in dir()",
    "async_inside": "async def f():\n    return 7\nc = f()\ntry: c.send(None)\n"
                    "except StopIteration as e: return e.value",
    "generator_inside": "def g():\n    yield 1\n    return 2\nreturn list(g())",
}
NOTE = """
import contextlib
@contextlib.contextmanager
def note(log, swallow=False):
    log.append('enter')
    try:
        yield log
    except ZeroDivisionError:
        if not swallow: raise
    finally:
        log.append('leave')
"""


@pytest.mark.parametrize("name", FLOWS)
def test_return_is_that_of_a_function(name):
    space = fresh()
    exec(NOTE, space)
    exec("def main():\n" + textwrap.indent(FLOWS[name], "    "), space)
    space["log"] = []
    expected = space["main"](), space["log"]
    space = fresh()
    exec(NOTE, space)
    space["log"] = []
    value, space, _ = run(FLOWS[name], space)
    assert (value, space["log"]) == expected


# --- names as in a module ---

MODULES = {
    "assign": "a = b = 1\na += 1\n(c, [d, *e]) = 1, [2, 3, 4]\nf, = [5]",
    "loops": "for i in range(2):\n    for j, (k, l) in [(1, (2, 3))]: pass\nelse:\n    m = 1\nwhile True:\n"
             "    n = 2\n    break",
    "for_targets": "d = {}\nclass O: pass\no = O()\nfor d['k'], o.a in [(1, 2)]: pass\nx = o.a",
    "with": "from contextlib import nullcontext as nc\nwith nc(1) as a, nc((2, 3)) as (b, c):\n"
            "    with (nc(4) as d, nc(5) as e): pass",
    "except": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    kept = str(e)\ngone = 'e' in globals()",
    "except_star": "try:\n    raise ExceptionGroup('g', [OSError(1), KeyError(2)])\nexcept* OSError as g:\n"
                   "    a = len(g.exceptions)\n"
                   "except* KeyError as h:\n    b = repr(h.exceptions)",
    "match": "match {'a': [1, 2, 3], 'b': 4, 'c': 5}:\n    case {'a': [x, *y], 'b': (3 | 4) as z, **rest}:\n"
             "        w = x\n"
             "match 'text':\n    case int(q): pass\n    case str() as s if (t := s.upper()): u = t\n"
             "    case other: pass",
    "imports": "import os.path\nimport os.path as p\nfrom math import pi, e as euler\nfrom os import (sep,)\n"
               "import xml.dom.minidom\n"
               "k = type(os).__name__, p is os.path",
    "star": "from string import *\nfrom math import *\nx = digits, floor(pi)\n"
            "def f(): return ascii_letters, sqrt(4)\ny = f()",
    "star_in_blocks": "if True:\n    try:\n        from string import *\n    finally:\n        from math import *\n"
                      "x = digits, pi",
    "walrus": "if (a := 1): b = [c := n for n in range(3)]\nd = [(lambda: (e := 1))(), (f := 2)]\n"
              "while (g := 0): pass\nx = (h := 1, h)",
    "walrus_deep": "x = [[(a := i + j) for i in range(2)] for j in range(2)]\ny = any((b := v) for v in [0, 3])\n"
                   "z = {(c := k): (d := v) for k, v in [(1, 2)]}\nprint(f'{(e := 5)}')",
    "comprehensions": "i = 'kept'\na = [i for i in range(3)]\nb = {j: k for j, k in zip('a', 'b')}\n"
                      "c = list(l for l in 'x')\n"
                      "d = [m for m in [n for n in range(2)]]\ne = [lambda: o for o in range(2)][0]()",
    "del": "a = b = c = 1\ndel a, (b)\nx = [1, 2]\ndel x[0]\nfor d in [1]: pass\ndel d\ntry: d\n"
           "except NameError as e: f = str(e)",
    "global": "def f():\n    global a, b\n    a = 1\n    def g():\n        global c\n        c = a\n    g()\nf()\n"
              "d = a, c",
    "global_at_top": "global a\na = 1\nif a:\n    global b\n    b = 2\nglobal never",
    "global_annotated": "global x\nx: int = 1",
    "nonlocal": "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x += 1\n        return x\n"
                "    return g()\na = f()",
    "classes": "x = 'module'\nclass A:\n    x = 'class'\n    y = x\n    z = [x for _ in 'a']\n    class B:\n"
               "        w = x\n    def m(self): return x\n"
               "    n = lambda self: x\na = A.x, A.y, A.z, A.B.w, A().m(), A().n()",
    "class_conditional": "class A:\n    if True:\n        q = 1\n    for r in range(2): s = r\n    del r\n"
                         "x = sorted(n for n in vars(A) if n[0] != '_')",
    "class_super": "class A:\n    def f(self): return 'A'\nclass B(A):\n"
                   "    def f(self): return super().f() + __class__.__name__\nx = B().f()",
    "decorators": "def d(w):\n    return lambda f: (w, f.__name__)\n@d('x')\ndef f(): pass\n@d((v := 'y'))\n"
                  "class C(*[], metaclass=(m := type)): pass",
    "defaults": "x = 1\ndef f(a=x, *, b=(y := 2)): return a, b\nx = 5\nz = f(), (lambda q=(r := 3): q)()",
    "annotations": "a: int = 1\nb: 'text'\nc: list[int]\nif a:\n    d: dict = {}\n(e): int = 3\nf = {}\n"
                   "f['k']: int = 4\n"
                   "def g(x: int) -> (h := str): y: bad_name = 1; return y\ng(1)\n"
                   "i = sorted(__annotations__), __annotations__['b']",
    "annotations_evaluated": "log = []\ndef n(x):\n    log.append(x)\n    return log\na: n(1) = n(2)\nn(3)[0]: n(4)\n"
                             "n(5)[n(6) and 0]: n(7) = n(8)\n"
                             "n(9).x: n(10)\nn(11)[n(12) and 0:n(13) and 1]: n(14)\n(b): n(15)\n",
    "annotations_future": "from __future__ import annotations\na: Missing = 1\nb: list[Missing, 'x'] \n"
                          "for i in 'a':\n    c: lambda: (yield) = 2\n"
                          "def f(x: Nope): pass\nd = f.__annotations__, __annotations__",
    "annotations_future_renamed": "from __future__ import annotations as lazy, division\n"
                                  "a: Missing = lazy.compiler_flag",
    "annotations_walrus": "def f(a: (x := int), *b: (y := str), c: (z := 1) = 2, **d: (w := 3)) -> (v := 4): pass\n"
                          "async def g(q: (u := 5), /): pass",
    "own_annotations_name": "__annotations__ = {'mine': 1}\na: int = 2\nb = dict(__annotations__)",
    "docstring": "'''The doc.'''\na = __doc__",
    "docstring_future": "'doc'\nfrom __future__ import annotations\na = __doc__",
    "no_docstring": "x = 1\n'''not the doc'''\na = __doc__",
    "fstring_doc": "f'no doc'\na = __doc__",
    "exec_eval": "a = 1\nexec('b = a + 1')\nc = eval('a + b')\nexec('global d; d = 4')\n"
                 "e = eval('[a for _ in range(2)]')\n"
                 "exec('def f(): return a, b')\ng = f()\nexec('import math as m')\nh = int(m.pi)",
    "namespaces": "a = 1\nb = globals() is locals(), vars() is globals()\n"
                  "c = sorted(n for n in dir() if n[0] != '_')\nlocals()['d'] = 4\n"
                  "e = d\nglobals()['f'] = 5\ng = f\nvars()['h'] = 6\ni = h\ndel globals()['a']\nj = 'a' in dir()",
    "main": "def main():\n    def inner(): pass\n    class C:\n        def m(self): pass\n"
            "    return inner.__qualname__, C.m.__qualname__\n"
            "if __name__ == '__main__':\n    a = main()",
    "qualnames": "class A:\n    def f(self):\n        return lambda: 0\n    class B: pass\ndef g():\n"
                 "    return [lambda: 0][0]\nh = lambda: 0\n"
                 "k = [(lambda: 0) for _ in 'a'][0]\nasync def l(): pass\nm = (x for x in 'a')\n"
                 "z = [t.__qualname__ for t in (A, A.f, A.B, A().f(), g, g(), h, k, l, m)]",
    "co_qualnames": "import sys\nq = lambda: (sys._getframe().f_code.co_qualname, sys._getframe().f_code.co_name)\n"
                    "a = q(), [sys._getframe().f_code.co_qualname for _ in 'a'], sys._getframe().f_code.co_qualname, "
                    "sys._getframe().f_code.co_name",
    "recursion": "def fact(n): return n * fact(n - 1) if n else 1\na = fact(9)\n"
                 "b = (lambda f: f(f, 5))(lambda f, n: n * f(f, n - 1) if n else 1)",
    "builtins_shadowed": "a = len('ab')\nlen = 5\nb = len\ndel len\nc = len('abc')\nprint(c)\nfor print in [1]: pass",
    "unbound_then_bound": "try:\n    later\nexcept NameError as error:\n    a = str(error)\nlater = 1\nb = later",
    "unbound_in_function": "def f(): return later\ntry:\n    f()\nexcept NameError as error:\n    a = str(error)\n"
                           "later = 1\nb = f()",
    "mangled": "__x = 1\nclass A:\n    def f(self):\n        global __y\n        __y = 2\nA().f()\n"
               "a = sorted(n for n in globals() if 'y' in n and n[0] == '_')",
    "async": "import asyncio\nasync def f():\n    return [x async for x in g()]\nasync def g():\n    yield 1\n"
             "a = asyncio.run(f())",
    "unpacking": "a, *b = range(4)\n*c, = 'xy'\n[d, (e, f)] = 1, (2, 3)\ng = {**{'h': 1}}\nprint(*b, sep='')",
    "augmented": "a = [1]\na += [2]\na[0] += 5\nb = 'x'\nb *= 3\nclass O: n = 1\nO.n -= 3\nc = O.n",
    "unicode_names": "ﬁ = 1\nπ = 3\na = fi, sorted(n for n in globals() if not n.isascii())",
    "assertions": "a = 1\nassert a\ntry:\n    assert not a, f'{a}'\nexcept AssertionError as e:\n    b = str(e)",
    "many_names": "\n".join(f"v{n} = {n}" for n in range(700)) + "\nfrom string import *\na = v699, digits",
    "star_with_many_names": "\n".join(f"w{n} = c{n} = {n}.5" for n in range(400)) + "\nif 1:\n"
                            "    from math import *\nx = floor(2.5)",
    "name_of_the_star": "from string import digits\nx = digits\nfrom string import *\ny = hexdigits",
}
TAILS = ["\nreturn 5", "\nif 1:\n    return 5", "\ntry:\n    return 5\nfinally:\n    pass\n", "\nwhile 1: return 5"]


@pytest.mark.parametrize("tail", TAILS, ids=["plain", "if", "try", "while"])
@pytest.mark.parametrize("name", MODULES)
def test_names_are_those_of_a_module(name, tail):
    expected, printed = plain(MODULES[name])
    value, space, out = run(MODULES[name] + tail)
    assert value == 5
    assert out == printed
    assert shown(space) == shown(expected)


@pytest.mark.parametrize("name", MODULES)
def test_a_program_without_return_is_compiled_as_it_is(name):
    source = MODULES[name]
    code, = compile_program(source)
    assert code == compile(source, "main.py", "exec", dont_inherit=True)


def test_the_code_object_is_called_like_a_module():
    code, = compile_program("x = 1\nreturn x")
    assert (code.co_name, code.co_qualname, code.co_filename) == ("<module>", "<module>", "main.py")
    assert "return" not in code.co_varnames and code.co_nlocals == 0 and code.co_argcount == 0


def test_every_name_is_global_whatever_binds_it():
    """No fast locals in the code of any program of the list: a forgotten kind of binding would be one."""
    for source in MODULES.values():
        code = compile_program(source + "\nreturn 1")[-1]
        assert (code.co_varnames, code.co_cellvars, code.co_freevars) == ((), (), ()), source


# --- line numbers ---

def test_line_numbers_and_columns_are_the_users():
    source = "\n\n'''doc\n\n'''\nx = [1,\n     2]\nif x:\n    y = (x[0] +\n         x['a'])\nreturn y\n"
    bare = source.replace("return y", "y       ")

    def where(code):
        try:
            eval(code, fresh())
        except TypeError as error:
            tb = error.__traceback__.tb_next
            return tb.tb_lineno, list(tb.tb_frame.f_code.co_positions())[tb.tb_lasti // 2]
    assert where(compile_program(source)[-1]) == where(compile(bare, "main.py", "exec"))


def test_functions_have_their_lines():
    value, space, _ = run("\n\n\ndef f(a,\n      b):\n    return a\nclass A:\n\n    def m(self): pass\nreturn 1")
    assert space["f"].__code__.co_firstlineno == 4
    assert space["A"].m.__code__.co_firstlineno == 9


def test_the_source_is_in_linecache_and_in_open():
    import linecache
    run("\ufeffa = 1\r\nreturn 'é'")
    assert linecache.getline("main.py", 1) == "a = 1\n" and linecache.getline("main.py", 2) == "return 'é'\n"
    prelude["program"] = "\ufeffa = 1\r\nreturn 'é'"  # show.c's work
    assert prelude["open_source"]("main.py", "rb").read() == "a = 1\r\nreturn 'é'".encode()
    with prelude["open_source"](str(PRELUDE), "rb") as file:
        assert file.read(6) == b"# SPDX"


# --- errors ---

ERRORS = {
    "return_in_class": "class A:\n    return 1",
    "return_in_class_after": "return 1\nclass A:\n    return 1",
    "yield": "yield 1", "yield_in_if": "if 1:\n    x = yield", "yield_from": "yield from []",
    "yield_in_lambda_default": "f = lambda x=(yield): x",
    "await": "await x", "async_for": "async for x in y: pass", "async_with": "async with x: pass",
    "async_comprehension": "[x async for x in y]",
    "break": "break", "continue": "if 1:\n    continue", "break_else": "for x in y: pass\nelse: break",
    "nonlocal": "nonlocal x", "nonlocal_top_name": "x = 1\ndef f():\n    nonlocal x",
    "nonlocal_in_class": "x = 1\nclass A:\n    nonlocal x",
    "global_late": "x = 1\nglobal x", "global_used": "print(x)\nglobal x", "global_parameter": "def f(x):\n"
                   "    global x",
    "star_in_function": "def f():\n    from math import *", "star_in_class": "class A:\n    from math import *",
    "future_late": "x = 1\nfrom __future__ import annotations", "future_unknown": "from __future__ import braces",
    "future_in_if": "if 1:\n    from __future__ import annotations",
    "duplicate_argument": "def f(a, a): pass", "two_stars": "*a, *b = c", "star_alone": "*a", "star_value": "x = *a",
    "assign_literal": "1 = x", "assign_call": "f() = 1", "assign_debug": "__debug__ = 1", "delete_call": "del f()",
    "walrus_in_class_comprehension": "class A:\n    x = [(y := 1) for _ in z]",
    "walrus_of_iteration": "[x := 1 for x in y]", "walrus_in_iterable": "[x for x in (y := z)]", "walrus_top": "x := 1",
    "except_order": "try: pass\nexcept: pass\nexcept ValueError: pass", "except_star_break": "for x in y:\n"
                    "    try: pass\n    except* E: break",
    "match_twice": "match x:\n    case (a, a): pass", "match_unreachable": "match x:\n    case _: pass\n"
                   "    case 1: pass",
    "match_or_names": "match x:\n    case a | 1: pass",
    "keyword_repeated": "f(a=1, a=2)", "positional_after": "f(a=1, 2)", "unpack_star": "f(**a, *b)",
    "indent": "if 1:\nx = 1", "dedent": "if 1:\n        x = 1\n    y = 2", "unexpected_indent": "x = 1\n  y = 2",
    "unclosed": "x = (1,\ny = 2", "unclosed_string": "x = 'abc", "mismatch": "x = (1]", "invalid": "x = = 2",
    "number": "x = 1abc",
    "fstring": "f'{'", "fstring_empty": "f'{}'", "fstring_lambda": "f'{lambda x: 1}'", "escape": "'\\N{no such name}'",
    "non_ascii": "x = 5€", "print": "print 'x'", "question": "x = y?", "too_many_stars": "def f(*a, *b): pass",
    "default_order": "def f(a=1, b): pass", "bytes": "b'é'", "import_star_as": "from a import * as b",
    "none": "None = 1",
}


def error_of(compiler, source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiler(source)
        except SyntaxError as error:
            return type(error).__name__, error.msg, error.filename, error.lineno, error.offset, error.end_offset, (
                error.text or "").strip("\n")
    return None


def as_a_file(source):
    """What `python3 main.py` says."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "main.py")
        path.write_text(source)
        done = subprocess.run([sys.executable, "main.py"], cwd=directory, capture_output=True, text=True)
        return done.stderr.replace(str(path), "main.py")


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_a_module(name):
    source = ERRORS[name]
    expected = error_of(lambda s: compile(s, "main.py", "exec", dont_inherit=True), source)
    if expected and expected[1] == "'return' outside function":
        expected = error_of(lambda s: compile(s, "main.py", "exec", dont_inherit=True), source.replace("return 1\n"
            "", "\n", 1))
    assert expected is not None
    got = error_of(compile_program, source)
    assert got[:-1] == expected[:-1]
    said = as_a_file(source)
    assert said.splitlines()[-1] == f"{got[0]}: {got[1]}" or name == "return_in_class_after"
    if got[-1].strip() and name != "return_in_class_after":
        assert got[-1].strip() in said


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_the_same_where_the_program_returns(name):
    """Both after the error and, where the parser gets so far, before it."""
    source = ERRORS[name]
    expected = error_of(compile_program, source)
    assert error_of(compile_program, source + "\nif 1:\n    return 2\n")[1] == expected[1] or name in ("indent",
        "unclosed")
    if "__future__" in source:
        return
    before = error_of(compile_program, "if 0: return 2\n" + source)
    assert before[1].replace("line 2", "line 1").replace("line 3", "line 2") == expected[1]
    assert before[3] == expected[3] + 1
    assert before[-1].strip() == expected[-1].strip()


def test_an_error_leads_to_no_frame_of_ours():
    for source in ("x = ", "return 1\nyield 2"):
        with pytest.raises(SyntaxError) as caught:
            compile_program(source)
        assert caught.value.__context__ is None and caught.value.__cause__ is None
        assert caught.value.text


def test_nul_is_refused():
    with pytest.raises((ValueError, SyntaxError)):
        compile_program("x = 1\0")


# --- warnings ---

@pytest.mark.parametrize("tail", ["", "\nreturn 1", "\nif 0: return 1\nx = 3 is 3"])
def test_warnings_are_said_once(tail):
    source = "x = 1 is 1\nif 2 is 2: pass\ny = '\\d'" + tail
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        filters = warnings.filters[:]
        compile_program(source)
        assert warnings.filters == filters
    said = [w for w in seen if issubclass(w.category, SyntaxWarning)]
    assert [w.lineno for w in said] == [1, 2] + ([5] if "3 is 3" in tail else [])
    assert {w.filename for w in said} == {"main.py"}


def test_a_warning_comes_before_an_error():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        with pytest.raises(SyntaxError):
            compile_program("x = 1 is 1\nbreak")
    assert [w.lineno for w in seen] == [1]


# --- size ---

CHILD = """
import builtins, json, sys
space = {"__builtins__": builtins}
exec(compile(open(sys.argv[1]).read(), "<hatchery>", "exec"), space)
kind, n = sys.argv[2], int(sys.argv[3])
source = {
    "elif": lambda: "x = -1\\nif x == 0: pass\\n" + "".join(f"elif x == {i}: y = {i}\\n" for i in range(1, n)),
    "if": lambda: "".join(" " * i + "if 1:\\n" for i in range(n)) + " " * n + "x = 1\\n",
    "parentheses": lambda: "x = " + "(" * n + "1" + ")" * n + "\\n",
    "brackets": lambda: "x = " + "[" * n + "]" * n + "\\n",
    "sum": lambda: "x = " + " + ".join(["1"] * n) + "\\n",
    "not": lambda: "x = " + "not " * n + "1\\n",
    "attribute": lambda: "def f(): pass\\nf.a = f\\nx = f" + ".a" * n + "\\n",
    "call": lambda: "def f(): return f\\nx = f" + "()" * n + "\\n",
    "lambda": lambda: "x = " + "lambda: " * n + "1\\n",
    "def": lambda: "".join(" " * i + "def f():\\n" for i in range(n)) + " " * n + "pass\\n",
    "statements": lambda: "x = 1\\n" * n,
    "try": lambda: "".join(" " * i + "try:\\n" for i in range(n)) + " " * n + "x = 1\\n"
                   + "".join(" " * i + "finally: pass\\n" for i in reversed(range(n))),
}[kind]()
def outcome(make, source):
    try:
        globals = {"__name__": "__main__"}
        for code in make(source):
            value = eval(code, globals)
            if value is not None:
                return value[0]
        return None
    except BaseException as error:
        return type(error).__name__ + ": " + str(error)
limit = sys.getrecursionlimit()
print(json.dumps([outcome(lambda s: (compile(s, "main.py", "exec"),), source),
                  outcome(space["compile_program"], source),
                  outcome(space["compile_program"], source + "if 1: return 7\\n")]))
assert sys.getrecursionlimit() == limit
"""


@pytest.mark.parametrize("kind,n", [
    ("elif", 900), ("elif", 2500), ("elif", 4000), ("elif", 20000), ("if", 15), ("if", 90), ("if", 150),
        ("parentheses", 150),
    ("parentheses", 300), ("brackets", 150), ("sum", 2900), ("sum", 9000), ("sum", 100000), ("not", 2500), ("not",
        50000),
    ("attribute", 2500), ("attribute", 50000), ("call", 2500), ("call", 50000), ("lambda", 200), ("lambda", 900),
        ("def", 80),
    ("statements", 30000), ("try", 15), ("try", 40),
])
def test_size_and_depth_have_the_limits_of_plain_python(kind, n):
    """What plain python compiles must compile with a return too; what it refuses must not crash."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(PRELUDE), kind, str(n)], capture_output=True, text=True,
        timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    expected, without, returning = json.loads(done.stdout)
    assert without == expected
    assert returning == (7 if expected is None else expected)
