# SPDX-License-Identifier: Apache-2.0
"""What a program finds in its box beside what it brought."""
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


def test_callbacks_are_yes_or_no(tmp_path):
    path = tmp_path / "hatchery.conf"
    path.write_text("[runtime.one]\ncallbacks = maybe\n")
    done = hatchery("check-config", str(path))
    assert done.returncode == 1 and "runtime.one.callbacks: 'maybe' is neither yes nor no" in done.stderr
