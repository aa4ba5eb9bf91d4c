# SPDX-License-Identifier: Apache-2.0
# Processes: too many of them, outside the box, longer than the run, not to be killed.

# attempt: fork-bomb
# wall: pids
# needs: cgroup
# expect: REFUSED EAGAIN
# instead: the watch: run exception Too many processes (64)
with attempt():
    for _ in range(200):
        if os.fork() == 0:
            signal.pause()
    time.sleep(0.5)

# attempt: fork-bomb-exponential
# wall: pids
# timeout: 2
# needs: cgroup
# expect: run timeout
# instead: the watch: run exception Too many processes (64)
# Each forks as fast as it can, to the end of its time.
tell("ATTEMPT")
while True:
    try:
        os.fork()
    except OSError:
        pass

# attempt: thread-bomb
# wall: pids
# needs: cgroup
# expect: REFUSED EAGAIN
# instead: the watch: run exception Too many processes (64)
import threading
with attempt():
    stop = threading.Event()
    try:
        for _ in range(200):
            threading.Thread(target=stop.wait, daemon=True).start()
    except RuntimeError:
        refuse("EAGAIN")

# attempt: zombies
# wall: pids
# needs: cgroup
# expect: REFUSED EAGAIN
# instead: the watch: run exception Too many processes (64)
with attempt():
    for _ in range(200):
        if os.fork() == 0:
            os._exit(0)
    time.sleep(0.5)

# attempt: vfork-bomb
# wall: pids
# needs: cgroup
# expect: REFUSED EAGAIN
# instead: the watch: run exception Too many processes (64)
with attempt():
    for _ in range(200):
        os.posix_spawn("/usr/bin/sleep", ["sleep", "60"], {})
    time.sleep(0.5)

# attempt: raise-process-limit
# wall: rlimits
# needs: ids
# expect: REFUSED EPERM
import resource
with attempt():
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (-1, -1))
    except ValueError:
        refuse("EPERM")

# attempt: see-processes
# wall: pid-namespace
# expect: REFUSED absent
# kill(2) with signal 0 tells of every process there is.
with attempt():
    for pid in range(1, 5000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            if pid == 1:
                continue
        if pid not in (1, os.getpid()):
            through(f"process {pid}")
    refuse()

# attempt: parent
# wall: pid-namespace
# expect: REFUSED absent
with attempt():
    through(os.getppid()) if os.getppid() else refuse()

# attempt: kill-init
# wall: pid-namespace
# expect: REFUSED EPERM | REFUSED ignored
with attempt():
    os.kill(1, signal.SIGKILL)
    os.kill(1, 0)
    refuse("ignored")

# attempt: init-has-another-id
# wall: ids
# needs: ids
# expect: REFUSED EPERM
with attempt():
    os.kill(1, 0)

# attempt: stop-init
# wall: pid-namespace
# expect: REFUSED EPERM | REFUSED ignored
with attempt():
    os.kill(1, signal.SIGSTOP)
    refuse("ignored")

# attempt: kill-everything
# wall: pid-namespace
# expect: REFUSED ESRCH | REFUSED EPERM | REFUSED ignored
with attempt():
    os.kill(-1, signal.SIGKILL)
    os.kill(1, 0)
    refuse("ignored")

# attempt: kill-process-group
# wall: session
# expect: REFUSED own
# The group is ours alone: the signal comes back and nobody else's.
with attempt():
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.kill(0, signal.SIGUSR1)
    through(os.getpgrp()) if os.getpgrp() != os.getpid() else refuse("own")

# attempt: child-of-the-zygote
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
# CLONE_PARENT: a child that somebody outside would have to reap.
with attempt():
    if call(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: subreaper
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 36, 1, 0, 0, 0)

# attempt: outlive-by-daemon
# wall: kill
# gone: outliver-1
# expect: run success
tell("ATTEMPT")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        libc.prctl(15, b"outliver-1", 0, 0, 0)
        for fd in range(3):
            os.close(fd)
        while True:
            signal.pause()
    os._exit(0)
os.wait()

# attempt: outlive-ignoring-signals
# wall: kill
# gone: outliver-2
# expect: run success
tell("ATTEMPT")
reader, writer = os.pipe()
if os.fork() == 0:
    libc.prctl(15, b"outliver-2", 0, 0, 0)
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    os.write(writer, b"!")
    while True:
        pass
os.read(reader, 1)

# attempt: outlive-stopped
# wall: kill
# gone: outliver-3
# expect: run success
tell("ATTEMPT")
pid = os.fork()
if pid == 0:
    libc.prctl(15, b"outliver-3", 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(pid, os.WUNTRACED)

# attempt: outlive-by-respawning
# wall: kill
# gone: outliver-4
# expect: run success
# Always two: whoever dies is replaced.
tell("ATTEMPT")
reader, writer = os.pipe()
if os.fork() == 0:
    libc.prctl(15, b"outliver-4", 0, 0, 0)
    os.write(writer, b"!")
    while True:
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            pass
os.read(reader, 1)

# attempt: outlive-a-crash
# wall: kill
# gone: outliver-5
# expect: run signal SIGKILL
tell("ATTEMPT")
reader, writer = os.pipe()
if os.fork() == 0:
    libc.prctl(15, b"outliver-5", 0, 0, 0)
    os.write(writer, b"!")
    while True:
        signal.pause()
os.read(reader, 1)
os.kill(os.getpid(), signal.SIGKILL)

# attempt: outlive-by-vfork-parent
# wall: kill
# gone: outliver-6
# timeout: 2
# expect: run timeout
# The parent of a vfork sleeps uninterruptibly until its child execs or dies, which it does not.
tell("ATTEMPT")
libc.prctl(15, b"outliver-6", 0, 0, 0)
if libc.vfork() == 0:
    while True:
        signal.pause()

# attempt: hold-the-pipe
# wall: kill
# gone: outliver-7
# timeout: 20
# within: 10
# expect: run success
# A child that keeps stdout open does not delay the reply.
tell("ATTEMPT")
if os.fork() == 0:
    libc.prctl(15, b"outliver-7", 0, 0, 0)
    while True:
        signal.pause()

# attempt: stop-oneself
# wall: clock
# gone: stopper-1
# timeout: 1
# expect: run timeout
tell("ATTEMPT")
libc.prctl(15, b"stopper-1", 0, 0, 0)
os.kill(os.getpid(), signal.SIGSTOP)

# attempt: stop-all
# wall: clock
# gone: stopper-2
# timeout: 1
# expect: run timeout
tell("ATTEMPT")
for _ in range(8):
    if os.fork() == 0:
        libc.prctl(15, b"stopper-2", 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
os.kill(-1, signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGSTOP)

# attempt: sleep-for-ever
# wall: clock
# timeout: 1
# expect: run timeout
tell("ATTEMPT")
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    signal.pause()

# attempt: never-ending-thread
# wall: clock
# timeout: 1
# expect: run timeout
import threading
tell("ATTEMPT")
threading.Thread(target=threading.Event().wait).start()

# attempt: never-ending-atexit
# wall: clock
# timeout: 1
# expect: run timeout
import atexit
tell("ATTEMPT")
atexit.register(signal.pause)

# attempt: never-ending-destructor
# wall: clock
# timeout: 1
# expect: run timeout
tell("ATTEMPT")
class Late:
    def __del__(self, pause=signal.pause):
        pause()
late = Late()

# attempt: exec-away
# wall: clock
# timeout: 1
# expect: run timeout
tell("ATTEMPT")
os.execv("/usr/bin/sleep", ["sleep", "60"])
