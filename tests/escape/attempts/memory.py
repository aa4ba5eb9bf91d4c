# SPDX-License-Identifier: Apache-2.0
# Memory: more than the limit, by whatever is charged to it, and memory of the wrong kind.

# attempt: heap
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the limit of each process: run exception MemoryError
tell("ATTEMPT")
kept = []
while True:
    kept.append(bytearray(8 << 20))

# attempt: private-mapping
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the limit of each process: run exception OSError: [Errno 12]
import mmap
tell("ATTEMPT")
area = mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, 1 << 30, 4096):
    area[at] = 1

# attempt: shared-mapping
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the watch: run memory Memory limit exceeded (512 MiB)
import mmap
tell("ATTEMPT")
area = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 4096):
    area[at] = 1

# attempt: memfds
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the filter: run exception OSError: [Errno 38] Function not implemented
# Each as large as a file may be, mapped so that no number of open files holds them.
import mmap
tell("ATTEMPT")
kept = []
while True:
    file = os.memfd_create("x")
    os.ftruncate(file, 64 << 20)
    kept.append(mmap.mmap(file, 64 << 20))
    os.close(file)
    for at in range(0, 64 << 20, 4096):
        kept[-1][at] = 1

# attempt: scratch-and-heap
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# What is in the scratch space counts: 120 MiB there leave less than 400 MiB.
tell("ATTEMPT")
for i in range(30):
    with open(f"/tmp/{i}", "wb") as f:
        f.write(b"x" * (4 << 20))
kept = [bytearray(8 << 20) for _ in range(54)]
signal.pause()

# attempt: memory-of-children
# wall: memory
# timeout: 50
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# Each child stays below the limit, all together do not; the kernel kills one, and that ends the run.
tell("ATTEMPT")
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(b"x") * (100 << 20)
        signal.pause()
while True:
    os.wait()

# attempt: survive-a-killed-child
# wall: oom
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the limit of each process, which the child alone runs into: run timeout
tell("ATTEMPT")
pid = os.fork()
if pid == 0:
    kept = []
    while True:
        kept.append(bytearray(8 << 20))
os.waitpid(pid, 0)
signal.pause()

# attempt: page-tables
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the limit of each process: run exception OSError: [Errno 12]
# A page of tables for each page touched.
import mmap
tell("ATTEMPT")
for _ in range(60):
    area = mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
    for at in range(0, 1 << 40, 2 << 20):
        area[at]

# attempt: threads-stacks
# wall: memory
# needs: cgroup
# expect: run memory Memory limit exceeded (512 MiB)
# instead: the limit of each process, which refuses further threads: run timeout
import threading
tell("ATTEMPT")
threading.stack_size(64 << 20)
def fill():
    buffer = (ctypes.c_char * (32 << 20))()
    ctypes.memset(buffer, 1, len(buffer))
    threading.Event().wait()
for _ in range(30):
    threading.Thread(target=fill).start()

# attempt: impossible-allocation
# wall: memory
# expect: REFUSED ENOMEM
with attempt():
    bytearray(1 << 46)

# attempt: lock-memory
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(151, 3)

# attempt: memory-lock-limit
# wall: rlimits
# expect: REFUSED absent
import resource
with attempt():
    through(resource.getrlimit(resource.RLIMIT_MEMLOCK)) if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] else refuse()

# attempt: stack-limit
# wall: rlimits
# expect: REFUSED EPERM
import resource
with attempt():
    try:
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 40, 1 << 40))
    except ValueError:
        refuse("EPERM")

# attempt: overflow-the-stack
# wall: rlimits
# expect: run signal SIGSEGV
tell("ATTEMPT")
sys.setrecursionlimit(10**9)
class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "x")
Deep().x

# attempt: descriptors
# wall: rlimits
# expect: REFUSED EMFILE
with attempt():
    for _ in range(2000):
        os.dup(1)

# attempt: raise-descriptors
# wall: rlimits
# expect: REFUSED EPERM
import resource
with attempt():
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    except ValueError:
        refuse("EPERM")

# attempt: pending-signals
# wall: rlimits
# expect: REFUSED absent
import resource
with attempt():
    limit = resource.getrlimit(resource.RLIMIT_SIGPENDING)[1]
    through(limit) if limit > 256 else refuse()

# attempt: big-pipes
# wall: fcntl
# expect: REFUSED EPERM
import fcntl
with attempt():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 1 << 20)

# attempt: write-and-execute
# wall: mdwe
# needs: mdwe
# expect: REFUSED EACCES
import mmap
with attempt():
    mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

# attempt: write-then-execute
# wall: mdwe
# needs: mdwe
# expect: REFUSED EACCES
import mmap
with attempt():
    area = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    if libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC) < 0:
        raise OSError(ctypes.get_errno(), "mprotect")

# attempt: library-code-writable
# wall: mdwe
# needs: mdwe
# expect: REFUSED EACCES
# A private copy of code that exists, to be changed and run.
with attempt():
    address = ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~4095
    if libc.mprotect(ctypes.c_void_p(address), 4096, 7) < 0:
        raise OSError(ctypes.get_errno(), "mprotect")

# attempt: memfd-write-and-execute
# wall: mdwe
# needs: mdwe
# expect: REFUSED EACCES | REFUSED ENOSYS
import mmap
with attempt():
    file = os.memfd_create("x")
    os.ftruncate(file, 4096)
    mmap.mmap(file, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

# attempt: memfd-write-then-execute
# wall: mdwe
# needs: mdwe
# expect: REFUSED EACCES | REFUSED ENOSYS
import mmap
with attempt():
    file = os.memfd_create("x")
    os.ftruncate(file, 4096)
    area = mmap.mmap(file, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    if libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC) < 0:
        raise OSError(ctypes.get_errno(), "mprotect")

# attempt: many-mappings-moved-at-once
# wall: mmap-flags
# expect: REFUSED EINVAL
with attempt():
    libc.mmap.restype = ctypes.c_void_p
    there = [libc.mmap(None, ctypes.c_size_t(8192), 3, 0x22, -1, ctypes.c_long(0)) for _ in range(2)]
    libc.mremap.restype = ctypes.c_long
    if libc.mremap(ctypes.c_void_p(there[0]), ctypes.c_size_t(8192), ctypes.c_size_t(8192), 3,
                   ctypes.c_void_p(there[1])) == -1:
        raise OSError(ctypes.get_errno(), "mremap")

# attempt: huge-pages
# wall: mmap-flags
# expect: REFUSED EINVAL
with attempt():
    libc.mmap.restype = ctypes.c_long
    if libc.mmap(None, ctypes.c_size_t(2 << 20), 3, 0x40022, -1, ctypes.c_long(0)) == -1:
        raise OSError(ctypes.get_errno(), "mmap")

# attempt: merge-pages
# wall: madvise
# arch: x86_64
# expect: REFUSED EINVAL
import mmap
with attempt():
    area = mmap.mmap(-1, 1 << 20)
    call(28, ctypes.addressof(ctypes.c_char.from_buffer(area)), 1 << 20, 12)

# attempt: poison-pages
# wall: madvise
# arch: x86_64
# expect: REFUSED EINVAL
import mmap
with attempt():
    area = mmap.mmap(-1, 1 << 20)
    call(28, ctypes.addressof(ctypes.c_char.from_buffer(area)), 1 << 20, 100)

# attempt: merge-pages-by-high-bits
# wall: madvise
# arch: x86_64
# expect: REFUSED EINVAL
# The kernel reads 32 bits; a filter that compares 64 is passed by a number above them.
import mmap
with attempt():
    area = mmap.mmap(-1, 1 << 20)
    call(28, ctypes.addressof(ctypes.c_char.from_buffer(area)), 1 << 20, 12 | 1 << 32)

# attempt: compile-bomb
# wall: memory
# expect: run exception | run memory
tell("ATTEMPT")
compile("(" * 1000000 + ")" * 1000000, "bomb", "eval")

# attempt: power-bomb
# wall: clock
# timeout: 1
# expect: run timeout | run memory
tell("ATTEMPT")
x = 9 ** 9 ** 9 ** 9

# attempt: file-locks
# wall: locks
# expect: REFUSED nothing
# A lock is memory that no cgroup is charged for: none is made, by any of the ways to one, on a file of the host or of the box.
import fcntl
import struct
import tempfile


def is_locked(f):
    """By another process than this one, as the kernel sees it."""
    answer = fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK


with attempt():
    for f in (open("/usr/lib/os-release"), tempfile.TemporaryFile()):
        for k in range(100):
            fcntl.lockf(f, fcntl.LOCK_SH, 1, 2 * k)
        fcntl.fcntl(f, fcntl.F_SETLKW, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 1000, 1, 0))
        fcntl.flock(f, fcntl.LOCK_SH)
        if os.fork() == 0:
            os._exit(is_locked(f))
        if os.wait()[1]:
            through("a lock")
    again = open("/usr/lib/os-release")
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    refuse("nothing")

# attempt: names-of-mappings
# wall: prctl
# expect: REFUSED EINVAL
# PR_SET_VMA_ANON_NAME: a piece of memory for each mapping, for which nobody is charged.
import mmap
with attempt():
    area = mmap.mmap(-1, 1 << 20)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    call({"x86_64": 157, "aarch64": 167}[os.uname().machine], 0x53564d41, 0, address, 4096, ctypes.c_char_p(b"name"))
