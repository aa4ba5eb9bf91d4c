import sys
import threading


class Out:
    def write(self, text):
        return sys.__stdout__.write(text)

    def flush(self):
        sys.__stdout__.write(f"flush, main thread alive: {threading.main_thread().is_alive()}\n")

    def __del__(self):
        sys.__stdout__.write("gone\n")


sys.stdout = Out()
print("x")
