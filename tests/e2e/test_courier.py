# SPDX-License-Identifier: Apache-2.0
"""hatchery-courier and receivers of every kind: those that answer, those that do not, and those it must not reach."""
import email.utils
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time

import pytest

from courier import (ANSWERED, COURIER, FAILED, REFUSED, SECONDS, Courier, NameServer, Receiver, answer, cut, drip, make_certificate,
                     memfd, signature, wait_for_end)
from steady import another_turn

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def may_mount():
    flags = [] if os.geteuid() == 0 else ["--map-root-user"]
    return subprocess.run(["unshare", *flags, "--mount", "true"], capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not may_mount(), reason="needs a mount namespace for an /etc of its own")
needs_port_53 = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a name server on port 53")


@pytest.fixture
def make_courier():
    made = []

    def make(**keywords):
        made.append(Courier(**keywords))
        return made[-1]

    yield make
    for courier in made:
        if courier.supervisor.fileno() >= 0:
            assert courier.stop() == 0


@pytest.fixture
def courier(make_courier):
    return make_courier()


@pytest.fixture
def receive():
    made = []

    def make(*arguments, **keywords):
        made.append(Receiver(*arguments, **keywords))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def name_server():
    made = []

    def make(answers):
        made.append(NameServer(answers))
        return made[-1]

    yield make
    for server in made:
        server.close()


# --- what is sent ---

def test_the_request(make_courier, receive):
    courier, receiver = make_courier(secrets=[SECRET, OTHER_SECRET]), receive()
    body = b'{"result": "\xc3\xbc", "n": [1, 2]}'
    before = int(time.time())
    result = courier.deliver(receiver.url + "/hook/%C3%BC/../x?a=b&c=%20#fragment", body=body, webhook_id="msg_2-a_B",
                             traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert (result.verdict, result.status, result.retry_after_s) == (ANSWERED, 200, -1)
    assert (result.address, result.error) == (b"127.0.0.1", b"")
    assert 0 < result.duration_us < SECONDS * 1e6
    request = receiver.request()
    assert request.line == "POST /hook/%C3%BC/../x?a=b&c=%20 HTTP/1.1"
    assert request.body == body
    timestamp = int(request.headers["webhook-timestamp"])
    assert before <= timestamp <= time.time()
    wanted = " ".join(signature(secret, "msg_2-a_B", timestamp, body) for secret in (SECRET, OTHER_SECRET))
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": request.headers["user-agent"],
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "webhook-id": "msg_2-a_B",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": wanted,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    assert re.fullmatch(r"Hatchery/\d+\.\d+\.\d+", request.headers["user-agent"])


def test_unsigned(courier, receive):
    receiver = receive()
    for _ in range(2):
        assert courier.deliver(receiver.url).status == 200
        headers = receiver.request().headers
        assert "webhook-signature" not in headers and "traceparent" not in headers
    assert len([line for line in courier.log() if line["level"] == "warn" and "not signed" in line["msg"]]) == 1


@pytest.mark.parametrize("size", [0, 1, 65536, 12 << 20])
def test_sizes(make_courier, receive, size):
    courier, receiver = make_courier(secrets=[SECRET]), receive()
    body = os.urandom(size)
    assert courier.deliver(receiver.url, body=body).status == 200
    request = receiver.request()
    assert request.body == body
    timestamp = request.headers["webhook-timestamp"]
    assert request.headers["webhook-signature"] == signature(SECRET, "msg_1", timestamp, body)


def test_verified_by_the_npm_package(make_courier, receive):
    """The independent implementation: npm install standardwebhooks, found through NODE_PATH or above this file."""
    script = """
        const { Webhook } = require("standardwebhooks");
        const { headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const genuine = (secret, text) => {
            try { new Webhook(secret).verify(text, headers); return true; } catch (error) { return false; }
        };
        console.log(genuine(process.argv[1], body), genuine(process.argv[2], body), genuine(process.argv[1], body + " "));
    """
    try:
        found = subprocess.run(["node", "-e", 'require("standardwebhooks")'], capture_output=True,
                               cwd=os.path.dirname(__file__)).returncode == 0
    except FileNotFoundError:
        pytest.skip("Node is not installed")
    if not found:
        pytest.skip("the npm package standardwebhooks is not installed")
    courier, receiver = make_courier(secrets=[OTHER_SECRET, SECRET]), receive()
    body = '{"message": "success", "response": {"stdout": "ü\\n"}}'
    assert courier.deliver(receiver.url, body=body.encode()).status == 200
    headers = receiver.request().headers
    stranger = "whsec_" + "QUFB" * 8
    said = subprocess.run(["node", "-e", script, SECRET, stranger], input=json.dumps({"headers": headers, "body": body}),
                          capture_output=True, text=True, check=True, cwd=os.path.dirname(__file__)).stdout
    assert said.split() == ["true", "false", "false"]


# --- what is answered ---

@pytest.mark.parametrize("status", [200, 201, 204, 301, 400, 404, 410, 429, 500, 503])
def test_statuses(courier, receive, status):
    receiver = receive(f"HTTP/1.1 {status} X\r\n{'Content-Length: 0' if status != 204 else 'X: y'}\r\n\r\n".encode())
    result = courier.deliver(receiver.url)
    assert (result.verdict, result.status, result.error) == (ANSWERED, status, b"")


def test_interim_answers_do_not_count(courier, receive):
    receiver = receive(b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" + answer("202 Accepted"))
    result = courier.deliver(receiver.url)
    assert (result.verdict, result.status, result.retry_after_s) == (ANSWERED, 202, -1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(courier, receive, status):
    target = receive()
    receiver = receive(answer(f"{status} X", b"", f"Location: {target.url}/"))
    result = courier.deliver(receiver.url)
    assert (result.verdict, result.status) == (ANSWERED, status)
    assert courier.deliver(target.url).status == 200
    assert target.connections == 1


@pytest.mark.parametrize("value, least, most", [
    ("120", 120, 120), ("0", 0, 0), ("in an hour", -1, -1), ("-5", -1, -1), ("1.5", -1, -1), ("", -1, -1),
    ("99999999999999999999", 30 * 86400, 30 * 86400), ("Thu, 01 Jan 1970 00:00:10 GMT", 0, 0),
    (7200, 7200 - 600, 7200), (400 * 86400, 30 * 86400, 30 * 86400),
])
def test_retry_after(courier, receive, value, least, most):
    if isinstance(value, int):  # so many seconds from now, as a date
        value = email.utils.formatdate(time.time() + value, usegmt=True)
    result = courier.deliver(receive(answer("429 Too Many Requests", b"", f"Retry-After: {value}")).url)
    assert (result.verdict, result.status) == (ANSWERED, 429)
    assert least <= result.retry_after_s <= most


def test_connections_are_used_again(courier, receive):
    receiver = receive(answer(body=b"ok"), keep_alive=True)
    for _ in range(5):
        result = courier.deliver(receiver.url)
        assert (result.status, result.address) == (200, b"127.0.0.1")
    assert receiver.connections == 1


def test_a_huge_answer_is_cut(courier, receive):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            connection.sendall(bytes(1 << 20))

    receiver = receive(flood)
    result = courier.deliver(receiver.url)
    assert (result.verdict, result.status) == (ANSWERED, 200)
    assert isinstance(receiver.ended.get(timeout=SECONDS), OSError)  # it could not send all


def test_a_huge_head_is_cut(courier, receive):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for i in range(1 << 20):
            connection.sendall(b"X-%d: %s\r\n" % (i, b"x" * 1000))

    receiver = receive(flood)
    result = courier.deliver(receiver.url)
    assert result.verdict == FAILED and b"too large" in result.error
    assert isinstance(receiver.ended.get(timeout=SECONDS), OSError)


# --- no answer ---

def is_unanswered(result):
    return b"did not answer" in result.error


def test_nobody_listens(courier):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = courier.deliver(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert (result.verdict, result.status, result.address) == (FAILED, 0, b"")
    assert b"refused" in result.error


def test_a_receiver_that_hangs(make_courier, receive):
    courier, receiver = make_courier(timeout_ms=700), receive(wait_for_end)
    result = another_turn(lambda: courier.deliver(receiver.url), is_unanswered)
    assert (result.verdict, result.address) == (FAILED, b"127.0.0.1")
    assert b"did not answer within 700 ms" in result.error
    assert result.duration_us > 650000  # libcurl's clock is not the one that measures, and its timers have milliseconds
    assert receiver.ended.get(timeout=SECONDS) is None  # the connection was closed


def test_a_receiver_that_drips_its_head(make_courier, receive):
    courier = make_courier(timeout_ms=1000)
    receiver = receive(lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nX: " + bytes(b"x" * 100000)))
    result = another_turn(lambda: courier.deliver(receiver.url), is_unanswered)
    assert (result.verdict, result.status) == (FAILED, 0)
    assert b"did not answer" in result.error


def test_a_receiver_that_drips_its_body(make_courier, receive):
    """The head is the answer; what becomes of the body does not matter."""
    def behave(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
        drip(connection, bytes(3000))

    courier, receiver = make_courier(timeout_ms=1000), receive(behave)
    result = another_turn(lambda: courier.deliver(receiver.url), lambda result: result.status)
    assert (result.verdict, result.status, result.error) == (ANSWERED, 200, b"")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\n",
                                  b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\x02", b"<html>", b"HTTP/9.9 200 OK\r\n\r\n"])
def test_a_receiver_that_closes_early_or_speaks_something_else(courier, receive, said):
    result = courier.deliver(receive(said).url)
    assert (result.verdict, result.status) == (FAILED, 0)
    assert result.error


def test_a_receiver_that_does_not_read(courier, receive):
    """The answer may come while the request is still being sent."""
    receiver = receive()
    receiver.serve = lambda connection: (connection.sendall(answer("413 Too Large")), connection.shutdown(1),
                                         wait_for_end(connection))
    result = courier.deliver(receiver.url, body=bytes(8 << 20))
    assert (result.verdict, result.status) == (ANSWERED, 413)


@needs_mounts
def test_a_name_that_does_not_exist(make_courier):
    courier = make_courier(files={"hosts": "127.0.0.1 here.test\n", "nsswitch.conf": "hosts: files\n"})
    result = courier.deliver("http://nowhere.test/")
    assert result.verdict == FAILED and b"does not resolve" in result.error


# --- TLS ---

def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@needs_mounts
def test_tls(make_courier, receive, tmp_path):
    """The system's store decides, and the certificate must be for the name."""
    trusted, stranger = make_certificate(tmp_path, "good.test"), make_certificate(tmp_path, "strange.test")
    courier = make_courier(files={"hosts": "127.0.0.1 good.test bad.test strange.test\n",
                                  "nsswitch.conf": "hosts: files\n",
                                  "ssl/certs/ca-certificates.crt": trusted[0].read_text()})
    good, strange = receive(tls=tls_context(*trusted)), receive(tls=tls_context(*stranger))
    for _ in range(2):
        result = courier.deliver(f"https://good.test:{good.port}/x")
        assert (result.verdict, result.status, result.error) == (ANSWERED, 200, b"")
        assert good.request().headers["host"] == f"good.test:{good.port}"
    for url in (f"https://strange.test:{strange.port}/", f"https://bad.test:{good.port}/"):
        result = courier.deliver(url)
        assert result.verdict == FAILED and b"certificate" in result.error, result
    assert good.requests.empty() and strange.requests.empty()


def test_tls_where_there_is_none(courier, receive):
    receiver = receive()
    receiver.serve = lambda connection: connection.sendall(answer("400 Bad Request"))
    result = courier.deliver(receiver.url.replace("http:", "https:"))
    assert result.verdict == FAILED and b"SSL" in result.error


def test_a_handshake_that_hangs(make_courier, receive):
    receiver = receive()
    receiver.serve = wait_for_end
    result = make_courier(timeout_ms=700).deliver(receiver.url.replace("http:", "https:"))
    assert result.verdict == FAILED and b"no connection to 127.0.0.1 within 700 ms" in result.error


# --- where it must not go ---

@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://127.0.0.1:1/", "http://0x7f.1/", "http://[::1]/",
                                 "http://[::ffff:127.0.0.1]/", "http://localhost/", "http://169.254.169.254/",
                                 "ftp://example.com/", "http://user:pw@example.com/", "nonsense", ""])
def test_refused_by_the_url(make_courier, url):
    result = make_courier(allow="").deliver(url)
    assert (result.verdict, result.status, result.address) == (REFUSED, 0, b"")
    assert result.error


# In a network namespace whose loopback has global addresses: what a courier that allows @allow makes of each URL.
ON_A_HOST = r"""
import ctypes, fcntl, json, socket, struct, sys
sys.path.insert(0, sys.argv[1])
from courier import Courier, Receiver

lo = b"lo".ljust(16, b"\0")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as v4, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as v6:
    fcntl.ioctl(v4, 0x8914, lo + struct.pack("<h", 0x1 | 0x40) + bytes(22))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
    for name, address in ((b"lo:1", "93.184.215.14"), (b"lo:2", "10.9.8.7"), (b"lo:3", "93.184.215.16")):
        fcntl.ioctl(v4, 0x8916, name.ljust(16, b"\0")  # SIOCSIFADDR
                    + struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(address)) + bytes(16))
    for address in ("2606:2800:220:1::14", "2606:2800:220:1::15"):
        fcntl.ioctl(v6, 0x8916, socket.inet_pton(socket.AF_INET6, address)
                    + struct.pack("=Ii", 64, socket.if_nametoindex("lo")))
results = []
for allow, address in json.loads(sys.argv[2]):
    nonlocal_bind = "1" if address in ("8.8.8.8", "2001:4860:4860::8888") else "0"
    for family in ("ipv4", "ipv6"):
        with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "w") as sysctl:
            sysctl.write(nonlocal_bind)
    receiver = Receiver(address=address.removeprefix("::ffff:"))
    courier = Courier(allow=allow)
    url = receiver.url.replace(address.removeprefix("::ffff:"), f"[{address}]") if "::ffff:" in address else receiver.url
    result = courier.deliver(url)
    results.append([result.verdict, result.error.decode(), receiver.connections])
    assert courier.stop() == 0
    receiver.close()
print(json.dumps(results))
"""


def may_have_a_network():
    flags = [] if os.geteuid() == 0 else ["--map-root-user"]
    return subprocess.run(["unshare", *flags, "--net", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_have_a_network(), reason="needs a network namespace")
def test_the_hosts_own_addresses():
    """Global ones, too: from the host itself a request passes every guard of the outside interface."""
    own, own6 = "93.184.215.14", "2606:2800:220:1::14"
    second, second6 = "93.184.215.16", "2606:2800:220:1::15"
    cases = [("", own, REFUSED), ("private", own, REFUSED), ("private", own6, REFUSED),
             ("private", "::ffff:" + own, REFUSED), ("93.184.215.15", own, REFUSED),
             (own, own, ANSWERED), ("93.184.0.0/16", own, ANSWERED), (own, "::ffff:" + own, ANSWERED),
             (own6, own6, ANSWERED), ("private", "10.9.8.7", ANSWERED), ("private", "127.0.0.1", ANSWERED),
             ("", "10.9.8.7", REFUSED),
             # Second ones in a network: the kernel sends to them from the first.
             ("", second, REFUSED), ("private", "::ffff:" + second, REFUSED), ("private", second6, REFUSED),
             (own, second, REFUSED), (second, second, ANSWERED),
             # Somebody else's, where a socket may have any address.
             ("", "8.8.8.8", FAILED), ("", "2001:4860:4860::8888", FAILED)]
    flags = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(["unshare", *flags, "--net", sys.executable, "-c", ON_A_HOST, os.path.dirname(__file__),
                           json.dumps([case[:2] for case in cases])], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for (allow, address, verdict), (found, error, connections) in zip(cases, json.loads(done.stdout), strict=True):
        assert (found, connections) == (verdict, verdict == ANSWERED), (allow, address, error)
        if verdict == REFUSED and address != "10.9.8.7":
            assert "this host itself" in error and "HATCHERY_WEBHOOKS_ALLOW=" in error


def test_ports(make_courier, receive):
    receiver = receive()
    refused = make_courier(ports=f"80 {receiver.port + 1}").deliver(receiver.url)
    assert refused.verdict == REFUSED and b"HATCHERY_WEBHOOKS_PORTS" in refused.error
    assert receiver.connections == 0
    assert make_courier(ports=f"80 {receiver.port}").deliver(receiver.url).verdict == ANSWERED


@needs_mounts
@pytest.mark.parametrize("hosts", ["127.0.0.1 two.test\n127.0.0.9 two.test\n", "127.0.0.9 two.test\n127.0.0.1 two.test\n",
                                   "::1 two.test\n127.0.0.1 two.test\n127.0.0.9 two.test\n"])
def test_two_addresses_of_which_one_is_forbidden(make_courier, receive, hosts):
    courier = make_courier(allow="127.0.0.1", files={"hosts": hosts, "nsswitch.conf": "hosts: files\n"})
    allowed = receive()
    forbidden = [receive(address="127.0.0.9", port=allowed.port), receive(address="::1", port=allowed.port)]
    for _ in range(3):
        result = courier.deliver(f"http://two.test:{allowed.port}/")
        assert (result.verdict, result.status, result.address) == (ANSWERED, 200, b"127.0.0.1")
    # The allowed one is down: better none than the other.
    allowed.close()
    result = courier.deliver(f"http://two.test:{allowed.port}/")
    assert result.verdict == FAILED
    assert [receiver.connections for receiver in forbidden] == [0, 0]


@needs_mounts
def test_a_name_with_forbidden_addresses_only(make_courier, receive):
    courier = make_courier(allow="10.0.0.0/8", files={"hosts": "127.0.0.1 n8n\n127.0.0.9 n8n\n::1 n8n\n",
                                                      "nsswitch.conf": "hosts: files\n"})
    receiver = receive()
    result = courier.deliver(f"http://n8n:{receiver.port}/")
    assert (result.verdict, result.address) == (REFUSED, b"")
    assert b"HATCHERY_WEBHOOKS_ALLOW=n8n" in result.error
    assert b"127.0.0" not in result.error
    assert receiver.connections == 0


@needs_mounts
def test_a_name_that_is_allowed(make_courier, receive):
    courier = make_courier(allow="n8n", files={"hosts": "127.0.0.1 n8n other\n", "nsswitch.conf": "hosts: files\n"})
    receiver = receive()
    assert courier.deliver(f"http://N8N:{receiver.port}/").verdict == ANSWERED
    assert courier.deliver(f"http://other:{receiver.port}/").verdict == REFUSED
    assert receiver.connections == 1


@needs_mounts
@needs_port_53
def test_a_name_that_changes_its_mind(make_courier, receive, name_server):
    """DNS rebinding: every look-up is judged, and what was judged is what is connected to."""
    names = name_server({"rebind.test": [["127.0.0.1"], ["127.0.0.9"]], "both.test": [["127.0.0.9", "127.0.0.1"]],
                         "mapped.test": [["::ffff:127.0.0.9"]]})
    courier = make_courier(allow="127.0.0.1", files=names.files)
    allowed = receive()
    forbidden = receive(address="127.0.0.9", port=allowed.port)
    first = courier.deliver(f"http://rebind.test:{allowed.port}/")
    assert (first.verdict, first.address) == (ANSWERED, b"127.0.0.1")
    assert courier.deliver(f"http://rebind.test:{allowed.port}/").verdict == REFUSED
    assert courier.deliver(f"http://both.test:{allowed.port}/").address == b"127.0.0.1"
    assert courier.deliver(f"http://mapped.test:{allowed.port}/").verdict == REFUSED
    assert forbidden.connections == 0
    assert allowed.connections == 2


@needs_mounts
@needs_port_53
def test_a_name_server_that_does_not_answer(make_courier, receive, name_server):
    """Look-ups hold up nobody, not even when they are given up."""
    names = name_server({"slow.test": None})
    courier, receiver = make_courier(timeout_ms=1500, files=names.files), receive()
    for _ in range(5):  # a machine that stands still for a second and a half turns the order round
        slow = courier.order("http://slow.test/")
        assert names.queries.get(timeout=SECONDS)[0] == "slow.test"
        quick = courier.order(receiver.url)
        results = [courier.result(seconds=20) for _ in range(2)]  # glibc would take 30 s
        if results[0].delivery == quick:
            break
    assert [result.delivery for result in results] == [quick, slow], "the look-up holds up nobody"
    assert results[0].status == 200
    assert results[1].verdict == FAILED and b"no connection" in results[1].error
    assert courier.deliver(receiver.url).status == 200


def test_ipv6(make_courier, receive):
    receiver = receive(address="::1")
    result = make_courier(allow="::1").deliver(receiver.url)
    assert (result.verdict, result.status, result.address) == (ANSWERED, 200, b"::1")
    assert receiver.request().headers["host"] == f"[::1]:{receiver.port}"


def test_no_proxy_of_the_environment(make_courier, receive):
    proxy, receiver = receive(), receive()
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY")
    courier = make_courier(env={name: proxy.url for name in names})
    assert courier.deliver(receiver.url).status == 200
    assert receiver.request().line.startswith("POST / ")
    assert proxy.connections == 0


# --- many ---

def test_a_slow_host_holds_up_no_other(make_courier, receive):
    courier = make_courier(per_host=2, in_all=8)
    slow, quick = receive(wait_for_end, address="127.0.0.2"), receive()
    waiting = [courier.order(slow.url) for _ in range(5)]
    for _ in range(10):
        courier.result(courier.order(quick.url))
    slow.request(), slow.request()
    assert slow.connections == 2
    for connection in list(slow.open):
        cut(connection)
    assert {courier.result().delivery, courier.result().delivery} == set(waiting[:2])
    slow.request(), slow.request()
    assert slow.connections == 4


def test_one_host_is_served_in_order(make_courier, receive):
    courier, receiver = make_courier(per_host=1), receive()
    orders = [courier.order(receiver.url + f"/{i}") for i in range(20)]
    assert [courier.result().delivery for _ in orders] == orders
    assert [receiver.request().line.split()[1] for _ in orders] == [f"/{i}" for i in range(20)]


def test_the_limit_in_all(make_courier, receive):
    courier = make_courier(per_host=2, in_all=3)
    hosts = [receive(wait_for_end, address=f"127.0.0.{n}") for n in (2, 3, 4, 5)]
    for host in hosts:
        courier.order(host.url)
    for host in hosts[:3]:
        host.request()
    assert hosts[3].connections == 0
    for connection in list(hosts[1].open):
        cut(connection)
    hosts[3].request()
    assert courier.result().verdict == FAILED


def test_a_host_that_is_far_behind(make_courier, receive):
    """More than a lane holds: the surplus has its result at once, the others their turn."""
    courier = make_courier(per_host=1)
    slow = receive(wait_for_end, address="127.0.0.2")
    first = courier.order(slow.url)
    slow.request()
    orders = [courier.order(slow.url) for _ in range(256)]
    result = courier.deliver(slow.url)
    assert result.verdict == FAILED and b"too many" in result.error
    assert courier.deliver(receive().url).status == 200
    for connection in list(slow.open):
        cut(connection)
    assert courier.result().delivery == first and slow.request()
    assert orders[0] == first + 1


def test_a_thousand(make_courier, receive):
    courier, receiver = make_courier(per_host=8, secrets=[SECRET]), receive(answer(body=b"ok"), keep_alive=True)
    orders, results = set(), set()
    for _ in range(1000):
        orders.add(courier.order(receiver.url))
        if len(orders) - len(results) >= 100:
            results.add(courier.result().delivery)
    while len(results) < len(orders):
        result = courier.result()
        assert result.verdict == ANSWERED and result.delivery not in results
        results.add(result.delivery)
    assert results == orders
    assert receiver.connections <= 8


# --- messages ---

@pytest.mark.parametrize("wrong", [{"webhook_id": ""}, {"webhook_id": "a.b"}, {"webhook_id": "a\r\nX: y"},
                                   {"webhook_id": "a" * 64}, {"traceparent": "x\r\nA: b"}, {"traceparent": "0" * 64}])
def test_malformed_orders(courier, receive, wrong):
    receiver = receive()
    result = courier.deliver(receiver.url, **wrong)
    assert result.verdict == REFUSED and result.error == b"the order is malformed"
    assert courier.deliver(receiver.url).status == 200
    assert receiver.connections == 1


def test_bodies_that_are_none(courier, receive):
    receiver = receive()
    pipe, end = os.pipe()
    for fd, size in [(memfd(b"abc", seals=0), 3), (memfd(b"abc"), 4), (os.open("/dev/null", os.O_RDONLY), 3), (pipe, 3)]:
        assert courier.deliver(receiver.url, fd=fd, body_len=size).verdict == FAILED
    os.close(end)
    assert receiver.connections == 0
    assert courier.deliver(receiver.url).status == 200


def test_a_server_that_speaks_nonsense_is_dropped(courier, receive):
    receiver = receive()
    courier.server.send(b"nonsense")
    assert courier.server.recv(100) == b""
    courier.new_server()
    assert courier.deliver(receiver.url).status == 200


def test_another_server(courier, receive):
    """The old one's deliveries are dropped, with or without its end; results go to who ordered."""
    hanging, receiver = receive(wait_for_end), receive()
    for close_first in (True, False):
        courier.order(hanging.url)
        hanging.request()
        old = courier.server
        if close_first:
            old.close()
            assert hanging.ended.get(timeout=SECONDS) is None
        courier.new_server()
        assert courier.deliver(receiver.url).status == 200
        if not close_first:
            assert hanging.ended.get(timeout=SECONDS) is None
            assert old.recv(4096) == b""
            old.close()


def test_results_that_nobody_reads_are_kept(make_courier):
    """More of them than the socket holds; thousands, before it stops to take orders."""
    courier = make_courier(allow="")
    courier.server.settimeout(0.5)
    sent, before = 0, None
    while sent < 20000:
        try:
            courier.order("http://10.0.0.1/")
            sent += 1
        except (TimeoutError, BlockingIOError):
            work = courier.work()
            if work == before and work[0] == "S":  # it has no more to do than to wait
                break
            before = work
    assert 4096 <= sent < 20000
    for number in range(1, sent + 1):
        assert courier.result(number).verdict == REFUSED


def test_it_ends_with_the_supervisor(make_courier, receive):
    courier, hanging = make_courier(), receive(wait_for_end)
    courier.order(hanging.url)
    hanging.request()
    assert courier.stop() == 0
    assert hanging.ended.get(timeout=SECONDS) is None


def test_started_by_hand():
    done = subprocess.run([COURIER], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    assert done.returncode == 1 and b"hatchery serve" in done.stderr


def test_what_it_gave_up(courier, receive):
    assert courier.deliver(receive().url).status == 200
    status = dict(line.split(":\t") for line in open(f"/proc/{courier.process.pid}/status").read().splitlines()
                  if line.startswith(("NoNewPrivs", "Seccomp:", "CapEff", "CapPrm")))
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
    assert os.stat(f"/proc/{courier.process.pid}/mem").st_uid == 0  # not dumpable
    limits = open(f"/proc/{courier.process.pid}/limits").read() if os.geteuid() == 0 else ""
    assert not limits or re.search(r"Max core file size +0 +0", limits)


def test_the_log(make_courier, receive):
    courier = make_courier(secrets=[SECRET])
    receiver = receive(answer("500 X", b"answer-text"))
    delivery = courier.order(receiver.url + "/hook-path?token=query-text", body=b'"body-text"', webhook_id="msg_7")
    courier.result(delivery)
    line = courier.attempt(delivery)
    assert line["webhook_id"] == "msg_7" and line["host"] == "127.0.0.1" and line["status"] == 500
    assert 0 < line["duration"] < SECONDS
    courier.deliver("http://nobody:secret-text@127.0.0.1/hook-path?query-text")
    text = courier.log_path.read_text()
    for secret in ("hook-path", "query-text", "body-text", "answer-text", "secret-text", SECRET[6:], "v1,"):
        assert secret not in text
