import itertools
from contextlib import ExitStack, closing, contextmanager, redirect_stdout, suppress
import io


def numbers():
    total = 0
    while True:
        got = yield total
        if got is None:
            return "over"
        total += got


def chain():
    result = yield from numbers()
    print("inner said", result)
    yield from "ab"


g = chain()
next(g)
print(g.send(3), g.send(4))
print(list(g) if False else next(g), next(g), next(g, "end"))


@contextmanager
def tag(name):
    print(f"<{name}>")
    try:
        yield name.upper()
    except KeyError as error:
        print("swallowed", error)
    finally:
        print(f"</{name}>")


with tag("a") as upper, tag("b"):
    print(upper)
    raise KeyError("k")
with ExitStack() as stack:
    for n in "xyz":
        stack.enter_context(tag(n))
    stack.callback(print, "callback")
with suppress(ZeroDivisionError):
    1 / 0
out = io.StringIO()
with redirect_stdout(out):
    print("hidden")
print(repr(out.getvalue()))
squares = (n * n for n in itertools.count(1))
print(list(itertools.takewhile(lambda n: n < 50, squares)))
print([*itertools.pairwise("abcd")], list(itertools.accumulate([1, 2, 3], initial=10)))
print({k: list(v) for k, v in itertools.groupby(sorted("mississippi"))})
