# SPDX-License-Identifier: Apache-2.0
"""Programs that together want several times the machine's memory.  Only for a machine that is there for it: `suite`."""
import concurrent.futures
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from service import Service  # noqa: E402

FILL = "import time\nheld = b'x' * (400 << 20)\ntime.sleep(2)\nreturn len(held)"
MANY = 30


def since_boot(name):
    """A counter of proc_vmstat(5)."""
    return int(re.search(rf"^{name} (\d+)$", pathlib.Path("/proc/vmstat").read_text(), re.M)[1])


def victims():
    """The cgroups of all that the kernel has ended for lack of memory, one for each time, as its log has them."""
    with open("/dev/kmsg", "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as log:
        lines = []
        while True:
            try:
                line = log.read(8192)
            except BrokenPipeError:  # the log went on over it
                continue
            if not line:
                return [m[1] for m in re.finditer(r"oom-kill:.*?task_memcg=([^,]*)", "\n".join(lines))]
            lines.append(line.decode(errors="replace"))


def check(reply):
    if reply.status == 200:
        assert reply["response"]["result"] == 400 << 20
    else:
        assert (reply.status, reply["reason"], reply["exit_code"]) == (503, "host_memory", 137), reply
        assert "memory was full" in reply["error"] and "retry-after" in reply.headers


def test_many_that_fill_the_memory():
    """The host does not swap and ends nothing but boxes; each reply says why; the service is the same afterwards."""
    pathlib.Path("/proc/sys/vm/oom_dump_tasks").write_text("0")  # each list would take the log's room
    swapped, before = since_boot("pswpout"), len(victims())
    with Service() as server, concurrent.futures.ThreadPoolExecutor(MANY) as pool:
        parts = [server.pid] + [server.child(name) for name in ("server", "zygote")]
        asked = [pool.submit(server.request, "POST", "/v1/code/execute/python", {"code": FILL, "timeout": 300}, timeout=900)
                 for _ in range(MANY)]
        replies = [one.result() for one in asked]
        for reply in replies:
            check(reply)
        ended = victims()[before:]
        refused = sum(reply.status == 503 for reply in replies)
        print(f"{MANY - refused} of {MANY} got through, the kernel ended {len(ended)}")
        assert len(ended) >= refused > 0
        assert since_boot("pswpout") == swapped
        assert [group for group in ended if "/box-" not in group] == []
        assert parts == [server.pid] + [server.child(name) for name in ("server", "zygote")]
        assert server.run("return 1").response["result"] == 1
