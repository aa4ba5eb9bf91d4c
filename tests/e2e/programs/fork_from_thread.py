import os
import threading


def fork():
    child = os.fork()
    if child == 0:
        print(threading.main_thread().name, threading.active_count(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)


thread = threading.Thread(target=fork, name="forker")
thread.start()
thread.join()
print(threading.main_thread().name)
