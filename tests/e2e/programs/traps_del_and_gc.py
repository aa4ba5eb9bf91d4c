import gc
import warnings
import weakref


class Loud:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("del", self.name)


class Failing:
    def __del__(self):
        raise ValueError("in __del__")


Failing()
a = Loud("a")
a = None
b = Loud("cycle")
b.me = b
del b
print(gc.collect() > 0)
weakref.finalize(gc, print, "finalizer at exit")
warnings.warn("careful")
warnings.warn("old", DeprecationWarning)
warnings.warn("later", PendingDeprecationWarning)
warnings.warn("careful")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    warnings.warn("recorded")
print([str(w.message) for w in seen])


def deprecated():
    warnings.warn("use new()", DeprecationWarning, stacklevel=2)


deprecated()
if 3 is 3 or "a" is "a":
    print("SyntaxWarning on stderr")
last = Loud("module global")
print("end")
