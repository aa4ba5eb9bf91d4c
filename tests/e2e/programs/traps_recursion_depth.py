import sys

print(sys.getrecursionlimit())


def depth(n=0):
    try:
        return depth(n + 1)
    except RecursionError:
        return n


print(depth())


def down(n):
    return 0 if n == 0 else 1 + down(n - 1)


print(down(900))
sys.setrecursionlimit(5000)
print(down(4000))
deep = []
for _ in range(3000):
    deep = [deep]
try:
    repr(deep)
except RecursionError as error:
    print(type(error).__name__)
import json
try:
    json.dumps(deep * 1)
except RecursionError as error:
    print(error)
