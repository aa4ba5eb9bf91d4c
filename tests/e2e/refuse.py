#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""refuse.py ERRNO NR [ARG=VALUE|ARG=LOW-HIGH]... -- COMMAND...

Run COMMAND with a seccomp filter under which the system call NR fails with ERRNO where every named argument
(its low 32 bits) has the value or lies in the range.  This is how a kernel, a container or a security module
that withholds one layer looks to Hatchery, without a hook in the product."""
import ctypes
import os
import struct
import sys

LD, JEQ, JGE, JGT, RET = 0x20, 0x15, 0x35, 0x25, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def instruction(code, k, jump_true=0, jump_false=0):
    return struct.pack("HBBI", code, jump_true, jump_false, k)


def program(errno, nr, conditions):
    """The tests one after the other; a failed one jumps to the last instruction, ALLOW."""
    tests = [(0, nr, nr)] + [(16 + 8 * argument, low, high) for argument, low, high in conditions]
    out = []
    total = 3 * len(tests) + 2
    for offset, low, high in tests:
        out.append(instruction(LD, offset))
        here = len(out)
        out.append(instruction(JGE, low, 0, total - 1 - here - 1))
        out.append(instruction(JGT, high, total - 1 - here - 2, 0))
    return b"".join(out + [instruction(RET, ERRNO | errno), instruction(RET, ALLOW)]), total


def condition(word):
    argument, _, value = word.partition("=")
    low, _, high = value.partition("-")
    return int(argument), int(low, 0), int(high or low, 0)


def main():
    words, command = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
    code, n = program(int(words[0]), int(words[1]), [condition(word) for word in words[2:]])
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code)
    fprog = struct.pack("HxxxxxxP", n, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, fprog, 0, 0):  # no_new_privs; PR_SET_SECCOMP, filter
        sys.exit(f"the filter can't be installed: {os.strerror(ctypes.get_errno())}")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
