# SPDX-License-Identifier: Apache-2.0
# The file system: what of the host is to be seen, what can be changed, how much can be stored.

# attempt: host-shadow
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/etc/shadow")

# attempt: host-root-home
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.listdir("/root")

# attempt: host-home
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.listdir("/home")

# attempt: host-var
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.listdir("/var")

# attempt: host-machine-id
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/etc/machine-id")

# attempt: host-ssl-private-keys
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.listdir("/etc/ssl/private")

# attempt: host-run-sockets
# wall: root
# expect: REFUSED absent
with attempt():
    names = os.listdir("/run")
    refuse() if names == ["box"] else through(names)

# attempt: host-root-listing
# wall: root
# expect: REFUSED absent
with attempt():
    names = set(os.listdir("/")) - {"bin", "dev", "etc", "lib", "lib64", "mnt", "proc", "run", "tmp", "usr"}
    through(names) if names else refuse()

# attempt: dotdot
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.chdir("/" + "../" * 64)
    open("etc/shadow")

# attempt: dotdot-by-descriptor
# wall: root
# expect: REFUSED ENOENT
with attempt():
    directory = os.open(".", os.O_PATH)
    for _ in range(32):
        directory = os.open("..", os.O_PATH, dir_fd=directory)
    os.open("root", os.O_RDONLY, dir_fd=directory)

# attempt: symlink-to-host
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.symlink("/etc/shadow", "/tmp/shadow")
    open("/tmp/shadow")

# attempt: proc-self-mem
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/proc/self/mem", "r+b")

# attempt: proc-1-root
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.listdir("/proc/1/root")

# attempt: proc-1-environ
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/proc/1/environ", "rb")

# attempt: proc-self-exe
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/proc/self/exe", "rb")

# attempt: proc-core-pattern
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/proc/sys/kernel/core_pattern", "w")

# attempt: proc-sysrq
# wall: root
# expect: REFUSED EROFS
# It is none: there is nothing of this name, and nothing can be made.
with attempt():
    open("/proc/sysrq-trigger", "w")

# attempt: proc-listing
# wall: root
# expect: REFUSED absent
# What is there is not the kernel's.
with attempt():
    names = set(os.listdir("/proc")) - {"cpuinfo", "meminfo", "stat"}
    through(names) if names or os.stat("/proc").st_dev != os.stat("/").st_dev else refuse()

# attempt: proc-kallsyms
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/proc/kallsyms")

# attempt: sys
# wall: root
# expect: REFUSED ENOENT
with attempt():
    os.listdir("/sys")

# attempt: cgroup-release-agent
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/sys/fs/cgroup/memory/release_agent", "w")

# attempt: cgroup-procs
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/sys/fs/cgroup/pids/cgroup.procs", "w")

# attempt: dev-listing
# wall: root
# expect: REFUSED absent
with attempt():
    names = set(os.listdir("/dev")) - {"null", "zero", "full", "random", "urandom", "shm"}
    through(names) if names else refuse()

# attempt: dev-mem
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/dev/mem", "rb")

# attempt: dev-kmsg
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/dev/kmsg", "rb")

# attempt: dev-tty
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/dev/tty", "r+b", 0)

# attempt: dev-ptmx
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/dev/ptmx", "r+b", 0)

# attempt: dev-fuse
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/dev/fuse", "r+b", 0)

# attempt: dev-kvm
# wall: root
# expect: REFUSED ENOENT
with attempt():
    open("/dev/kvm", "r+b", 0)

# attempt: dev-null-times
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.utime("/dev/null")

# attempt: write-library
# wall: read-only
# expect: REFUSED EROFS | REFUSED EACCES
with attempt():
    open("/usr/lib/python3.11/os.py", "r+b")

# attempt: chmod-library
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.chmod("/usr/lib/python3.11/os.py", 0o666)

# attempt: truncate-library
# wall: read-only
# expect: REFUSED EROFS | REFUSED EACCES
with attempt():
    os.truncate("/usr/lib/python3.11/os.py", 0)

# attempt: unlink-library
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.unlink("/usr/lib/python3.11/os.py")

# attempt: replace-interpreter
# wall: read-only
# expect: REFUSED EXDEV | REFUSED EROFS
with attempt():
    open("/tmp/python3", "w").close()
    os.rename("/tmp/python3", "/usr/bin/python3")

# attempt: preload
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.symlink("/tmp/evil.so", "/etc/ld.so.preload")

# attempt: plant-in-dist-packages
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.mkdir("/usr/lib/python3/dist-packages/planted")

# attempt: mkdir-root
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.mkdir("/planted")

# attempt: chmod-root
# wall: read-only
# expect: REFUSED EROFS
with attempt():
    os.chmod("/", 0o777)

# attempt: mounts-read-only
# wall: read-only
# expect: REFUSED absent
with attempt():
    places = ["/", "/usr/lib", "/usr/bin", "/etc", "/dev/null", "/run"]
    open_ones = [p for p in places if not os.statvfs(p).f_flag & os.ST_RDONLY]
    through(open_ones) if open_ones else refuse()

# attempt: mounts-nosuid
# wall: nosuid
# expect: REFUSED absent
with attempt():
    places = ["/", "/usr/lib", "/usr/bin", "/dev/null", "/tmp"]
    open_ones = [p for p in places if not os.statvfs(p).f_flag & os.ST_NOSUID]
    through(open_ones) if open_ones else refuse()

# attempt: scratch-nodev
# wall: scratch-flags
# expect: REFUSED absent
with attempt():
    through("nodev is off") if not os.statvfs("/tmp/").f_flag & 4 else refuse()

# attempt: hard-link-library
# wall: root
# expect: REFUSED EXDEV
with attempt():
    os.link("/usr/lib/python3.11/os.py", "/tmp/os.py")

# attempt: list-slots
# wall: scratch-flags
# expect: REFUSED EACCES | REFUSED absent
with attempt():
    names = set(os.listdir("/run/box")) - {"work", "tmp", "shm"}
    through(names) if names else refuse()

# attempt: make-device
# wall: seccomp
# expect: REFUSED EPERM
with attempt():
    os.mknod("/tmp/sda", 0o60666, os.makedev(8, 0))

# attempt: exec-script
# wall: noexec
# expect: REFUSED EACCES
with attempt():
    with open("/tmp/script", "w") as f:
        f.write("#!/bin/sh\necho THROUGH a script\n")
    os.chmod("/tmp/script", 0o755)
    os.execv("/tmp/script", ["script"])

# attempt: exec-binary
# wall: noexec
# expect: REFUSED EACCES
import shutil
with attempt():
    shutil.copy("/usr/bin/true", "/tmp/true")
    os.execv("/tmp/true", ["true"])

# attempt: exec-in-shm
# wall: noexec
# expect: REFUSED EACCES
import shutil
with attempt():
    shutil.copy("/usr/bin/true", "/dev/shm/true")
    os.execv("/dev/shm/true", ["true"])

# attempt: exec-memfd
# wall: seccomp
# arch: x86_64
# needs: cgroup
# expect: REFUSED EPERM
# instead: the filter: REFUSED ENOSYS
# A program in a file in memory: execveat(2) would start it by its descriptor.
with attempt():
    file = os.memfd_create("true")
    with open("/usr/bin/true", "rb") as f:
        os.write(file, f.read())
    call(322, file, b"", (ctypes.c_char_p * 2)(b"true"), (ctypes.c_char_p * 1)(), 0x1000)

# attempt: exec-memfd-by-path
# wall: root
# needs: cgroup
# expect: REFUSED ENOENT
# instead: the filter: REFUSED ENOSYS
with attempt():
    file = os.memfd_create("true", 0)
    with open("/usr/bin/true", "rb") as f:
        os.write(file, f.read())
    for path in (f"/dev/fd/{file}", f"/proc/self/fd/{file}", f"/proc/{os.getpid()}/fd/{file}"):
        try:
            os.execv(path, ["true"])
        except FileNotFoundError:
            pass
    refuse("ENOENT")

# attempt: exec-memfd-by-library
# wall: seccomp
# needs: cgroup
# expect: REFUSED EPERM
# instead: the filter: REFUSED ENOSYS
with attempt():
    file = os.memfd_create("true", 0)
    with open("/usr/bin/true", "rb") as f:
        os.write(file, f.read())
    os.execve(file, ["true"], {})

# attempt: load-library-from-memfd
# wall: root
# needs: cgroup
# expect: REFUSED absent
# instead: the filter: REFUSED ENOSYS
# The loader opens libraries by path, and a file in memory has none.
import _bz2
with attempt():
    file = os.memfd_create("library", 0)
    with open(_bz2.__file__, "rb") as f:
        os.write(file, f.read())
    for path in (f"/dev/fd/{file}", f"/proc/self/fd/{file}"):
        try:
            ctypes.CDLL(path)
            through(path)
        except OSError:
            pass
    refuse()

# attempt: exec-by-loader
# wall: scratch-flags
# expect: REFUSED EPERM
# The loader may be run, and would map a program that execve(2) refuses.
import shutil
import subprocess
with attempt():
    shutil.copy("/usr/bin/true", "/tmp/true")
    result = subprocess.run(["/lib64/ld-linux-x86-64.so.2", "/tmp/true"], capture_output=True, text=True)
    if result.returncode == 127 and "failed to map segment" in result.stderr:
        refuse("EPERM")

# attempt: load-library-from-scratch
# wall: scratch-flags
# expect: REFUSED EPERM
import glob
import shutil
with attempt():
    shutil.copy(glob.glob("/usr/lib/*/libz.so.1")[0], "/tmp/libz.so")
    try:
        ctypes.CDLL("/tmp/libz.so")
    except OSError as error:
        refuse("EPERM" if "failed to map segment" in str(error) else str(error))

# attempt: map-scratch-executable
# wall: scratch-flags
# expect: REFUSED EPERM
import mmap
with attempt():
    with open("/tmp/code", "w+b") as f:
        f.write(b"\xc3" * 4096)
    mmap.mmap(os.open("/tmp/code", os.O_RDONLY), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)

# attempt: exec-what-landlock-forbids
# wall: landlock
# needs: landlock
# expect: REFUSED EACCES
# Executable as far as mode and mount go.
with attempt():
    os.stat("/usr/share/python3/py3versions.py")
    os.execv("/usr/share/python3/py3versions.py", ["py3versions.py", "--version"])

# attempt: fill-scratch
# wall: scratch-size
# expect: REFUSED ENOSPC
with attempt():
    for i in range(64):
        with open(f"/tmp/{i}", "wb", 0) as f:
            if f.write(b"x" * (4 << 20)) < 4 << 20:
                f.write(b"x")

# attempt: fill-scratch-by-shm
# wall: scratch-size
# expect: REFUSED ENOSPC
with attempt():
    for i in range(64):
        f = os.open(f"/dev/shm/{i}", os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(f, 0, 4 << 20)
        os.close(f)

# attempt: fill-inodes
# wall: scratch-inodes
# expect: REFUSED ENOSPC
with attempt():
    for i in range(20000):
        os.close(os.open(f"/tmp/{i}", os.O_WRONLY | os.O_CREAT))

# attempt: fill-inodes-by-directories
# wall: scratch-inodes
# expect: REFUSED ENOSPC
with attempt():
    for i in range(20000):
        os.mkdir(f"/tmp/{i}")

# attempt: fill-inodes-by-symlinks
# wall: scratch-inodes
# expect: REFUSED ENOSPC
with attempt():
    for i in range(20000):
        os.symlink("x" * 255, f"/tmp/{i}")

# attempt: huge-sparse-file
# wall: rlimits
# expect: REFUSED EFBIG
with attempt():
    with open("/tmp/sparse", "wb") as f:
        f.truncate(1 << 40)

# attempt: file-size-limit
# wall: rlimits
# expect: REFUSED EFBIG
with attempt():
    f = os.open("/tmp/big", os.O_RDWR | os.O_CREAT)
    os.lseek(f, 1 << 33, 0)
    os.write(f, b"x")

# attempt: raise-file-size-limit
# wall: rlimits
# expect: REFUSED EPERM
import resource
with attempt():
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    except ValueError:  # what the module makes of EPERM
        refuse("EPERM")

# attempt: leftovers
# wall: scratch
# runs: 24
# expect: REFUSED absent
with attempt():
    found = [name for place in (".", "/tmp", "/dev/shm") for name in os.listdir(place)]
    for place in (".", "/tmp", "/dev/shm"):
        open(os.path.join(place, "left"), "w").close()
    through(found) if found else refuse()

# attempt: read-past-the-page-cache
# wall: open-flags
# expect: REFUSED EINVAL
with attempt():
    os.open("/usr/bin/python3", os.O_RDONLY | os.O_DIRECT)

# attempt: read-past-the-page-cache-later
# wall: open-flags
# expect: REFUSED EINVAL
import fcntl
with attempt():
    fcntl.fcntl(os.open("/usr/bin/python3", os.O_RDONLY), fcntl.F_SETFL, os.O_DIRECT)
