# SPDX-License-Identifier: Apache-2.0
# Privileges: to have some, to gain some, to make a place where there are some.

# attempt: root-id
# wall: ids
# needs: ids
# expect: REFUSED absent
with attempt():
    ids = os.getresuid() + os.getresgid() + tuple(os.getgroups())
    through(ids) if min(ids) == 0 or len(set(ids)) != 1 else refuse()

# attempt: give-file-to-root
# wall: capabilities
# needs: ids
# expect: REFUSED EPERM
with attempt():
    open("/tmp/file", "w").close()
    os.chown("/tmp/file", 0, 0)

# attempt: set-group-id-file
# wall: capabilities
# needs: ids
# expect: REFUSED EPERM
with attempt():
    open("/tmp/file", "w").close()
    os.chown("/tmp/file", -1, 0)

# attempt: bounding-set
# wall: bounding-set
# expect: REFUSED absent
with attempt():
    kept = [cap for cap in range(64) if libc.prctl(23, cap, 0, 0, 0) == 1]
    through(kept) if kept else refuse()

# attempt: new-privileges
# wall: no-new-privs
# expect: REFUSED absent
with attempt():
    refuse() if libc.prctl(39, 0, 0, 0, 0) == 1 else through("no_new_privs is off")

# attempt: dumpable
# wall: dumpable
# expect: REFUSED absent
with attempt():
    through("dumpable") if libc.prctl(3, 0, 0, 0, 0) else refuse()

# attempt: set-uid-program
# wall: no-new-privs
# expect: REFUSED absent | REFUSED ENOENT
import subprocess
with attempt():
    result = subprocess.run(["su", "-c", "id -u"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    through(result.stdout) if result.returncode == 0 else refuse()

# attempt: setuid-root
# wall: seccomp
# expect: REFUSED EPERM
with attempt():
    os.setuid(0)

# attempt: setgroups
# wall: seccomp
# expect: REFUSED EPERM
with attempt():
    os.setgroups([0])

# attempt: neighbours-id
# wall: seccomp
# needs: ids
# expect: REFUSED EPERM
with attempt():
    os.setresuid(1001, 1001, 1001)

# attempt: user-namespace-by-unshare
# wall: user-namespaces
# expect: REFUSED EPERM | REFUSED ENOSPC
# The filter's EPERM, and behind it the zero in user.max_user_namespaces.
with attempt():
    if libc.unshare(0x10000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")

# attempt: user-namespace-by-clone
# wall: user-namespaces
# arch: x86_64
# expect: REFUSED EPERM | REFUSED ENOSPC
with attempt():
    if call(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: unshare-program
# wall: user-namespaces
# expect: REFUSED absent
import subprocess
with attempt():
    result = subprocess.run(["/usr/bin/unshare", "--user", "--map-root-user", "id", "-u"], capture_output=True, text=True)
    through(result.stdout) if result.returncode == 0 else refuse()

# attempt: chroot
# wall: seccomp
# expect: REFUSED EPERM
with attempt():
    os.mkdir("/tmp/root")
    os.chroot("/tmp/root")

# attempt: trace-a-child
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    call(101, 16, pid, 0, 0)

# attempt: read-a-childs-memory
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    local, remote = (ctypes.c_ulong * 2)(), (ctypes.c_ulong * 2)()
    call(310, pid, local, 1, remote, 1, 0)

# attempt: controlling-terminal
# wall: root
# expect: REFUSED ENXIO | REFUSED ENOENT
with attempt():
    os.open("/dev/tty", os.O_RDWR)

# attempt: write-to-stdin
# wall: root
# expect: REFUSED absent
# Descriptor 0 is /dev/null and no terminal of whoever started the server.
import stat
with attempt():
    st = os.fstat(0)
    refuse() if stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(1, 3) else through("descriptor 0")
