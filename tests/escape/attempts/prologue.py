# Stands before every attempt: how it says what it saw.
#
#   ATTEMPT         written before it is made, so that a server that refuses everything proves nothing
#   REFUSED word    the wall that it ran into: the errno's name, or the word given to refuse()
#   THROUGH what    it got through
#   VALUE text      for attempts that compare several runs
import ctypes
import errno
import os
import signal
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    pass


def refuse(word="absent"):
    """The attempt came to nothing, though no call failed."""
    raise Refused(word)


def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def word_of(error):
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, MemoryError):
        return "ENOMEM"
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, str(error.errno))
    return None


class attempt:
    """What is done inside should fail; to reach the end is to get through."""

    def __enter__(self):
        tell("ATTEMPT")

    def __exit__(self, kind, error, traceback):
        word = word_of(error)
        if kind is None:
            tell("THROUGH", "to its end")
        elif word is not None:
            tell("REFUSED", word)
        else:
            tell("FAULT", kind.__name__, error)
        return kind is not SystemExit


def through(what):
    """Got through: end here."""
    tell("THROUGH", what)
    sys.stdout.flush()
    os._exit(0)


def argument(value):
    if isinstance(value, int):
        return ctypes.c_ulong(value & (2**64 - 1))
    return value


def call(number, *arguments):
    """syscall(2)."""
    ctypes.set_errno(0)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(argument(number), *map(argument, arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), "syscall")
    return result


def memory_around(address, gap=256, most=4096):
    """What is readable around an address, in pages; without /proc, write(2) tells what is readable."""
    reader, writer = os.pipe()
    write = libc.write
    write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    write.restype = ctypes.c_ssize_t
    found = {}
    for step in (4096, -4096):
        page = (address & ~4095) - (4096 if step < 0 else 0)
        misses = hits = 0
        while misses < gap and hits < most and 0 < page < 2**47:
            if write(writer, page, 4096) == 4096:
                misses = 0
                hits += 1
                found[page] = os.read(reader, 4096)
            else:
                misses += 1
            page += step
    os.close(reader)
    os.close(writer)
    return b"".join(found[page] for page in sorted(found))


def crowd(prepare):
    """As many processes as there may be: each prepares, says so, and waits for ever.  How many."""
    reader, writer = os.pipe()
    made = 0
    try:
        while True:
            if not os.fork():
                wait = prepare(made)
                os.write(writer, b"x")
                while True:
                    wait()
            made += 1
    except OSError:
        pass
    for _ in range(made):
        os.read(reader, 1)
    return made


def polled(fd):
    """The argument of poll() that has the file as often as may be."""
    return ctypes.create_string_buffer((fd.to_bytes(4, "little") + b"\1\0\0\0") * 256)


def write_and_read(writer, reader, data, seconds=2):
    """Each write walks every place in the file's queue, with interrupts off."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(writer, data)
        os.read(reader, len(data))
