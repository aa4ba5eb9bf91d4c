import sys
def f():
    raise ValueError("crlf")
f()
