from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, getcontext, localcontext
from fractions import Fraction

getcontext().prec = 28
lines = [("paper", 3, "4.995"), ("ink", 2, "19.90"), ("pen", 7, "0.335")]
total = Decimal(0)
for name, count, price in lines:
    amount = (count * Decimal(price)).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    total += amount
    print(f"{name:8}{count:4d} x {price:>7} = {amount:>8}")
print("net", total, "vat", (total * Decimal("0.19")).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN))
with localcontext() as context:
    context.prec = 50
    print(Decimal(2).sqrt())
print(sum([Fraction(1, n) for n in range(1, 8)]), float(Fraction("0.125")), Fraction(3.5).limit_denominator())
print(0.1 + 0.2, round(2.5), round(-3.5), 7 // -2, 7 % -2, divmod(-7, 2), 10**30, -(-7 // 2))
print(f"{1234567.891:,.2f} {0.000012:e} {255:#x} {5:08b} {'x':^9}| {3.14159:+.3f} {1e100:g}")
