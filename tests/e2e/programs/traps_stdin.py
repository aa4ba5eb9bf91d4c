import sys

print(repr(sys.stdin.read()), sys.stdin.readline() == "", list(sys.stdin), sys.stdin.isatty())
try:
    input("name? ")
except EOFError as error:
    print("EOF:", error)
for line in sys.stdin:
    print("never")
print(sys.stdin.buffer.read(), sys.stdin.fileno())
age = input()
