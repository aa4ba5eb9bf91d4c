import math

values = [1, 4, 9]
assert all(math.isqrt(v) ** 2 == v for v in values)
assert sum(values) == 15, f"sum is {sum(values)}\nnot 15"
