"""The module's docstring."""
import dis
import inspect
import io
import sys
import traceback
import types
import weakref


def outer(a, b: int = 2, *args, c, d=4, **kw) -> str:
    """Doc of outer."""
    def inner():
        return sys._getframe().f_code.co_qualname, sys._getframe(1).f_code.co_name
    return inner()


print(__doc__, __name__, outer.__doc__, inspect.signature(outer))
print(outer(1, c=3), sys._getframe().f_code.co_name, sys._getframe().f_back, sys._getframe().f_lineno)
print(inspect.getsource(outer).splitlines()[0], inspect.getsourcelines(outer)[1], inspect.getfile(outer)[-7:])
print(inspect.getdoc(outer), inspect.isfunction(outer), inspect.getmodule(outer).__name__)


class Thing:
    def method(self):
        return [f.function for f in inspect.stack()]


thing = Thing()
ref = weakref.ref(thing, lambda r: print("gone"))
print(thing.method(), ref() is thing)
del thing
print(ref(), Thing.method.__qualname__, (lambda: 0).__qualname__)
try:
    [outer for _ in [1] if undefined_name]
except NameError:
    text = traceback.format_exc()
    print(text.splitlines()[-1], "main.py" in text, text.count("line"))
summary = traceback.extract_stack()
print(len(summary), summary[0].name, summary[0].lineno, summary[0].line)
out = io.StringIO()
dis.dis(compile("x + 1", "s", "eval"), file=out)
print("LOAD_NAME" in out.getvalue(), isinstance(sys.modules["__main__"], types.ModuleType))
module = types.ModuleType("m")
exec("def f(): return g\ng = 5", module.__dict__)
print(module.f(), sys.modules["__main__"].outer is outer, sorted(n for n in vars(Thing) if n[0] != "_"))
