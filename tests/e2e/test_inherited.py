# SPDX-License-Identifier: Apache-2.0
"""What a program inherits from whoever started the server: nothing."""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from processes import cgroups_of, wait_for
from raw import running
from service import ASLEEP, HATCHERY, Service, environment

INHERITED = ("import os, signal, resource\n"
             "ignored = [n for n in range(1, 65) if n not in (9, 19, 32, 33) "
             "and signal.getsignal(n) == signal.SIG_IGN]\n"
             "return {'ignored': ignored, 'sigint': repr(signal.getsignal(signal.SIGINT)), "
             "'blocked': [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])], "
             "'open': [fd for fd in range(3, 1023) if fd_open(fd)], "
             "'umask': os.umask(0o22), 'core': resource.getrlimit(resource.RLIMIT_CORE)}\n")
INHERITED = "def fd_open(fd):\n    try: os.fstat(fd)\n    except OSError: return False\n    return True\n" + INHERITED


def shows_descriptors(pid):
    """What is not dumpable shows them to root alone; of the supervisor anybody sees at least their own."""
    try:
        return bool(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        assert os.geteuid() != 0
        return False


def check_inherited(server):
    result = server.run("import os\n" + INHERITED).response["result"]
    # SIGPIPE and SIGXFSZ are Python's own doing.
    assert result["ignored"] == [signal.SIGPIPE, signal.SIGXFSZ]
    assert "default_int_handler" in result["sigint"]
    assert result["blocked"] == []
    assert result["open"] == []
    assert result["umask"] == 0o22
    assert result["core"] == [1, 1]  # at 0 a core_pattern's handler would be started all the same


@pytest.mark.parametrize("script", [
    'exec "$@"',
    'trap "" INT QUIT; exec "$@"',  # what a shell does for `command &`
    'trap "" HUP TERM CHLD USR1 ALRM XCPU; exec "$@"',
    'umask 0; exec "$@"',
    'umask 0777; exec "$@"',
    'exec "$@" <&-',
    'exec 5</etc/passwd 6>/dev/null 7</ 8</etc/hostname 9</; exec "$@"',
])
def test_nothing_is_inherited(make_server, script):
    server = make_server(start=False).start_by(script)
    check_inherited(server)
    reply = server.run("import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)")
    assert reply["exit_code"] == 130
    assert server.run("import os; os.kill(os.getpid(), 15)")["exit_code"] == 143
    assert server.run("import subprocess; return subprocess.run(['sh', '-c', 'kill -INT $$; kill -QUIT $$']).returncode"
                      ).response["result"] == -2
    for name in ("server", "zygote"):  # and it all still restarts
        os.kill(server.child(name), signal.SIGKILL)
        server.logged("process ended", process=name)
        server.wait_until_back()
    assert server.stop(signal.SIGINT) == 0


def test_many_leaked_descriptors(make_server):
    """Numbers that are in use all around those that the children are given."""
    server = make_server(start=False)
    files = [os.open("/etc/hostname", os.O_RDONLY) for _ in range(200)]
    for fd in files:
        os.set_inheritable(fd, True)
    start = subprocess.Popen

    def leaking(*arguments, **keywords):
        return start(*arguments, **keywords, close_fds=False)

    try:
        subprocess.Popen = leaking
        server.start()
    finally:
        subprocess.Popen = start
        for fd in files:
            os.close(fd)
    assert len(os.listdir(f"/proc/{server.pid}/fd")) > 200, "the test leaks"
    for name in ("server", "zygote"):
        links = []
        for fd in os.listdir(f"/proc/{server.child(name)}/fd") if shows_descriptors(server.child(name)) else []:
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                links.append(os.readlink(f"/proc/{server.child(name)}/fd/{fd}"))
        assert not [link for link in links if "hostname" in link]
    check_inherited(server)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(tmp_path, closed):
    """Then the next descriptors that are opened get their numbers, and a message for a person could go anywhere."""
    path = tmp_path / "socket"
    process = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", HATCHERY, "serve", "--listen", f"unix:{path}"],
                               env=environment(API_KEY="k", HATCHERY_SERVER_STATE="none"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = object.__new__(Service)
        server.listen, server.path, server.key, server.process = f"unix:{path}", str(path), "k", process

        def answers():
            try:
                return server.run("import os\nos.write(1, b'out'); os.write(2, b'err')").response
            except OSError:
                assert process.poll() is None, "it has ended"
                return None
        response = wait_for(answers, 20)
        assert (response["stdout"], response["stderr"]) == ("out", "err")
        for pid in (process.pid, server.child("server"), server.child("zygote")):
            if not shows_descriptors(pid):
                continue
            for fd in (0, 1, 2):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                assert link.endswith("/null"), f"descriptor {fd} is {link}"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_log_may_go_nowhere(make_server):
    """A reader of the log that is stuck, or has gone, does not stop the service."""
    server = make_server(start=False)
    os.mkfifo(server.log_path)
    reader = os.open(server.log_path, os.O_RDONLY | os.O_NONBLOCK)
    server.start()
    for i in range(3):
        assert server.run(f"return {i}").response["result"] == i
    filler = os.open(server.log_path, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, b"x" * 4096)
    for i in range(20):
        assert server.run(f"return {i}").response["result"] == i
    os.close(filler)
    os.close(reader)
    for i in range(20):
        assert server.run(f"return {i}").response["result"] == i
    server.process.terminate()
    assert server.process.wait(20) == 0


def test_two_servers_side_by_side(make_server):
    first, second = make_server(), make_server()
    with running(first, ASLEEP, timeout=300) as raw:
        assert second.run("return 1").response["result"] == 1
        assert second.stop() == 0
        assert first.below("sleep")
        assert first.run("return 1").response["result"] == 1
        raw.close()


OTHER_PIDS = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"]), "--pid", "--fork", "--kill-child",
              "--mount-proc"]


def test_a_supervisor_of_another_pid_namespace_leaves_our_cgroups_alone(make_server):
    """It does not see our pid, and must not take us for dead."""
    server = make_server()
    command = [*OTHER_PIDS, HATCHERY, "run", "-"]
    for _ in range(3):
        result = subprocess.run(command, input="print('other')", capture_output=True, text=True, timeout=60,
                                env=environment())
        assert (result.returncode, result.stdout) == (0, "other\n"), result
    for i in range(30):  # more than there are slots
        assert server.run(f"return {i}").response["result"] == i
    assert not [line for line in server.log() if line["level"] == "error"]


def test_two_supervisors_with_the_same_pid(make_server):
    inside = [*OTHER_PIDS, HATCHERY, "run", "-"]
    both = [subprocess.Popen(inside, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    for process in both:
        process.stdin.write("import time; time.sleep(1); print('done')")
        process.stdin.close()
    for process in both:
        assert (process.stdout.read(), process.stderr.read(), process.wait(60)) == ("done\n", "", 0)
        process.stdout.close()
        process.stderr.close()
    # Another one's may be there for a moment: it is the machine that is looked at.
    wait_for(lambda: not cgroups_of(1), 30)


def test_it_runs_from_anywhere(make_server, tmp_path):
    link = tmp_path / "hatchery-link"
    link.symlink_to(HATCHERY)
    server = make_server(start=False)
    server.command[0] = str(link)
    server.command = ["/bin/sh", "-c", 'cd /; exec "$@"', "sh", *server.command]
    server.start()
    assert server.run("return 1").response["result"] == 1
    assert pathlib.Path(f"/proc/{server.pid}/exe").resolve() == pathlib.Path(HATCHERY).resolve()
