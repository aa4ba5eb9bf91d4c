import math


class Settings:
    timeout = 3


def load(path, encoding="utf-8"):
    pass


total_count = 3
for attempt in (lambda: Settings().timout, lambda: math.sqr(2), lambda: load("x", encodin="y"),
                lambda: "a" + 1, lambda: None.strip(), lambda: {}["k"], lambda: [].pop(), lambda: int("x")):
    try:
        attempt()
    except Exception as error:
        print(type(error).__name__, error)
print(total_cuont)
