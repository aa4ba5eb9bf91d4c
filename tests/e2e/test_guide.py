# SPDX-License-Identifier: Apache-2.0
"""docs/guide.md followed to the letter: its shell blocks in one shell, its proxies in front of a server."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import http.client
import time
import types

import pytest

from client import EXECUTE, KEY
from processes import wait_for
from receiver import OLD_SECRET, SECRET
from service import HATCHERY, ROOT, environment, lacks

TEXT = (ROOT / "docs/guide.md").read_text()


def blocks(word):
    return re.findall(rf"^```{word}\n(.*?)^```$", TEXT, re.M | re.S)


def free_port():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def expected(text):
    return "".join(".*" if word == "…" else re.escape(word) for word in re.split("(…)", text.strip()))


@pytest.mark.skipif(lacks("cgroup") or lacks("ids"), reason="the guide is root's")
def test_every_command(tmp_path):
    """Each block's output goes into a file of its own; addresses and directories are a test's."""
    pairs = re.findall(r"^```sh\n(.*?)^```$\n+(?:```output\n(.*?)^```$)?", TEXT, re.M | re.S)
    assert len(pairs) >= 8
    (tmp_path / "bin").mkdir()
    os.symlink(HATCHERY, tmp_path / "bin" / "hatchery")
    script = f"cd {tmp_path}\nexport PATH={tmp_path}/bin:$PATH\n"
    for i, (commands, _) in enumerate(pairs):
        script += f"{{\n{commands}}} > {tmp_path}/{i}.out\n"
    script += "kill %1 %2 2>/dev/null; wait\n"
    port = free_port()
    for old, new in {"127.0.0.1:8080": f"127.0.0.1:{port}", "/tmp/hatchery-trial": f"{tmp_path}/state", "/tmp/hatchery.log": f"{tmp_path}/log",
                     "/tmp/main.py": f"{tmp_path}/main.py", "/tmp/alice": f"{tmp_path}/alice",
                     "/tmp/hatchery.conf": f"{tmp_path}/hatchery.conf"}.items():
        script = script.replace(old, new)
    tmp_path.chmod(0o755)
    shell = subprocess.Popen(["bash", "-m", "-c", script], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             start_new_session=True)
    try:
        said, _ = shell.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    for i, (commands, output) in enumerate(pairs):
        assert re.search(expected(output), (tmp_path / f"{i}.out").read_text(), re.S), (commands, (tmp_path / f"{i}.out").read_text(), said)


@contextlib.contextmanager
def proxy(server, tmp_path, command, text, replacements):
    """A block of the guide with the test's addresses, run by @command; yields a function that asks it over TLS."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=code.example.org",
                    "-addext", "subjectAltName=DNS:code.example.org", "-keyout", "key.pem", "-out", "cert.pem"],
                   cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    for old, new in {"127.0.0.1:8080": f"127.0.0.1:{server.port}", **replacements(port)}.items():
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "proxy.conf").write_text(text)
    log = open(tmp_path / "proxy.log", "wb")
    process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env={**os.environ, "HOME": str(tmp_path)})
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    def connect():
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection = http.client.HTTPConnection("code.example.org", port)
        connection.sock = trust.wrap_socket(raw, server_hostname="code.example.org")
        return connection

    def is_there():
        assert process.poll() is None, (tmp_path / "proxy.log").read_text()
        with contextlib.suppress(ConnectionRefusedError):
            connect().close()
            return True

    def ask(method, path, body=None):
        connection = connect()
        connection.request(method, path, body=json.dumps(body) if body else None,
                           headers={"x-api-key": KEY, "content-type": "application/json"} if body else {"x-api-key": KEY})
        answer = connection.getresponse()
        status, data = answer.status, answer.read()
        connection.close()
        return status, data

    try:
        wait_for(is_there, 20)
        yield ask
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def try_through(ask):
    for _ in range(3):
        status, data = ask("POST", EXECUTE, {"code": "return 6 * 7"})
        assert status == 200 and json.loads(data)["response"]["result"] == 42
    try:
        assert ask("POST", EXECUTE, {"code": "x" * (9 << 20)})[0] == 413
    except (ssl.SSLError, ConnectionError):
        pass  # refused while it was sent
    assert ask("GET", "/readyz")[0] == 200
    assert ask("GET", "/metrics")[0] == 404


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx here")
def test_nginx(server, tmp_path):
    (text,) = blocks("nginx")
    whole = f"daemon off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{text}}}\n"
    tmp_path.chmod(0o755)
    live = "/etc/letsencrypt/live/code.example.org/"
    with proxy(server, tmp_path, ["nginx", "-c", str(tmp_path / "proxy.conf")], whole, lambda port: {
            "listen 443 ssl http2": f"listen 127.0.0.1:{port} ssl http2", live + "fullchain": f"{tmp_path}/cert",
            live + "privkey": f"{tmp_path}/key"}) as ask:
        try_through(ask)


@pytest.mark.skipif(not shutil.which("caddy"), reason="no caddy here")
def test_caddy(server, tmp_path):
    (text,) = blocks("caddy")
    with proxy(server, tmp_path, ["caddy", "run", "--adapter", "caddyfile", "--config", "proxy.conf"], text, lambda port: {
            "code.example.org {": f"{{\nadmin off\nauto_https disable_redirects\n}}\nhttps://code.example.org:{port} {{\nbind 127.0.0.1\n"
                                  f"tls {tmp_path}/cert.pem {tmp_path}/key.pem"}) as ask:
        try_through(ask)


def test_the_receivers_check(hooks, receiver):
    (code,) = blocks("python")
    guide = {}
    exec(code, guide)
    is_from_hatchery = guide["is_from_hatchery"]
    hooks.run("return 1", webhook_url=receiver.url("ok/guide"))
    got = receiver.wait("ok/guide")[0]
    assert is_from_hatchery(SECRET, got.headers, got.body) and is_from_hatchery(OLD_SECRET, got.headers, got.body)
    assert not is_from_hatchery(SECRET, got.headers, got.body + b" ")
    assert not is_from_hatchery("whsec_" + "A" * 32, got.headers, got.body)
    for name, value in (("webhook-id", "msg_other"), ("webhook-timestamp", str(int(got.headers["webhook-timestamp"]) - 1))):
        assert not is_from_hatchery(SECRET, {**got.headers, name: value}, got.body)
    guide["time"] = types.SimpleNamespace(time=lambda: time.time() + 301)
    assert not is_from_hatchery(SECRET, got.headers, got.body)


def test_a_trial_leaves_the_services_jobs_alone():
    assert all("/var/lib" not in block for block in blocks("sh"))
    assert TEXT.count("hatchery serve") >= 2 and all("--state /tmp/" in line for line in TEXT.splitlines()
                                                     if line.startswith("API_KEY=") and "hatchery serve" in line)
