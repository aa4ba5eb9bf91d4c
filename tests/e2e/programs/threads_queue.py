import queue
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

work, done = queue.Queue(), queue.PriorityQueue()
local = threading.local()


def worker():
    local.count = 0
    while (item := work.get()) is not None:
        local.count += 1
        done.put((item, item * item))
        work.task_done()


threads = [threading.Thread(target=worker, name=f"w{i}") for i in range(4)]
for thread in threads:
    thread.start()
for i in range(20):
    work.put(i)
work.join()
for _ in threads:
    work.put(None)
for thread in threads:
    thread.join()
print([done.get()[1] for _ in range(20)])
lock, counter = threading.Lock(), 0


def add():
    global counter
    for _ in range(1000):
        with lock:
            counter += 1


with ThreadPoolExecutor(max_workers=5) as pool:
    futures = [pool.submit(add) for _ in range(5)]
    futures.append(pool.submit(lambda: 1 / 0))
    errors = [f.exception() for f in as_completed(futures) if f.exception()]
print(counter, errors)
barrier, event = threading.Barrier(2), threading.Event()
t = threading.Thread(target=lambda: (barrier.wait(), event.set()), daemon=True)
t.start()
barrier.wait()
print(event.wait(5), threading.current_thread().name, threading.main_thread() is threading.current_thread())
