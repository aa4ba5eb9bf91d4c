# SPDX-License-Identifier: Apache-2.0
"""The tables of messages and those who read them: each row has the one handler that its receiver needs."""
import collections
import re

from service import ROOT

SRC = ROOT / "src"
# Who reads which edge: (from, to): the file with the handlers.
READERS = {
    ("SUPERVISOR", "SERVER"): "server/orders.c",
    ("SERVER", "SUPERVISOR"): "supervisor/orders.c",
    ("ZYGOTE", "SUPERVISOR"): "supervisor/orders.c",
    ("SERVER", "ZYGOTE"): "zygote/main.c",
    ("ZYGOTE", "SERVER"): "server/pool/zygote.c",
}
FIRST = {"SERVER_CONF", "ZYGOTE_CONF"}  # read before there is a loop


def rows():
    """(name, from, to, struct, descriptors, times) of each message."""
    return [tuple(map(str.strip, row.split(","))) for row in
            re.findall(r"^MESSAGE\((.*?)\)", (SRC / "base/wire.def").read_text(), re.M | re.S)]


def test_each_message_has_its_handler():
    wanted = collections.defaultdict(set)
    for name, sender, receiver, *_ in rows():
        if name not in FIRST:
            wanted[READERS[sender, receiver]].add(name)
    assert set(wanted) == set(READERS.values())
    for file, names in wanted.items():
        assert set(re.findall(r"\[WIRE_(\w+)\] = \w+", (SRC / file).read_text())) == names, file


def test_what_comes_once():
    assert {row[0] for row in rows() if row[5] == "ONCE"} == FIRST | {"READY", "REFUSED", "WARM"}


def test_nobody_receives_by_hand():
    """Outside of wire_hear() there are the first messages, and a box's socket of its own."""
    found = {str(p.relative_to(SRC)) for p in SRC.rglob("*.c") if re.search(r"\bfd_recv\(", p.read_text())}
    assert found == {"base/fd.c", "base/wire.c", "box/enter.c", "zygote/main.c", "server/orders.c", "courier/courier.c",
                     "server/jobs/outbox.c"}
