# packages: python3-numba
# error: PermissionError: [Errno 13] cannot allocate executable memory
from numba import njit


@njit
def total(n):
    s = 0
    for i in range(n):
        s += i
    return s


return total(1000)
