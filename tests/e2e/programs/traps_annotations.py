from __future__ import annotations
import sys
import typing

count: int = 3
name: Undefined
if count:
    inner: dict[str, list[Missing]] = {}
(paren): int = 4
obj = type("O", (), {})()
obj.attr: str = "a"


def f(x: Nope, *, y: "quoted" = None) -> Never:
    local: int = 5
    return local


print(__annotations__)
print(f.__annotations__, f(1), paren, obj.attr)
print(typing.get_type_hints(sys.modules["__main__"], localns={"Undefined": int, "Missing": str}))
print("name" in globals(), annotations.compiler_flag > 0)
