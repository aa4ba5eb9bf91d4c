#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run a command as packaging/systemd/hatchery.service.in would have it, where systemd is not process 1.

    tests/systemd/sandbox.py COMMAND [ARGUMENT]...      as root

Done by hand, from the unit's own lines: the file system (ProtectSystem=strict, ProtectHome=, PrivateTmp=, PrivateDevices=,
ProtectKernelLogs=, ProtectKernelModules=, ProtectProc=, PrivateIPC=, StateDirectory=), CapabilityBoundingSet=,
NoNewPrivileges=, and seccomp (SystemCallFilter=, SystemCallArchitectures=, RestrictAddressFamilies=, RestrictRealtime=,
RestrictSUIDSGID=, LockPersonality=).  A directive that is not known here is an error, so that none is forgotten.  The tree
of this file is seen as it is, though it be below what is hidden."""
import ctypes
import ctypes.util
import os
import pathlib
import re
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
UNIT = pathlib.Path(os.environ.get("SANDBOX_UNIT", TREE / "packaging" / "systemd" / "hatchery.service.in"))

# Nothing that the jail could notice: who starts, stops and watches it, limits, its cgroup.
ELSEWHERE = """PrivateMounts Type NotifyAccess ExecStart ExecReload KillMode Restart RestartSec TimeoutStartSec WatchdogSec
    RestartPreventExitStatus LoadCredential Environment StateDirectoryMode LimitNOFILE TasksMax Delegate OOMScoreAdjust
    OOMPolicy KeyringMode UMask RemoveIPC SystemCallErrorNumber""".split()

libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
seccomp.seccomp_init.restype = ctypes.c_void_p

CLONE_NEWNS, CLONE_NEWIPC = 0x20000, 0x8000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
AT_RECURSIVE, AT_FDCWD, SYS_mount_setattr, MOUNT_ATTR_RDONLY = 0x8000, -100, 442, 1
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
ALLOW, EPERM_ACTION, KILL = 0x7fff0000, 0x00050001, 0x80000000
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT
    SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()


def read_unit():
    """{directive: [value, ...]} of [Service]."""
    found, section = {}, None
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] != "#":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def call(result, what):
    if result < 0:
        error = ctypes.get_errno()
        sys.exit(f"sandbox: {what}: {os.strerror(error)}")


def mount(source, target, kind, flags, options=None):
    call(libc.mount(source and str(source).encode(), str(target).encode(), kind and kind.encode(), flags,
                    options and options.encode()), f"mount {target}")


def set_read_only(target, on=True):
    attr = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY if on else 0, 0 if on else MOUNT_ATTR_RDONLY, 0, 0)
    call(libc.syscall(SYS_mount_setattr, AT_FDCWD, str(target).encode(), AT_RECURSIVE, ctypes.byref(attr), 32),
         f"mount_setattr {target}")


# --- the file system ---


def hide(path):
    """As InaccessiblePaths=: something that has no content and no permissions; the tree, where it was below, is seen again."""
    if os.path.isdir(path):
        mount("hidden", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=000")
        show_tree()
        set_read_only(path)
    elif os.path.exists(path):
        mount("/dev/null", path, None, MS_BIND)


def show_tree():
    """Where it is hidden now: the tree is where it was, read-only."""
    if not TREE.exists():
        os.makedirs(TREE)
        mount("/mnt/tree", TREE, None, MS_BIND | MS_REC)
        set_read_only(TREE)


def private_devices():
    nodes = ("null", "zero", "full", "random", "urandom", "tty")
    os.mkdir("/mnt/dev")
    mount("dev", "/mnt/dev", "tmpfs", MS_NOSUID, "mode=0755")
    for name in nodes:
        open(f"/mnt/dev/{name}", "w").close()
        mount(f"/dev/{name}", f"/mnt/dev/{name}", None, MS_BIND)
    for name in ("shm", "pts", "mqueue"):
        os.mkdir(f"/mnt/dev/{name}")
    mount("shm", "/mnt/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"/mnt/dev/{name}")
    mount("/mnt/dev", "/dev", None, MS_BIND | MS_REC)
    # systemd: MS_NOEXEC and read-only for all of it; the nodes stay what they are
    call(libc.mount(None, b"/dev", None, 32 | MS_BIND | MS_NOSUID | MS_NOEXEC | MS_RDONLY, None), "remount /dev")


def file_system(unit):
    call(libc.unshare(CLONE_NEWNS | CLONE_NEWIPC), "unshare")
    mount(None, "/", None, MS_PRIVATE | MS_REC)
    mount("work", "/mnt", "tmpfs", 0, "mode=0700")
    for name in ("tree", "tmp", "state"):
        os.mkdir(f"/mnt/{name}")
    mount(TREE, "/mnt/tree", None, MS_BIND | MS_REC)
    api = [point for point in ("/proc", "/sys", "/dev") if os.path.ismount(point)]
    assert unit["ProtectSystem"] == ["strict"]
    state = pathlib.Path("/var/lib", unit["StateDirectory"][0])
    mount("state", "/mnt/state", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
    there = state.exists()
    set_read_only("/")
    for point in ("/mnt", *api):
        set_read_only(point, on=False)
    if there:
        mount("/mnt/state", state, None, MS_BIND)
    private_devices()
    for path in ("/home", "/root", "/run/user"):
        hide(path)
    for path in ("/proc/kmsg", "/dev/kmsg", "/usr/lib/modules"):
        hide(path)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible")
    for path in ("/tmp", "/var/tmp"):
        mount("tmp", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    show_tree()
    os.chdir("/")


# --- seccomp ---


def groups():
    """{"@group": its members}, as the systemd that is installed knows them."""
    text = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True,
                          env={"SYSTEMD_COLORS": "0", "PATH": os.environ["PATH"]}).stdout
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("@"):
            found[name := line.strip()] = []
        elif name and (match := re.fullmatch(r"\s+(@?[\w-]+)", line)):
            found[name].append(match[1])
    return found


def expand(names, known):
    calls = set()
    for name in names:
        calls |= expand(known[name], known) if name.startswith("@") else {name}
    return calls


class Cmp(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


NE, EQ, MASKED_EQ, GT = 1, 4, 7, 6


class Filter:
    def __init__(self, default):
        self.ctx = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action, name, *cmps):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return  # not known to this libseccomp: systemd leaves it out as well
        array = (Cmp * max(1, len(cmps)))(*cmps)
        call(seccomp.seccomp_rule_add_array(self.ctx, ctypes.c_uint32(action), number, len(cmps), array), name)

    def load(self):
        call(seccomp.seccomp_load(self.ctx), "seccomp_load")


def filters(unit):
    """Each directive a filter of its own, as systemd has it."""
    made = []
    calls = Filter(EPERM_ACTION)
    for name in sorted(expand(" ".join(unit["SystemCallFilter"]).split(), groups())):
        calls.add(ALLOW, name)
    made.append(calls)
    families = Filter(ALLOW)
    allowed = sorted({"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}[word]
                     for word in unit["RestrictAddressFamilies"][0].split())
    for family in range(46):
        if family not in allowed:
            families.add(EPERM_ACTION, "socket", Cmp(0, EQ, family, 0))
    families.add(EPERM_ACTION, "socket", Cmp(0, GT, 45, 0))
    made.append(families)
    yes = {name for name, values in unit.items() if values == ["yes"]}
    rest = Filter(ALLOW)
    if "RestrictRealtime" in yes:
        for policy in (1, 2, 6):
            rest.add(EPERM_ACTION, "sched_setscheduler", Cmp(1, EQ, policy, 0))
    if "LockPersonality" in yes:
        rest.add(EPERM_ACTION, "personality", Cmp(0, NE, libc.personality(0xffffffff), 0))
    if "RestrictSUIDSGID" in yes:
        for name, arg in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1),
                          ("mknodat", 2), ("creat", 1)):
            for bit in (0o4000, 0o2000):
                rest.add(EPERM_ACTION, name, Cmp(arg, MASKED_EQ, bit, bit))
        for name, flags in (("open", 1), ("openat", 2)):
            for bit in (0o4000, 0o2000):
                rest.add(EPERM_ACTION, name, Cmp(flags, MASKED_EQ, os.O_CREAT, os.O_CREAT), Cmp(flags + 1, MASKED_EQ, bit, bit))
        rest.add(0x00050000 | 38, "openat2")
    made.append(rest)
    return made


KNOWN = """ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateIPC ProtectClock ProtectKernelLogs ProtectKernelModules
    ProtectProc StateDirectory CapabilityBoundingSet NoNewPrivileges LockPersonality RestrictRealtime RestrictSUIDSGID
    RestrictAddressFamilies SystemCallArchitectures SystemCallFilter""".split()


def main():
    unit = read_unit()
    unknown = set(unit) - set(KNOWN) - set(ELSEWHERE)
    if unknown or len(sys.argv) < 2:
        sys.exit(f"sandbox: directives that it can't do: {unknown}" if unknown else __doc__)
    made = filters(unit)
    command = sys.argv[1:]
    command[0] = os.path.abspath(command[0])
    file_system(unit)
    kept = [word.removeprefix("CAP_") for word in unit["CapabilityBoundingSet"][0].split()]
    assert set(kept) <= set(CAPABILITIES)
    drop = [number for number, name in enumerate(CAPABILITIES) if name not in kept]
    for number in drop:
        if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            assert number > 37, CAPABILITIES[number]  # newer than the kernel
    os.umask(int(unit["UMask"][0], 8))
    call(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for each in made:
        each.load()
    os.execv(command[0], command)


main()
