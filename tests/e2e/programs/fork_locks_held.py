# Locks that another thread holds at the fork can be taken in the child.
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

handler = logging.StreamHandler(sys.stdout)
logging.getLogger().addHandler(handler)
held, release = threading.Event(), threading.Event()


def hold():
    with handler.lock:
        held.set()
        release.wait()


holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    logging.getLogger("new").warning("in the child")
    print(threading.active_count(), threading.main_thread() is threading.current_thread(), flush=True)
    with ThreadPoolExecutor(1) as pool:
        print(pool.submit(pow, 2, 5).result(), flush=True)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
release.set()
holder.join()
logging.warning("in the parent")
