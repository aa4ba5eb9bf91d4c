# An exception in a thread is printed and does not fail the program; one in sys.exit() there is silent.
import sys
import threading


def bad():
    raise OSError(28, "No space left on device")


for target in (bad, lambda: sys.exit(5)):
    thread = threading.Thread(target=target, name="Worker")
    thread.start()
    thread.join()
print("still here")
