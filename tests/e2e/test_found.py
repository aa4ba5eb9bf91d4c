# SPDX-License-Identifier: Apache-2.0
"""What a program finds in its box beside what it brought."""
import errno
import os

import pytest

from service import Service, hatchery, lacks

CALLBACK = "import ctypes\nprint(ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)())"


@pytest.fixture(scope="module")
def server():
    with Service() as service:
        yield service


def test_the_second_name_of_its_directory(server):
    """Programs written for other interpreters put their files below /mnt/data."""
    code = """
import os
open('/mnt/data/out.csv', 'w').write('a,b\\n')
os.makedirs('/mnt/data/deep/er')
os.chdir('/mnt/data/deep')
return open('../out.csv').read(), sorted(os.listdir('/mnt/data')), os.path.samefile('/mnt/data', os.environ['HOME'])"""
    for _ in range(2):  # nothing of it is in the next box
        assert server.run(code).response["result"] == ["a,b\n", ["deep", "out.csv"], True]


READ_PROC = """
import os
def fields(path):
    return dict(line.replace(':', ' ').split()[:2] for line in open(path) if line.strip())
meminfo = fields('/proc/meminfo')
cores = [line.split()[0] for line in open('/proc/stat') if line[:3] == 'cpu' and line[3].isdigit()]
processors = open('/proc/cpuinfo').read().count('processor')
return [int(meminfo['MemTotal']), int(meminfo['MemAvailable']), int(meminfo['SwapTotal']), len(cores), processors,
        os.cpu_count(), sorted(os.listdir('/proc'))]"""


@pytest.mark.parametrize("percent", [100, 101])
def test_what_it_is_told_of_memory_and_processors(percent):
    """Its own limits, and not the host's; the kernel's /proc is not there."""
    cores = min((percent + 99) // 100, len(os.sched_getaffinity(0)))
    with Service(config=f"[limits]\nmemory = 256M\ncpu_percent = {percent}\n") as service:
        assert service.run(READ_PROC).response["result"] == [
            262144, 262144, 0, cores, cores, cores, ["cpuinfo", "meminfo", "stat"]]


@pytest.mark.skipif(not os.path.isfile("/etc/ssl/certs/ca-certificates.crt"), reason="ca-certificates is not installed")
def test_the_certificates_that_clients_look_for(server):
    """Without them a program that wants https is told of a missing file, and not that there is no network."""
    path = "/etc/ssl/certs/ca-certificates.crt"
    found = server.run(f"import os, ssl\nssl.create_default_context(cafile='{path}')\n"
                       f"return os.path.getsize('{path}'), os.listdir('/etc/ssl'), os.listdir('/etc/ssl/certs')")
    assert found.response["result"] == [os.path.getsize(path), ["certs"], ["ca-certificates.crt"]]


@pytest.mark.skipif(lacks("cgroup"), reason="without a cgroup there are no callbacks")
def test_callbacks_by_runtime():
    """Each runtime as its key says, those without one as isolation.callbacks."""
    config = "[isolation]\ncallbacks = no\n[runtime.with]\ncallbacks = yes\n[runtime.bare]\nidle = 0\n"
    with Service(config=config) as service:
        def run(runtime):
            return service.request("POST", "/v1/code/execute/python", {"code": CALLBACK}, headers={"X-Runtime": runtime})
        assert run("with").stdout == "7\n"
        for name in ("default", "bare"):
            reply = run(name)
            assert reply.status == 400 and reply["error"].rstrip().endswith("MemoryError"), reply


def test_no_files_in_memory_without_a_cgroup():
    """What is written to one and not mapped nobody would count; callbacks, which need one, fail by themselves."""
    with Service(config="[isolation]\ncgroup = none\ncallbacks = yes\n[runtime.with]\ncallbacks = yes\n") as service:
        for name in ("default", "with"):
            def run(code):
                return service.request("POST", "/v1/code/execute/python", {"code": code}, headers={"X-Runtime": name})
            reply = run("import os\nos.memfd_create('x')")
            assert reply.status == 400 and "Function not implemented" in reply["error"], reply
            reply = run(CALLBACK)
            assert reply.status == 400 and reply["error"].rstrip().endswith("MemoryError"), reply


@pytest.mark.parametrize("key", ["callbacks", "epoll"])
def test_switches_are_yes_or_no(tmp_path, key):
    path = tmp_path / "hatchery.conf"
    path.write_text(f"[runtime.one]\n{key} = maybe\n")
    done = hatchery("check-config", str(path))
    assert done.returncode == 1 and f"runtime.one.{key}: 'maybe' is neither yes nor no" in done.stderr


EPOLL = """
import asyncio, ctypes, select, selectors, subprocess
def make():
    try: return select.epoll().fileno() >= 0
    except OSError as error: return error.errno
libc = ctypes.CDLL(None, use_errno=True)
made = libc.epoll_create1(0)
print([name for name in vars(select) if name.lower().startswith('epoll')] != [], selectors.DefaultSelector.__name__,
      made >= 0 or ctypes.get_errno(), asyncio.run(asyncio.sleep(0, 1)),
      subprocess.check_output(['/usr/bin/python3', '-c',
                               'import selectors\\nprint(selectors.DefaultSelector.__name__, end="")'], text=True))"""
WEAKER = "the jail is weaker than it could be: programs of a runtime have epoll, which nothing counts"
WITHOUT, WITH = f"False PollSelector {errno.ENOSYS} 1 PollSelector\n", "True EpollSelector True 1 EpollSelector\n"


@pytest.mark.parametrize("by_default, config", [
    (WITHOUT, "[runtime.with]\nepoll = yes\n[runtime.bare]\nidle = 0\n"),
    (WITH, "[isolation]\nepoll = yes\n[runtime.without]\nepoll = no\n[runtime.bare]\nidle = 0\n")], ids=["no", "yes"])
def test_epoll_by_runtime(by_default, config):
    """Each runtime as its key says, those without one as isolation.epoll; the log names those that have it."""
    with Service(config=config) as service:
        def run(runtime):
            return service.request("POST", "/v1/code/execute/python", {"code": EPOLL}, headers={"X-Runtime": runtime}).stdout
        assert run("default") == run("bare") == by_default
        other = "with" if by_default == WITHOUT else "without"
        assert run(other) == (WITH if other == "with" else WITHOUT)
        told = {line["runtime"] for line in service.log(WEAKER)}
        assert told == ({"with"} if by_default == WITHOUT else {"default", "bare"} | (told & {"data"}))


WAITS = """
import multiprocessing as mp, selectors, socket, subprocess
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait

def square(n): return n * n

def work(queue, connection, n):
    queue.put(n)
    connection.send({"n": n})
    connection.close()

if __name__ == "__main__":
    context = mp.get_context(METHOD)
    with context.Pool(2) as pool:
        print(pool.map(square, range(10)))
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        print(sorted(future.result() for future in as_completed([pool.submit(square, n) for n in range(5)])))
    queue, pipes = context.Queue(), [context.Pipe(duplex=False) for _ in range(3)]
    children = [context.Process(target=work, args=(queue, pipes[n][1], n)) for n in range(3)]
    for child in children: child.start()
    for _, writer in pipes: writer.close()
    waiting, got = [reader for reader, _ in pipes], []
    while waiting:
        for reader in wait(waiting):
            try: got.append(reader.recv()["n"])
            except EOFError: waiting.remove(reader)
    print(sorted(got), sorted(queue.get() for _ in children))
    for child in children: child.join()
    print([child.exitcode for child in children], wait([child.sentinel for child in children]) != [])
    selector, (left, right) = selectors.DefaultSelector(), socket.socketpair()
    selector.register(left, selectors.EVENT_READ, "left")
    before = selector.select(0)
    right.send(b"x")
    print(before, [(key.data, events) for key, events in selector.select()])
    child = subprocess.Popen(["sh", "-c", "cat; echo err >&2"], stdin=-1, stdout=-1, stderr=-1)
    print([len(text) for text in child.communicate(bytes(300000), timeout=60)])"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_all_that_waits_works_without_epoll(server, method):
    reply = server.run(WAITS.replace("METHOD", repr(method)), timeout=120)
    assert reply.status == 200 and reply.stdout == (
        "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n[0, 1, 4, 9, 16]\n[0, 1, 2] [0, 1, 2]\n[0, 0, 0] True\n"
        "[] [('left', 1)]\n[300000, 4]\n"), reply
