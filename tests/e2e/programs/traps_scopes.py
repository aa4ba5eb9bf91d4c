from math import *
from os.path import *
import math

x = "module"
total = 0


def bump(by=1):
    global total, created
    total += by
    created = "by bump"
    return total


def counter():
    n = 0

    def step():
        nonlocal n
        n += 1
        return n
    return step


class A:
    x = "class"
    y = [x for _ in range(2)]
    z = x

    def get(self):
        return x, __class__.__name__, self.__private()

    def __private(self):
        return "mangled"

    class B:
        w = x


def fact(n):
    return 1 if n <= 1 else n * fact(n - 1)


step = counter()
print(bump(), bump(5), total, created, step(), step(), A().get(), A.y, A.z, A.B.w)
print(fact(30), floor(pi), join("a", "b"), sqrt is math.sqrt)
funcs = [lambda: i for i in range(3)]
print([f() for f in funcs], [i for i in range(3)], "i" in globals())
for i in range(3):
    pass
print(i, [(lambda v=v: v)() for v in range(3)])
if (n := len("walrus")) > 3 and any((hit := c) == "r" for c in "walrus"):
    print(n, hit, "hit" in globals())
try:
    raise ValueError("v")
except ValueError as e:
    kept = e
print("e" in globals(), repr(kept))
del kept
print("kept" in dir(), globals() is locals(), vars() is globals(), "A" in vars())
exec("made = x + '!'")
print(made, eval("made.upper()"), globals()["made"])
globals()["injected"] = 5
print(injected)
import sys
print(sys.modules[__name__].x, __builtins__.len is len)
