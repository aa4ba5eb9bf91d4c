# SPDX-License-Identifier: Apache-2.0
# Information: of the host, of whoever started the server, of other runs; and randomness that is none.

# attempt: environment
# wall: environment
# expect: REFUSED absent
with attempt():
    names = [n for n in os.environ if n not in ("PATH", "HOME", "LANG", "TMPDIR") and not n.startswith("PYTHON")]
    through(names) if names else refuse()

# attempt: environment-of-the-c-library
# wall: environment
# expect: REFUSED absent
# os.environ is a copy; what the process has may be more.
with attempt():
    block = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
    allowed = (b"PATH=", b"HOME=", b"LANG=", b"TMPDIR=", b"PYTHON", b"OPENBLAS_NUM", b"OMP_NUM", b"MKL_NUM")
    i = 0
    while block[i]:
        if not block[i].startswith(allowed):
            through(block[i])
        i += 1
    refuse()

# attempt: key-in-memory
# wall: environment
# timeout: 60
# expect: REFUSED absent
# The stack with its initial block, the heap and the libraries' data. The patterns are written so that they do not
# find themselves.
import re
with attempt():
    patterns = [re.compile(p) for p in (b"API_KE[Y]=", b"HATCHERY_[A-Z]+_[A-Z]+=", b"x-api-ke[y]: ", b"SUDO_USE[R]=",
                                        b"test-ke[y]", b"canary-of-the-star[t]")]
    here = ctypes.c_int()
    libc.sbrk.restype = ctypes.c_void_p
    libc.getauxval.restype = ctypes.c_ulong
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
    code = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    places = [libc.getauxval(ctypes.c_ulong(31)), ctypes.addressof(environ.contents), libc.sbrk(0) - 4096, code,
              ctypes.addressof(here), id(here), id(sys), id(os.environ)]
    total = 0
    for place in places:
        memory = memory_around(place)
        total += len(memory)
        for pattern in patterns:
            if found := pattern.search(memory):
                through(found.group())
    refuse() if total > 4 << 20 else through(f"only {total} bytes were searched")

# attempt: memory-of-other-runs
# wall: scratch
# runs: 12
# expect: REFUSED absent
# Looks for what the runs before it wrote, then writes it everywhere. Neither text is in the program.
import re
with attempt():
    pattern = re.compile(b"left-by-another-ru[n]")
    libc.sbrk.restype = ctypes.c_void_p
    for place in (id(pattern), libc.sbrk(0) - 4096, ctypes.addressof(ctypes.c_int())):
        if found := pattern.search(memory_around(place)):
            through(found.group())
    mark = b"".join([b"left-by-", b"another-run "])
    kept = [mark * 1000 for _ in range(500)]
    with open("/tmp/marks", "wb") as f:
        f.write(mark * 100000)
    refuse()

# attempt: arguments
# wall: environment
# expect: REFUSED absent
with attempt():
    through((sys.argv, sys.orig_argv)) if sys.argv != ["main.py"] or any("/" in a for a in sys.orig_argv) else refuse()

# attempt: path-of-the-executable
# wall: environment
# expect: REFUSED absent
# AT_EXECFN: how the zygote was started.
with attempt():
    libc.getauxval.restype = ctypes.c_ulong
    name = ctypes.string_at(libc.getauxval(ctypes.c_ulong(31)))
    refuse() if name.startswith(b"/dev/fd/") else through(name)

# attempt: host-name
# wall: uts-namespace
# expect: REFUSED absent
with attempt():
    through(os.uname().nodename) if os.uname().nodename != "box" else refuse()

# attempt: domain-name
# wall: uts-namespace
# expect: REFUSED absent
with attempt():
    name = ctypes.create_string_buffer(65)
    libc.getdomainname(name, 65)
    through(name.value) if name.value else refuse()

# attempt: file-mode-mask
# wall: inherited
# expect: REFUSED absent
with attempt():
    mask = os.umask(0)
    refuse() if mask == 0o022 else through(f"{mask:o}")

# attempt: ignored-signals
# wall: inherited
# expect: REFUSED absent
# As in `python3 main.py`, whatever the server's starter ignored.
with attempt():
    usual = {signal.SIGPIPE: signal.SIG_IGN, signal.SIGXFSZ: signal.SIG_IGN, signal.SIGINT: signal.default_int_handler}
    for number in signal.valid_signals():
        if signal.getsignal(number) != usual.get(number, signal.SIG_DFL):
            through((number, signal.getsignal(number)))
    refuse()

# attempt: blocked-signals
# wall: inherited
# expect: REFUSED absent
with attempt():
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    through(mask) if mask else refuse()

# attempt: working-directory
# wall: inherited
# expect: REFUSED absent
with attempt():
    refuse() if os.getcwd() == "/run/box/work" else through(os.getcwd())

# attempt: kernel-log
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(103, 3, ctypes.create_string_buffer(4096), 4096)

# attempt: page-cache-residency
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
import mmap
with attempt():
    f = open("/usr/bin/python3", "rb")
    area = mmap.mmap(f.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    call(27, ctypes.addressof(ctypes.c_char.from_buffer(area)), 4096, ctypes.create_string_buffer(1))

# attempt: page-cache-residency-by-read
# wall: read-flags
# expect: REFUSED ENOTSUP
with attempt():
    os.preadv(os.open("/usr/bin/python3", os.O_RDONLY), [bytearray(1)], 0, 8)

# attempt: random-module
# wall: seeds
# runs: 6
# expect: DISTINCT
import random
tell("ATTEMPT")
tell("VALUE", random.getrandbits(64))

# attempt: random-instance
# wall: seeds
# runs: 6
# expect: DISTINCT
import random
tell("ATTEMPT")
tell("VALUE", random.Random().getrandbits(64))

# attempt: openssl-random
# wall: seeds
# runs: 6
# expect: DISTINCT
# OpenSSL notices a fork by the pid alone: it must not be the zygote's.
import ssl
tell("ATTEMPT")
tell("VALUE", ssl.RAND_bytes(16).hex())

# attempt: openssl-random-in-children
# wall: seeds
# runs: 6
# expect: DISTINCT
import ssl
tell("ATTEMPT")
if os.fork() == 0:
    tell("VALUE", ssl.RAND_bytes(16).hex())
    os._exit(0)
os.wait()

# attempt: uuid1
# wall: seeds
# runs: 6
# expect: DISTINCT
import uuid
tell("ATTEMPT")
tell("VALUE", uuid.uuid1())

# attempt: uuid1-node
# wall: seeds
# runs: 6
# expect: DISTINCT
# Made up, as there is no network card; the same in every run it would be a mark of the zygote.
import uuid
tell("ATTEMPT")
tell("VALUE", uuid.getnode())

# attempt: uuid4
# wall: seeds
# runs: 6
# expect: DISTINCT
import uuid
tell("ATTEMPT")
tell("VALUE", uuid.uuid4())

# attempt: secrets
# wall: seeds
# runs: 6
# expect: DISTINCT
import secrets
tell("ATTEMPT")
tell("VALUE", secrets.token_hex())

# attempt: temporary-names
# wall: seeds
# runs: 6
# expect: DISTINCT
import tempfile
tell("ATTEMPT")
tell("VALUE", tempfile.mktemp())

# attempt: numpy-random
# wall: numpy
# needs: numpy
# runs: 6
# expect: DISTINCT
import numpy
tell("ATTEMPT")
tell("VALUE", numpy.random.randint(2**62))

# attempt: numpy-generator
# wall: numpy
# needs: numpy
# runs: 6
# expect: DISTINCT
import numpy
tell("ATTEMPT")
tell("VALUE", numpy.random.default_rng().integers(2**62))

# attempt: hash-seed
# wall: accepted
# runs: 3
# expect: SAME
# Known: boxes of one zygote share the seed of str's hash, and their address layout.
tell("ATTEMPT")
tell("VALUE", hash("seed"))

# attempt: uninitialised-scratch
# wall: scratch
# expect: REFUSED absent
# A hole in a file of a fresh tmpfs reads as zeros, not as what was in the memory before.
with attempt():
    with open("/tmp/hole", "w+b") as f:
        f.truncate(1 << 20)
        through("old bytes") if f.read().strip(b"\0") else refuse()
