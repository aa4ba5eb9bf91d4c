# SPDX-License-Identifier: Apache-2.0
# Two runs at once, of the same program: each leaves its mark and looks for the other's, for two seconds.

# attempt: meet-in-files
# wall: scratch
# twice: yes
# expect: REFUSED absent
with attempt():
    end = time.monotonic() + 2
    mark = f"mark-{time.monotonic_ns()}"
    places = [".", "/tmp", "/dev/shm"]
    for place in places:
        open(os.path.join(place, mark), "w").close()
    while time.monotonic() < end:
        for place in places:
            others = [name for name in os.listdir(place) if name != mark]
            if others:
                through(others)
    refuse()

# attempt: meet-as-processes
# wall: pid-namespace
# twice: yes
# expect: REFUSED absent
with attempt():
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for pid in range(2, 200):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                continue
            except PermissionError:
                pass
            if pid != os.getpid():
                through(f"process {pid}")
    refuse()

# attempt: kill-the-neighbour
# wall: pid-namespace
# twice: yes
# expect: REFUSED alive
# Each kills whatever it can; both live to say so.
with attempt():
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for pid in (-1, 1, *range(3, 100)):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
    refuse("alive")

# attempt: share-an-id
# wall: ids
# needs: ids
# twice: yes
# expect: DISTINCT
tell("ATTEMPT")
tell("VALUE", os.getuid())
time.sleep(1)

# attempt: meet-by-abstract-name
# wall: socket
# twice: yes
# expect: REFUSED EAFNOSUPPORT | REFUSED EADDRINUSE
import socket
with attempt():
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0meet")

# attempt: meet-on-loopback
# wall: net-namespace
# twice: yes
# expect: REFUSED EAFNOSUPPORT | REFUSED ENETUNREACH
# The network namespace is shared by the boxes: its loopback must stay down.
import socket
with attempt():
    end = time.monotonic() + 2
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.sendto(b"x", ("127.0.0.1", 9))

# attempt: meet-by-sysv-shm
# wall: ipc-namespace
# arch: x86_64
# twice: yes
# expect: REFUSED EPERM | REFUSED absent
with attempt():
    end = time.monotonic() + 2
    try:
        call(29, 0x6d656574, 4096, 0o3666)
    except FileExistsError:
        through("the other's segment")
    while time.monotonic() < end:
        time.sleep(0.05)
    refuse()

# attempt: meet-by-sysv-semaphore
# wall: ipc-namespace
# arch: x86_64
# twice: yes
# expect: REFUSED EPERM | REFUSED absent
with attempt():
    end = time.monotonic() + 2
    try:
        call(64, 0x6d656574, 1, 0o3666)
    except FileExistsError:
        through("the other's semaphore")
    while time.monotonic() < end:
        time.sleep(0.05)
    refuse()

# attempt: meet-by-message-queue
# wall: ipc-namespace
# arch: x86_64
# twice: yes
# expect: REFUSED EPERM | REFUSED EMFILE | REFUSED absent
with attempt():
    end = time.monotonic() + 2
    try:
        call(240, b"meet", 0o300, 0o666, 0)
    except FileExistsError:
        through("the other's queue")
    while time.monotonic() < end:
        time.sleep(0.05)
    refuse()

# attempt: meet-by-posix-semaphore
# wall: scratch
# twice: yes
# expect: REFUSED absent
with attempt():
    end = time.monotonic() + 2
    libc.sem_open.restype = ctypes.c_void_p
    if libc.sem_open(b"/meet", os.O_CREAT | os.O_EXCL, 0o666, 0) is None:
        through("the other's semaphore")
    while time.monotonic() < end:
        time.sleep(0.05)
    refuse()

# attempt: meet-by-keyring
# wall: seccomp
# arch: x86_64
# twice: yes
# expect: REFUSED EPERM
with attempt():
    call(248, b"user", b"meet", b"x", 1, -4)

# attempt: meet-by-lease
# wall: fcntl
# twice: yes
# expect: REFUSED EPERM
import fcntl
with attempt():
    f = open("/usr/lib/os-release")
    fcntl.fcntl(f, 1024, fcntl.F_RDLCK)

# attempt: meet-by-directory-notification
# wall: fcntl
# twice: yes
# expect: REFUSED EPERM
import fcntl
with attempt():
    fcntl.fcntl(os.open("/usr/lib", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)

# attempt: meet-by-inotify
# wall: seccomp
# twice: yes
# expect: REFUSED ENOSYS
with attempt():
    if libc.inotify_init1(0) < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")

# attempt: meet-by-write-lock
# wall: locks
# twice: yes
# expect: REFUSED nothing
# On a file that can only be read, and on a device that can be written to.
import fcntl
with attempt():
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for f in (open("/usr/lib/os-release"), open("/dev/null", "w")):
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.01)
    refuse("nothing")

# attempt: make-the-disk-flush
# wall: seccomp
# expect: REFUSED nothing
# fsync(2) on a file of the host, though it can only be read, would have its disk empty its cache: it is answered and
# not done, which a descriptor shows on which it can't be.
with attempt():
    for sync in (os.fsync, os.fdatasync):
        sync(os.open("/usr/lib/os-release", os.O_RDONLY))
        sync(os.pipe()[0])
    refuse("nothing")

# attempt: meet-by-touching
# wall: read-only
# twice: yes
# expect: REFUSED EROFS
with attempt():
    os.utime("/dev/zero", (1, 1))

# attempt: meet-by-flock
# wall: locks
# twice: yes
# expect: REFUSED nothing
# A lock is answered and not done: nobody outside of the run may wait for it or see it.
import fcntl
with attempt():
    end = time.monotonic() + 2
    f = open("/usr/lib/os-release")
    while time.monotonic() < end:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.01)
        fcntl.flock(f, fcntl.LOCK_UN)
    refuse("nothing")

# attempt: meet-by-read-lock
# wall: locks
# twice: yes
# expect: REFUSED nothing
import fcntl
import struct
with attempt():
    end = time.monotonic() + 2
    f = open("/usr/lib/os-release")
    fcntl.lockf(f, fcntl.LOCK_SH)
    while time.monotonic() < end:
        answer = fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        if struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK:
            through("locked by the other")
        time.sleep(0.05)
    refuse("nothing")

# attempt: meet-by-open-file-lock
# wall: fcntl
# expect: REFUSED EPERM
import fcntl
import struct
with attempt():
    fcntl.fcntl(open("/usr/lib/os-release"), 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))

# attempt: meet-by-futex
# wall: accepted
# arch: x86_64
# twice: yes
# expect: THROUGH woken by the other
# Known: a futex on a shared mapping is found by file and offset.
import mmap
with attempt():
    end = time.monotonic() + 2
    libc.mmap.restype = ctypes.c_void_p
    f = os.open("/usr/lib/os-release", os.O_RDONLY)
    address = libc.mmap(None, ctypes.c_size_t(4096), mmap.PROT_READ, mmap.MAP_SHARED, f, ctypes.c_long(0))
    value = ctypes.c_uint.from_address(address).value
    limit = (ctypes.c_long * 2)(0, 20_000_000)
    while time.monotonic() < end:
        if call(202, address, 1, 1, 0, 0, 0) > 0:
            time.sleep(0.1)
            through("woken by the other")
        try:
            call(202, address, 0, value, limit, 0, 0)
            through("woken by the other")
        except TimeoutError:
            pass
    refuse()

# attempt: exhaust-what-is-shared
# wall: pids
# twice: yes
# needs: cgroup
# expect: REFUSED EAGAIN
# instead: the watch: run exception Too many processes (64)
# Each gets its own 64 processes, though the other has taken all of its.
with attempt():
    end = time.monotonic() + 2
    made = 0
    try:
        for _ in range(200):
            if os.fork() == 0:
                signal.pause()
            made += 1
    finally:
        while time.monotonic() < end:
            time.sleep(0.05)
        if made != 63:
            through(f"only {made} processes")
