import os
import sys
print("before", flush=True)
print("aborting", file=sys.stderr, flush=True)
os.abort()
