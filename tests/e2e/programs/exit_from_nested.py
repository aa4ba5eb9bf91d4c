import atexit
import sys
import threading

atexit.register(print, "atexit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread ended"))).start()


def deep(n):
    try:
        if n == 0:
            sys.exit(4)
        deep(n - 1)
    finally:
        print("unwinding", n)


deep(3)
