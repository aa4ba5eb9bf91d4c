# SPDX-License-Identifier: Apache-2.0
"""What the zygote's C code leaves to Python: compiling statements with a `return` at top level, and a source as a file.

Executed once in the zygote in a namespace of its own, before any program.  The C
side (run.c) keeps compile_program(), compile_returning() and open_source(); a program finds them by no name.
Everything but open_source() and LateSsl has done its work before the program's first line runs.
"""
import __future__
import ast
import io
import linecache
import sys
import types
import warnings

FILENAME = "main.py"
STAR = "<import *>"  # what a body calls in place of the statement (compile.c)
BODY = "<body>"  # the function around a program that returns; no program can name one so

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
BLOCKS = ("body", "orelse", "finalbody")

open = open
program = ""  # what open_source() gives; show.c sets it


def compile_program(source, shown=False):
    """A program as a tuple of code objects to run one after another, of which one that gives a tuple has returned its item.
    Where the compiler's warnings were @shown by who tried it before, they are not again (compile.c)."""
    if source[:1] == "\ufeff":
        source = source[1:]
    lines = [line + "\n" for line in source.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    linecache.cache[FILENAME] = (len(source), None, lines, FILENAME)
    said, show, warnings._showwarnmsg = [], warnings._showwarnmsg, lambda message: said.append(message)
    try:
        try:
            return compile(source, FILENAME, "exec", 0, True),
        except SyntaxError as error:
            if error.msg != "'return' outside function":
                raise
            del said[:]  # or the compiler would say it twice
        return compile_returning(source, 0, True)
    except SyntaxError as error:
        # A tree has no text: give the error the line that a file would have given.
        if error.text is None and error.filename == FILENAME and 0 < (error.lineno or 0) <= len(lines):
            error.text = lines[error.lineno - 1]
        raise error.with_traceback(None)
    finally:
        warnings._showwarnmsg = show
        for message in said:
            shown or show(message)


def compile_returning(source, flags, whole):
    """Statements of which some have a `return` become the body of a function whose every name is global, and the
    function's code object is then run as the module's: `return` unwinds `with`, `finally` and loops as the compiler knows
    to, and names stay the module's.  A tuple as of compile_program(); not @whole: only a part of a program, which is
    compiled with what `from __future__ import` before it has set in @flags."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10000))  # a chain of elif is nested in the tree, lambdas in the code
    try:
        tree = compile(source, FILENAME, "exec", flags | ast.PyCF_ONLY_AST, True)
        names = names_of(compile_without_returns(tree, flags))
        docstring = tree.body[:1] if whole and ast.get_docstring(tree, clean=False) is not None else []
        future = [node for node in tree.body if is_future(node)]
        lazy = flags & __future__.annotations.compiler_flag \
            or any(alias.name == "annotations" for node in future for alias in node.names)
        body = rewrite([node for node in tree.body if node not in docstring and not is_future(node)], lazy)
        function = ast.FunctionDef(
            name=BODY, decorator_list=[], lineno=1, col_offset=0,
            args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),
            body=[ast.Global(names=[name], lineno=1, col_offset=0) for name in sorted(names)] + body)
        outer = compile(ast.Module(body=future + [function], type_ignores=[]), FILENAME, "exec", flags, True)
        code = next(c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == BODY)
        code = requalify(code, BODY + ".<locals>.").replace(co_name="<module>", co_qualname="<module>")
        first = docstring + future
        return (*([compile(ast.Module(body=first, type_ignores=[]), FILENAME, "exec", flags, True)] if first else []), code)
    finally:
        sys.setrecursionlimit(limit)


def is_future(node):
    return isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.level == 0


def blocks_of(node):
    """The lists of statements directly inside a compound statement, each with its owner and field."""
    for field in BLOCKS:
        if isinstance(getattr(node, field, None), list):
            yield node, field
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part, "body"


def compile_without_returns(tree, flags):
    """Let the compiler word every other error of the module as it does for a module."""
    changed = []

    def strip(statements):
        for i, node in enumerate(statements):
            if isinstance(node, ast.Return):
                value = node.value or ast.copy_location(ast.Constant(value=None), node)
                statements[i] = ast.copy_location(ast.Expr(value=value), node)
                changed.append((statements, i, node))
            elif not isinstance(node, SCOPES):
                for owner, field in blocks_of(node):
                    strip(getattr(owner, field))

    strip(tree.body)
    saved = warnings.filters[:]
    warnings.filters[:] = [("ignore", None, Warning, None, 0)]  # the real compilation will warn
    warnings._filters_mutated()
    try:
        return compile(tree, FILENAME, "exec", flags, True)
    finally:
        warnings.filters[:] = saved
        warnings._filters_mutated()
        for statements, i, node in changed:
            statements[i] = node


def names_of(code):
    """The names that a module may bind, and others, for which it makes no difference that they are declared global: all that
    are used anywhere in it as a global or as an attribute."""
    names, todo = {"__annotations__", STAR}, [code]
    while todo:
        code = todo.pop()
        names.update(name for name in code.co_names if name.isidentifier() and name != "__debug__")
        todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return names


def rewrite(statements, lazy):
    """A module's statements in the form that a function allows; what `return` gives is in a tuple, to be told from None.
    @lazy: from __future__ import annotations."""
    out = []
    for node in statements:
        if isinstance(node, ast.AnnAssign):
            out += annotation(node, lazy)
            continue
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            call = ast.Call(func=ast.Name(id=STAR, ctx=ast.Load()), keywords=[],
                            args=[ast.Constant(value=node.module or ""), ast.Constant(value=node.level)])
            out.append(ast.fix_missing_locations(ast.copy_location(ast.Expr(value=call), node)))
            continue
        if isinstance(node, ast.Return):
            value = node.value or ast.copy_location(ast.Constant(value=None), node)
            node.value = ast.copy_location(ast.Tuple(elts=[value], ctx=ast.Load()), value)
        elif not isinstance(node, SCOPES):
            for owner, field in blocks_of(node):
                setattr(owner, field, rewrite(getattr(owner, field), lazy))
        out.append(node)
    return out


def annotation(node, lazy):
    """`x: T = v` at module level: assign, then record the annotation."""
    new = []
    if node.value is not None:
        new.append(ast.Assign(targets=[node.target], value=node.value))
    if node.simple and isinstance(node.target, ast.Name):
        where = ast.Name(id="__annotations__", ctx=ast.Load())
        item = ast.Subscript(value=where, slice=ast.Constant(value=node.target.id), ctx=ast.Store())
        value = ast.Constant(value=ast.unparse(node.annotation)) if lazy else node.annotation
        new.append(ast.fix_missing_locations(ast.copy_location(ast.Assign(targets=[item], value=value), node)))
    else:
        if node.value is None and not isinstance(node.target, ast.Name):
            new += [ast.Expr(value=part) for part in evaluated_parts(node.target)]
        if not lazy:
            new.append(ast.Expr(value=node.annotation))
    return [ast.copy_location(n, node) for n in new or [ast.Pass()]]


def evaluated_parts(target):
    """What `a.b: T` and `a[i]: T` evaluate of their target."""
    parts = [target.value]
    if isinstance(target, ast.Subscript):
        parts += [part for part in (target.slice.lower, target.slice.upper, target.slice.step) if part] \
            if isinstance(target.slice, ast.Slice) else [target.slice]
    return parts


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
