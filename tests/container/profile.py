#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The container engine's own seccomp profile (argv[1]) with what making a jail takes, on stdout.

Engines allow these calls to processes with CAP_SYS_ADMIN alone, which a process has in a user namespace of its own too,
but the profile is made before there is one."""
import json
import sys

JAIL = ["clone", "keyctl", "mount", "mount_setattr", "open_tree", "pivot_root", "setdomainname", "sethostname", "setns",
        "umount2", "unshare"]

with open(sys.argv[1]) as file:
    profile = json.load(file)
for rule in profile["syscalls"]:
    rule["names"] = [name for name in rule["names"] if name not in JAIL]
profile["syscalls"] = [rule for rule in profile["syscalls"] if rule["names"]]
profile["syscalls"].append({"names": JAIL, "action": "SCMP_ACT_ALLOW"})
json.dump(profile, sys.stdout)
