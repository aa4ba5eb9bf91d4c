# No trailing cleverness: a plain script with everything at top level.
import sys
grid = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
def neighbours(cell):
    x, y = cell
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            if dx or dy:
                yield x + dx, y + dy
for generation in range(4):
    counts = {}
    for cell in grid:
        for n in neighbours(cell):
            counts[n] = counts.get(n, 0) + 1
    grid = {c for c, n in counts.items() if n == 3 or (n == 2 and c in grid)}
    for y in range(6):
        for x in range(6): print("#" if (x, y) in grid else ".", end="")
        print()
    print("-" * 6); sys.stdout.flush()
else:
    print("no break")
while True:
    try:
        break
    finally:
        print("finally on break")
assert grid, "alive"
primes = [n for n in range(2, 60) if all(n % p for p in range(2, int(n ** .5) + 1))]
print(primes, sum(primes))
matrix = [[1, 2], [3, 4], [5, 6]]
print(list(map(list, zip(*matrix))), [v for row in matrix for v in row if v % 2], {v: k for k, v in enumerate("ab")})
first, *middle, last = "abcdef"
print(first, middle, last, *sorted({3, 1, 2}, reverse=True), {**{"a": 1}, "b": 2})
