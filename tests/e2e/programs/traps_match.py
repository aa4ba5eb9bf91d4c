from dataclasses import dataclass


@dataclass
class Point:
    x: int
    y: int


def describe(value):
    match value:
        case None | False:
            return "nothing"
        case int(n) if n > 100:
            return f"big {n}"
        case [first, *rest]:
            return f"{first} then {rest}"
        case {"type": "circle", "r": r, **others}:
            return f"circle {r} {others}"
        case Point(x=0, y=y) | Point(x=y, y=0):
            return f"on an axis {y}"
        case Point() as p:
            return f"point {p}"
        case str() as s:
            return s.upper()
        case _:
            return "?"


for value in (None, 500, [1, 2, 3], {"type": "circle", "r": 2, "c": "red"}, Point(0, 4), Point(3, 4), "text", 5):
    print(describe(value))
match {"command": "go", "to": ["n", "e"]}:
    case {"command": "go", "to": [*directions]}:
        print(directions)
match = case = type = 3
print(match, case, type)
match match:
    case 3:
        print("soft keywords")
try:
    raise ExceptionGroup("g", [ValueError(1), TypeError(2), ExceptionGroup("h", [ValueError(3), KeyError(4)])])
except* ValueError as group:
    print("values", group.exceptions)
except* (TypeError, KeyError) as group:
    print("others", repr(group))
