import sys
import typing
from typing import Optional

count: int = 3
label: "str"
maybe: Optional[int] = None
for n in range(1):
    looped: list = [n]
order = []


def note(word):
    order.append(word)
    return int


target = [0]
target[order.append("index") or 0]: note("annotation") = order.append("value")
note.x: note("second")
a: note("third") = (order.append("before"), 1)[1]
print(__annotations__, order)
print(typing.get_type_hints(sys.modules["__main__"]))
try:
    bad: undefined = 1
except NameError as error:
    print(error, bad)
def late(v: (walrus := int)) -> (other := str): ...
print(walrus, other, late.__annotations__)
