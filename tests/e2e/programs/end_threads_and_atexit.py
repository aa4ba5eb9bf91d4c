import atexit
import threading
import weakref


class Anything:
    pass


go = threading.Event()


def slow():
    threading.main_thread().join()
    print("the main thread has ended")


threading.Thread(target=slow).start()
threading.Thread(target=go.wait, daemon=True).start()
threading._register_atexit(print, "threading's atexit")
atexit.register(lambda: print("atexit", threading.main_thread().is_alive(), threading.active_count()))
anything = Anything()
weakref.finalize(anything, print, "finalized")
print("end")
