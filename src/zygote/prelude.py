# SPDX-License-Identifier: Apache-2.0
"""What the zygote's C code leaves to Python: compiling a program, and its source as a file.

Executed once in the zygote in a namespace of its own, before any program.  The C
side (run.c) keeps compile_program() and open_source(); a program finds them by no name.
Everything but open_source() and LateSsl has done its work before the program's first line runs.
"""
import __future__
import ast
import io
import linecache
import opcode
import sys
import types
import warnings

FILENAME = "main.py"
STAR = "hatchery_star"  # stands for `*` between compile() and patch_stars()
BODY = "<body>"  # the function around a program that returns; no program can name one so

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
BLOCKS = ("body", "orelse", "finalbody")

open = open
program = ""  # what open_source() gives; show.c sets it


def compile_program(source, shown=False):
    """A program as (code object, globals to set before it runs); it may `return` at top level.
    Where the compiler's warnings were @shown by who tried it before, they are not again (compile.c)."""
    if source[:1] == "\ufeff":
        source = source[1:]
    lines = [line + "\n" for line in source.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    linecache.cache[FILENAME] = (len(source), None, lines, FILENAME)
    said, show, warnings._showwarnmsg = [], warnings._showwarnmsg, lambda message: said.append(message)
    try:
        try:
            return compile(source, FILENAME, "exec", 0, True), {}
        except SyntaxError as error:
            if error.msg != "'return' outside function":
                raise
            del said[:]  # or the compiler would say it twice
        return compile_returning(source)
    except SyntaxError as error:
        # A tree has no text: give the error the line that a file would have given.
        if error.text is None and error.filename == FILENAME and 0 < (error.lineno or 0) <= len(lines):
            error.text = lines[error.lineno - 1]
        raise error.with_traceback(None)
    finally:
        warnings._showwarnmsg = show
        for message in said:
            shown or show(message)


def compile_returning(source):
    """A program with `return` at top level becomes the body of a function whose every name
    is global, and the function's code object is then run as the module's: `return` unwinds
    `with`, `finally` and loops as the compiler knows to, and names stay the module's."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10000))  # a chain of elif is nested in the tree, lambdas in the code
    try:
        check_without_returns(source)
        tree = ast.parse(source, FILENAME)
        first = dict.fromkeys(["__doc__"], ast.get_docstring(tree, clean=False))
        future = [node for node in tree.body if is_future(node)]
        for node in future:
            for alias in node.names:
                first[alias.asname or alias.name] = getattr(__future__, alias.name)
        rewriter = Rewriter(any(alias.name == "annotations" for node in future for alias in node.names))
        body = rewriter.block([node for node in tree.body if not is_future(node)])
        if rewriter.annotated:
            first["__annotations__"] = {}
        function = ast.FunctionDef(
            name=BODY, decorator_list=[], lineno=1, col_offset=0,
            args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),
            body=[ast.Global(names=[name]) for name in sorted(rewriter.names)] + body)
        module = ast.fix_missing_locations(ast.Module(body=future + [function], type_ignores=[]))
        outer = compile(module, FILENAME, "exec", 0, True)
        code = next(c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == BODY)
        code = requalify(patch_stars(code), BODY + ".<locals>.")
    finally:
        sys.setrecursionlimit(limit)
    return code.replace(co_name="<module>", co_qualname="<module>"), first


def is_future(node):
    return isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.level == 0


def blocks_of(node):
    """The lists of statements directly inside a compound statement, each with its owner and field."""
    for field in BLOCKS:
        if isinstance(getattr(node, field, None), list):
            yield node, field
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part, "body"


def check_without_returns(source):
    """Let the compiler word every other error of the module as it does for a module."""
    tree = ast.parse(source, FILENAME)

    def strip(statements):
        for i, node in enumerate(statements):
            if isinstance(node, ast.Return):
                value = node.value or ast.Constant(value=None)
                statements[i] = ast.fix_missing_locations(ast.copy_location(ast.Expr(value=value), node))
            elif not isinstance(node, SCOPES):
                for owner, field in blocks_of(node):
                    strip(getattr(owner, field))

    strip(tree.body)
    saved = warnings.filters[:]
    warnings.filters[:] = [("ignore", None, Warning, None, 0)]  # the real compilation will warn
    warnings._filters_mutated()
    try:
        compile(tree, FILENAME, "exec", 0, True)
    finally:
        warnings.filters[:] = saved
        warnings._filters_mutated()


class Rewriter:
    """Brings a module's statements into the form that a function allows, and collects
    in @names what they bind in their own scope."""

    def __init__(self, lazy):
        self.lazy = lazy  # from __future__ import annotations
        self.names = set()
        self.annotated = False

    def block(self, statements):
        out = []
        for node in statements:
            if isinstance(node, ast.AnnAssign):
                out += self.annotation(node)
                continue
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                node.names[0].name = STAR
            self.bind(node)
            if not isinstance(node, SCOPES):
                for owner, field in blocks_of(node):
                    setattr(owner, field, self.block(getattr(owner, field)))
            out.append(node)
        return out

    def annotation(self, node):
        """`x: T = v` at module level: assign, then record the annotation."""
        new = []
        self.bind(node)
        if node.value is not None:
            new.append(ast.Assign(targets=[node.target], value=node.value))
        if node.simple and isinstance(node.target, ast.Name):
            self.annotated = True
            self.names.add("__annotations__")
            where = ast.Name(id="__annotations__", ctx=ast.Load())
            item = ast.Subscript(value=where, slice=ast.Constant(value=node.target.id), ctx=ast.Store())
            value = ast.Constant(value=ast.unparse(node.annotation)) if self.lazy else node.annotation
            new.append(ast.Assign(targets=[item], value=value))
        else:
            if node.value is None and not isinstance(node.target, ast.Name):
                new += [ast.Expr(value=part) for part in evaluated_parts(node.target)]
            if not self.lazy:
                new.append(ast.Expr(value=node.annotation))
        return [ast.copy_location(n, node) for n in new or [ast.Pass()]]

    def bind(self, node):
        if isinstance(node, SCOPES):
            self.names.add(node.name)
            arguments = getattr(node, "args", None)
            outer = node.decorator_list + getattr(node, "bases", []) + [k.value for k in getattr(node, "keywords", [])]
            if arguments:
                outer += arguments.defaults + [d for d in arguments.kw_defaults if d]
                given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg,
                         arguments.kwarg]
                outer += [a.annotation for a in given if a and a.annotation] + [r for r in [node.returns] if r]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self.names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            outer = []
        else:
            own = {id(getattr(node, field, None)) for field in BLOCKS}
            outer = [child for field, value in ast.iter_fields(node) if id(value) not in own
                     for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]
        for child in outer:
            self.bind_expression(child)

    def bind_expression(self, top):
        """Targets, `:=` and captures; iterative, as the nesting is a stranger's.  The variables of
        comprehensions come along, which changes nothing: they are bound in a scope of their own."""
        todo = [top]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Lambda):
                todo += [d for d in node.args.defaults + node.args.kw_defaults if d]
                continue
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self.names.add(node.id)
            elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)) and node.name:
                self.names.add(node.name)
            elif isinstance(node, ast.MatchMapping) and node.rest:
                self.names.add(node.rest)
            for field, value in ast.iter_fields(node):
                if field != "body" or not isinstance(node, (ast.ExceptHandler, ast.match_case)):
                    todo += [child for child in (value if isinstance(value, list) else [value])
                             if isinstance(child, ast.AST)]


def evaluated_parts(target):
    """What `a.b: T` and `a[i]: T` evaluate of their target."""
    parts = [target.value]
    if isinstance(target, ast.Subscript):
        parts += [part for part in (target.slice.lower, target.slice.upper, target.slice.step) if part] \
            if isinstance(target.slice, ast.Slice) else [target.slice]
    return parts


def patch_stars(code):
    """`from m import hatchery_star` becomes `from m import *`: IMPORT_FROM, STORE_GLOBAL, POP_TOP
    become IMPORT_STAR and NOPs, of the same length and effect on the stack (CPython 3.11)."""
    if (STAR,) not in code.co_consts:
        return code
    op = opcode.opmap
    raw = bytearray(code.co_code)
    wanted, extended = code.co_names.index(STAR), 0
    for i in range(0, len(raw), 2):
        argument = raw[i + 1] | extended
        if raw[i] == op["EXTENDED_ARG"]:
            extended = argument << 8
            continue
        extended = 0
        if raw[i] == op["IMPORT_FROM"] and argument == wanted:
            end = i + 2
            while raw[end] != op["POP_TOP"]:
                end += 2
            raw[i:end + 2] = bytes([op["IMPORT_STAR"], 0]) + bytes([op["NOP"], 0]) * ((end - i) // 2)
    consts = tuple(("*",) if c == (STAR,) else c for c in code.co_consts)
    return code.replace(co_code=bytes(raw), co_consts=consts)


def requalify(code, prefix):
    """Lambdas and comprehensions at top level are called as in a module."""
    consts = tuple(requalify(c, prefix) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=consts, co_qualname=code.co_qualname.removeprefix(prefix))


class Source(io.BytesIO):
    """main.py for the C code that shows a traceback: it asks for the encoding by descriptor,
    and reads from the object."""

    def fileno(self):
        self.null = open("/dev/null", "rb")
        return self.null.fileno()


def open_source(name, *rest, **named):
    """io.open() while an exception is shown (show.c)."""
    if name == FILENAME:
        return Source(program.removeprefix("\ufeff").encode("utf-8", "replace"))
    return open(name, *rest, **named)


class LateSsl:
    """What asyncio has for the ssl that it was imported without (warm.c): the module, from the first use on."""

    def __getattr__(self, name):
        if name == "SSLSocket" and "ssl" not in sys.modules:
            return ()  # isinstance() asks: nobody can have made one
        return getattr(give_ssl(), name)


def give_ssl():
    import ssl
    for module in without_ssl:
        module.ssl = ssl
        if module.__name__ == "asyncio.sslproto":
            module.SSLAgainErrors = ssl.SSLWantReadError, ssl.SSLSyscallError
    return ssl


without_ssl = [module for name, module in sys.modules.items()
               if name.startswith("asyncio.") and getattr(module, "ssl", module) is None]
for module in without_ssl:
    module.ssl = LateSsl()
if "ssl" in sys.modules:  # another import has brought it in
    give_ssl()
