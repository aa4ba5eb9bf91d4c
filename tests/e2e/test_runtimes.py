# SPDX-License-Identifier: Apache-2.0
"""Runtimes: interpreters of their own, chosen by name, each with its packages and imports."""
import fcntl
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile

import pytest

import tables
from client import EXECUTE
from processes import wait_for
from service import HATCHERY, environment, hatchery

NUMPY = pathlib.Path("/usr/lib/python3/dist-packages/numpy").is_dir()
WHERE = "import sys\nfruit = sys.modules.get('fruit')\nreturn [fruit is not None, '/opt/packages' in sys.path]"


def make_source(path, name="fruit", version="1.5", text="colour = 'red'\n"):
    """A directory as `pip install --target` leaves it."""
    (path / f"{name}-{version}.dist-info").mkdir(parents=True)
    (path / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (path / f"{name}.py").write_text(text)
    return path


def run(server, code, runtime=None, **members):
    headers = {} if runtime is None else {"X-Runtime": runtime}
    return server.request("POST", EXECUTE, {"code": code, **members}, headers=headers)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    top = tmp_path_factory.mktemp("state")
    for name in ("fruit", "other"):
        source = make_source(top / f"source-{name}", text=f"colour = 'red'\nfrom_env = '{name}'\n")
        done = hatchery("env", "add", name, "--from", str(source), "--state", str(top / "state"))
        assert done.returncode == 0, done.stderr
    return top / "state"


@pytest.fixture(scope="module")
def server(state):
    from service import Service
    config = "[runtime.fruit]\nimports = fruit\n[runtime.quick]\npackages = other\nidle = 1\n"
    with Service("--state", str(state), config=config) as service:
        service.state_dir = state
        yield service


def zygotes(server):
    """Their boxes have the name too and are below them."""
    direct = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return set(server.below("hatchery-zygote")) & {int(pid) for pid in direct}


def test_each_has_its_own(server):
    assert len(zygotes(server)) == 1
    assert run(server, WHERE).response["result"] == [False, False]
    assert run(server, WHERE, "default").response["result"] == [False, False]
    assert run(server, WHERE, "fruit").response["result"] == [True, True]  # the first waits for its interpreter
    server.logged("a runtime is warm", runtime="fruit")
    assert run(server, "import fruit\nreturn fruit.from_env", "fruit").response["result"] == "fruit"
    assert run(server, "import fruit\nreturn fruit.from_env", "other").response["result"] == "other"
    assert "ModuleNotFoundError" in run(server, "import fruit")["error"]


def test_the_log_names_it(server):
    for name in ("fruit", "default"):
        job = run(server, "return 1", name)["job_id"]
        assert server.logged("run finished", job_id=job).get("runtime") == (name if name == "fruit" else None)


def test_an_unknown_one(server):
    reply = run(server, "return 1", "nuts")
    assert reply.status == 400
    assert reply["error"].startswith("X-Runtime: there is no runtime 'nuts' here; there are default")
    assert reply["error"].endswith("; after hatchery env add, restart the server")
    assert "fruit" in reply["error"] and run(server, "return 1", "").status == 400


@pytest.mark.skipif(NUMPY, reason="Debian's python3-numpy is here")
def test_a_request_for_data_is_told_what_it_comes_with(server):
    reply = run(server, "return 1", "data")
    assert reply.status == 400 and "for data: apt-get install python3-numpy, then restart the server" in reply["error"]


def test_nothing_of_it_can_be_written(server):
    code = """
import os
found = []
for path in ('/opt/packages/new', '/opt/packages/fruit.py', '/opt/new'):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    except OSError as error:
        found.append(error.errno)
return found, os.listdir('/opt')"""
    found, names = run(server, code, "fruit").response["result"]
    assert len(found) == 3 and set(found) <= {13, 30} and names == ["packages"]


def test_by_key(server):
    made = hatchery("key", "new", "picker", "--runtime", "fruit", "--state", str(server.state_dir))
    assert made.returncode == 0 and "runtime" not in made.stderr, made.stderr
    mine = {"x-api-key": made.stdout.strip()}
    body = {"code": WHERE}
    wait_for(lambda: server.request("POST", EXECUTE, body, headers=mine).status == 200)
    assert server.request("POST", EXECUTE, body, headers=mine).response["result"] == [True, True]
    assert server.request("POST", EXECUTE, body, headers={**mine, "X-Runtime": "default"}).response["result"] == [False, False]
    assert "fruit" in hatchery("key", "list", "--state", str(server.state_dir)).stdout
    made = hatchery("key", "new", "loser", "--runtime", "nuts", "--state", str(server.state_dir))
    assert made.returncode == 0 and "there is no runtime 'nuts' here yet" in made.stderr
    gone = made.stdout.strip()
    reply = wait_for(lambda: (r := server.request("POST", EXECUTE, body, headers={"x-api-key": gone})).status != 401 and r)
    assert reply.status == 400 and "The key's runtime" in reply["error"]


def test_idempotency_compares_it(server):
    def ask(runtime):
        headers = {"Idempotency-Key": "same", **({"X-Runtime": runtime} if runtime else {})}
        return server.request("POST", EXECUTE, {"code": WHERE}, headers=headers)
    first = ask("fruit")
    assert first.response["result"] == [True, True]
    assert ask("fruit")["job_id"] == first["job_id"]
    assert ask(None).status == 422 and ask("other").status == 422
    job = server.request("GET", f"/v1/jobs/{first['job_id']}")
    assert job["runtime"] == "fruit"


def warm(server):
    return int(re.search(rb"^hatchery_runtimes (\d+)$", server.request("GET", "/metrics").body, re.M)[1])


def test_one_that_nobody_uses_rests(server):
    before = len(zygotes(server))
    assert warm(server) == before

    def used():
        assert run(server, "import fruit\nreturn fruit.from_env", "quick").response["result"] == "other"
        return len(zygotes(server)) == warm(server) == before + 1
    wait_for(used, 20, "there is one more")  # for a second, which may be over before it is seen
    server.logged("a runtime that nobody uses lets go of its interpreter", runtime="quick")
    wait_for(lambda: len(zygotes(server)) == before, what="its interpreter ends")
    assert warm(server) == before
    assert run(server, "return 7", "quick").response["result"] == 7


def test_an_accepted_job_keeps_it(server, tmp_path):
    """A server that ends gives it to the next, in the same runtime; one that has not got the runtime says so."""
    from service import Service
    from receiver import HOOKS
    state = tmp_path / "state"
    for name in ("fruit", "other"):
        assert env("add", name, "--from", str(server.state_dir / "envs" / name / "packages"), state=state).returncode == 0
    with Service("--state", str(state), env={"HATCHERY_POOL_MAX_RUNS": "1", **HOOKS}) as first:
        for name in ("fruit", "fruit", "other"):
            body = {"code": "import fruit, subprocess\nsubprocess.run(['sleep', '250'])\nreturn fruit.from_env",
                    "webhook_url": "http://127.0.0.1:1999/"}
            reply = first.request("POST", EXECUTE, body, headers={"X-Runtime": name})
            assert reply.status == 202
        jobs = [job["job_id"] for job in first.request("GET", "/v1/jobs")["jobs"]]
        first.stop(at_once=True)
    shutil.rmtree(state / "envs" / "other")
    with Service("--state", str(state), env=HOOKS) as second:
        def over():
            second.end_sleepers()
            found = [second.request("GET", f"/v1/jobs/{job}") for job in jobs]
            return all(one["state"] in ("done", "failed") for one in found) and found
        last, middle, first_one = wait_for(over, 30, "all are over")
        assert middle["reply"]["response"]["result"] == first_one["reply"]["response"]["result"] == "fruit"
        assert last["state"] == "failed" and "The runtime other" in last["reply"]["error"]


# What is wrong with an import, and how the runtime that is made without it says so.
LEAVES = {
    "thread": ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
               "it leaves a thread behind"),
    "process": ("import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)\n", "it leaves a process behind"),
    "descriptors": ("import os\nos.closerange(3, 100)\n", "it closes descriptors that are not its own"),
    "crash": ("import ctypes\nctypes.string_at(8)\n", "it ends its interpreter"),
    "goes": ("import os\nos._exit(0)\n", "it ends its interpreter"),
    "raises": ("raise SystemExit(1)\n", "it raises SystemExit: 1"),
    "essay": ("try:\n    raise ImportError('libgeos.so: \\x1b[2Jnot there')\nexcept ImportError:\n"
              "    raise ImportError('\\n\\nREAD THIS\\n')\n", "it raises ImportError: libgeos.so:  [2Jnot there"),
    "rule": ("raise LookupError('====\\n  no data\\n====')\n", "it raises LookupError: no data"),
    "odd": ("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd\n", "it raises odd_import.Odd: <exception"),
}
# What is over in a moment, and what looks at the environment before it starts threads, is no fault.
FINE = {
    "brief": "import threading, time\nthreading.Thread(target=time.sleep, args=(0.1,)).start()\n",
    "asks": "import os, threading, time\nfor _ in range(int(os.environ.get('OMP_NUM_THREADS', '3')) - 1):\n"
            "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
}
FOREVER = "while True:\n    pass\n"
SIGCHLD = {
    "ignores": "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n",
    "unblocks": "import signal\nsignal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])\n",
}


def packages_of(server, name):
    return next(one for one in server.request("GET", "/v1/packages")["runtimes"] if one["name"] == name)


def gauge(server, name):
    return int(re.search(rf"^{name} (\d+)$", server.request("GET", "/metrics").body.decode(), re.M)[1])


def test_an_import_that_can_not_be_is_left_out(tmp_path):
    """By name, in log, /readyz, /metrics and /v1/packages; those beside it are there, and a program can import it itself."""
    from service import Service
    config, state = "", tmp_path / "state"
    for name, (text, _) in LEAVES.items():
        source = make_source(tmp_path / name, name=f"{name}_import", text=text)
        for beside in ("before", "behind"):
            (source / f"{beside}.py").write_text("there = True\n")
        assert env("add", name, "--from", str(source), state=state).returncode == 0
        config += f"[runtime.{name}]\nimports = before {name}_import behind\npool_size = 1\n"
    with Service("--state", str(state), config=config) as server:
        see = "import os, sys\nreturn [name in sys.modules for name in ('before', {!r}, 'behind')], sorted(os.environ)"
        for name, (_, why) in LEAVES.items():
            there, environ = run(server, see.format(f"{name}_import"), name).response["result"]
            assert there == [True, False, True], name
            assert environ == ["HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR"]
            left, = packages_of(server, name)["left_out"]
            assert left["import"] == f"{name}_import" and left["why"].startswith(why), left
            assert server.logged("an import is left out of a runtime", runtime=name)["import"] == f"{name}_import"
            assert server.logged("an import is left out of a runtime", runtime=name)["why"] == left["why"]
        faults = {one["name"]: [left["import"] for left in one["left_out"]] for one in server.request("GET", "/readyz")["runtimes"]}
        assert faults == {name: [f"{name}_import"] for name in LEAVES}
        assert gauge(server, "hatchery_imports_left_out") == len(LEAVES) and gauge(server, "hatchery_runtimes_failing") == 0
        assert run(server, "import thread_import\nreturn 1", "thread").response["result"] == 1


def test_imports_that_are_fine(tmp_path):
    from service import Service
    source = make_source(tmp_path / "source")
    for name, text in {**FINE, **{f"{name}_sigchld": text for name, text in SIGCHLD.items()}}.items():
        (source / f"{name}.py").write_text(text)
    assert env("add", "one", "--from", str(source), state=tmp_path / "state").returncode == 0
    names = [*FINE, *(f"{name}_sigchld" for name in SIGCHLD)]
    with Service("--state", str(tmp_path / "state"), config=f"[runtime.one]\nimports = {' '.join(names)}\n") as server:
        for _ in range(30):  # more than there are slots: deaths of boxes are seen whatever an import did
            assert run(server, f"import sys\nreturn [name in sys.modules for name in {names}]", "one").response["result"] \
                == [True] * len(names)
        assert packages_of(server, "one")["left_out"] == []


def test_one_that_does_not_start(tmp_path):
    """Its programs are refused at once, with the reason and without "try again"; when it is mended it starts."""
    from service import Service
    state, source = tmp_path / "state", make_source(tmp_path / "source")
    (source / "late.pth").write_text("import os; os._exit(7)\n")
    assert env("add", "one", "--from", str(source), state=state).returncode == 0
    with Service("--state", str(state)) as server:
        says = "The runtime 'one' does not start: it ends its interpreter. Nothing was run; the server's log says more"
        for more in ({}, {}, {"Idempotency-Key": "one"}):
            reply = server.request("POST", EXECUTE, {"code": "return 1"}, headers={"X-Runtime": "one", **more})
            assert reply.status == 503 and reply["error"] == says and "retry-after" not in reply.headers, reply
        assert packages_of(server, "one")["error"] == "it does not start: it ends its interpreter"
        assert server.request("GET", "/readyz")["runtimes"][0]["error"] == "it does not start: it ends its interpreter"
        assert server.logged("a runtime does not start", runtime="one")["why"] == "it ends its interpreter"
        assert gauge(server, "hatchery_runtimes_failing") == 1
        assert run(server, "return 1").response["result"] == 1
        (state / "envs" / "one" / "packages" / "late.pth").unlink()
        wait_for(lambda: run(server, "return 1", "one").status == 200, 30, "it starts")
        assert server.request("GET", "/readyz")["runtimes"] == [] and gauge(server, "hatchery_runtimes_failing") == 0


HOOKED = """
import {module}, threading
lock, calls = threading.Lock(), []
{module}.register_at_fork(before=lambda: (lock.acquire(), calls.append("before")),
                          after_in_parent=lambda: (calls.append("parent"), lock.release()),
                          after_in_child=lambda: (calls.append("child"), lock.release()))
"""


@pytest.mark.parametrize("module", ["os", "posix"])
def test_what_imports_do_at_a_fork(tmp_path, module):
    """A module's own functions are called at the fork of each box, however it came by register_at_fork()."""
    from service import Service
    source = make_source(tmp_path / "source", name="hooked", text=HOOKED.format(module=module))
    assert env("add", "one", "--from", str(source), state=tmp_path / "state").returncode == 0
    config = "[python]\npackages = one\nimports = hooked\n[pool]\nsize = 2\n"
    with Service("--state", str(tmp_path / "state"), config=config) as server:
        for _ in range(4):
            calls, locked = server.run("import hooked\nreturn hooked.calls, hooked.lock.locked()").response["result"]
            assert calls[-2:] == ["before", "child"] and not locked
            assert calls[:-2] == ["before", "parent"] * (len(calls) // 2 - 1)
        assert len(calls) > 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts other packages where Debian's are")
def test_what_packages_of_the_host_do_at_a_fork(tmp_path):
    """Those that a *.pth file imports are there before python.imports."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "hooked.py").write_text(HOOKED.format(module="os"))
    (tmp_path / "packages" / "hooked.pth").write_text("import hooked\n")
    (tmp_path / "main.py").write_text("import hooked\nprint(hooked.calls, hooked.lock.locked())")
    tmp_path.chmod(0o755)
    mount = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /usr/lib/python3/dist-packages && exec "$@"']
    done = hatchery("run", str(tmp_path / "main.py"), prefix=[*mount, str(tmp_path / "packages")])
    assert (done.stdout, done.stderr) == ("['before', 'child'] False\n", "")


REPLACED = {
    "tee": "class Tee:\n    write = lambda self, text: sys.__stdout__.write(text)\n    flush = sys.__stdout__.flush\nout = Tee()\n",
    "buffered": "out = io.TextIOWrapper(open(1, 'wb', closefd=False), line_buffering=True)\n",
    "detached": "out = io.TextIOWrapper(sys.stdout.detach(), write_through=True)\n",
    "nothing": "out = sys.__stdout__\nsys.stderr = None\n",
}


def test_what_imports_print_to(tmp_path):
    """Another file in the place of sys.stdout is the runtime's affair; the other one is as ever."""
    from service import Service
    config = "".join(f"[runtime.{name}]\nimports = {name}\n" for name in REPLACED)
    for name, text in REPLACED.items():
        source = make_source(tmp_path / name, name=name, text=f"import io, sys\n{text}sys.stdout = out\n")
        assert env("add", name, "--from", str(source), state=tmp_path / "state").returncode == 0
    with Service("--state", str(tmp_path / "state"), config=config) as server:
        for name in REPLACED:
            done = run(server, "import sys\nprint('out')\nprint('err', file=sys.stderr or sys.__stderr__)", name).response
            assert (name, done["stdout"], done["stderr"]) == (name, "out\n", "err\n")


def test_what_imports_do_at_the_end(tmp_path):
    """A zygote lets a child of its own come to an end to see what that writes to (zygote/pages.c): nobody hears of it."""
    from service import Service
    source = make_source(tmp_path / "source", name="polite",
                         text="import atexit, sys\natexit.register(print, 'good', 'bye', file=sys.stderr)\n")
    assert env("add", "one", "--from", str(source), state=tmp_path / "state").returncode == 0
    with Service("--state", str(tmp_path / "state"), config="[python]\npackages = one\nimports = polite\n") as server:
        for _ in range(3):
            assert server.run("return 1")["response"]["stderr"] == "good bye\n"
        assert "good bye" not in server.log_text()


def test_imports_without_an_end(tmp_path):
    """A package that waits for ever, and then a configuration without it."""
    from service import Service
    source = make_source(tmp_path / "source", name="forever", text=FOREVER)
    (source / "fruit.py").write_text("colour = 'red'\n")
    assert env("add", "one", "--from", str(source), state=tmp_path / "state").returncode == 0
    config = "[python]\npackages = one\nwarm_timeout = {}\nimports = {}\n"
    with Service("--state", str(tmp_path / "state"), config=config.format(60, "json")) as server:
        path = pathlib.Path(server.command[server.command.index("--config") + 1])
        see = "import sys, signal\nreturn 'fruit' in sys.modules, signal.getsignal(signal.SIGALRM) == signal.SIG_DFL"
        for imports, there in (("forever", False), ("fruit", True)):
            path.write_text(config.format(60 if there else 1, imports))
            server.process.send_signal(signal.SIGHUP)
            if not there:
                left = server.logged("an import is left out of a runtime", runtime="default")
                assert (left["import"], left["why"]) == ("forever", "it takes longer than python.warm_timeout")
            wait_for(lambda: server.run(see).response["result"] == [there, True], 20, imports)


def test_what_is_there(server):
    reply = server.request("GET", "/v1/packages")
    assert reply.status == 200 and server.request("GET", "/v1/packages", key=False).status == 401
    found = {one["name"]: one for one in reply["runtimes"]}
    assert list(found)[0] == "default" and {"fruit", "other", "quick"} <= set(found)
    assert {"name": "fruit", "version": "1.5"} in found["fruit"]["packages"]
    assert {"name": "fruit", "version": "1.5"} not in found["default"]["packages"]
    assert "fruit" in found["fruit"]["imports"] and "json" in found["default"]["imports"]
    if NUMPY:
        assert "numpy" in {one["name"] for one in found["default"]["packages"]}


@pytest.mark.skipif(not NUMPY, reason="Debian's python3-numpy is not here")
def test_data(server):
    code = "import sys\nthere = 'numpy' in sys.modules\nimport numpy\nreturn there, int(numpy.arange(10).sum())"
    assert run(server, code, "data").response["result"] == [True, 45]
    assert run(server, code).response["result"] == [False, 45]
    one, other = (run(server, "import numpy\nreturn numpy.random.random()", "data").response["result"] for _ in range(2))
    assert one != other


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="Debian's python3-matplotlib is not here")
def test_a_picture(server):
    code = ("import matplotlib.pyplot as plt, io\nplt.plot([1, 2])\nout = io.BytesIO()\nplt.savefig(out, format='png')\n"
            "return out.getvalue()[1:4].decode(), plt.get_backend().lower()")
    assert run(server, code, "data").response["result"] == ["PNG", "agg"]


def test_run_takes_one(state):
    env = {"HATCHERY_SERVER_STATE": str(state)}
    done = hatchery("run", "--runtime", "fruit", "-", stdin="import fruit\nprint(fruit.colour)", env=env)
    assert (done.returncode, done.stdout) == (0, "red\n"), done.stderr
    done = hatchery("run", "--runtime", "nuts", "-", stdin="print(1)", env=env)
    assert done.returncode != 0 and "there is no runtime 'nuts'; there are default" in done.stderr


# --- hatchery env ---

def env(*arguments, state):
    return hatchery("env", *arguments, "--state", str(state))


def test_add_list_remove(tmp_path):
    state, source = tmp_path / "state", make_source(tmp_path / "source")
    assert env("list", state=state).stdout == ""
    assert env("add", "one", "--from", str(source), state=state).returncode == 0
    again = env("add", "one", "--from", str(source), state=state)
    assert again.returncode == 1 and "hatchery env remove one" in again.stderr
    assert "one" in env("list", state=state).stdout
    packages = state / "envs" / "one" / "packages"
    assert (packages / "fruit.py").stat().st_mode & 0o777 == 0o644
    assert env("remove", "one", state=state).returncode == 0
    assert env("list", state=state).stdout == "" and not packages.parent.exists()
    assert env("remove", "one", state=state).returncode == 1


@pytest.mark.parametrize("name", ["Big", "default", "../up", "", "a" * 33])
def test_bad_names(tmp_path, name):
    done = env("add", name, "--from", str(make_source(tmp_path / "source")), state=tmp_path / "state")
    assert done.returncode != 0 and "name" in done.stderr


def test_what_cannot_be_added(tmp_path):
    state = tmp_path / "state"
    for arguments in (["--from", str(tmp_path / "none")], ["--requirements", str(tmp_path / "none")]):
        done = env("add", "one", *arguments, state=state)
        assert done.returncode == 1 and "none" in done.stderr
        assert not (state / "envs" / "one").exists()
    assert env("add", "one", state=state).returncode == 2


def fill(path, names):
    """Empty files."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")
    path.mkdir(exist_ok=True)
    return path


VENV = ["pyvenv.cfg", "lib/python3.11/site-packages/fruit.py", "bin/activate"]


@pytest.mark.parametrize("names, below, says", [
    ([], "", "there is nothing in {} that Python could import"),
    (["README", "bin/tool", "fruit-1.0.dist-info/METADATA"], "", "there is nothing in {} that Python could import"),
    (["pear-2.0-py3-none-any.whl"], "", "{} holds wheels, which are archives, such as 'pear-2.0-py3-none-any.whl'"),
    (["pear-2.0-py3-none-any.whl"], "pear-2.0-py3-none-any.whl", "{} is a wheel, an archive: write its path into a file"),
    (VENV, "", "{} is a virtual environment, whose packages are further below: use --from {}/lib/python3.11/site-packages"),
    (VENV[1:], "", "{} is a place where Python is installed, whose packages are further below"),
])
def test_a_directory_that_holds_no_packages(tmp_path, names, below, says):
    source = fill(tmp_path / "source", names) / below
    done = env("add", "one", "--from", str(source), state=tmp_path / "state")
    assert done.returncode == 1 and says.replace("{}", str(source)) in done.stderr, done.stderr
    assert os.listdir(tmp_path / "state" / "envs") == []


@pytest.mark.parametrize("names, says", [
    (["pandas/__init__.py", "pandas/_libs/interval.cpython-312-x86_64-linux-gnu.so", "six.py"],
     "1 compiled part is for another Python than 3.11, such as 'pandas/_libs/interval.cpython-312-x86_64-linux-gnu.so'"),
    (["a.cp311-win_amd64.pyd", "b/c.cpython-39-darwin.so"], "2 compiled parts are for another Python than 3.11"),
    (["a.cpython-311-x86_64-linux-gnu.so", "a.cpython-312-x86_64-linux-gnu.so", "b.abi3.so", "c.so", "d/libx.so", "d/libx.so.1"], ""),
    (["one.pth", "inner/deep/mod.py"], ""),
])
def test_what_is_told_of_packages(tmp_path, names, says):
    """They are added all the same: a part of them may work."""
    source = make_source(fill(tmp_path / "source", names))
    done = env("add", "one", "--from", str(source), state=tmp_path / "state")
    assert done.returncode == 0 and (says in done.stderr if says else done.stderr == ""), done.stderr
    n = len({name.split("/")[0] for name in names if "one.pth" not in name}) + 1
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/state/envs/one/packages has ") and first.endswith("and 1 package with a version.")
    assert f" {n + names.count('one.pth')} modules " in first and "Restart the server" in second and "X-Runtime: one" in second


@pytest.mark.parametrize("name, make", [
    ("secret.py", lambda path: path.symlink_to("/etc/passwd")),
    ("up", lambda path: path.symlink_to("..")),
    ("self", lambda path: path.symlink_to("/proc/self/environ")),
    ("null", lambda path: path.symlink_to("/dev/null")),
    ("gone", lambda path: path.symlink_to("nowhere")),
    ("pipe", os.mkfifo),
])
def test_a_directory_of_somebody_else(tmp_path, name, make):
    """Who filled it has not the rights of who adds it: nothing from elsewhere becomes a file that programs read."""
    source = make_source(tmp_path / "source")
    make(source / name)
    done = env("add", "one", "--from", str(source), state=tmp_path / "state")
    assert done.returncode == 1 and f"'{name}' is " in done.stderr
    assert os.listdir(tmp_path / "state" / "envs") == []


def test_links_that_stay(tmp_path):
    source = make_source(tmp_path / "source")
    (source / "again").symlink_to(".")
    (source / "apple.py").symlink_to("fruit.py")
    shutil.copy("/bin/true", source / "tool")
    (source / "tool").chmod(0o6755)
    assert env("add", "one", "--from", str(source), state=tmp_path / "state").returncode == 0
    assert (tmp_path / "state" / "envs" / "one" / "packages" / "tool").stat().st_mode & 0o7777 == 0o755
    done = hatchery("run", "--runtime", "one", "-", stdin="import apple\nprint(apple.colour)",
                    env={"HATCHERY_SERVER_STATE": str(tmp_path / "state")})
    assert done.stdout == "red\n", done.stderr


def test_nothing_is_run_from_where_the_operator_stands(tmp_path):
    source = make_source(tmp_path / "source")
    for name in ("compileall", "pip"):
        (source / f"{name}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')\n")
    (tmp_path / "requirements.txt").write_text("")
    for arguments in (["--from", "."], ["--requirements", str(tmp_path / "requirements.txt")]):
        subprocess.run([HATCHERY, "env", "add", "one", *arguments, "--state", str(tmp_path / "state")], cwd=source, timeout=60,
                       env=environment())
        env("remove", "one", state=tmp_path / "state")
    assert not (tmp_path / "taken").exists()


def test_one_command_at_a_time(tmp_path):
    state, source = tmp_path / "state", make_source(tmp_path / "source")
    assert env("add", "one", "--from", str(source), state=state).returncode == 0
    (state / "envs" / ".one.old" / "of one that was interrupted").mkdir(parents=True)
    fd = os.open(state / "envs", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    done = env("remove", "one", state=state)
    os.close(fd)
    assert done.returncode == 1 and "is at work" in done.stderr
    assert env("remove", "one", state=state).returncode == 0 and os.listdir(state / "envs") == []


def test_requirements_without_a_network(tmp_path):
    """What pip says is told, and nothing is left behind."""
    (tmp_path / "requirements.txt").write_text("no-such-package-of-hatchery==1\n")
    done = hatchery("env", "add", "one", "--requirements", str(tmp_path / "requirements.txt"), "--state", str(tmp_path / "state"),
                    env={"PIP_NO_INDEX": "1"})
    assert done.returncode == 1 and "pip" in done.stderr
    assert os.listdir(tmp_path / "state" / "envs") == []


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="Debian's python3-pip is not here")
def test_setup_code_runs_only_where_it_is_allowed(tmp_path):
    """A package that is no wheel: its setup.py would run as whoever calls the command, which may be root."""
    (tmp_path / "plum").mkdir()
    (tmp_path / "plum" / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit('no more')\n")
    with tarfile.open(tmp_path / "plum-1.0.tar.gz", "w:gz") as out:
        out.add(tmp_path / "plum", "plum-1.0")
    (tmp_path / "requirements.txt").write_text("plum==1.0\n")

    def add(*options):
        return hatchery("env", "add", "plums", "--requirements", str(tmp_path / "requirements.txt"), *options,
                        "--state", str(tmp_path / "state"),
                        env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_NO_BUILD_ISOLATION": "0"})

    done = add()
    assert done.returncode == 1 and "--build" in done.stderr, done.stderr
    assert not (tmp_path / "ran").exists()
    done = add("--build")
    assert done.returncode == 1 and "--build" not in done.stderr
    assert (tmp_path / "ran").exists(), done.stderr
    assert os.listdir(tmp_path / "state" / "envs") == []


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="Debian's python3-pip is not here")
def test_requirements_from_a_directory(tmp_path):
    """A wheel that lies here needs no network."""
    import zipfile
    wheel = tmp_path / "pear-2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as out:
        out.writestr("pear.py", "shape = 'oval'\n")
        out.writestr("pear-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pear\nVersion: 2.0\n")
        out.writestr("pear-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr("pear-2.0.dist-info/RECORD", "pear.py,,\npear-2.0.dist-info/METADATA,,\npear-2.0.dist-info/WHEEL,,\n"
                     "pear-2.0.dist-info/RECORD,,\n")
    (tmp_path / "requirements.txt").write_text(f"{wheel}\n")
    done = env("add", "pears", "--requirements", str(tmp_path / "requirements.txt"), state=tmp_path / "state")
    assert done.returncode == 0, done.stderr
    done = hatchery("run", "--runtime", "pears", "-", stdin="import pear\nprint(pear.shape)",
                    env={"HATCHERY_SERVER_STATE": str(tmp_path / "state")})
    assert done.stdout == "oval\n", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it away")
def test_what_others_can_change_is_no_runtime(tmp_path):
    """The server's own user, whom strangers talk to, cannot put packages there."""
    state, source = tmp_path / "state", make_source(tmp_path / "source")
    assert env("add", "one", "--from", str(source), state=state).returncode == 0
    assert "one" in env("list", state=state).stdout
    os.chown(state / "envs" / "one", 12345, 12345)
    done = env("list", state=state)
    assert "one" not in done.stdout and "passed over" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server has a user of its own")
@pytest.mark.parametrize("place", ["envs", "envs/one", "envs/one/packages"])
def test_nobody_puts_others_there_while_it_runs(tmp_path, place):
    """The state directory is the server's user's: a server that was taken over can rename what is in it."""
    from service import Service
    state, source = tmp_path / "state", make_source(tmp_path / "source", text="print('ours')\n")
    assert env("add", "one", "--from", str(source), state=state).returncode == 0
    with Service("--state", str(state)) as server:
        owner = state.stat()
        target, theirs = state / place, tmp_path / "theirs"
        shutil.copytree(state / "envs", tmp_path / "copy")
        for path in [tmp_path / "copy", *(tmp_path / "copy").rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
        os.rename(target, str(target) + ".away")
        os.rename(tmp_path / "copy" / pathlib.Path(place).relative_to("envs"), theirs)
        for put in (lambda: os.rename(theirs, target), lambda: os.rename(target, theirs) or target.symlink_to(theirs)):
            put()
            reply = run(server, "import fruit", "one")
            assert reply.status == 503 and "its packages are gone, or others than us can change them" in reply["error"], reply
        assert server.logged("the packages of a runtime are not there")["errno"] in ("EPERM", "ELOOP", "ENOTDIR")
        assert len(zygotes(server)) == 1
        target.unlink()
        os.rename(str(target) + ".away", target)
        reply = wait_for(lambda: (r := run(server, "import fruit\nreturn 1", "one")).status == 200 and r, 30, "it starts")
        assert reply.stdout == "ours\n"


# --- the configuration ---

@pytest.mark.parametrize("text, says", [
    ("[runtime.Big]\nimports = x\n", "small letters"),
    ("[runtime.default]\nimports = x\n", "[python]"),
    ("[runtime.one]\nimpots = x\n", "the nearest is runtime.one.imports"),
    ("[runtime.one]\npool_size = 0\n", "out of bounds"),
    ("[runtime.one]\npackages = nuts\n", "there is no environment 'nuts'"),
    ("[runtime.one]\npackages = /nowhere\n", "No such file"),
])
def test_what_is_wrong_is_told(tmp_path, text, says):
    path = tmp_path / "hatchery.conf"
    path.write_text(text)
    done = hatchery("check-config", str(path), env={"HATCHERY_SERVER_STATE": str(tmp_path)})
    assert done.returncode == 1 and says in done.stderr and f"{path}:2: runtime." in done.stderr


def test_imports_that_are_not_there(tmp_path):
    """check-config names them, doctor tries them; both say that all else is well."""
    path = tmp_path / "hatchery.conf"
    path.write_text("[python]\nimports = json math _ssl nosuchmodule os.path\n[runtime.one]\nimports = other.thing\n[server]\nstate = none\n")
    done = hatchery("check-config", str(path))
    lines = [line for line in done.stdout.splitlines() if "there is no module" in line]
    assert done.returncode == 0 and [line.partition(": it is")[0] for line in lines] == [
        "python.imports: there is no module 'nosuchmodule'", "runtime.one.imports: there is no module 'other'"]
    done = hatchery("doctor", "--config", str(path))
    assert "Runtime one: it starts, without some of its imports\n  The import of nosuchmodule is left out: it raises " \
        "ModuleNotFoundError: No module named 'nosuchmodule'.\n  The import of other.thing is left out: it raises " \
        "ModuleNotFoundError: No module named 'other'.\n" in done.stdout


def test_data_says_what_it_comes_with(tmp_path):
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    done = hatchery("run", "--runtime", "data", "-", stdin="", env={"HATCHERY_ISOLATION_ROOT": str(root)})
    assert done.returncode != 0 and "data comes with apt-get install python3-numpy" in done.stderr


def test_a_list_of_none(tmp_path):
    done = env("list", state=tmp_path / "state")
    assert (done.returncode, done.stdout) == (0, "") and "hatchery env add NAME" in done.stderr


def test_variables(tmp_path):
    done = hatchery("print-config", env={"HATCHERY_RUNTIME_MY_DATA_POOL_SIZE": "5", "HATCHERY_RUNTIME_X_IMPORTS": "json"})
    assert "[runtime.my_data]" in done.stdout and "; environment HATCHERY_RUNTIME_MY_DATA_POOL_SIZE" in done.stdout
    assert "[runtime.x]" in done.stdout
    done = hatchery("check-config", env={"HATCHERY_RUNTIME_X_IMPOTS": "json"})
    assert done.returncode == 1 and "HATCHERY_RUNTIME_X_IMPOTS" in done.stderr


def test_the_table_is_the_code():
    defined = [(f"`{key}`", f"`{default}`" if default else "", sentence)
               for key, _, default, _, _, _, sentence in tables.entries("conf/conf.def", "RUNTIME")]
    assert [tuple(row) for row in tables.rows("configuration.md", "## Runtimes")] == defined
