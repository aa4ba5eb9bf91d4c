# SPDX-License-Identifier: Apache-2.0
"""The configuration: shown as it is in effect, and read again by SIGHUP, as a whole or not at all."""
import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import threading

import pytest

import tables
from client import KEY
from processes import memory, wait_for
from raw import Raw, post
from receiver import HOOKS, OLD_SECRET, SECRET
from service import ASLEEP, HATCHERY, SANITIZED, hatchery

CONF = {f"{section}.{key}": (kind, default, when, sentence)
        for section, key, kind, default, _, _, _, when, sentence in tables.entries("conf/conf.def", "CONF")}


def path_of(server):
    return server.command[server.command.index("--config") + 1]


def write(server, text):
    """As an editor or a package does: the new file is there in one step."""
    path = path_of(server)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def counts(server):
    text = server.whole_lines()  # as text: it is asked often while the log grows
    return tuple(text.count(f'"msg":"{msg}"') for msg in ("configuration read again", "the configuration is wrong: the one before it stays"))


def reload(server, text, good=True):
    """SIGHUP with this file; returns when the server is told."""
    before = counts(server)
    told = metrics(server)
    write(server, text)
    server.process.send_signal(signal.SIGHUP)
    expected = (before[0] + good, before[1] + (not good))
    wait_for(lambda: counts(server) == expected, 20, f"{expected}: {server.log_text()[-2000:]}")
    wait_for(lambda: metrics(server) == (told[0] + good, told[1] + (not good), good), 20)


def metrics(server):
    """Reloads that were good, that were refused, and how the last one was.  By any key that is valid."""
    for key in (KEY, "other-key"):
        text = server.request_text("/metrics", key)
        if text:
            found = [int(re.search(rf"^hatchery_config_reloads_total{{outcome=\"{word}\"}} (\d+)$", text, re.M)[1])
                     for word in ("ok", "refused")]
            return (*found, "hatchery_config_last_reload_successful 1\n" in text)
    return None


@pytest.fixture
def make(make_server):
    """Servers whose metrics can be read as text."""
    def request_text(server, path, key):
        connection = server.connect()
        connection.request("GET", path, headers={"x-api-key": key})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return text if answer.status == 200 else None

    def made(*arguments, **keywords):
        server = make_server(*arguments, **keywords)
        server.request_text = lambda path, key: request_text(server, path, key)
        return server
    return made


# --- print-config ---


def printed(*arguments, **env):
    done = hatchery("print-config", *arguments, env=env)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def parsed(text):
    """{key: (value, origin)}"""
    section, origin, found = None, None, {}
    for line in text.replace("\n    ", " ").splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif match := re.fullmatch(r"(?:; )?(\w+) = ?(.*)", line):
            found[f"{section}.{match[1]}"] = (match[2], origin)
        elif line.startswith("; "):
            origin = line[2:]
    return found


def test_print_the_defaults():
    found = parsed(printed(HATCHERY_ISOLATION_REQUIRE=None))
    runtimes = [f"runtime.data.{key}" for key, *_ in tables.entries("conf/conf.def", "RUNTIME")]
    assert list(found) == list(CONF) + runtimes
    for key in runtimes:
        del found[key]
    for key, (kind, default, when, _) in CONF.items():
        value, origin = found[key]
        assert origin == "default" + (" (a change needs a restart)" if when == "RESTART" else ""), key
        if kind in ("STRING", "SECRET", "BOOL"):
            assert value == default, key


def test_print_where_values_come_from(tmp_path):
    conf, secret = tmp_path / "hatchery.conf", tmp_path / "key"
    secret.write_text("key-in-a-file\n")
    conf.write_text(f"[limits]\n; a comment\nmemory = 256M\nscratch = 1M\n[server]\napi_key_file = {secret}\n[python]\nimports = json\n  re\n"
                    f"[webhooks]\nsecret = {SECRET}\n")
    text = printed("--config", str(conf), "--listen", "127.0.0.1:1", HATCHERY_LIMITS_SCRATCH="2M", MAX_QUEUE_LENGTH="7")
    found = parsed(text)
    assert found["limits.memory"] == ("256M", f"{conf}:3")
    assert found["limits.scratch"] == ("2M", "environment HATCHERY_LIMITS_SCRATCH")
    assert found["queue.max_length"] == ("7", "environment MAX_QUEUE_LENGTH")
    assert found["python.imports"] == ("json re", f"{conf}:8")
    assert found["server.listen"] == ("127.0.0.1:1", "command line (a change needs a restart)")
    assert found["server.api_key"] == ("(set, not shown)", f"the file {secret}")
    assert found["server.api_key_file"] == (str(secret), f"{conf}:6")
    assert found["webhooks.secret"] == ("(set, not shown)", f"{conf}:11")
    assert "key-in-a-file" not in text and SECRET not in text
    assert "(set, not shown)" in printed(API_KEY="key-in-the-environment")
    assert "key-in-the-environment" not in printed(API_KEY="key-in-the-environment")


def test_what_is_printed_can_be_read(tmp_path):
    conf, again = tmp_path / "one", tmp_path / "two"
    conf.write_text("[python]\nimports = json\n" + "".join(f"    module_{i}\n" for i in range(100)) + "[limits]\nmemory = 100M\n"
                    "timeout_default = 1500ms\n[webhooks]\nretries =\nallow = n8n 10.0.0.0/8\n")
    first = printed("--config", str(conf))
    again.write_text(first)
    second = printed("--config", str(again))
    assert {key: value for key, (value, _) in parsed(first).items()} == {key: value for key, (value, _) in parsed(second).items()}
    assert len(parsed(second)["python.imports"][0].split()) == 101


def test_a_wrong_file_is_not_printed(tmp_path):
    conf = tmp_path / "hatchery.conf"
    conf.write_text("[limits]\nmemory = lots\n")
    done = hatchery("print-config", "--config", str(conf))
    assert done.returncode == 2 and done.stdout == "" and f"{conf}:2: limits.memory" in done.stderr


def test_every_secret_may_be_in_a_file():
    secrets = [key for key, (kind, *_) in CONF.items() if kind == "SECRET"]
    assert len(secrets) >= 2
    for key in secrets:
        assert f"{key}_file" in CONF


def test_the_manual_has_every_key():
    rows = tables.rows("configuration.md", "## Keys")
    assert [tuple(row) for row in rows] == [
        (f"`{key}`", f"`{default}`" if default else "", {"LIVE": "live", "RESTART": "restart"}[when], sentence)
        for key, (_, default, when, sentence) in CONF.items()]


# --- SIGHUP ---


def test_limits_change(make):
    server = make(config="[limits]\nmemory = 64M\n")
    code = "x = bytearray(100 << 20)\nreturn len(x)"
    assert server.run(code)["reason"] == "memory"
    with Raw(server, post(f"{ASLEEP}; x = bytearray(100 << 20)")) as raw:
        wait_for(lambda: server.below("sleep"), 20)
        reload(server, "[limits]\nmemory = 256M\ntimeout_max = 7s\ntimeout_default = 2s\noutput = 2000\nopen_files = 50\n")
        server.end_sleepers()
        reply = raw.reply()
        assert (reply["reason"], reply["message"]) == ("memory", "Memory limit exceeded (64 MiB)"), "what ran keeps what it had"
    wait_for(lambda: server.run(code, timeout=7).status == 200, 30, "the new limit of memory")
    assert "7 (seconds)" in server.run("", timeout=8)["error"]
    assert server.run("import time; time.sleep(60)")["error"] == "Execution timed out after 2 seconds"
    assert len(server.run("print('x' * 5000)", timeout=7).response["stdout"]) == 2000
    files = "import resource; return resource.getrlimit(resource.RLIMIT_NOFILE)[0]"
    wait_for(lambda: server.run(files, timeout=7).response["result"] == 50, 30, "boxes made after the change alone")
    reload(server, "[limits]\nmemory = 64M\n")
    wait_for(lambda: server.run(code)["message"] == "Memory limit exceeded (64 MiB)", 30, "the old limit of memory")


def test_scratch_and_processes_change(make):
    server = make(config="[limits]\nscratch = 1M\nprocesses = 8\n")
    write_2m = "open('x', 'wb').write(bytes(2 << 20))"
    threads = "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(0.2,)).start()"
    assert server.run(write_2m).status == server.run(threads).status == 400
    reload(server, "[limits]\nscratch = 8M\nprocesses = 40\n")
    wait_for(lambda: server.run(write_2m).status == 200 and server.run(threads).status == 200, 30)


def test_limits_change_without_cgroups(make):
    """There the supervisor watches: each box by the limits that it was made with."""
    server = make(env={"HATCHERY_ISOLATION_CGROUP": "none"}, config="[limits]\nmemory = 64M\nprocesses = 8\n")
    code = "x = bytearray(100 << 20)\nimport time; time.sleep(1)\nreturn len(x)"
    # Small stacks: a thread that finds no memory for its first step dies, and Python waits for its word for ever.
    threads = "import threading, time\nthreading.stack_size(1 << 18)\nfor _ in range(20): threading.Thread(target=time.sleep, args=(1,)).start()\ntime.sleep(1)"
    assert server.run(code).status == 400
    assert server.run(threads).status == 400
    with Raw(server, post(f"{ASLEEP}; x = bytearray(100 << 20); import time; time.sleep(1)")) as raw:
        wait_for(lambda: server.below("sleep"), 20)
        reload(server, "[limits]\nmemory = 256M\nprocesses = 40\n")
        server.end_sleepers()
        assert raw.reply().status == 400, "what ran keeps what it had"
    wait_for(lambda: server.run(code).status == 200 and server.run(threads).status == 200, 60, "the new limits")


def test_imports_change(make):
    server = make(config="[python]\nimports = json\n")
    code = "import sys; return 'fractions' in sys.modules"
    assert server.run(code).response["result"] is False
    reload(server, "[python]\nimports = json fractions\n")
    wait_for(lambda: server.run(code).response["result"], 30)


def test_bounds_of_requests_change(make):
    server = make(config="[server]\nmax_body = 8M\n")
    connection = server.connect()
    big = "#" * (3 << 19)
    assert "limits" not in server.run(big[:1000], connection=connection)
    reload(server, "[server]\nmax_body = 32M\n[limits]\ncode = 2M\n")
    assert server.run(big, connection=connection).status == 200, "on a connection from before"
    before = counts(server)  # and not reload(): a request of its own could come later than it may
    write(server, "[server]\nmax_body = 32M\nidle_timeout = 300ms\n[limits]\ncode = 2M\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: counts(server)[0] > before[0], 20)
    wait_for(lambda: is_closed(server), 20, "the new timeout")


def is_closed(server):
    """Soon, for nothing was sent."""
    with server.socket(2) as idle, contextlib.suppress(TimeoutError):
        return idle.recv(1) == b""
    return False


def test_the_key_changes(make):
    server = make(key=None, config=f"[server]\napi_key = {KEY}\n")
    server.key = KEY
    assert server.run("return 1").status == 200
    reload(server, "[server]\napi_key = other-key\n")
    assert server.run("return 1").status == 401
    server.key = "other-key"
    assert server.run("return 1").status == 200


def test_a_key_of_the_environment_stays(make):
    """It was wiped from the environment at the start, and is in force all the same."""
    server = make(config="[limits]\nmemory = 64M\n")
    reload(server, "[server]\napi_key = other-key\n")
    assert server.run("return 1").status == 200
    assert KEY not in open(f"/proc/{server.pid}/environ").read()


def test_a_generated_key_stays(make_server):
    server = make_server("--generate-key", key=None, config="[limits]\nmemory = 64M\n")
    server.key = re.search(r"API key \(.*\): (\S+)", server.announcement)[1]
    write(server, "[limits]\nmemory = 65M\n")
    server.process.send_signal(signal.SIGHUP)
    server.logged("configuration read again")
    assert server.run("return 1").status == 200


@pytest.mark.parametrize("text, words", [
    ("[limits]\nmemory = lots\n", ":6: limits.memory"),
    ("[limits]\nmemory = 128M\nno_such_key = 1\n", ":7: limits.no_such_key"),
    ("[limits]\ntimeout_default = 300s\ntimeout_max = 10s\n", "limits.timeout_default"),
    ("[limits]\ncode = 16M\n", "server.max_body"),
    ("[webhooks]\nsecret = whsec_short\n", "webhooks.secret"),
    ("[webhooks]\nretries = soon\n", "webhooks.retries"),
    ("[webhooks]\nallow = 10.0.0.0/99\n", "webhooks.allow"),
    ("[webhooks]\nports = 80-70\n", "webhooks.ports"),
    ("[server]\napi_key_file = /no/such/file\n", "/no/such/file"),
    ("[isolation]\nrequire = everything\n", "everything"),
    ("no ini\n", ":5: "),
    ("[isolation]\nroot = /no/such/root\n", ":6: isolation.root"),
    ("user = nobody-of-this-name\n", ":5: server.user"),
])
def test_what_is_wrong_changes_nothing(make, text, words):
    server = make(key=None, config=f"[server]\napi_key = {KEY}\n[limits]\noutput = 3000\n")
    server.key = KEY
    reload(server, f"[limits]\noutput = 9000\n[server]\napi_key = other-key\n{text}", good=False)
    assert words in server.log("the configuration is wrong: the one before it stays")[-1]["error"]
    assert len(server.run("print('x' * 5000)").response["stdout"]) == 3000
    reload(server, f"[server]\napi_key = {KEY}\n[limits]\noutput = 4000\n")
    assert len(server.run("print('x' * 5000)").response["stdout"]) == 4000


def test_all_that_is_wrong_is_told_as_check_config_tells_it(make):
    server = make(config="[limits]\noutput = 3000\n")
    reload(server, "[limits]\nmemory = lots\nmemroy = 1G\ntimeout_default = 60\ntimeout_max = 50\nno ini\n"
                   "[webhooks]\nretries = soon\n[isolation]\nroot = /no/such/root\n"
                   "[server]\nuser = nobody-of-this-name\n", good=False)
    told = server.log("the configuration is wrong: the one before it stays")[-1]["error"].split("\n")
    checked = hatchery("check-config", path_of(server))
    assert [line.removeprefix("hatchery: ") for line in checked.stderr.splitlines()] == told
    assert len(told) == 7 and all(line.startswith(path_of(server)) for line in told), told
    assert len(server.run("print('x' * 5000)").response["stdout"]) == 3000


def test_without_a_key_it_is_wrong(make):
    server = make(key=None, config=f"[server]\napi_key = {KEY}\n")
    server.key = KEY
    reload(server, "[limits]\nmemory = 64M\n", good=False)
    assert "no API key" in server.log("the configuration is wrong: the one before it stays")[-1]["error"]
    assert server.run("return 1").status == 200


def test_no_file_any_more(make):
    server = make(config="[limits]\noutput = 3000\n")
    os.unlink(path_of(server))
    server.process.send_signal(signal.SIGHUP)
    server.logged("the configuration is wrong: the one before it stays")
    assert len(server.run("print('x' * 5000)").response["stdout"]) == 3000


def test_what_needs_a_restart_stays(make):
    server = make(config="[pool]\nmax_runs = 1\n")
    reload(server, "[pool]\nmax_runs = 3\nsize = 9\n[limits]\noutput = 3000\n[isolation]\nmdwe = no\n[log]\nformat = text\n")
    keys = {line["key"] for line in server.log("a change of the configuration needs a restart")}
    assert keys == {"pool.max_runs", "pool.size", "isolation.mdwe", "log.format"}
    assert "hatchery_slots_limit 1\n" in server.request_text("/metrics", KEY)
    assert len(server.run("print('x' * 5000)").response["stdout"]) == 3000, "the rest is in effect"
    os.kill(server.child("server"), signal.SIGKILL)  # its successor finds what the zygote has
    server.logged("restarting", process="server")
    wait_for(lambda: answers(server), 30)
    assert "hatchery_slots_limit 1\n" in server.request_text("/metrics", KEY)
    assert len(server.run("print('x' * 5000)").response["stdout"]) == 3000


def answers(server):
    try:
        return server.run("return 1").status == 200
    except OSError:
        return False


def test_the_level_of_the_log(make):
    server = make(config="[log]\nlevel = info\n")
    reload(server, "[log]\nlevel = debug\n")
    server.run("return 1")
    server.logged("box ready")


def test_webhooks_change(make, receiver):
    """Secrets, schedule and what is allowed, without a delivery being lost or made twice."""
    env = {name: value for name, value in HOOKS.items() if name.split("_", 2)[2] in ("TIMEOUT", "PER_HOST")}
    hooks = f"[webhooks]\nretries = 100ms\nsecret = {SECRET}\n"
    server = make(env=env, config=hooks)
    courier = server.child("courier")
    assert server.run("return 1", webhook_url=receiver.url("ok/forbidden")).status == 400
    reload(server, hooks + "allow = private\n")
    assert server.run("return 1", webhook_url=receiver.url("ok/reloaded")).status == 202
    assert len(receiver.wait("ok/reloaded")[0].headers["webhook-signature"].split()) == 1
    reload(server, hooks + "allow = private\nports = 80\n")
    refused = server.run("return 1", webhook_url=receiver.url("ok/forbidden"))
    assert refused.status == 400 and "webhook_url: port" in refused["error"]
    reload(server, f"[webhooks]\nretries = 100ms\nallow = private\nsecret = {SECRET} {OLD_SECRET}\n")
    assert server.run("return 1", webhook_url=receiver.url("ok/rotated")).status == 202
    assert len(receiver.wait("ok/rotated")[0].headers["webhook-signature"].split()) == 2
    reload(server, hooks)
    assert server.run("return 1", webhook_url=receiver.url("ok/forbidden")).status == 400
    assert server.child("courier") == courier, "it was told, not restarted"
    assert len(receiver.wait("ok/reloaded")) == 1


def test_while_it_stops(make_server):
    server = make_server(config="[limits]\nmemory = 64M\n")
    with Raw(server, post(f"{ASLEEP}; return 'done'")) as raw:
        wait_for(lambda: server.below("sleep"), 20)
        server.process.send_signal(signal.SIGTERM)
        server.logged("stopping")
        write(server, "[limits]\nmemory = 65M\n")
        server.process.send_signal(signal.SIGHUP)
        server.end_sleepers()
        assert raw.reply().response["result"] == "done"
    assert server.process.wait(20) == 0
    assert counts(server) == (0, 0)


def test_run_ends_by_it():
    process = subprocess.Popen([HATCHERY, "run", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"print('begun', flush=True)\nimport time; time.sleep(60)")
    process.stdin.close()
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 128 + signal.SIGHUP
    process.stdout.close()
    process.stderr.close()


# A slot more, which a program that runs for long may bring, is a descriptor more: no more run than there are slots for.
GOOD = [f"[limits]\nmemory = {memory}M\noutput = {output}\n[queue]\nmax_length = 1000\n[pool]\nmax_runs = 2\n" for memory, output in ((64, 4000), (96, 5000))]
BAD = ["[limits]\nmemory = lots\n", "[limits\n", "[nonsense]\nx = 1\n"]


def test_a_hundred_times_under_load(make):
    """Alternating good and bad files: every request is answered as it should be, and nothing grows."""
    server = make(config=GOOD[0])
    stop = threading.Event()

    def work(number):
        connection, n = server.connect(), 0
        while not stop.is_set():
            n += 1
            reply = server.run(f"print('{number}-{n}'); return {n}", connection=connection)
            assert reply.response["result"] == n and reply.response["stdout"] == f"{number}-{n}\n"
        connection.close()
        return n

    def hup(i):
        text = GOOD[i // 2 % 2] if i % 2 == 0 else BAD[i % 3]
        before = sum(counts(server))
        write(server, text)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: sum(counts(server)) == before + 1, 20)

    def sizes():
        pids = {"supervisor": server.pid, "server": server.child("server"), "courier": server.child("courier")}
        return {name: (len(os.listdir(f"/proc/{pid}/fd")), memory(pid)["Rss"]) for name, pid in pids.items()}

    def no_more_descriptors():
        now = sizes()
        return all(fds <= middle[name][0] + (40 if name == "server" else 2) for name, (fds, _) in now.items()) and now

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, number) for number in range(4)]
        try:
            for i in range(20):
                hup(i)
            middle = sizes()
            for i in range(100):
                hup(i)
            end = wait_for(no_more_descriptors, 10, "no more descriptors than there were")  # but while a file is read
        finally:
            stop.set()
        done = [worker.result(60) for worker in workers]
    assert min(done) > 0
    assert counts(server) == (60, 60)
    for name, (_, rss) in end.items():
        if not SANITIZED:  # AddressSanitizer keeps what was freed for a while
            assert rss < middle[name][1] + 4096, name
    reload(server, "[limits]\noutput = 6000\n")
    assert len(server.run("print('x' * 7000)").response["stdout"]) == 6000


def test_files_without_an_end(make, tmp_path):
    """Who supervises waits for no pipe and reads no device to its end: the configuration stays, and so do the others."""
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    server = make(config=f"[server]\napi_key_file = {key}\n", key=None)
    server.key = KEY
    path = path_of(server)
    os.rename(path, path + ".good")
    for place, put in [(path, os.mkfifo), (path, lambda name: os.symlink("/dev/zero", name)),
                       (path, lambda name: os.symlink("/dev/urandom", name)), (str(key), os.mkfifo)]:
        before = counts(server)
        if place != path:
            os.rename(path + ".good", path)
            os.unlink(place)
        put(place)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: counts(server) == (before[0], before[1] + 1), 10, f"{place} is refused")
        assert server.run("return 1").response["result"] == 1
        os.unlink(place)
    key.write_text(KEY + "\n")
    before = counts(server)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: counts(server) == (before[0] + 1, before[1]), 10)
