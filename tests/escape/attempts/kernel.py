# SPDX-License-Identifier: Apache-2.0
# The kernel's surface: each call that no program needs, by number, with arguments that the kernel would answer
# otherwise; and the other ways in, i386 and x32.

# attempt: call-process-vm-readv
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(310, 1, 0, 0, 0, 0, 0)

# attempt: call-process-vm-writev
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(311, 1, 0, 0, 0, 0, 0)

# attempt: call-ptrace-traceme
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(101, 0, 0, 0, 0)

# attempt: call-ptrace-attach-init
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(101, 16, 1, 0, 0)

# attempt: call-process-madvise
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(440, -1, 0, 0, 0, 0)

# attempt: call-process-mrelease
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(448, -1, 0)

# attempt: call-kcmp
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(312, 1, 2, 0, 0, 0)

# attempt: call-pidfd-open
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(434, 1, 0)

# attempt: call-pidfd-send-signal
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(424, 0, 0, 0, 0)

# attempt: call-pidfd-getfd
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(438, 0, 0, 0)

# attempt: call-io-uring-setup
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(425, 8, 0)

# attempt: call-io-uring-enter
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(426, -1, 0, 0, 0, 0, 0)

# attempt: call-io-uring-register
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(427, -1, 0, 0, 0)

# attempt: call-bpf
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(321, 9999, 0, 0)

# attempt: call-userfaultfd
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(323, 1)

# attempt: call-perf-event-open
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(298, 0, 0, -1, -1, 0)

# attempt: call-keyctl
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(250, 0, -3, 1)

# attempt: call-keyctl-new-session
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(250, 1, 0)

# attempt: call-add-key
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(248, 0, 0, 0, 0, -2)

# attempt: call-request-key
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(249, 0, 0, 0, -2)

# attempt: call-unshare-user
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(272, 0x10000000)

# attempt: call-unshare-net
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(272, 0x40000000)

# attempt: call-unshare-mount
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(272, 0x20000)

# attempt: call-unshare-files
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(272, 0x400)

# attempt: call-setns
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(308, 0, 0)

# attempt: call-clone3
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(435, 0, 0)

# attempt: call-mount
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(165, 0, 0, 0, 0, 0)

# attempt: call-umount2
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(166, 0, 2)

# attempt: call-pivot-root
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(155, 0, 0)

# attempt: call-chroot
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(161, 0)

# attempt: call-open-tree
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(428, -100, 0, 1)

# attempt: call-move-mount
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(429, -1, 0, -1, 0, 0)

# attempt: call-fsopen
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(430, 0, 0)

# attempt: call-fsconfig
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(431, -1, 0, 0, 0, 0)

# attempt: call-fsmount
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(432, -1, 0, 0)

# attempt: call-fspick
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(433, -100, 0, 0)

# attempt: call-mount-setattr
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(442, -1, 0, 0, 0, 0)

# attempt: call-open-by-handle-at
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(304, -100, 0, 0)

# attempt: call-name-to-handle-at
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(303, -100, 0, 0, 0, 0)

# attempt: call-openat2
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(437, -100, 0, 0, 0)

# attempt: call-execveat
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(322, -1, 0, 0, 0, 0)

# attempt: memfd-without-callbacks
# wall: callbacks
# server: isolation.callbacks=no
# expect: REFUSED ENOSYS
with attempt():
    os.memfd_create("x")

# attempt: epoll-by-any-way
# wall: epoll
# server: isolation.epoll=no
# expect: REFUSED ENOSYS
# By the C library, by what Python has hidden, by an interpreter of its own, from what was inherited.
import gc
import subprocess
with attempt():
    if hasattr(__import__("select"), "epoll"):
        through("select has it")
    ways = [lambda: libc.epoll_create(1), lambda: libc.epoll_create1(0)]
    ways += [kind for kind in gc.get_objects() + object.__subclasses__() if isinstance(kind, type) and kind.__name__ == "epoll"]
    errors = set()
    for way in ways:
        ctypes.set_errno(0)
        try:
            if way() != -1:
                through("an epoll")
            errors.add(ctypes.get_errno())
        except OSError as error:
            errors.add(error.errno)
    code = "import select\ntry: select.epoll()\nexcept OSError as e: print(e.errno)\nelse: print('made')"
    errors.add(int(subprocess.check_output(["/usr/bin/python3", "-c", code]).decode().replace("made", "0")))
    nothing = ctypes.create_string_buffer(4096)
    for fd in range(1024):
        if libc.epoll_wait(fd, nothing, 1, 0) >= 0:
            through("an epoll that was inherited")
        errors.add(ctypes.get_errno())
    raise OSError(errors.pop() if len(errors) == 1 else 0, "epoll")

# attempt: epoll-by-number
# wall: epoll
# server: isolation.epoll=no
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    for number in (213, 291):
        try:
            call(number, 1 if number == 213 else 0)
            through("an epoll")
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
    call(291, 1 << 32)

# attempt: memfd-in-huge-pages
# wall: memfd-flags
# needs: cgroup
# expect: REFUSED EINVAL
# instead: the filter: REFUSED ENOSYS
# They are the operator's, and in no cgroup's memory.
with attempt():
    os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_HUGETLB)

# attempt: memfd-in-huge-pages-by-high-bits
# wall: memfd-flags
# arch: x86_64
# needs: cgroup
# expect: REFUSED EINVAL
# instead: the filter: REFUSED ENOSYS
with attempt():
    call(319, b"x", 1 << 32 | os.MFD_HUGETLB)

# attempt: memfd-with-seals
# wall: memfd-flags
# needs: cgroup
# expect: REFUSED EINVAL
# instead: the filter: REFUSED ENOSYS
with attempt():
    os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

# attempt: memfd-executable
# wall: memfd-flags
# needs: cgroup
# expect: REFUSED EINVAL
# instead: the filter: REFUSED ENOSYS
# MFD_EXEC
with attempt():
    os.memfd_create("x", 0x10)

# attempt: call-memfd-secret
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(447, 0)

# attempt: call-splice
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(275, -1, 0, -1, 0, 1, 0)

# attempt: call-tee
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(276, -1, -1, 1, 0)

# attempt: call-vmsplice
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(278, -1, 0, 0, 0)

# attempt: call-sendfile
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(40, -1, -1, 0, 1)

# attempt: call-copy-file-range
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(326, -1, 0, -1, 0, 1, 0)

# attempt: call-inotify-init
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(253)

# attempt: call-inotify-init1
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(294, 0)

# attempt: call-inotify-add-watch
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(254, -1, 0, 0)

# attempt: call-fanotify-init
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(300, 0, 0)

# attempt: call-fanotify-mark
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(301, -1, 0, 0, -1, 0)

# attempt: call-timer-create
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(222, 0, 0, 0)

# attempt: call-timerfd-create
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(283, 0, 0)

# attempt: call-signalfd
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(282, -1, 0, 8)

# attempt: call-signalfd4
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(289, -1, 0, 8, 0)

# attempt: call-eventfd
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(284, 0)

# attempt: call-io-setup
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(206, 1, 0)

# attempt: call-io-submit
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(209, 0, 0, 0)

# attempt: call-mq-open
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(240, 0, 0, 0, 0)

# attempt: call-mq-unlink
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(241, 0)

# attempt: call-shmget
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(29, 1, 4096, 0o1600)

# attempt: call-shmat
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(30, 0, 0, 0)

# attempt: call-shmctl
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(31, 0, 13, 0)

# attempt: call-semget
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(64, 1, 1, 0o1600)

# attempt: call-semop
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(65, 0, 0, 0)

# attempt: call-msgget
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(68, 1, 0o1600)

# attempt: call-msgsnd
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(69, 0, 0, 0, 0)

# attempt: call-msgrcv
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(70, 0, 0, 0, 0, 0)

# attempt: call-move-pages
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(279, 0, 0, 0, 0, 0, 0)

# attempt: call-migrate-pages
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(256, 0, 0, 0, 0)

# attempt: call-mbind
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(237, 0, 0, 0, 0, 0, 0)

# attempt: call-set-mempolicy
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(238, 0, 0, 0)

# attempt: call-get-mempolicy
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(239, 0, 0, 0, 0, 0)

# attempt: call-set-mempolicy-home-node
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(450, 0, 0, 0, 0)

# attempt: call-mincore
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(27, 0, 0, 0)

# attempt: call-remap-file-pages
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(216, 0, 0, 0, 0, 0)

# attempt: call-mlock
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(149, 0, 0)

# attempt: call-mlock2
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(325, 0, 0, 0)

# attempt: call-pkey-alloc
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(330, 0, 0)

# attempt: call-seccomp
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(317, 0, 0, 0)

# attempt: call-seccomp-listener
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(317, 1, 8, 0)

# attempt: call-landlock-create-ruleset
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(444, 0, 0, 1)

# attempt: call-landlock-restrict-self
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(446, -1, 0)

# attempt: call-personality
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(135, 0xffffffff)

# attempt: call-personality-no-randomize
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(135, 0x40000)

# attempt: call-modify-ldt
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(154, 0, 0, 0)

# attempt: call-iopl
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(172, 3)

# attempt: call-ioperm
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(173, 0, 1, 1)

# attempt: call-kexec-load
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(246, 0, 0, 0, 0)

# attempt: call-kexec-file-load
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(320, -1, -1, 0, 0, 0)

# attempt: call-init-module
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(175, 0, 0, 0)

# attempt: call-finit-module
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(313, -1, 0, 0)

# attempt: call-delete-module
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(176, 0, 0)

# attempt: call-reboot
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(169, 0, 0, 0, 0)

# attempt: call-swapon
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(167, 0, 0)

# attempt: call-swapoff
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(168, 0)

# attempt: call-settimeofday
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(164, 0, 0)

# attempt: call-clock-settime
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(227, 0, 0)

# attempt: call-adjtimex
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(159, 0)

# attempt: call-clock-adjtime
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(305, 0, 0)

# attempt: call-sethostname
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(170, 0, 0)

# attempt: call-setdomainname
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(171, 0, 0)

# attempt: call-acct
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(163, 0)

# attempt: call-quotactl
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(179, 0, 0, 0, 0)

# attempt: call-quotactl-fd
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(443, -1, 0, 0, 0)

# attempt: call-syslog
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(103, 3, 0, 0)

# attempt: call-vhangup
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(153)

# attempt: call-lookup-dcookie
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(212, 0, 0, 0)

# attempt: call-uselib
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(134, 0)

# attempt: call-ustat
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(136, 0, 0)

# attempt: call-sysfs
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(139, 3)

# attempt: call-sysctl
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(156, 0)

# attempt: call-nfsservctl
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(180, 0, 0, 0)

# attempt: call-get-robust-list
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(274, 1, 0, 0)

# attempt: call-sched-setattr
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(314, 0, 0, 0)

# attempt: call-sched-setscheduler
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(144, 0, 1, 0)

# attempt: call-sched-setaffinity
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(203, 0, 0, 0)

# attempt: call-ioprio-set
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(251, 1, 0, 0)

# attempt: call-setpriority
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(141, 0, 0, 0)

# attempt: call-setrlimit
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(160, 4, 0)

# attempt: call-sendmsg
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(46, -1, 0, 0)

# attempt: call-sendmmsg
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(307, -1, 0, 0, 0)

# attempt: call-recvmsg
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(47, -1, 0, 0)

# attempt: call-recvmmsg
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(299, -1, 0, 0, 0, 0)

# attempt: call-bind
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(49, -1, 0, 0)

# attempt: call-connect
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(42, -1, 0, 0)

# attempt: call-listen
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(50, -1, 0)

# attempt: call-accept
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(43, -1, 0, 0)

# attempt: call-accept4
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(288, -1, 0, 0, 0)

# attempt: call-setsockopt
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(54, -1, 0, 0, 0, 0)

# attempt: call-mknod
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(133, 0, 0, 0)

# attempt: call-mknodat
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(259, -1, 0, 0, 0)

# attempt: call-sync
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(162)

# attempt: call-syncfs
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(306, -1)

# attempt: call-rt-sigqueueinfo
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(129, 1, 0, 0)

# attempt: call-rt-tgsigqueueinfo
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(297, 1, 1, 0, 0)

# attempt: call-futex-waitv
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(449, 0, 0, 0, 0, 0)

# attempt: call-setuid
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(105, 0)

# attempt: call-setgid
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(106, 0)

# attempt: call-setreuid
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(113, 0, 0)

# attempt: call-setresuid
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(117, 0, 0, 0)

# attempt: call-setresgid
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(119, 0, 0, 0)

# attempt: call-setgroups
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(116, 0, 0)

# attempt: call-setfsuid
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(122, 0)

# attempt: call-capget
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(125, 0, 0)

# attempt: call-capset
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(126, 0, 0)

# attempt: call-getxattr
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOTSUP
with attempt():
    call(191, 0, 0, 0, 0)

# attempt: call-setxattr
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOTSUP
with attempt():
    call(188, 0, 0, 0, 0, 0)

# attempt: call-cachestat
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(451, -1, 0, 0, 0)

# attempt: call-fchmodat2
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(452, -1, 0, 0, 0)

# attempt: call-map-shadow-stack
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(453, 0, 0, 0)

# attempt: call-statmount
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(457, 0, 0, 0, 0)

# attempt: call-listmount
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(458, 0, 0, 0, 0)

# attempt: call-lsm-get-self-attr
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(459, 0, 0, 0, 0)

# attempt: call-mseal
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(462, 0, 0, 0)

# attempt: call-open-tree-attr
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(467, -100, 0, 0, 0, 0)

# attempt: call-newest-number
# wall: seccomp
# arch: x86_64
# expect: REFUSED ENOSYS
with attempt():
    call(511, 0, 0, 0, 0)

# attempt: call-out-of-range
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(5000, 0, 0, 0, 0)

# attempt: call-negative
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(0xffffffff, 0, 0, 0, 0)

# attempt: clone-newns
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x20000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newcgroup
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x2000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newuts
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x4000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newipc
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x8000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newuser
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newpid
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x20000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newnet
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x40000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-newtime
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x80, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-ptrace
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x2000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-untraced
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    if call(56, 0x800000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)

# attempt: clone-pidfd
# wall: clone-flags
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    fd = ctypes.c_int()
    if call(56, 0x1000 | signal.SIGCHLD, 0, ctypes.byref(fd), 0, 0) == 0:
        os._exit(0)

# attempt: ioctl-tiocsti
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x5412, ctypes.create_string_buffer(64))

# attempt: ioctl-tiocsti-by-high-bits
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x100005412, ctypes.create_string_buffer(64))

# attempt: ioctl-tioclinux
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x541c, ctypes.create_string_buffer(64))

# attempt: ioctl-tiocsctty
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x540e, ctypes.create_string_buffer(64))

# attempt: ioctl-tcsets
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x5402, ctypes.create_string_buffer(64))

# attempt: ioctl-fs-set-flags
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x40086602, ctypes.create_string_buffer(64))

# attempt: ioctl-ficlone
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x40049409, ctypes.create_string_buffer(64))

# attempt: ioctl-fideduperange
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0xc0189436, ctypes.create_string_buffer(64))

# attempt: ioctl-siocgifconf
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x8912, ctypes.create_string_buffer(64))

# attempt: ioctl-siocgifconf-by-high-bits
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x100008912, ctypes.create_string_buffer(64))

# attempt: ioctl-pidfd-get-namespace
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0xff01, ctypes.create_string_buffer(64))

# attempt: ioctl-tungetdev
# wall: ioctl
# arch: x86_64
# expect: REFUSED ENOTTY
with attempt():
    call(16, os.open(".", os.O_RDONLY), 0x400454ca, ctypes.create_string_buffer(64))

# attempt: fcntl-setlease
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x400, 0)

# attempt: fcntl-notify
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x402, 0)

# attempt: fcntl-setpipe-size
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x407, 0)

# attempt: fcntl-add-seals
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x409, 0)

# attempt: fcntl-set-rw-hint
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x40c, 0)

# attempt: fcntl-ofd-setlk
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x25, 0)

# attempt: fcntl-setsig
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0xa, 0)

# attempt: fcntl-setown
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x8, 0)

# attempt: fcntl-setlease-by-high-bits
# wall: fcntl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(72, os.open("/tmp/file", os.O_RDWR | os.O_CREAT), 0x100000400, 0)

# attempt: prctl-dumpable
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x4, 1, 0, 0, 0)

# attempt: prctl-keepcaps
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x8, 1, 0, 0, 0)

# attempt: prctl-seccomp
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x16, 1, 0, 0, 0)

# attempt: prctl-capbset-drop
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x18, 1, 0, 0, 0)

# attempt: prctl-tsc
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x1a, 1, 0, 0, 0)

# attempt: prctl-securebits
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x1c, 1, 0, 0, 0)

# attempt: prctl-timerslack
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x1d, 1, 0, 0, 0)

# attempt: prctl-mce-kill
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x21, 1, 0, 0, 0)

# attempt: prctl-mm
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x23, 1, 0, 0, 0)

# attempt: prctl-no-new-privs
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x26, 1, 0, 0, 0)

# attempt: prctl-get-tid-address
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x28, 1, 0, 0, 0)

# attempt: prctl-thp-disable
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x29, 1, 0, 0, 0)

# attempt: prctl-ambient
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x2f, 1, 0, 0, 0)

# attempt: prctl-speculation
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x35, 1, 0, 0, 0)

# attempt: prctl-io-flusher
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x39, 1, 0, 0, 0)

# attempt: prctl-syscall-user-dispatch
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x3b, 1, 0, 0, 0)

# attempt: prctl-sched-core
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x3e, 1, 0, 0, 0)

# attempt: prctl-mdwe
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x41, 1, 0, 0, 0)

# attempt: prctl-memory-merge
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x43, 1, 0, 0, 0)

# attempt: prctl-ptracer
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x59616d61, 1, 0, 0, 0)

# attempt: prctl-dumpable-by-high-bits
# wall: prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(157, 0x100000004, 1, 0, 0, 0)

# attempt: arch-prctl-set-gs
# wall: arch-prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(158, 0x1001, ctypes.create_string_buffer(8))

# attempt: arch-prctl-get-gs
# wall: arch-prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(158, 0x1004, ctypes.create_string_buffer(8))

# attempt: arch-prctl-cpuid-faulting
# wall: arch-prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(158, 0x1012, ctypes.create_string_buffer(8))

# attempt: arch-prctl-map-vdso
# wall: arch-prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(158, 0x2001, ctypes.create_string_buffer(8))

# attempt: arch-prctl-shadow-stack
# wall: arch-prctl
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(158, 0x5001, ctypes.create_string_buffer(8))

# attempt: prlimit-init
# wall: prlimit
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    call(302, 1, 7, 0, ctypes.create_string_buffer(16))

# attempt: prlimit-child
# wall: prlimit
# arch: x86_64
# expect: REFUSED EPERM
with attempt():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    call(302, pid, 7, 0, ctypes.create_string_buffer(16))

# attempt: core-dump-handler
# wall: prlimit
# expect: REFUSED kept
# core(5): with a limit of 0, and only then, a core_pattern with a pipe starts its handler as the host's root.
import resource
with attempt():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 1))
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    refuse("kept") if limit == (1, 1) else through(limit)

# attempt: core-dump-limit
# wall: rlimits
# expect: REFUSED absent
import resource
with attempt():
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    refuse() if limit == (1, 1) else through(limit)

# attempt: core-dump-in-scratch
# wall: rlimits
# expect: REFUSED absent
# A program that was started by exec is dumpable.
import subprocess
with attempt():
    subprocess.run(["/usr/bin/python3", "-c", "import os; os.abort()"], cwd=".")
    through(os.listdir(".")) if os.listdir(".") else refuse()

# attempt: x32-call
# wall: foreign-abi
# arch: x86_64
# expect: run signal Killed by signal 31 (SIGSYS)
tell("ATTEMPT")
call(0x40000000 + 39)
tell("THROUGH")

# attempt: x32-refused-call
# wall: foreign-abi
# arch: x86_64
# expect: run signal Killed by signal 31 (SIGSYS)
tell("ATTEMPT")
call(0x40000000 + 521, 0, 0, 0, 0)
tell("THROUGH")

# attempt: i386-call
# wall: foreign-abi
# arch: x86_64
# server: isolation.mdwe=no
# expect: run signal Killed by signal 31 (SIGSYS)
# mov $20, %eax; int $0x80; ret: getpid(2) of the 32-bit kernel.
import mmap
code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
code.write(bytes.fromhex("b814000000cd80c3"))
tell("ATTEMPT")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
tell("THROUGH")

# attempt: i386-call-by-hand
# wall: mdwe
# needs: mdwe
# arch: x86_64
# expect: REFUSED EACCES
# instead: the filter: run signal
import mmap
with attempt():
    code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
    code.write(bytes.fromhex("b814000000cd80c3"))
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()

# attempt: i386-call-by-memfd
# wall: foreign-abi
# arch: x86_64
# needs: cgroup
# expect: run signal Killed by signal 31 (SIGSYS)
# instead: the filter: run exception OSError: [Errno 38] Function not implemented
# Machine code without memory that is writable and executable: a file in memory holds it.
tell("ATTEMPT")
file = os.memfd_create("x")
os.write(file, bytes.fromhex("b814000000cd80c3"))
libc.mmap.restype = ctypes.c_void_p
address = libc.mmap(None, ctypes.c_size_t(4096), 5, 1, file, ctypes.c_long(0))
ctypes.CFUNCTYPE(ctypes.c_int)(address)()
tell("THROUGH")

# attempt: i386-segment-by-memfd
# wall: foreign-abi
# arch: x86_64
# needs: cgroup
# expect: run signal Killed by signal 31 (SIGSYS)
# instead: the filter: run exception OSError: [Errno 38] Function not implemented
# The processor itself in 32-bit mode. At 0x20000000: mov $0x1ffffff0, %esp; push $0x23; push $0x20000020; lretq. At
# 0x20000020: mov $20, %eax; int $0x80; hlt.
tell("ATTEMPT")
file = os.memfd_create("x")
os.write(file, bytes.fromhex("bcf0ffff1f6a23682000002048cb").ljust(32, b"\x90") + bytes.fromhex("b814000000cd80f4"))
libc.mmap.restype = ctypes.c_void_p
stack = libc.mmap(ctypes.c_void_p(0x1ffff000), ctypes.c_size_t(4096), 3, 0x32, -1, ctypes.c_long(0))
address = libc.mmap(ctypes.c_void_p(0x20000000), ctypes.c_size_t(4096), 5, 0x11, file, ctypes.c_long(0))
assert (stack, address) == (0x1ffff000, 0x20000000)
ctypes.CFUNCTYPE(ctypes.c_int)(address)()
tell("THROUGH")

# attempt: x32-by-machine-code
# wall: foreign-abi
# arch: x86_64
# server: isolation.mdwe=no
# expect: run signal Killed by signal 31 (SIGSYS)
# mov $0x40000027, %eax; syscall; ret
import mmap
code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
code.write(bytes.fromhex("b8270000400f05c3"))
tell("ATTEMPT")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
tell("THROUGH")

# attempt: filter-in-threads
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
import threading
with attempt():
    caught = []
    def inside():
        try:
            call(272, 0x10000000)
        except OSError as error:
            caught.append(error)
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if caught:
        raise caught[0]

# attempt: filter-after-exec
# wall: seccomp
# arch: x86_64
# expect: REFUSED EPERM
import subprocess
with attempt():
    code = "import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.syscall(272, 0x10000000), ctypes.get_errno())"
    result = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True)
    if result.stdout == "-1 1\n":
        refuse("EPERM")
