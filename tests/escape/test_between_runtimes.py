# SPDX-License-Identifier: Apache-2.0
"""A program of one runtime and what is another's: its packages, its interpreter, its boxes.  And its own packages, which
it may only read."""
import concurrent.futures
import contextlib
import os
import pathlib
import subprocess

import pytest

import table
from conftest import configuration
from client import EXECUTE
from processes import children, wait_for
from service import HATCHERY, Service, environment
from test_escape import seen

PROLOGUE = (table.DIRECTORY / "prologue.py").read_text()
NAMES = ("medlar", "quince")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two environments, both warm, each with a file of its own."""
    state = tmp_path_factory.mktemp("runtimes") / "state"
    for name in NAMES:
        source = tmp_path_factory.mktemp(name)
        (source / f"{name}.py").write_text(f"word = 'word-of-{name}'\n")
        done = subprocess.run([HATCHERY, "env", "add", name, "--from", source, "--state", state], env=environment(),
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    sections = "".join(f"[runtime.{name}]\nimports = {name}\nat_start = yes\n" for name in NAMES)
    with Service("--state", str(state), config=configuration("") + sections) as service:
        service.state_dir = state
        for name in NAMES:
            wait_for(lambda: ask(service, name, "return 1").status == 200, 20, f"{name} is warm")
        yield service


def ask(server, runtime, code):
    return server.request("POST", EXECUTE, {"code": code, "timeout": 20}, headers={"X-Runtime": runtime})


def verdict(server, runtime, code):
    """What an attempt of that runtime came to, in the table's words."""
    reply = ask(server, runtime, PROLOGUE + code)
    assert reply.stdout.startswith("ATTEMPT\n"), reply
    return seen(reply)[0]


def interpreters(server):
    """The zygotes: those of the processes directly below the supervisor that have the name."""
    with contextlib.suppress(OSError):
        direct = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        return [int(pid) for pid in direct if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "hatchery-zygote"]
    return []


LOOK_IN_FILES = """
with attempt():
    for top, directories, files in os.walk('/'):
        for name in files + directories:
            if 'quince' in name:
                through(os.path.join(top, name))
    refuse()
"""

# Backwards, or it would find itself.
LOOK_IN_MEMORY = """
with attempt():
    if b'ecniuq-fo-drow' in memory_around(id(sys.modules), gap=20000, most=20000)[::-1]:
        through('in memory')
    refuse()
"""


@pytest.mark.parametrize("runtime", ["medlar", "default"])
def test_the_packages_of_another_are_nowhere(server, runtime):
    assert verdict(server, runtime, LOOK_IN_FILES) == verdict(server, runtime, LOOK_IN_MEMORY) == "REFUSED absent"


def test_the_search_finds_them_where_they_are(server):
    assert verdict(server, "quince", LOOK_IN_FILES) == "THROUGH /opt/packages/quince.py"
    assert verdict(server, "quince", LOOK_IN_MEMORY) == "THROUGH in memory"


@pytest.mark.parametrize("way", ["{state}/envs/quince/packages/quince.py", "/opt/packages/../../quince/packages/quince.py",
                                 "/opt/packages/../quince.py", "/proc/1/root/opt/packages/quince.py"])
def test_no_path_leads_to_them(server, way):
    path = way.format(state=server.state_dir)
    word = verdict(server, "medlar", f"\nwith attempt():\n    open({path!r}).read()\n")
    assert word in ("REFUSED ENOENT", "REFUSED EACCES")


WAYS_TO_WRITE = {
    "change": "os.open('/opt/packages/medlar.py', os.O_WRONLY)",
    "truncate": "os.truncate('/opt/packages/medlar.py', 0)",
    "new": "os.open('/opt/packages/json.py', os.O_WRONLY | os.O_CREAT)",
    "new-beside": "os.open('/opt/json.py', os.O_WRONLY | os.O_CREAT)",
    "directory": "os.mkdir('/opt/packages/json')",
    "unlink": "os.unlink('/opt/packages/medlar.py')",
    "rename": "os.rename('/opt/packages/medlar.py', '/opt/packages/json.py')",
    "move-away": "os.rename('/opt/packages', '/opt/gone')",
    "symlink": "os.symlink('/tmp', '/opt/packages/json')",
    "link": "os.link('/opt/packages/medlar.py', 'mine.py')",
    "mode": "os.chmod('/opt/packages/medlar.py', 0o777)",
    "owner": "os.chown('/opt/packages', os.getuid(), os.getgid())",
    "times": "os.utime('/opt/packages/medlar.py', (0, 0))",
    "attribute": "os.setxattr('/opt/packages/medlar.py', 'user.x', b'1')",
    "remount": "call(165, ctypes.c_char_p(None), ctypes.c_char_p(b'/opt/packages'), ctypes.c_char_p(None), 32 | 4096,"
               " ctypes.c_char_p(None))",
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_its_own_cannot_be_written(server, way):
    word = verdict(server, "medlar", f"\nwith attempt():\n    {WAYS_TO_WRITE[way]}\n")
    assert word in {f"REFUSED {name}" for name in ("EROFS", "EACCES", "EPERM", "EXDEV", "EBUSY", "ENOTSUP")}
    assert ask(server, "medlar", "import medlar\nreturn medlar.word").response["result"] == "word-of-medlar"


MEET = """
with attempt():
    end = time.monotonic() + 1.5
    mark = f'mark-{os.getpid()}-{time.monotonic_ns()}'
    places = ['.', '/tmp', '/dev/shm']
    for place in places:
        open(os.path.join(place, mark), 'w').close()
    while time.monotonic() < end:
        for place in places:
            if [name for name in os.listdir(place) if name != mark]:
                through('met in ' + place)
        for pid in (-1, 1, *range(3, 200)):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError as error:
                if pid > 1 and error.errno != errno.ESRCH:
                    through(f'there is a process {pid}')
    refuse('alive')
"""


def test_its_processes_are_out_of_reach(server):
    """Both kill what they can and look for the other's files, at once; both live, and so do the interpreters."""
    before = interpreters(server)
    assert len(before) == 3
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda name: verdict(server, name, MEET), NAMES)) == ["REFUSED alive"] * 2
    assert interpreters(server) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at all of it")
def test_seen_from_outside(server):
    """No interpreter has a namespace in common with another, or the mount of its packages; each mount is read-only.  No
    two boxes have the same id."""
    zygotes = interpreters(server)
    for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert len({os.readlink(f"/proc/{pid}/ns/{name}") for pid in zygotes}) == 3, name
    mounts = []
    for pid in zygotes:
        lines = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        below = [line for line in lines if line[4].startswith("/opt")]
        for line in below:
            assert line[4] == "/opt/packages" and {"ro", "nosuid", "nodev"} <= set(line[5].split(","))
        mounts.append(sorted(pathlib.PurePath(line[3]).parts[-2] for line in below))
    assert sorted(mounts) == [[], ["medlar"], ["quince"]]

    def ids():
        found = []
        for pid in (pid for zygote in zygotes for pid in children(zygote)):
            with contextlib.suppress(OSError):  # it has ended
                text = pathlib.Path(f"/proc/{pid}/status").read_text()
                if "\nSeccomp:\t2" in text and not text.startswith("Name:\thatchery-init"):
                    found.append(text.split("\nUid:\t")[1].split()[0])
        return found

    # One that is being made has its zygote's id yet.
    wait_for(lambda: len(set(found := ids())) == len(found) >= 6, 10, "boxes of all three, each with an id of its own")
