# SPDX-License-Identifier: Apache-2.0
"""The tables of messages and those who read them: each row has the one handler that its receiver needs."""
import collections
import re

from service import ROOT

SRC = ROOT / "src"
TABLES = {"WIRE": "base/wire.def", "COURIER": "courier/courier.def"}
# Who reads which edge of a table: (prefix, from, to): the file with the handlers.
READERS = {
    ("WIRE", "SUPERVISOR", "SERVER"): "server/orders.c",
    ("WIRE", "SERVER", "SUPERVISOR"): "supervisor/orders.c",
    ("WIRE", "ZYGOTE", "SUPERVISOR"): "supervisor/orders.c",
    ("WIRE", "SERVER", "ZYGOTE"): "zygote/main.c",
    ("WIRE", "ZYGOTE", "SERVER"): "server/pool/zygote.c",
    ("COURIER", "SUPERVISOR", "COURIER"): "courier/courier.c",
    ("COURIER", "SERVER", "COURIER"): "courier/courier.c",
    ("COURIER", "COURIER", "SERVER"): "server/jobs/outbox.c",
}
FIRST = {"SERVER_CONF", "ZYGOTE_CONF"}  # read before there is a loop


def rows():
    """(prefix, name, from, to, struct, descriptors, times) of each message."""
    return [(prefix, *map(str.strip, row.split(","))) for prefix, table in TABLES.items()
            for row in re.findall(r"^MESSAGE\((.*?)\)", (SRC / table).read_text(), re.M | re.S)]


def test_each_message_has_its_handler():
    wanted = collections.defaultdict(set)
    for prefix, name, sender, receiver, *_ in rows():
        if name not in FIRST:
            wanted[READERS[prefix, sender, receiver]].add(f"{prefix}_{name}")
    assert set(wanted) == set(READERS.values())
    for file, names in wanted.items():
        assert set(re.findall(r"\[((?:WIRE|COURIER)_\w+)\] = \w+", (SRC / file).read_text())) == names, file


def test_what_comes_once():
    assert {row[1] for row in rows() if row[6] == "ONCE"} == FIRST | {"READY", "REFUSED", "WARM"}


def test_nobody_receives_by_hand():
    """Outside of wire_hear() there are the first messages, and a box's socket of its own."""
    found = {str(p.relative_to(SRC)) for p in SRC.rglob("*.c") if re.search(r"\bfd_recv\(", p.read_text())}
    assert found == {"base/fd.c", "base/wire.c", "box/enter.c", "zygote/main.c", "server/orders.c", "courier/courier.c"}
