# SPDX-License-Identifier: Apache-2.0
# The processor: for longer than allowed, on more cores than allowed, before others.

# attempt: busy-loop
# wall: clock
# timeout: 1
# within: 10
# expect: run timeout Execution timed out after 1 seconds
tell("ATTEMPT")
while True:
    pass

# attempt: busy-in-c
# wall: clock
# timeout: 1
# within: 10
# expect: run timeout
# One call that never lets go of the interpreter.
tell("ATTEMPT")
sum(range(10**15))

# attempt: catastrophic-regex
# wall: clock
# timeout: 1
# within: 10
# expect: run timeout
import re
tell("ATTEMPT")
re.match("(a+)+$", "a" * 64 + "b")

# attempt: timer-storm
# wall: clock
# timeout: 1
# within: 10
# expect: run timeout
tell("ATTEMPT")
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)
while True:
    pass

# attempt: swallow-every-exception
# wall: clock
# timeout: 1
# within: 10
# expect: run timeout
tell("ATTEMPT")
while True:
    try:
        while True:
            pass
    except BaseException:
        pass

# attempt: more-than-its-share
# wall: cpu
# server: limits.cpu_percent=10
# timeout: 30
# needs: cgroup
# expect: REFUSED share
# Eight processes get the time of a tenth of a core, and a rest for what the cgroup's accounting lags behind.
with attempt():
    begin = time.monotonic()
    for _ in range(8):
        if os.fork() == 0:
            while time.monotonic() < begin + 4:
                pass
            os._exit(0)
    for _ in range(8):
        os.wait()
    wall = time.monotonic() - begin
    used = sum(os.times()[:4])
    refuse("share") if used < 0.25 * wall else through(f"{used:.1f} s of processor in {wall:.1f} s")

# attempt: cpu-time-limit
# wall: rlimits
# timeout: 3
# expect: REFUSED absent
import resource
with attempt():
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    refuse() if 0 < soft <= hard <= 3600 else through((soft, hard))

# attempt: raise-cpu-time-limit
# wall: rlimits
# expect: REFUSED EPERM
import resource
with attempt():
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))
    except ValueError:
        refuse("EPERM")

# attempt: real-time
# wall: seccomp
# expect: REFUSED EPERM
with attempt():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

# attempt: priority
# wall: seccomp
# expect: REFUSED EPERM | REFUSED EACCES
with attempt():
    os.setpriority(os.PRIO_PROCESS, 0, -20)

# attempt: real-time-limits
# wall: rlimits
# expect: REFUSED absent
import resource
with attempt():
    for name in ("RLIMIT_RTPRIO", "RLIMIT_NICE"):
        if resource.getrlimit(getattr(resource, name))[1]:
            through(name)
    refuse()

# attempt: choose-a-core
# wall: seccomp
# expect: REFUSED EPERM
with attempt():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

# attempt: io-priority
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(251, 1, 0, 1 << 13)
