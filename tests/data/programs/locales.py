# packages: python3-babel
# result: "1.234,5"
# Its data is below /usr/share, behind links.
from babel.numbers import format_decimal

return format_decimal(1234.5, locale="de")
