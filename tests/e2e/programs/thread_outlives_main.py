# A non-daemon thread is waited for, then atexit runs, last registered first.
import atexit
import threading
import time

atexit.register(print, "atexit: registered first")
gate = threading.Event()


def late():
    gate.wait()
    time.sleep(0.05)
    print("thread: after the end of main")
    atexit.register(print, "atexit: registered by the thread")


threading.Thread(target=late).start()
atexit.register(lambda: print("atexit: registered second"))


@atexit.register
def failing():
    raise ValueError("in atexit")


print("main: end")
gate.set()
