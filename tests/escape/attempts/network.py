# SPDX-License-Identifier: Apache-2.0
# The network: every kind of socket, by name and by a number whose high bits a careless filter compares.

# attempt: socket-unix
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 1, 1, 0)

# attempt: socket-inet
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 2, 1, 0)

# attempt: socket-inet6
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 10, 1, 0)

# attempt: socket-ipx
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 4, 1, 0)

# attempt: socket-appletalk
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 5, 1, 0)

# attempt: socket-x25
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 9, 1, 0)

# attempt: socket-key
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 15, 3, 0)

# attempt: socket-netlink
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 16, 3, 0)

# attempt: socket-packet
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 17, 3, 0)

# attempt: socket-rds
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 21, 5, 0)

# attempt: socket-can
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 29, 3, 0)

# attempt: socket-tipc
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 30, 5, 0)

# attempt: socket-bluetooth
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 31, 1, 0)

# attempt: socket-alg
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 38, 5, 0)

# attempt: socket-nfc
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 39, 1, 0)

# attempt: socket-vsock
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 40, 1, 0)

# attempt: socket-kcm
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 41, 1, 0)

# attempt: socket-qipcrtr
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 42, 1, 0)

# attempt: socket-smc
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 43, 1, 0)

# attempt: socket-xdp
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 44, 1, 0)

# attempt: socket-mctp
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 45, 1, 0)

# attempt: socket-by-high-bits
# wall: socket
# arch: x86_64
# expect: REFUSED EAFNOSUPPORT
with attempt():
    call(41, 2 | 1 << 32, 1, 0)

# attempt: socketpair-tipc
# wall: socket
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(53, 30, 1, 0, (ctypes.c_int * 2)())

# attempt: socketpair-by-high-bits
# wall: socket
# arch: x86_64
# expect: REFUSED as-unix
# The high bits are ignored by the filter as by the kernel: it is a socketpair of AF_UNIX and no more.
import socket
with attempt():
    pair = (ctypes.c_int * 2)()
    call(53, 1 | 1 << 32, 1, 0, pair)
    if socket.socket(fileno=pair[0]).family == socket.AF_UNIX:
        refuse("as-unix")

# attempt: connect-loopback
# wall: net-namespace
# expect: REFUSED EAFNOSUPPORT | REFUSED EACCES | REFUSED ENETUNREACH
# The filter; behind it Landlock; and behind it a network without a route.
import socket
with attempt():
    socket.create_connection(("127.0.0.1", 1), 2)

# attempt: connect-loopback-6
# wall: net-namespace
# expect: REFUSED EAFNOSUPPORT | REFUSED EACCES | REFUSED ENETUNREACH | REFUSED EADDRNOTAVAIL
import socket
with attempt():
    socket.create_connection(("::1", 1), 2)

# attempt: connect-metadata-service
# wall: net-namespace
# expect: REFUSED EAFNOSUPPORT | REFUSED EACCES | REFUSED ENETUNREACH
import socket
with attempt():
    socket.create_connection(("169.254.169.254", 80), 2)

# attempt: send-datagram
# wall: net-namespace
# expect: REFUSED EAFNOSUPPORT | REFUSED ENETUNREACH
import socket
with attempt():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))

# attempt: listen
# wall: socket
# expect: REFUSED EAFNOSUPPORT
import socket
with attempt():
    socket.create_server(("127.0.0.1", 0))

# attempt: fetch
# wall: socket
# expect: REFUSED EAFNOSUPPORT
import urllib.error
import urllib.request
with attempt():
    try:
        urllib.request.urlopen("http://127.0.0.1:80/", timeout=2)
    except urllib.error.URLError as error:
        raise error.reason

# attempt: resolve
# wall: socket
# expect: REFUSED unresolved
import socket
with attempt():
    try:
        socket.getaddrinfo("example.com", 80)
    except socket.gaierror:
        refuse("unresolved")

# attempt: interfaces
# wall: socket
# expect: REFUSED EAFNOSUPPORT
import socket
with attempt():
    socket.if_nameindex()

# attempt: abstract-socket
# wall: socket
# expect: REFUSED EAFNOSUPPORT
import socket
with attempt():
    socket.socket(socket.AF_UNIX).connect("\0/run/dbus/system_bus_socket")

# attempt: x11-socket
# wall: socket
# expect: REFUSED EAFNOSUPPORT
import socket
with attempt():
    socket.socket(socket.AF_UNIX).connect("/tmp/.X11-unix/X0")

# attempt: bind-a-pair
# wall: seccomp
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair()[0].bind("\0name")

# attempt: connect-a-pair
# wall: seccomp
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].connect("/run/systemd/notify")

# attempt: listen-on-a-pair
# wall: seccomp
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair()[0].listen()

# attempt: set-socket-options
# wall: seccomp
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

# attempt: pass-descriptors
# wall: seccomp
# expect: REFUSED EPERM
import socket
with attempt():
    socket.send_fds(socket.socketpair()[0], [b"x"], [0])

# attempt: receive-descriptors
# wall: seccomp
# expect: REFUSED EPERM
import socket
with attempt():
    pair = socket.socketpair()
    pair[0].send(b"x")
    socket.recv_fds(pair[1], 1, 1)

# attempt: out-of-band
# wall: message-flags
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair()[0].send(b"x", socket.MSG_OOB)

# attempt: receive-out-of-band
# wall: message-flags
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair()[0].recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT)

# attempt: error-queue
# wall: message-flags
# expect: REFUSED EPERM
import socket
with attempt():
    socket.socketpair()[0].recv(1, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)

# attempt: send-to-a-path
# wall: landlock
# expect: REFUSED ECONNREFUSED | REFUSED ENOENT | REFUSED EPERM
# sendto(2) with an address on a datagram pair: no socket of the host has a name in here.
import socket
with attempt():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", "/run/systemd/notify")

# attempt: send-to-an-abstract-name
# wall: net-namespace
# expect: REFUSED ECONNREFUSED | REFUSED EPERM
import socket
with attempt():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", "\0name")

# attempt: inherited-sockets
# wall: descriptors
# expect: REFUSED absent
# All that is open: the three and the outcome's socket.
import stat
with attempt():
    for fd in range(3, 70000):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if fd != 1023:
            through(f"descriptor {fd} with mode {mode:o}")
    refuse()

# attempt: inherited-directories
# wall: descriptors
# expect: REFUSED absent
import stat
with attempt():
    for fd in range(70000):
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                through(f"descriptor {fd}")
        except OSError:
            pass
    refuse()

# attempt: handle-on-the-peer
# wall: socket-options
# expect: REFUSED ENOPROTOOPT
with attempt():
    fd, size = ctypes.c_int(), ctypes.c_uint(4)
    if libc.getsockopt(1023, 1, 77, ctypes.byref(fd), ctypes.byref(size)) < 0:
        raise OSError(ctypes.get_errno(), "getsockopt")
