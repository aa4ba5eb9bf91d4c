import bisect
import functools
import heapq
import math
import operator
import random
import statistics

random.seed(42)
sample = [random.gauss(10, 3) for _ in range(200)]
print(random.random(), random.randint(1, 100), random.choice("abc"), random.sample(range(50), 5))
print(statistics.mean([1, 2, 3, 4]), statistics.median([1, 3, 2]), statistics.mode("aab"),
      round(statistics.stdev(sample), 9), statistics.quantiles([1, 2, 3, 4, 5], n=4))
print(statistics.linear_regression([1, 2, 3], [2, 4, 6.5]), statistics.NormalDist(0, 1).cdf(1.96))
deck = list(range(10))
random.Random(7).shuffle(deck)
print(deck, random.Random("text").random())
heap = []
for n in deck:
    heapq.heappush(heap, (-n, str(n)))
print([heapq.heappop(heap)[1] for _ in range(3)], heapq.nlargest(2, deck), list(heapq.merge([1, 4], [2, 3])))
grades = [bisect.bisect([60, 70, 80, 90], score) for score in (33, 99, 77, 70)]
print(grades, functools.reduce(operator.mul, range(1, 20)), math.comb(40, 20), math.isqrt(10**20), math.gcd(84, 36))


@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.singledispatch
def show(value):
    return "thing"


@show.register
def _(value: int):
    return "int"


@show.register(list)
def _(value):
    return "list"


print(fib(200), fib.cache_info(), show(1), show([]), show(1.5))
print(sorted(["b10", "a2", "B1"], key=str.casefold), operator.itemgetter(1, 0)("xy"), math.fsum([0.1] * 10))
