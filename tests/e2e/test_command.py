# SPDX-License-Identifier: Apache-2.0
"""The command: its verbs, the configuration and where it comes from, `hatchery run`."""
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from processes import wait_for
from receiver import SECRET
from service import HATCHERY, ROOT, VERSION, environment, hatchery, lacks
from steady import another_turn
import tables

CONF_DEF = (ROOT / "src" / "conf" / "conf.def").read_text()
KEYS = re.findall(r'^CONF\((\w+), (\w+), (\w+), "((?:[^"\\]|\\.)*)"', CONF_DEF, re.M)

VERBS = [(verb, text, sentences, example) for verb, _, text, sentences, example in tables.entries("command/verbs.def", "VERB")]
OPTIONS = [(entry[0], entry[-1]) for entry in re.findall(r'^(?:OPTION|FLAG)\("([a-z-]+)", .*?"([^"]+)"\)$', (ROOT / "src/command/verbs.def").read_text(), re.M)]

# --- words ---


def test_version():
    for flag in ("--version", "-V"):
        result = hatchery(flag)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"hatchery {VERSION}\n", "")


def test_help_fits_a_screen():
    for flag in (["--help"], ["-h"], ["help"], []):
        result = hatchery(*flag)
        said = result.stdout if flag else result.stderr
        assert (result.returncode, result.stderr if flag else result.stdout) == (0 if flag else 2, "")
        lines = said.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80, said
        assert re.findall(r"^  ([a-z-]+) +[A-Z].*\.$", said, re.M) == [verb for verb, *_ in VERBS], said


@pytest.mark.parametrize("verb, text, sentences, example", VERBS, ids=[verb for verb, *_ in VERBS])
def test_help_on_a_verb(verb, text, sentences, example):
    result = hatchery("help", verb)
    assert result.returncode == 0 and result.stderr == ""
    for asked in ((verb, "--help"), (verb, "-h"), ("--help", verb)):
        assert hatchery(*asked).stdout == result.stdout
    assert result.stdout.startswith(f"Usage: hatchery {verb} {text}\n")
    assert sentences in " ".join(result.stdout.split())
    assert re.findall(r"^  --([a-z-]+)", result.stdout, re.M) == [option for option, _ in OPTIONS if re.search(rf"--{option}(?![a-z-])", text)]
    for option, sentence in OPTIONS:
        assert (f"  --{option}" in result.stdout) == (sentence in " ".join(result.stdout.split())) or option == "state"
    assert result.stdout.endswith(f"\nExample:\n\n  {example}\n") and example.startswith(f"hatchery {verb}")


def test_help_on_the_configuration():
    assert len(KEYS) > 30
    result = hatchery("help", "config")
    assert result.returncode == 0 and result.stderr == ""
    for section, key, _, default in KEYS:
        assert f"\n  [{section}]\n" in result.stdout
        assert f"\n  {key} = {default}\n" in result.stdout
    assert "\n  [runtime.NAME]\n" in result.stdout
    wrong = hatchery("help", "nonsense")
    assert wrong.returncode == 2 and "no help on 'nonsense'" in wrong.stderr


@pytest.mark.parametrize("arguments, words", [
    ([], []),
    (["sevre"], ["unknown verb 'sevre'", "hatchery --help"]),
    (["serve", "extra"], ["Usage: hatchery serve"]),
    (["serve", "--nonsense"], ["hatchery: 'serve' has no option --nonsense\n", "Usage: hatchery serve", "hatchery help serve"]),
    (["serve", "--port=80"], ["hatchery: 'serve' has no option --port\n"]),
    (["serve", "-p"], ["hatchery: 'serve' has no option -p\n"]),
    (["serve", "--timeout", "5"], ["hatchery: 'serve' has no option --timeout\n"]),
    (["serve", "--rate", "5"], ["hatchery: 'serve' has no option --rate\n"]),
    (["serve", "--listen"], ["hatchery: --listen needs a value\n", "Usage: hatchery serve"]),
    (["doctor", "--json=x"], ["hatchery: --json takes no value\n"]),
    (["key", "list", "--json"], ["hatchery: 'key' has no option --json\n"]),
    (["key", "add", "bob"], ["hatchery: 'key' has no 'add': did you mean 'new'?\n", "Usage: hatchery key"]),
    (["env", "new", "science"], ["hatchery: 'env' has no 'new': did you mean 'add'?\n", "Usage: hatchery env"]),
    (["run"], ["Usage: hatchery run"]),
    (["run", "a", "b"], ["Usage: hatchery run"]),
    (["run", "-", "word"], ["hatchery: 'run' takes nothing more: 'word' is too much\n", "hatchery help run"]),
    (["run", "--listen", "x", "-"], ["no option --listen"]),
    (["run", "/does/not/exist"], ["/does/not/exist", "No such file"]),
    (["run", "--timeout", "0", "-"], ["limits.timeout_default", "0"]),
    (["run", "--timeout", "x", "-"], ["limits.timeout_default", "x", "no time"]),
    (["run", "--timeout", "9999", "-"], ["limits.timeout_default"]),
    (["check-config", "a", "b"], ["Usage: hatchery check-config"]),
])
def test_wrong_usage(arguments, words):
    result = hatchery(*arguments, key="k", stdin="")
    assert result.returncode == 2
    for word in words:
        assert word in result.stderr


# --- the key ---


def test_without_a_key_it_says_what_to_type():
    result = hatchery("serve", "--listen", "127.0.0.1:0")
    assert result.returncode == 2
    assert result.stdout == ""
    for word in ("no API key", "API_KEY", "API_KEY_FILE", "--generate-key", "api_key_file"):
        assert word in result.stderr


@pytest.mark.parametrize("key", ["a b", "tab\t", "\x01", "kéy", "x" * 513, "line\nfeed"])
def test_bad_keys(key):
    result = hatchery("serve", "--listen", "127.0.0.1:0", key=key)
    assert result.returncode == 2
    assert "API_KEY" in result.stderr
    assert key not in result.stderr


def test_two_keys_are_ambiguous(tmp_path):
    (tmp_path / "key").write_text("other\n")
    result = hatchery("serve", "--listen", "127.0.0.1:0", key="k", env={"API_KEY_FILE": str(tmp_path / "key")})
    assert result.returncode == 2
    assert "API_KEY and API_KEY_FILE are both set" in result.stderr


def test_the_key_file(make_server, tmp_path):
    (tmp_path / "key").write_text("from-the-file  \r\nanother line\n")
    for arguments in ({"env": {"API_KEY_FILE": str(tmp_path / "key")}},
                      {"env": {"HATCHERY_SERVER_API_KEY_FILE": str(tmp_path / "key")}},
                      {"config": f"[server]\napi_key_file = {tmp_path / 'key'}\n"}):
        server = make_server(key=None, **arguments)
        server.key = "from-the-file"
        assert server.run("return 1").response["result"] == 1
        server.key = "from-the-file "
        assert server.run("return 1").response["result"] == 1, "blanks at a header's end are not part of it"
        server.key = "another line"
        assert server.run("return 1").status == 401
        assert "from-the-file" not in server.log_text() + server.announcement


def test_a_key_file_that_everybody_can_read(make_server, tmp_path):
    for name, text, variable in (("key", "k", "API_KEY_FILE"), ("hooks", SECRET, "HATCHERY_WEBHOOKS_SECRET_FILE")):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o604)
        env = {variable: str(path)}
        server = make_server(key=None if name == "key" else "k", env=env)
        line = server.logged("a file with a secret can be read by every user of this machine")
        assert line["level"] == "warn" and line["hint"] == f"chmod 600 {path}"
        path.chmod(0o600)
        assert "every user" not in make_server(key=None if name == "key" else "k", env=env).log_text()


def test_the_key_is_not_to_be_seen(make_server):
    server = make_server(key="a-key-to-look-for")
    for pid in [server.pid, server.child("server"), server.child("zygote")]:
        for name in ("environ", "cmdline"):
            try:
                assert b"a-key-to-look-for" not in pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            except PermissionError:  # of what is not dumpable only root sees it
                assert os.geteuid() != 0 and pid != server.pid
    assert "a-key-to-look-for" not in server.announcement


# --- where the configuration comes from ---


def limit_of(server):
    reply = server.run("", timeout=301)
    return int(re.search(r"from 1 to (\d+)", reply["error"])[1])


def test_environment_over_file_and_alias_under_its_own_name(make_server):
    file = "[limits]\ntimeout_default = 3\ntimeout_max = 11\n"
    assert limit_of(make_server(config=file)) == 11
    assert limit_of(make_server(config=file, env={"HATCHERY_LIMITS_TIMEOUT_MAX": "12s"})) == 12
    assert limit_of(make_server(env={"HATCHERY_LIMITS_TIMEOUT_MAX": "1min"})) == 60


def test_flags_over_environment(make_server, tmp_path):
    server = make_server(env={"HATCHERY_SERVER_LISTEN": f"unix:{tmp_path}/never"})
    assert server.run("return 1").response["result"] == 1, "--listen counts"
    assert not (tmp_path / "never").exists()
    result = hatchery("run", "--timeout", "1", "-", env={"HATCHERY_LIMITS_TIMEOUT_DEFAULT": "200"}, stdin="while 1: pass")
    assert "timed out after 1 seconds" in result.stderr


def test_config_in_the_environment(make_server, tmp_path):
    path = tmp_path / "other.conf"
    path.write_text("[limits]\ntimeout_default = 5\ntimeout_max = 13\n")
    assert limit_of(make_server(env={"HATCHERY_CONFIG": str(path)})) == 13
    assert limit_of(make_server(env={"HATCHERY_CONFIG": str(path)}, config="[limits]\ntimeout_max = 200\n")) == 200


def check(tmp_path, text, env=None, key="k"):
    path = tmp_path / "hatchery.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    results = [hatchery("check-config", *arguments, env=env, key=key) for arguments in
               ([str(path)], ["--config", str(path)])]
    assert results[0].stderr == results[1].stderr and results[0].returncode == results[1].returncode
    return results[0]


def test_a_valid_configuration(tmp_path):
    result = check(tmp_path, "# all of it\n[server]\nlisten = 127.0.0.1:0\n; more\n[limits]\nmemory = 256M\ncpu_percent=50\n"
                             "[python]\nimports = json\n  re\n")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "The configuration is valid.\n"
    result = check(tmp_path, "", key=None)
    assert result.returncode == 0 and "no API key yet" in result.stdout


def test_the_defaults_are_valid(tmp_path):
    text, section = "", None
    for name, key, type, default in KEYS:
        text += f"[{name}]\n" if name != section else ""
        text += f"{key} = {default}\n" if type != "SECRET" else ""
        section = name
    assert check(tmp_path, text).returncode == 0


@pytest.mark.parametrize("text, line, words", [
    ("[limits]\nmemroy = 1G\n", 2, ["limits.memroy", "no such key", "nearest is limits.memory"]),
    ("[limits]\ntimeout = 5\n", 2, ["limits.timeout", "no such key", "nearest is limits.timeout_default"]),
    ("[limit]\nmemory = 1G\n", 2, ["limit.memory", "no such key", "nearest is limits.memory"]),
    ("[server]\nmemory = 1G\n", 2, ["server.memory", "no such key", "nearest is limits.memory"]),
    ("[limits]\n\n# x\nmemory = much\n", 4, ["limits.memory", "much", "no size", "K, M or G"]),
    ("[limits]\nmemory = 1\n", 2, ["limits.memory", "out of bounds", "32M"]),
    ("[limits]\nmemory =\n", 2, ["limits.memory", "no size"]),
    ("[limits]\nmemory = -1\n", 2, ["limits.memory"]),
    ("[limits]\nmemory = 99999999999999999999\n", 2, ["limits.memory"]),
    ("[limits]\nprocesses = 0\n", 2, ["limits.processes", "out of bounds", "1 to 32768"]),
    ("[limits]\nprocesses = 1.5\n", 2, ["limits.processes", "1.5", "no number"]),
    ("[limits]\ntimeout_max = 301\n", 2, ["limits.timeout_max", "out of bounds"]),
    ("[server]\nlisten = nonsense\n", 2, ["server.listen", "nonsense", "ADDRESS:PORT"]),
    ("[server]\nlisten = 127.0.0.1:99999\n", 2, ["server.listen", "ADDRESS:PORT"]),
    ("[isolation]\nmdwe = maybe\n", 2, ["isolation.mdwe", "maybe", "neither yes nor no"]),
    ("[isolation]\ncgroup = v3\n", 2, ["isolation.cgroup", "v3", "auto, v1, v2, none"]),
    ("[log]\nlevel = loud\n", 2, ["log.level", "loud", "debug, info, warn, error"]),
    ("[server]\napi_key = two words\n", 2, ["server.api_key", "space"]),
    ("memory = 1G\n", 1, ["before the first [section]"]),
    ("[limits]\nmemory 1G\n", 2, ["neither [section] nor key = value"]),
    ("[limits\n", 1, ["neither [section] nor key = value"]),
    ("  more\n", 1, ["indented line"]),
    (b"[limits]\nmemory = 1\0G\n", 2, ["NUL"]),
    ("[python]\nimports = " + "x " * 5000 + "\n", 2, ["longer than"]),
], ids=lambda value: repr(value)[:40])
def test_what_is_wrong_is_named(tmp_path, text, line, words):
    result = check(tmp_path, text)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"hatchery.conf:{line}: " in result.stderr
    for word in words:
        assert word in result.stderr
    assert "two words" not in result.stderr, "a secret is not shown"


def test_all_that_is_wrong_is_named_at_once(tmp_path):
    result = check(tmp_path, """[limits]
memroy = 1G
processes = 0
timeout_default = 60
timeout_max = 50
code = 2M
[webhooks]
retries = 5s soon
allow = 10.0.0.0/99
[isolation]
require = all -nothing
root = /does/not/exist
[server]
user = nobody-of-this-name
listen = nonsense
""", env={"HATCHERY_LOG_LEVEL": "loud", "HATCHERY_POOL_SIZES": "1", "HATCHERY_ISOLATION_REQUIRE": None})
    assert result.returncode == 1 and result.stdout == ""
    lines = [line.replace(str(tmp_path / "hatchery.conf"), "FILE") for line in result.stderr.splitlines()]
    for place, key, rule in (
            ("FILE:2", "limits.memroy", "no such key"),
            ("FILE:3", "limits.processes", "1 to 32768"),
            ("FILE:4", "limits.timeout_default", "limits.timeout_max (50s)"),
            ("FILE:8", "webhooks.retries", "'soon'"),
            ("FILE:9", "webhooks.allow", "10.0.0.0/99"),
            ("FILE:11", "isolation.require", "'-nothing' is not a layer"),
            ("FILE:12", "isolation.root", "/does/not/exist"),
            ("FILE:14", "server.user", "'nobody-of-this-name' is no user"),
            ("FILE:15", "server.listen", "ADDRESS:PORT"),
            ("HATCHERY_LOG_LEVEL", "log.level", "debug, info, warn, error"),
            ("HATCHERY_POOL_SIZES", "", "nearest is HATCHERY_POOL_SIZE")):
        assert [line for line in lines if line.startswith(f"hatchery: {place}: {key}") and rule in line], (place, lines)
    assert "server.max_body: a program of limits.code needs" in result.stderr
    assert len(lines) == 12, lines
    places = [int(place) for line in lines for place in re.findall(r"^hatchery: FILE:(\d+): ", line)]
    assert places == sorted(places) and len(places) >= 9, "as the file has them"


def test_what_is_near_nothing_gets_no_guess(tmp_path):
    said = check(tmp_path, "[server]\nfoo = 1\n[nosuch]\na = 1\n", env={"HATCHERY_XYZ": "1"}).stderr
    assert "nearest" not in said and said.count("there is no such ") == said.count("`hatchery help config` lists them") == 3, said


def test_the_user_and_the_root_are_looked_for(tmp_path):
    def errors(user, root):
        return check(tmp_path, f"[server]\nuser = {user}\n[isolation]\nroot = {root}\n").stderr

    assert errors("nobody", "") == ""
    assert "hatchery.conf:2: server.user: 'root' is no user, or root" in errors("root", "")
    assert "hatchery.conf:4: isolation.root: " in errors("", tmp_path) and "has no usr/lib" in errors("", tmp_path)
    assert f"bookworm {tmp_path}/new" in errors("", tmp_path / "new")
    assert str(tmp_path) not in errors("", tmp_path).partition("debootstrap")[2], "it is somebody's directory"
    (tmp_path / "usr/lib").mkdir(parents=True)
    assert errors("", tmp_path) == ""


def test_what_contradicts_is_named(tmp_path):
    result = check(tmp_path, "[limits]\ntimeout_default = 60\ntimeout_max = 50\n")
    assert result.returncode == 1 and "limits.timeout_default" in result.stderr and "timeout_max" in result.stderr
    result = check(tmp_path, "[server]\nmax_body = 1M\n")
    assert result.returncode == 1 and "server.max_body" in result.stderr and "limits.code" in result.stderr


def test_a_file_that_is_not_there():
    result = hatchery("check-config", "/does/not/exist.conf", key="k")
    assert result.returncode == 1
    assert "/does/not/exist.conf" in result.stderr and "No such file" in result.stderr


@pytest.mark.parametrize("name, value, words", [
    ("HATCHERY_LIMITS_MEMROY", "1G", ["HATCHERY_LIMITS_MEMROY", "nearest is HATCHERY_LIMITS_MEMORY"]),
    ("HATCHERY_LIMITS_MEMORY", "much", ["HATCHERY_LIMITS_MEMORY", "much", "no size"]),
    ("MAX_QUEUE_LENGTH", "many", ["MAX_QUEUE_LENGTH", "many", "no number"]),
    ("MAX_QUEUE_LENGTH", "-1", ["MAX_QUEUE_LENGTH"]),
])
def test_what_is_wrong_in_the_environment_is_named(tmp_path, name, value, words):
    for verb in (["check-config"], ["serve", "--listen", "127.0.0.1:0"]):
        result = hatchery(*verb, key="k", env={name: value})
        assert result.returncode == (1 if verb == ["check-config"] else 2)
        for word in words:
            assert word in result.stderr


# --- hatchery run ---


@pytest.mark.parametrize("code, status, stdout, stderr", [
    ("print('hello')", 0, "hello\n", ""),
    ("", 0, "", ""),
    ("import sys; print('o'); print('e', file=sys.stderr)", 0, "o\n", "e\n"),
    ("import sys; sys.exit(7)", 7, "", ""),
    ("import sys; sys.exit('why')", 1, "", "why\n"),
    ("import os; os._exit(200)", 200, "", ""),
    ("return 5", 0, "", ""),
])
def test_run(code, status, stdout, stderr, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(code)
    for result in (hatchery("run", str(path)), hatchery("run", "-", stdin=code)):
        assert (result.returncode, result.stdout, result.stderr) == (status, stdout, stderr)


def test_run_shows_tracebacks_as_python_does():
    result = hatchery("run", "-", stdin="print('so far')\n1 / 0\n")
    assert result.returncode == 1
    assert result.stdout == "so far\n"
    assert result.stderr == ('Traceback (most recent call last):\n  File "main.py", line 2, in <module>\n    1 / 0\n'
                             '    ~~^~~\nZeroDivisionError: division by zero\n')


def test_run_hints_as_the_server_does():
    result = hatchery("run", "-", stdin="open('/mnt/data/x.csv')")
    assert result.returncode == 1
    assert "FileNotFoundError" in result.stderr and "\nhatchery: hint: no file comes with a request" in result.stderr
    assert result.stderr.endswith("put the data into the code\n")


def test_run_of_what_returns_no_json():
    result = hatchery("run", "-", stdin="print('so far')\nreturn {'a': {1, 2}}")
    assert (result.returncode, result.stdout) == (1, "so far\n")
    assert result.stderr == ("hatchery: Failed to parse execution result: Object of type set is not JSON serializable (at a) "
                             "(hint: return list(x) or sorted(x) in its place)\n")


@pytest.mark.parametrize("number", [9, 15, 11, 6, 1])
def test_run_killed_by_a_signal(number):
    result = hatchery("run", "-", stdin=f"import os\nprint('so far')\nos.kill(os.getpid(), {number})")
    assert result.returncode == 128 + number
    assert result.stdout == "so far\n"
    assert result.stderr.startswith(f"hatchery: Killed by signal {number} (SIG")


def test_run_out_of_time():
    result = another_turn(lambda: hatchery("run", "--timeout", "1", "-", stdin="print('so far')\nwhile True: pass"),
                          lambda result: result.stdout)
    assert result.returncode == 124
    assert result.stdout == "so far\n"
    assert result.stderr == "hatchery: Execution timed out after 1 seconds\n"


def test_run_out_of_memory():
    result = hatchery("run", "-", stdin="x = bytearray(200 << 20)", env={"HATCHERY_LIMITS_MEMORY": "64M"})
    if lacks("cgroup"):  # a limit on each process stands in, which Python can tell itself
        assert result.returncode == 1 and result.stderr.endswith("\nMemoryError\n")
        return
    assert result.returncode == 137
    assert result.stderr == "hatchery: Memory limit exceeded (64 MiB)\n"


def run_bytes(code, **keywords):
    return subprocess.run([HATCHERY, "run", "-"], input=code.encode(), env=environment(), capture_output=True, timeout=60,
                          **keywords)


def test_run_passes_bytes_through():
    data = bytes(range(256)) * 100
    result = run_bytes("import os\ndata = bytes(range(256)) * 100\nos.write(1, data)\nos.write(2, data)")
    assert result.returncode == 0
    assert result.stdout == data
    assert result.stderr == data


def test_run_large_output():
    result = run_bytes("import sys\nfor i in range(300):\n    sys.stdout.write(chr(97 + i % 26) * (1 << 20))")
    assert result.returncode == 0
    assert len(result.stdout) == 300 << 20, "more than any limit that a reply has"
    assert result.stdout[-1:] == bytes([97 + 299 % 26])


def run_and_read_late(code):
    """What it prints and its exit status; its pipes are full long before we read."""
    process = subprocess.Popen([HATCHERY, "run", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    process.stdin.write(code.encode())
    process.stdin.close()
    first = process.stdout.read(1)
    time.sleep(0.2)
    with process.stdout:
        printed = first + process.stdout.read()
    return printed, process.wait(20)


def test_run_prints_all_of_what_a_signal_interrupts():
    printed, status = run_and_read_late("import signal, sys\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
                                        "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\n"
                                        "sys.stdout.write('x' * (4 << 20) + 'end')")
    assert status == 0 and len(printed) == (4 << 20) + 3 and printed.endswith(b"xend")


def test_run_obeys_a_signal_that_interrupts_what_is_printed():
    for _ in range(5):  # a machine that stands still may come to it when all is printed
        printed, status = run_and_read_late("import signal, sys\nsignals = []\n"
                                            "def late(*_):\n    signals.append(1)\n    if len(signals) == 5: sys.exit(7)\n"
                                            "signal.signal(signal.SIGALRM, late)\n"
                                            "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\n"
                                            "sys.stdout.write('x' * (8 << 20))\nsignal.pause()")
        assert status == 7
        if len(printed) < 8 << 20:
            break
    assert len(printed) < 8 << 20


def test_run_shows_output_as_it_comes():
    process = subprocess.Popen([HATCHERY, "run", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    process.stdin.write(b"print('now')\nimport time\ntime.sleep(100)\n")
    process.stdin.close()
    assert process.stdout.readline() == b"now\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()


@pytest.mark.parametrize("how, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_run_is_ended_by_a_signal(how, status):
    process = subprocess.Popen([HATCHERY, "run", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    process.stdin.write(b"print('now')\nimport subprocess\nsubprocess.run(['sleep', '100'])\n")
    process.stdin.close()
    assert process.stdout.readline() == b"now\n"
    process.send_signal(how)
    assert process.wait(20) == status
    process.stdout.close()


def test_run_ends_with_its_reader():
    """`hatchery run endless.py | head -1`"""
    began = time.monotonic()
    result = subprocess.run(["/bin/bash", "-c", '"$0" run --timeout 200 - | head -1; exit "${PIPESTATUS[0]}"', HATCHERY],
                            input=b"while True: print('line')", env=environment(), capture_output=True, timeout=60)
    assert result.stdout == b"line\n"
    assert result.returncode == 128 + signal.SIGPIPE
    assert time.monotonic() - began < 40


def test_run_with_stdout_closed():
    result = subprocess.run(["/bin/sh", "-c", '"$0" run - >&-', HATCHERY], input=b"print('x' * 100000)", env=environment(),
                            capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_run_needs_no_key_and_gives_no_stdin():
    assert hatchery("run", "-", stdin="input()").returncode == 1
    assert hatchery("run", "/dev/stdin", stdin="print(1)").stdout == "1\n"


@pytest.mark.parametrize("text, words", [
    (b"print(1)\0", ["NUL"]),
    (b"#" * ((1 << 20) + 1), ["limits.code"]),
    (b"print('\xff')", ["UTF-8"]),
], ids=["NUL", "too large", "no UTF-8"])
def test_run_refuses_what_is_no_program(tmp_path, text, words):
    path = tmp_path / "program.py"
    path.write_bytes(text)
    result = hatchery("run", str(path))
    assert result.returncode == 1
    assert result.stdout == ""
    for word in words:
        assert word.lower() in result.stderr.lower()


def test_run_a_directory(tmp_path):
    result = hatchery("run", str(tmp_path))
    assert result.returncode in (1, 2)
    assert "directory" in result.stderr


def test_run_leaves_nothing_behind():
    process = subprocess.Popen([HATCHERY, "run", "-"], stdin=subprocess.PIPE, env=environment())
    process.communicate(b"import subprocess; subprocess.Popen(['sleep', '250'])", timeout=60)
    assert process.returncode == 0
    wait_for(lambda: not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/**/hatchery-{process.pid}")))


def test_runs_side_by_side():
    processes = [subprocess.Popen([HATCHERY, "run", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
                 for _ in range(6)]
    for i, process in enumerate(processes):
        process.stdin.write(f"print({i})".encode())
        process.stdin.close()
    for i, process in enumerate(processes):
        assert process.stdout.read() == f"{i}\n".encode()
        assert process.wait(60) == 0
        process.stdout.close()
