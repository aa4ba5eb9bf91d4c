import atexit
import threading

atexit._clear()
atexit.register(lambda: print("only this", threading.main_thread().is_alive()))
print("end")
