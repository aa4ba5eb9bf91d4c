# CRLF line ends.
def f(x):
    text = """a
b"""
    return x, repr(text)

if f(1):
    print(f(2))
print("done") ; x = \
    5
print(x)
