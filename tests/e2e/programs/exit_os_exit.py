import atexit
import os
import sys

atexit.register(print, "never")
print("flushed", flush=True)
print("to stderr", file=sys.stderr, flush=True)
os._exit(9)
