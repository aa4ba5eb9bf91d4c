import copy
import pickle
import shelve
import tempfile
import os


class Node:
    def __init__(self, value, *children):
        self.value, self.children = value, list(children)

    def __eq__(self, other):
        return self.value == other.value and self.children == other.children

    def __reduce__(self):
        return Node, (self.value, *self.children)


class Slots:
    __slots__ = ("a", "b")


class Outer:
    class Inner:
        x = 1


def double(n):
    return n * 2


tree = Node(1, Node(2), Node(3, Node("four")))
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    assert pickle.loads(pickle.dumps(tree, protocol)) == tree
s = Slots()
s.a, s.b = 1, [2]
t = pickle.loads(pickle.dumps(s, 4))
print(t.a, t.b, copy.deepcopy(s).b is s.b, copy.copy(s).b is s.b)
print(pickle.loads(pickle.dumps(double))(21), pickle.loads(pickle.dumps(Outer.Inner)) is Outer.Inner)
print(b"__main__" in pickle.dumps(Node), Node.__module__, Outer.Inner.__qualname__)
try:
    pickle.dumps(lambda: 0)
except Exception as error:
    print(type(error).__name__, error)
with tempfile.TemporaryDirectory() as directory:
    with shelve.open(os.path.join(directory, "s")) as store:
        store["t"] = {"a": [1, 2]}
    with shelve.open(os.path.join(directory, "s")) as store:
        print(dict(store))
