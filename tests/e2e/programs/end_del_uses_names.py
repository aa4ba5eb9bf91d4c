# At a program's end __del__ finds the modules, functions and globals that it names, even in cycles.
import os
import threading


class Resource:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("closing", label(self.name), os.path.basename("/a/b"))


class Late:
    def __init__(self):
        self.threading = threading

    def __del__(self):
        main = self.threading.main_thread()
        print(main.is_alive(), self.threading.active_count())
        try:
            self.threading._register_atexit(print)
        except RuntimeError as error:
            print(error)


def label(name):
    return name.upper()


_private = Resource("private")
cycle = Resource("cycle")
cycle.me = cycle
late = Late()
print("end", threading.main_thread().native_id == threading.get_native_id())
