# SPDX-License-Identifier: Apache-2.0
"""Requests that are refused by the endpoint: nothing is run, and the connection stays usable."""
import base64
import json
import os
import pathlib

import pytest

from client import EXECUTE, KEY
from contract import check_envelope, check_refusal
from raw import Raw, head, post
from service import Service


@pytest.fixture(scope="module")
def quiet_server():
    with Service() as service:
        yield service


@pytest.fixture
def untouched(quiet_server):
    """A server; at the test's end none of its requests has been run."""
    before = len(quiet_server.log("run finished"))
    yield quiet_server
    last = quiet_server.run("return 1")
    quiet_server.logged("run finished", job_id=last["job_id"])
    assert len(quiet_server.log("run finished")) == before + 1


BAD_BODIES = {
    "none": (b"", "JSON"),
    "white space": (b"  \r\n", "JSON"),
    "no JSON": (b"code=print(1)", "JSON"),
    "cut": (b'{"code": "print(1)', "JSON", "line 1"),
    "more behind it": (b'{"code": ""} {"code": ""}', "JSON"),
    "trailing comma": (b'{"code": "",}', "JSON"),
    "single quotes": (b"{'code': ''}", "JSON"),
    "comment": (b'{"code": "" /* x */}', "JSON"),
    "a line feed in a string": (b'{"code": "a\nb"}', "JSON"),
    "array": (b'["code"]', "must be a JSON object"),
    "string": (b'"print(1)"', "must be a JSON object"),
    "number": (b"1", "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "empty object": (b"{}", "code:", "required"),
    "code missing": (b'{"timeout": 5}', "code:", "required"),
    "code twice": (b'{"code": "print(1)", "code": "print(2)"}', "duplicate", "code"),
    "timeout twice": (b'{"code": "", "timeout": 1, "timeout": 2}', "duplicate", "timeout"),
    "unknown member": (b'{"code": "", "tiemout": 5}', "tiemout:", "unknown member", "timeout"),
    "other case": (b'{"Code": "print(1)"}', "Code:", "unknown member"),
    "a member without a name": (b'{"code": "", "": 5}', "unknown member"),
    "a long unknown member": (b'{"code": "", "%s": 5}' % (b"x" * 100000), "unknown member"),
    "an unknown member cut within a character": (b'{"code": "", "%s": 5}' % ("xä" * 100).encode(), "unknown member"),
    "code null": (b'{"code": null}', "code:", "required"),
    "unknown member null": (b'{"code": "", "tiemout": null}', "tiemout:", "unknown member"),
    "code a number": (b'{"code": 5}', "code:", "string"),
    "code a list": (b'{"code": ["print(1)"]}', "code:", "string"),
    "code with NUL": (b'{"code": "print(1)\\u0000print(2)"}', "code:", "NUL", "byte 8"),
    "a lone surrogate": (b'{"code": "print(\\"\\ud800\\")"}', "JSON", "\\ud800"),
    "half a pair": (b'{"code": "\\udc00"}', "JSON"),
    "invalid UTF-8": (b'{"code": "\xff"}', "JSON", "byte 0xff"),
    "overlong UTF-8": (b'{"code": "\xc0\xaf"}', "JSON", "byte 0xc0"),
    "a surrogate in UTF-8": (b'{"code": "\xed\xa0\x80"}', "JSON", "byte 0xed"),
    "UTF-16": ('{"code": ""}'.encode("utf-16"), "JSON"),
    "byte order mark": (b'\xef\xbb\xbf{"code": ""}', "JSON"),
    "id a number": (b'{"code": "", "id": 5}', "id:", "string"),
    "webhook_url a number": (b'{"code": "", "webhook_url": 5}', "webhook_url:", "http"),
    "webhook_url relative": (b'{"code": "", "webhook_url": "/x"}', "webhook_url:", "http"),
    "webhook_url ftp": (b'{"code": "", "webhook_url": "ftp://x/"}', "webhook_url:", "http"),
    "webhook_url without a host": (b'{"code": "", "webhook_url": "http:///x"}', "webhook_url:", "host"),
    "webhook_url with a line feed": (b'{"code": "", "webhook_url": "http://x/\\r\\nA: b"}', "webhook_url:", "control character"),
    "depth of arrays": (b'{"code": ' + b"[" * 100000, "JSON"),
    "depth of objects": (b'{"a":' * 100000, "JSON"),
    "id beyond its limit": (b'{"code": "", "id": "%s"}' % (b"i" * 16385), "id:", "16384"),
    "many arrays": (b'{"code": "", "id": [' + b"[]," * 2000000 + b"[]]}", "4096 JSON values"),
    "many objects": (b"[" + b"{}," * 2000000 + b"{}]", "4096 JSON values"),
    "many members": (b'{"code": ""' + b"".join(b', "%d": 1' % i for i in range(5000)) + b"}", "4096 JSON values"),
    "depth beside the code": (b'{"code": "", "id": ' + b"[" * 500000 + b"]" * 500000 + b"}", "JSON"),
}
for value in (b"0", b"-1", b"301", b"1.5", b"true", b"false", b'"5"', b"[5]", b"{}", b"18446744073709551621",
              b"4294967301", b"-9223372036854775809", b"1e400", b"-1e400", b"0.0", b"1e-400", b"9" * 5000):
    BAD_BODIES[f"timeout {value[:30].decode()}"] = (b'{"code": "print(1)", "timeout": %s}' % value, "timeout:", "1 to 300")
for value in (b"NaN", b"Infinity", b"05", b"+5", b"0x5", b".5", b"5."):
    BAD_BODIES[f"timeout {value.decode()}"] = (b'{"code": "print(1)", "timeout": %s}' % value, "JSON")


@pytest.mark.parametrize("what", BAD_BODIES)
def test_a_bad_body(untouched, what):
    body, *words = BAD_BODIES[what]
    connection = untouched.connect()
    check_refusal(untouched.request("POST", EXECUTE, body, connection=connection), 400, *words)
    assert untouched.request("GET", "/healthz", key=False, connection=connection).status == 200, "it stays usable"


def test_a_member_that_is_null_is_absent(server):
    reply = server.request("POST", EXECUTE, {"code": "return 1", "timeout": None, "id": None, "webhook_url": None})
    check_envelope(reply)
    assert reply.status == 200 and reply.response["result"] == 1


def test_code_beyond_its_limit(untouched):
    connection = untouched.connect()
    reply = untouched.run("#" * ((1 << 20) + 1), connection=connection)
    check_refusal(reply, 413, "code:", "1048576", "limits.code")
    assert untouched.request("GET", "/healthz", key=False, connection=connection).status == 200


def test_code_as_long_as_its_limit(server):
    code = "return 'whole'\n"
    assert server.run(code + "#" * ((1 << 20) - len(code))).response["result"] == "whole"


@pytest.mark.parametrize("fields", [
    [],
    ["x-api-key: wrong"],
    ["x-api-key:"],
    [f"x-api-key: {KEY}x"],
    [f"x-api-key: {KEY[:-1]}"],
    [f"x-api-key: {KEY.upper()}"],
    [f"x-api-key: {KEY}", "X-API-Key: wrong"],
    [f"x-api-key: {KEY}", "Authorization: Bearer wrong"],
    [f"Authorization: Bearer {KEY}", "x-api-key: wrong"],
    [f"x-api-key: {KEY}, {KEY}"],
    [f"x-apikey: {KEY}"],
    [f"Authorization: {KEY}"],
    ["Authorization: Bearer"],
    ["Authorization: Bearer "],
    [f"Authorization: Bearer {KEY}x"],
    [f"Authorization: Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"],
])
@pytest.mark.parametrize("rest", [
    ["content-type: application/json", "Content-Length: 1000000000"],
    ["content-type: text/plain", "Content-Length: 5"],
    ["content-type: application/json", "Content-Length: 5"],
    ["content-type: application/json", "Content-Length: 5", "Expect: 100-continue"],
])
def test_without_the_key_nothing_else_is_looked_at(untouched, fields, rest):
    request = head("POST", EXECUTE, *fields, *rest, key=None, type=None)
    with Raw(untouched, request) as raw:
        reply = raw.reply()  # although no byte of the body was sent
        check_refusal(reply, 401, "Unauthorized")
        assert reply.headers["www-authenticate"]


@pytest.mark.parametrize("fields", [
    [f"Authorization: Bearer {KEY}"],
    [f"AUTHORIZATION: bearer  {KEY} "],
    [f"x-api-key: {KEY}", f"Authorization: Bearer {KEY}"],
    [f"x-api-key: {KEY}", f"x-api-key: {KEY}"],
    [f"x-api-key: {KEY}", "Authorization: Basic dXNlcjpwYXNzd29yZA=="],
])
def test_the_key_in_either_header(server, fields):
    """One key, however often it is there; another scheme of Authorization is for a proxy in front."""
    body = b'{"code": "return 1"}'
    with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}", *fields, key=None) + body) as raw:
        assert raw.reply().response["result"] == 1
    for path in ("/v1/toolkit/authenticate", "/v1/jobs", "/v1/packages", "/metrics"):
        with Raw(server, head("GET", path, *fields, key=None)) as raw:
            assert raw.reply().status == 200


def test_two_different_keys_are_named(untouched):
    with Raw(untouched, head("GET", "/v1/jobs", "Authorization: Bearer other")) as raw:
        check_refusal(raw.reply(), 401, "two different keys", "x-api-key", "Authorization: Bearer")


def test_the_key_may_stand_in_any_case_and_blanks(server):
    request = post("return 1").replace(b"x-api-key: " + KEY.encode(), b"X-API-KEY:\t " + KEY.encode() + b" \t")
    with Raw(server, request) as raw:
        assert raw.reply().response["result"] == 1


@pytest.mark.parametrize("path", ["/v1", EXECUTE + "/", EXECUTE.upper(), "/" + EXECUTE, EXECUTE + "%20",
                                  "/v1/code/execute/./python", "/v1/code/execute/ruby", "/healthz/.."])
def test_unknown_paths(untouched, path):
    connection = untouched.connect()
    check_refusal(untouched.request("POST", path, {"code": ""}, connection=connection), 404)
    assert untouched.request("GET", "/healthz", key=False, connection=connection).status == 200


@pytest.mark.parametrize("path, right", [
    (EXECUTE + "/", EXECUTE), (EXECUTE + "//", EXECUTE), ("/docs/?a=/", "/docs"), ("/v1/jobs/", "/v1/jobs"),
    ("/v1/jobs/00000000-0000-7000-8000-000000000000/", "/v1/jobs/{id}"),
])
def test_a_slash_at_the_end_of_a_path(untouched, path, right):
    check_refusal(untouched.request("POST", path), 404, f"the path is {right}, without a slash at its end")


def test_the_address_alone(untouched):
    """A browser finds the documentation, a client what it has forgotten."""
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for method in ("GET", "HEAD"):
        reply = untouched.request(method, "/", headers=browser, key=False)
        assert (reply.status, reply.headers["location"]) == (302, "/docs")
    assert b'href="/docs"' in untouched.request("GET", "/", headers=browser, key=False).body
    for accept in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        check_refusal(untouched.request("GET", "/", headers=accept), 404, EXECUTE, "/docs")
    check_refusal(untouched.request("POST", "/", {"code": ""}), 405, "this path takes: GET, HEAD")


@pytest.mark.parametrize("method, path, allow", [
    ("GET", EXECUTE, "POST"), ("PUT", EXECUTE, "POST"), ("DELETE", EXECUTE, "POST"), ("OPTIONS", EXECUTE, "POST"),
    ("POST", "/healthz", "GET, HEAD"), ("POST", "/v1/toolkit/authenticate", "GET, HEAD"), ("PATCH", "/readyz", "GET, HEAD"),
])
def test_other_methods(untouched, method, path, allow):
    connection = untouched.connect()
    reply = untouched.request(method, path, connection=connection)
    check_refusal(reply, 405, f"this path takes: {allow}")
    assert reply.headers["allow"] == allow
    assert untouched.request("GET", "/healthz", key=False, connection=connection).status == 200


@pytest.mark.parametrize("type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp",
                                  "application/json; charset=latin-1", "multipart/form-data; boundary=x", "json"])
def test_other_types(untouched, type):
    body = b'{"code": "print(1)"}'
    with Raw(untouched, head("POST", EXECUTE, f"Content-Length: {len(body)}", type=type) + body) as raw:
        check_refusal(raw.reply(), 415, "the header must be content-type: application/json")
        raw.send(head("GET", "/healthz"))
        assert raw.reply().status == 200


@pytest.mark.parametrize("type", ["application/json", "Application/JSON", "application/json; charset=utf-8",
                                  'application/json;charset="UTF-8"', "application/json ; x=y"])
def test_types_that_are_json(server, type):
    body = b'{"code": "return 1"}'
    with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}", type=type) + body) as raw:
        assert raw.reply().response["result"] == 1


# What a program of limits.code, an id and a URL take where each byte of theirs is written as six.
LONGEST = 6 * ((1 << 20) + 16384 + 2048) + 4096


@pytest.mark.parametrize("length", [LONGEST + 1, 10**15])
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(untouched, length):
    with Raw(untouched, head("POST", EXECUTE, f"Content-Length: {length}")) as raw:
        reply = raw.reply()
        check_refusal(reply, 413, "limits.code")
        assert reply.headers["connection"] == "close"
        assert raw.rest() == b""


@pytest.mark.parametrize("path", ["/v1/toolkit/job/status", "/v1/toolkit/jobs/status"])
def test_other_bodies_are_small(untouched, path):
    with Raw(untouched, head("POST", path, "Content-Length: 16385") + b" " * 16385 + head("GET", "/healthz")) as raw:
        check_refusal(raw.reply(), 413)
        assert raw.reply().status == 200
    with Raw(untouched, head("POST", path, "Transfer-Encoding: chunked") + b"4001\r\n" + b" " * 0x4001) as raw:
        check_refusal(raw.reply(), 413)


ESCAPED = {
    "surrogates": r"\ud83d\ude00" * ((1 << 18) - 8),  # four bytes each
    "units": r"\u0023" * ((1 << 20) - 32),
    "a pair, then plain": r"\ud83d\ude00" + "x" * ((1 << 20) - 64),
}


@pytest.mark.parametrize("what", ESCAPED)
def test_long_bodies_are_read_right(server, what):
    text = ESCAPED[what]
    body = f'{{"id": "\\ud83d\\ude00", "code": "return len(\'{text}\')"}}'
    assert len(body) < LONGEST
    reply = server.request("POST", EXECUTE, body)
    assert reply.response["result"] == len(json.loads(f'"{text}"')) and reply["id"] == "\U0001f600"


@pytest.mark.parametrize("body, status, words", [
    ('{"code": "' + "x" * 5_000_000, 413, "code: is longer than"),
    ('{"code": "' + r"\u0041" * 1_000_000 + '", "timeout": 0}', 400, "timeout:"),
    ('{"code": "' + r"\u0041" * 1_000_000 + '", "timeout": 1' + "0" * 400 + "}", 400, "timeout:"),
    ('{"code": "' + r"\u0041" * 1_000_000 + '"', 400, "The body is not valid JSON"),
    ('{"code": "' + r"\ud83d" * 1_000_000 + '"}', 400, "The body is not valid JSON"),
    ('{"code": "", "other": "' + "x" * 5_000_000 + '"}', 400, "other: unknown member"),
    ('{"code": "", "id": "' + "x" * 5_000_000 + '"}', 400, "id: is longer than"),
    ('{"code": "", "webhook_url": "http://' + "x" * 5_000_000 + '"}', 400, "webhook_url: the URL is longer than"),
    ('{"code": "", "x": [' + "1," * 2_000_000 + "1]}", 400, "JSON values"),
], ids=lambda value: value[:30] if isinstance(value, str) else None)
def test_long_bodies_are_refused_right(untouched, body, status, words):
    check_refusal(untouched.request("POST", EXECUTE, body), status, words)


@pytest.mark.parametrize("body, words", [
    (b"", "The body is empty: it must be a JSON object with the member code"),
    (b" \r\n\t", "The body is empty: it must be a JSON object with the member code"),
    ('{"code": "return \'ä\'"}'.encode("latin-1"), ": send UTF-8"),
    (b'{"code": "x = 1\nreturn x"}', r": write it as \n (in n8n: {{ JSON.stringify(...) }})"),
    (b'{"code": "x = 1\r\nreturn x"}', r": write it as \r (in n8n: {{ JSON.stringify(...) }})"),
    (b'{"code": "if 1:\treturn x"}', r": write it as \t (in n8n: {{ JSON.stringify(...) }})"),
    (b'{"code": ""print(1)"", "timeout": 10}', "with no quotes around it)"),
    (b'{"code": {{ JSON.stringify($json.code) }}}', "switch the field to Expression"),
    (b"{'code': 'print(1)'}", ": JSON has its texts and names in double quotes"),
    (b'{"code": print(1)}', ": JSON has texts in double quotes, numbers, true, false and null (in n8n"),
    (b'{"code": "print(1)"', "'}' expected near end of file (line 1, column 19)"),
], ids=["empty", "blank", "Latin-1", "line break", "return", "tab", "quotes", "n8n", "single quotes", "bare", "cut off"])
def test_a_body_that_is_no_json_is_told_what_helps(server, body, words):
    check_refusal(server.request("POST", EXECUTE, body), 400, words)


@pytest.mark.skipif(pathlib.Path("/usr/lib/python3/dist-packages/numpy").is_dir(), reason="with it there are two runtimes")
def test_a_server_with_one_runtime_names_it(server):
    reply = server.request("POST", EXECUTE, {"code": ""}, headers={"X-Runtime": "nuts"})
    check_refusal(reply, 400, "X-Runtime: there is no runtime 'nuts' here; there is only default")


def spent(server):
    """Processor time of the server's loop and of all of its threads, in seconds."""
    pid = server.child("server")

    def of(task):
        words = open(f"/proc/{pid}/task/{task}/stat").read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    return of(pid), sum(of(task) for task in os.listdir(f"/proc/{pid}/task"))


def test_long_bodies_keep_nobody_waiting(make_server):
    """They are read beside the loop: what jansson takes for them is not the loop's time."""
    server = make_server()
    loop, everything = spent(server)
    for _ in range(10):
        body = '{"id": null, "code": "' + r"\u0041" * 1_000_000 + '"' # after null all of it is jansson's
        assert server.request("POST", EXECUTE, body).status == 400
    loop, everything = spent(server)[0] - loop, spent(server)[1] - everything
    assert everything > 0.3 and loop < everything / 3, (loop, everything)


def test_the_loop_passes_its_threads(make_server):
    """Where processors are few, the thread that serves everybody is first: those that read bodies and write to the disk are
    nicer, and only who may (CAP_SYS_NICE) is less nice than others."""
    server = make_server()
    pid = server.child("server")

    def nice():
        found = {task: open(f"/proc/{pid}/task/{task}/stat").read().rsplit(")", 1)[1].split() for task in os.listdir(f"/proc/{pid}/task")}
        return sorted((task != str(pid), int(words[16])) for task, words in found.items())

    assert server.request("POST", EXECUTE, '{"code": "' + "x" * 100_000 + '"').status == 400
    may = int(open("/proc/self/status").read().partition("CapEff:")[2].split()[0], 16) >> 23 & 1
    of_loop = -5 if may else os.getpriority(os.PRIO_PROCESS, 0)
    assert nice()[:4] == [(False, of_loop), (True, 5), (True, 5), (True, 10)], nice()


def test_a_client_that_goes_while_its_body_is_read(server):
    body = b'{"code": "' + rb"\u0041" * 1_000_000 + b'"}'
    for _ in range(5):
        with Raw(server, head("POST", EXECUTE, f"Content-Length: {len(body)}") + body):
            pass
    assert server.run("return 1").response["result"] == 1
