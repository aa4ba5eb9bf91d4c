# Garbage is collected at the end though the program has turned the collector off.
import gc
import os


class Loud:
    def __del__(self):
        print("del", os.sep)


gc.disable()
a = Loud()
a.me = a
del a
kept = Loud()


def fail(held=kept):
    raise ValueError("last", type(kept).__name__) from ValueError(1)


fail()
