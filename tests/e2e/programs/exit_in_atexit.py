import atexit
import sys


@atexit.register
def last():
    print("last")
    sys.exit(5)


print("end")
