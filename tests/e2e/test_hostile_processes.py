# SPDX-License-Identifier: Apache-2.0
"""Programs that misuse descriptors and processes: each gets its reply, and the next program notices nothing."""
import textwrap

import pytest

from hostile import attack, succeeded


# --- descriptors ---

def test_every_descriptor_closed(server):
    reply = attack(server, """
        import os
        print("before")
        for fd in range(1100):
            try:
                os.close(fd)
            except OSError:
                pass
        os.closerange(0, 4096)
        return "closed"
    """)
    succeeded(reply, "closed", "before\n")


def test_every_descriptor_overwritten(server):
    reply = attack(server, """
        import os
        print("before")
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(1100):
            if fd != null:
                for inheritable in (True, False):
                    try:
                        os.dup2(null, fd, inheritable)
                    except OSError:
                        pass
        print("into /dev/null")
        return "overwritten"
    """)
    succeeded(reply, "overwritten", "before\n")


FORGED = r"""
import os, socket, struct, threading
token = bytes(16)
forgeries = [token + struct.pack("<iiqq", 1, 0, 8, 0) + b'"FORGED"', b'"FORGED"', b'{"result": "FORGED"}\n',
             b"\0" * 70000]
def flood(fds=range(3, 1100)):
    for fd in fds:
        for data in forgeries:
            try:
                os.write(fd, data)
            except OSError:
                pass
def send_all(n=1):
    s = socket.socket(fileno=os.dup(1023))
    s.setblocking(False)
    for _ in range(n):
        for data in forgeries:
            try:
                s.send(data)
            except OSError:
                pass
    s.detach()
"""


@pytest.mark.parametrize("how", ["flood()", "send_all()", "send_all(200)"])
def test_forged_reports_before_the_end(server, how):
    reply = attack(server, FORGED + how + "\nprint('done')\nreturn 'true'")
    succeeded(reply, "true", "done\n")


def test_forged_reports_at_the_end(server):
    reply = attack(server, FORGED + textwrap.dedent("""
        import atexit
        atexit.register(send_all, 50)
        atexit.register(flood)
        class Late:
            def __del__(self, send_all=send_all):
                send_all(50)
        late = Late()
        return "true"
    """))
    succeeded(reply, "true")


def test_forged_reports_from_a_child_and_a_thread_while_the_report_goes_out(server):
    reply = attack(server, FORGED + textwrap.dedent("""
        import time
        def forever():
            while True:
                send_all(10)
        if os.fork() == 0:
            forever()
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.1)
        return "x" * 1000000
    """))
    succeeded(reply, "x" * 1000000)


def test_an_empty_packet_is_no_end(server):
    """recv(2) returns 0 for an empty packet as it does for a closed socket."""
    reply = attack(server, """
        import os, socket, time
        s = socket.socket(fileno=os.dup(1023))
        for _ in range(3):
            s.send(b"")
            time.sleep(0.02)
        return "true"
    """)
    succeeded(reply, "true")
    assert reply["run_time"] < 10


@pytest.mark.parametrize("how", ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"])
@pytest.mark.parametrize("fd", ["1023", "os.dup(1023)"])
def test_shutdown_of_the_outcome_socket(server, how, fd):
    """What can't be reported is lost, but the reply does not wait for the timeout."""
    reply = attack(server, f"""
        import os, socket
        s = socket.socket(fileno={fd})
        try:
            s.shutdown(socket.{how})
        except OSError:
            pass
        print("shut")
        return "true"
    """, timeout=60)
    assert reply.stdout == "shut\n"
    assert reply.response["result"] in ("true", None)
    if fd == "1023":
        assert reply.response["result"] == "true"
    assert reply["run_time"] < 30


def test_the_outcome_socket_does_not_reach_a_child_program(server):
    reply = attack(server, """
        import subprocess, sys
        code = "import os\\ntry: os.fstat(1023)\\nexcept OSError as e: print(e.strerror)"
        print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, close_fds=False).stdout)
    """)
    assert reply.stdout == "Bad file descriptor\n\n"


def test_the_token_is_not_in_the_socket_any_more(server):
    reply = attack(server, """
        import os, socket
        s = socket.socket(fileno=os.dup(1023))
        s.setblocking(False)
        try:
            print(s.recv(100))
        except BlockingIOError:
            print("empty")
    """)
    assert reply.stdout == "empty\n"


# --- processes ---

def test_os_exit_half_way_is_success_with_no_result(server):
    """contract.md: exit code 0 is 200.  No report came, so there is no result: null.  A 500 would punish
    programs that end so on purpose (after a fork, in a daemon's manner), and os._exit(0) says "success"."""
    reply = attack(server, "import os\nprint('half', flush=True)\nos._exit(0)\nreturn 'never'")
    succeeded(reply, None, "half\n")


@pytest.mark.parametrize("code", [1, 77, 255])
def test_os_exit_with_a_code(server, code):
    reply = attack(server, f"import os\nprint('half', flush=True)\nos._exit({code})")
    assert (reply.status, reply["exit_code"], reply["reason"], reply.stdout) == (400, code, "exit", "half\n")


def test_both_sides_of_a_fork_return(server):
    reply = attack(server, """
        import os
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return "parent" if pid else "child"
    """)
    succeeded(reply, "parent")


def test_a_child_outlives_the_program_and_holds_its_output(server):
    reply = attack(server, """
        import os, time
        if os.fork() == 0:
            os.setsid()
            while True:
                os.write(1, b"")
                time.sleep(0.01)
        print("parent")
        return 1
    """, timeout=60)
    succeeded(reply, 1, "parent\n")
    assert reply["run_time"] < 30


def test_a_child_reports_nothing_after_its_parent_was_killed(server):
    reply = attack(server, """
        import os, signal, time
        parent = os.getpid()
        if os.fork() == 0:
            os.kill(parent, signal.SIGKILL)
            while os.getppid() == parent:
                time.sleep(0.001)
            return "child"
        signal.pause()
    """)
    assert (reply.status, reply["reason"], reply["exit_code"]) == (400, "signal", 137)


@pytest.mark.parametrize("target,code", [("0", 143), ("os.getpid()", 143), ("-1", 143)])
def test_kill_hits_the_program_only(server, target, code):
    """kill(-1) spares who calls it, and there is nobody else."""
    reply = attack(server, f"""
        import os, signal
        print("before", flush=True)
        try:
            os.kill({target}, signal.SIGTERM)
        except ProcessLookupError:
            pass
        return "alive"
    """)
    assert reply.stdout == "before\n"
    if target == "-1":
        succeeded(reply, "alive")
    else:
        assert (reply.status, reply["exit_code"], reply["reason"]) == (400, code, "signal")


def test_init_is_out_of_reach(server):
    """Pid 1 of the namespace takes no signal from inside."""
    reply = attack(server, """
        import os, signal
        try:
            os.kill(1, signal.SIGKILL)
        except OSError as error:
            print(type(error).__name__)
        os.kill(os.getpid(), 0)
        return "alive"
    """)
    succeeded(reply, "alive")


def test_pthread_kill_and_a_pending_alarm(server):
    reply = attack(server, """
        import signal, threading
        def once(*_):
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            1 / 0
        signal.signal(signal.SIGALRM, once)
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
            while True:
                pass
        except ZeroDivisionError:
            pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
        return "x" * 100000
    """)
    succeeded(reply, "x" * 100000)


def test_signals_all_the_way_through_the_report(server):
    reply = attack(server, """
        import os, signal
        signal.signal(signal.SIGALRM, lambda *a: None)
        signal.setitimer(signal.ITIMER_REAL, 5e-5, 5e-5)
        return "x" * 3000000
    """)
    succeeded(reply, "x" * 3000000)
