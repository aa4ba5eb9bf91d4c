# needs layer: cgroup
import ctypes
import threading

libc = ctypes.CDLL("libc.so.6")
pointer = ctypes.POINTER(ctypes.c_int)
compare = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)


@compare
def ascending(a, b):
    return a[0] - b[0]


numbers = (ctypes.c_int * 8)(5, 3, 8, 1, 9, 2, 7, 4)
libc.qsort(numbers, 8, ctypes.sizeof(ctypes.c_int), ascending)
print(list(numbers))

step = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
steps = [step(lambda x, k=k: x * 2 + k) for k in range(2000)]
print(sum(f(k) for k, f in enumerate(steps)))
del steps[::2]
steps += [step(lambda x, k=k: x - k) for k in range(1000)]
print(sum(f(1.5) for f in steps))

threads = [threading.Thread(target=lambda: print(step(abs)(-3.0))) for _ in range(3)]
for thread in threads:
    thread.start()
    thread.join()
