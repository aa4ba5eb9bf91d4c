import array
import ctypes
import mmap
import struct
import sys
import tempfile

header = struct.pack(">4sHIq", b"RIFF", 7, 2**31, -1)
print(header.hex(), struct.unpack(">4sHIq", header), struct.calcsize("@cq"))
a = array.array("i", [3, 1, 2])
a.extend(range(3))
a.byteswap()
print(a.tolist(), a.itemsize, memoryview(a).cast("B")[:4].hex(), sys.byteorder)
b = bytearray(b"hello world")
m = memoryview(b)
m[0:5] = b"HELLO"
print(b, b.find(b"wor"), bytes.fromhex("00ff"), int.from_bytes(b"\x01\x00", "big"), (1000).to_bytes(2, "little"))
with tempfile.TemporaryFile() as f:
    f.write(b"\0" * 4096)
    f.flush()
    with mmap.mmap(f.fileno(), 4096) as mapped:
        mapped[10:13] = b"abc"
        print(mapped.find(b"abc"))
with mmap.mmap(-1, 100) as mapped:
    mapped.write(b"anonymous")
    print(mapped[:9])


class Pixel(ctypes.Structure):
    _fields_ = [("r", ctypes.c_uint8), ("g", ctypes.c_uint8), ("xy", ctypes.c_int16 * 2)]


p = Pixel(1, 2, (3, -4))
print(ctypes.sizeof(p), bytes(p).hex())
libc = ctypes.CDLL(None)
libc.strlen.restype = ctypes.c_size_t
print(libc.strlen(b"four"), libc.abs(-5))
numbers = (ctypes.c_int * 3)(5, 1, 4)
ctypes.memmove(numbers, (ctypes.c_int * 2)(7, 8), 8)
print(list(numbers), ctypes.cast(numbers, ctypes.POINTER(ctypes.c_int))[2])
