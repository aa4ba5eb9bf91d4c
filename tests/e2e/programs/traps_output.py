import contextlib
import io
import os
import sys

print("one", end="")
print(" two", 3, sep="-", end="!\n", flush=True)
os.write(1, b"raw bytes\n")
sys.stdout.buffer.write(b"buffer \xc3\xa9\n")
sys.stdout.buffer.flush()
sys.stdout.write("write\n")
sys.stdout.writelines(["a\n", "b\n"])
print("to stderr", file=sys.stderr)
os.write(2, b"raw to stderr\n")
sys.stdout.flush()
sys.stdout.reconfigure(encoding="latin-1", errors="replace", line_buffering=True)
print("caf\u20ac \x41")
sys.stdout.reconfigure(encoding="utf-8", newline="\r\n")
print("crlf")
sys.stdout.reconfigure(newline="\n")
print("back")
with contextlib.redirect_stderr(io.StringIO()) as caught:
    print("caught", file=sys.stderr)
print(repr(caught.getvalue()))
saved, sys.stdout = sys.stdout, io.StringIO()
print("captured")
text, sys.stdout = sys.stdout.getvalue(), saved
print(text.upper(), end="")
print("a\rb\x00c\x1b[31mred\x1b[0m\ttab")
sys.stdout.flush()
copy = os.dup(1)
with os.fdopen(copy, "w") as f:
    f.write("through a dup\n")
print(sys.stdout.name, sys.stdout.fileno(), sys.stdout.mode, sys.__stdout__ is sys.stdout)
print("no newline at the end", end="")
