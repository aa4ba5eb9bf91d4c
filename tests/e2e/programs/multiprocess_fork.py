import multiprocessing as mp
import os
from concurrent.futures import ProcessPoolExecutor


def square(n):
    return n * n


def put(queue, n):
    queue.put((n, os.getpid() != parent))


parent = os.getpid()

if __name__ == "__main__":
    mp.set_start_method("fork")
    with mp.Pool(3) as pool:
        print(pool.map(square, range(10)))
        print(sorted(pool.imap_unordered(square, [3, 1])))
    with ProcessPoolExecutor(2) as pool:
        print(list(pool.map(square, range(5))))
    queue = mp.Queue()
    children = [mp.Process(target=put, args=(queue, n)) for n in range(3)]
    for child in children:
        child.start()
    print(sorted(queue.get() for _ in children))
    for child in children:
        child.join()
    print([child.exitcode for child in children])
    value, array = mp.Value("i", 3), mp.Array("d", [1.5, 2])
    child = mp.Process(target=lambda: (value.__setattr__("value", 9), array.__setitem__(0, 4)))
    child.start()
    child.join()
    print(value.value, array[:])
    left, right = mp.Pipe()
    child = mp.Process(target=right.send, args=({"a": 1},))
    child.start()
    print(left.recv())
    child.join()
