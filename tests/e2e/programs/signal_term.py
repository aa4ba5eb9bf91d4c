import signal
import sys
print("out", flush=True)
signal.raise_signal(signal.SIGTERM)
