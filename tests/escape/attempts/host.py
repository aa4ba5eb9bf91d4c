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
# wall: epolls
# timeout: 40
# expect: REFUSED done
# Each write walks every epoll that watches the file, with interrupts off.
import select
with attempt():
    event = os.eventfd(0, os.EFD_NONBLOCK)
    reader, writer = os.pipe()
    for p in range(20):
        if os.fork():
            continue
        try:
            copies = [os.dup(event) for _ in range(120)]
            epolls = [select.epoll() for _ in range(60)]
            for epoll in epolls:
                for copy in copies:
                    epoll.register(copy, select.EPOLLIN)
        except OSError:
            pass
        os.write(writer, b"x")
        signal.pause()
    for p in range(20):
        os.read(reader, 1)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        os.write(event, b"\1" + bytes(7))
        os.read(event, 8)
    refuse("done")

# attempt: epolls-in-a-loop
# wall: epolls
# timeout: 20
# expect: REFUSED done
# Each asks hatchery-init, whose time nobody is charged for.
import select
with attempt():
    end = time.monotonic() + 3
    for _ in range(20):
        if not os.fork():
            while time.monotonic() < end:
                select.epoll().close()
            os._exit(0)
    for _ in range(20):
        os.wait()
    refuse("done")

# attempt: killed-while-it-asks
# wall: clock
# timeout: 2
# within: 10
# expect: run timeout
# Who asks hatchery-init for an epoll is killed: init must not wait for it, or nothing would end this program.
import select
tell("ATTEMPT")
while True:
    asking = []
    for _ in range(20):
        pid = os.fork()
        if not pid:
            while True:
                select.epoll().close()
        asking.append(pid)
    time.sleep(0.001)
    for pid in asking:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

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
