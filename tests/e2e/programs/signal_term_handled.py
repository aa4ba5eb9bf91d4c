import os
import signal
import sys


def bye(number, frame):
    print("cleaning up")
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, bye)
os.kill(os.getpid(), signal.SIGTERM)
while True:
    pass
