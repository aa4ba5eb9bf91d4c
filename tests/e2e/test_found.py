# SPDX-License-Identifier: Apache-2.0
"""What a program finds in its box beside what it brought."""
import pytest

from service import Service, hatchery

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


def test_callbacks_are_yes_or_no(tmp_path):
    path = tmp_path / "hatchery.conf"
    path.write_text("[runtime.one]\ncallbacks = maybe\n")
    done = hatchery("check-config", str(path))
    assert done.returncode == 1 and "runtime.one.callbacks: 'maybe' is neither yes nor no" in done.stderr
