from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from typing import (Annotated, Any, Callable, Literal, Optional, ParamSpec, Protocol, TypedDict, TypeVar, Union, cast,
                    get_args, get_origin, get_type_hints, overload, runtime_checkable)


class Movie(TypedDict, total=False):
    title: str
    year: int


@runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


class File:
    def close(self):
        pass


P = ParamSpec("P")
T = TypeVar("T", bound="File")


@overload
def f(x: int) -> int: ...
@overload
def f(x: str) -> str: ...
def f(x):
    return x


print(Movie(title="x"), Movie.__annotations__, isinstance(File(), Closable), isinstance(3, Closable))
print(Optional[int], Union[int, str, None], int | None, list[dict[str, int]], Callable[[int], str], Literal["a"])
print(get_origin(dict[str, int]), get_args(Annotated[int, "m"]), T, P, cast(int, "s"), Any)
d = deque([1, 2, 3], maxlen=3)
d.append(4)
d.rotate(1)
print(d, Counter("hello") - Counter("l"), OrderedDict(a=1), ChainMap({"a": 1}, {"a": 2, "b": 3})["b"])
Pair = namedtuple("Pair", "left right", defaults=[0])
print(Pair(1), Pair._fields, Pair(1) == (1, 0), Pair.__module__)


class Lower(UserDict):
    def __setitem__(self, key, value):
        super().__setitem__(key.lower(), value)


low = Lower(A=1)
low["B"] = 2
tree = lambda: defaultdict(tree)
t = tree()
t["a"]["b"] = 1
print(low, t["a"]["b"], list(t))
