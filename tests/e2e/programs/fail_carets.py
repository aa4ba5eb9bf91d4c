# Which part of a line failed is marked, also in a line of several statements and in a long expression.
import sys


def a(x): return (x[0]
                  + x[1]["deep"]["deeper"])


data = {"ключ": [{"v": {}}]}
try: a([1, {"deep": {}}])
except KeyError:
    import traceback; traceback.print_exc(file=sys.stderr)
try:
    	value = 1 + data["ключ"][0]["v"]["нет"] + 2
except KeyError:
    traceback.print_exc()
print("日本語", (1 + 2) / (len("") * 3), data.missing)
