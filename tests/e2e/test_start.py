# SPDX-License-Identifier: Apache-2.0
"""The first minutes: `make run`, what a start says, what a refused start has one type."""
import errno
import os
import re
import shutil
import signal
import subprocess

import pytest

import service
from ordinary import as_user, executables_for_all
from service import ROOT, Service, environment, hatchery

SETHOSTNAME = 170


# --- make run ---


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("make") or not (ROOT / "Makefile").exists()
                    or service.HATCHERY != str(ROOT / "build/hatchery") or not os.access(ROOT / "build", os.W_OK)
                    or (ROOT / "build").stat().st_uid != 0, reason="a checkout that root has built in is what it is for")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_make_run_keeps_its_jobs_in_the_checkout(tmp_path, elsewhere):
    state = tmp_path / "state" if elsewhere else ROOT / "build" / "state"
    there = state.exists()
    env = environment(**({"HATCHERY_SERVER_STATE": str(state)} if elsewhere else {}))
    with Service(start=False, key=None) as server:
        server.command = ["make", "-C", str(ROOT), "run", "LISTEN=127.0.0.1:0"]
        server.env = env
        try:
            server.start()
            assert f"Jobs and keys are kept in {state}\n" in server.announcement
            assert (state / "jobs.db").exists()
            for noise in ("WARNING", "Compiler", "apt-get"):
                assert noise not in server.announcement + server.log_text()
            server.key = re.search(r"API key .*: (\S+)", server.announcement)[1]
            assert server.run("return 1").response["result"] == 1
            os.killpg(server.pid, signal.SIGINT)  # Ctrl-C
            server.process.wait(20)
        finally:
            if not there:
                shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def tools(tmp_path):
    """A copy of the Makefile, and a directory for PATH with what it needs to get to its recipes; there is no sudo."""
    if not (ROOT / "Makefile").exists() or not shutil.which("make"):
        pytest.skip("there is no Makefile or no make here")
    shutil.copy(ROOT / "Makefile", tmp_path)
    tmp_path.chmod(0o755)
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("make", "sh", "id"):
        (bin / name).symlink_to(shutil.which(name))
    executables_for_all(bin)  # the directories above are open to all
    return tmp_path


def make(tools, *arguments, **env):
    return subprocess.run([*as_user(), "/usr/bin/env", "-i", f"PATH={tools / 'bin'}", *(f"{k}={v}" for k, v in env.items()),
                           str(tools / "bin/make"), "-C", str(tools), *arguments], capture_output=True, text=True, timeout=60)


def test_an_ordinary_users_tests_ask_for_root(tools):
    """With sudo they are run by it; without, one sentence comes before anything is installed or built."""
    done = make(tools, "test")
    assert done.returncode != 0 and re.search(r"\*\*\* the tests need every layer of the jail, so root or sudo; TEST_REQUIRE=", done.stderr)
    assert not done.stdout.replace("make: Entering", "").count("apt-get")
    assert make(tools, "can-be-root", TEST_REQUIRE="all -ids -cgroup").returncode == 0
    (tools / "bin/sudo").symlink_to("/bin/true")
    assert make(tools, "can-be-root").returncode == 0
    planned = make(tools, "-n", "e2e", "escape").stdout
    assert len(re.findall(r"^sudo -E .*python3 -m pytest", planned, re.M)) == 2, planned
    assert not re.search(r"^(?!sudo).*python3 -m pytest", planned, re.M), planned
    assert "sudo -E build/hatchery serve" in make(tools, "-n", "run").stdout


def test_without_a_terminal_a_first_build_is_named(tools):
    for name in ("sudo", "meson", "ninja"):
        (tools / "bin" / name).symlink_to("/bin/true")
    for name in ("mktemp", "rm"):
        (tools / "bin" / name).symlink_to(shutil.which(name))
    assert make(tools, "build").stdout.count("building build/hatchery") == 1
    (tools / "build").mkdir()
    shutil.copy("/bin/true", tools / "build/hatchery")
    (tools / "build").chmod(0o755)
    assert "building" not in make(tools, "build").stdout


# --- a start ---


def test_all_addresses_are_called_so(make_server):
    server = make_server(listen="0.0.0.0:0")
    assert f"listening on http://0.0.0.0:{server.port}\n" in server.announcement
    assert f"curl -s http://127.0.0.1:{server.port}/v1/" in server.announcement
    assert server.logged("listening")["url"] == f"http://0.0.0.0:{server.port}"
    messages = [line["msg"] for line in server.log()]
    assert messages.index(next(m for m in messages if m.startswith("listening on all addresses"))) < messages.index("listening")


@pytest.mark.parametrize("listen, key, warned", [
    ("0.0.0.0:0", "fifteen-letters", True), ("0.0.0.0:0", "sixteen-letters-", False), ("127.0.0.1:0", "a", False)])
def test_a_key_that_can_be_guessed(make_server, listen, key, warned):
    server = make_server(listen=listen, key=key)
    server.logged("listening")
    lines = server.log("the API key is short enough to be guessed, and other machines can reach the server")
    assert bool(lines) == warned
    assert all(line["least"] == 16 and line["hint"] for line in lines)


def test_a_state_directory_in_use_says_what_to_set(make_server):
    server = make_server()
    done = hatchery("serve", "--listen", "127.0.0.1:0", "--state", str(server.state_dir), key="k")
    assert "HATCHERY_SERVER_STATE=DIR" in done.stderr, done


# --- a start that is refused ---


def test_the_refusal_is_a_line_to_type(tmp_path):
    program = executables_for_all(tmp_path)
    spaced = tmp_path / "it's a program.py"
    spaced.write_text("print(6 * 7)")
    spaced.chmod(0o644)
    done = hatchery("run", "--timeout", "5", str(spaced), prefix=as_user(), program=program,
                    env={"HATCHERY_ISOLATION_REQUIRE": "all"})
    assert done.returncode not in (0, 2) and done.stdout == "", done
    command = re.search(r"^hatchery: or for this start alone:\n  (HATCHERY_ISOLATION_REQUIRE='.*)$", done.stderr, re.M)[1]
    again = subprocess.run([*as_user(), "sh", "-c", command], env=environment(), capture_output=True, text=True, timeout=60)
    assert (again.returncode, again.stdout) == (0, "42\n"), (command, again)


@pytest.mark.skipif(os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="one hierarchy, one error")
def test_every_cause_has_a_line_of_its_own(tmp_path):
    done = hatchery("run", "-", stdin="", prefix=as_user(), program=executables_for_all(tmp_path),
                    env={"HATCHERY_ISOLATION_REQUIRE": "cgroup"})
    assert done.returncode not in (0, 2)
    assert max(line.count("(Permission denied)") for line in done.stderr.splitlines()) <= 1, done.stderr


@pytest.mark.parametrize("container", [True, False])
def test_a_container_without_the_profile_is_told_of_it(container):
    if not container and (os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")):
        pytest.skip("it is one")
    prefix = ["/usr/bin/python3", str(ROOT / "tests/e2e/refuse.py"), str(errno.EPERM), str(SETHOSTNAME), "--"]
    done = hatchery("serve", "--listen", "127.0.0.1:0", key="k", prefix=prefix,
                    env={"container": "podman" if container else None, "KUBERNETES_SERVICE_HOST": None})
    assert "the layer 'namespaces' " in done.stderr, done
    assert ("seccomp=packaging/container/seccomp.json" in done.stderr) == container
    assert (ROOT / "packaging/container/seccomp.json").exists()
    assert "process ended" not in done.stderr, "it is no fault of its own"
