# SPDX-License-Identifier: Apache-2.0
# The host: what none of the box's limits counts.  Beside each of these test_escape.py measures the host (probe.py): kernel
# memory that nobody is charged for, what it takes to open a file that all share, how late a real-time sleeper wakes, and
# what the service's own processes do.

# attempt: locks-on-a-shared-file
# wall: locks
# timeout: 40
# expect: REFUSED done
# Whoever closes the file walks them all.
import glob
import struct
with attempt():
    fd = os.open(glob.glob("/usr/lib/*/libc.so.6")[0], os.O_RDONLY)
    lock = bytearray(struct.pack("hhqqi4x", 0, 0, 0, 1, 0))
    address = ctypes.addressof((ctypes.c_char * len(lock)).from_buffer(lock))
    start = ctypes.c_int64.from_address(address + 8)
    for k in range(12000):
        start.value = 2 * k
        libc.fcntl(fd, 6, ctypes.c_void_p(address))
    time.sleep(0.5)
    refuse("done")

# attempt: locks-nobody-is-charged-for
# wall: locks
# timeout: 40
# expect: REFUSED done
import struct
with attempt():
    reader, writer = os.pipe()
    for p in range(4):
        if os.fork():
            continue
        lock = bytearray(struct.pack("hhqqi4x", 1, 0, 0, 1, 0))
        address = ctypes.addressof((ctypes.c_char * len(lock)).from_buffer(lock))
        start = ctypes.c_int64.from_address(address + 8)
        for i in range(240):
            fd = os.open(f"/tmp/{p}-{i}", os.O_RDWR | os.O_CREAT)
            for k in range(1000):
                start.value = 2 * k
                libc.fcntl(fd, 6, ctypes.c_void_p(address))
        os.write(writer, b"x")
        signal.pause()
    for p in range(4):
        os.read(reader, 1)
    time.sleep(0.5)
    refuse("done")

# attempt: epoll-wake-ups
# wall: epoll
# server: isolation.epoll=no
# timeout: 40
# expect: REFUSED ENOSYS
# Each write would walk every epoll that watches the file, with interrupts off.
def make_epoll():
    fd = libc.epoll_create1(0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "epoll_create1")
    return fd
with attempt():
    make_epoll()
    event = os.eventfd(0, os.EFD_NONBLOCK)
    reader, writer = os.pipe()
    nothing = ctypes.create_string_buffer(b"\1", 16)
    for p in range(20):
        if os.fork():
            continue
        copies = [os.dup(event) for _ in range(120)]
        for epoll in [make_epoll() for _ in range(60)]:
            for copy in copies:
                libc.epoll_ctl(epoll, 1, copy, nothing)
        os.write(writer, b"x")
        signal.pause()
    for p in range(20):
        os.read(reader, 1)
    write_and_read(event, event, b"\1" + bytes(7))

# attempt: all-poll-one-eventfd
# wall: rlimits
# timeout: 40
# needs: cgroup
# expect: REFUSED done
# instead: the watch: run exception Too many processes (64)
# In the queue: as many processes as there may be, each with as many places as it may have.
with attempt():
    event = os.eventfd(0, os.EFD_NONBLOCK)
    def wait_by(which):
        copies = []
        try:
            while True:
                copies.append(os.dup(event))
        except OSError:
            pass
        entries = polled(event)
        bits = sum(1 << fd for fd in [event, *copies]).to_bytes(128, "little")
        return [lambda: libc.poll(entries, 256, -1),
                lambda: libc.ppoll(entries, 256, None, None),
                lambda: libc.select(256, ctypes.create_string_buffer(bits), None, None, None),
                lambda: libc.pselect(256, ctypes.create_string_buffer(bits), None, None, None, None)][which % 4]
    made = crowd(wait_by)
    write_and_read(event, event, b"\1" + bytes(7))
    refuse("done" if made > 50 else "too few")

# attempt: all-poll-one-pipe
# wall: rlimits
# timeout: 40
# needs: cgroup
# expect: REFUSED done
# instead: the watch: run exception Too many processes (64)
# A pipe has two such queues, and a reader wakes those who would write.
with attempt():
    reader, writer = os.pipe()
    def wait_by_poll(_):
        entries = polled(reader)
        return lambda: libc.poll(entries, 256, -1)
    made = crowd(wait_by_poll)
    write_and_read(writer, reader, b"x")
    refuse("done" if made > 50 else "too few")

# attempt: stop-and-continue
# wall: stops
# timeout: 20
# expect: REFUSED done
# Each stop would be a signal to the zygote, which is in no box's cgroup.
with attempt():
    if not os.fork():
        end = time.monotonic() + 2
        while time.monotonic() < end:
            os.kill(2, signal.SIGSTOP)
            time.sleep(0.00001)
            os.kill(2, signal.SIGCONT)
            time.sleep(0.00001)
        os._exit(0)
    os.wait()
    refuse("done")

# attempt: output-byte-by-byte
# wall: rest
# timeout: 20
# expect: run success
# Each write would be a wake-up of the server, which is in no box's cgroup.
tell("ATTEMPT")
end = time.monotonic() + 3
while time.monotonic() < end:
    os.write(1, b"\n")

# attempt: more-output-than-is-kept
# wall: rest
# timeout: 20
# expect: run success
# The server reads what it drops, too.
tell("ATTEMPT")
end = time.monotonic() + 3
while time.monotonic() < end:
    os.write(1, bytes(4096))

# attempt: packets-that-are-no-report
# wall: rest
# timeout: 20
# expect: run success
# Each packet on the outcome's socket would be a wake-up of the server, whose own code in the box sends there too.
tell("ATTEMPT")
end = time.monotonic() + 3
while time.monotonic() < end:
    libc.sendto(1023, b"x", 1, 0x4040, None, 0)

# attempt: mappings-of-a-shared-file
# wall: convoys
# timeout: 40
# twice: yes
# expect: REFUSED done
# Each process start of the host maps that file too, and waits behind all who stand in line for the lock on its mappings.
import glob
with attempt():
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fd = os.open(glob.glob("/usr/lib/*/libc.so.6")[0], os.O_RDONLY)
    end = time.monotonic() + 5
    for p in range(60):
        if os.fork():
            continue
        made = []
        while time.monotonic() < end:
            made.append(libc.mmap(None, 4096, 1, 2, fd, 4096 * (2 * len(made) % 400)))
            if len(made) > 14000:
                libc.munmap(made.pop(), 4096)
        signal.pause()
    while time.monotonic() < end:
        time.sleep(0.1)
    refuse("done")

# attempt: pages-of-the-zygote
# wall: held
# timeout: 40
# twice: yes
# expect: REFUSED done
# Each box is a fork of the zygote, and a fork takes the lock of all who have pages of the same process.
import sys
with attempt():
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    page = id(sys.modules) & ~4095
    end = time.monotonic() + 5
    for p in range(60):
        if os.fork():
            continue
        while time.monotonic() < end:
            libc.madvise(page, 4096, 16)  # MADV_DONTDUMP parts the mapping, MADV_DODUMP joins it again
            libc.madvise(page, 4096, 17)
        signal.pause()
    while time.monotonic() < end:
        time.sleep(0.1)
    refuse("done")
