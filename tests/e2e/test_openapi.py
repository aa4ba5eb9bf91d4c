# SPDX-License-Identifier: Apache-2.0
"""/openapi.json is the API: all of its routes, statuses and words, in a form that validators take; /docs shows it."""
import json
import re
import shlex
import shutil
import subprocess

import pytest

import tables
from client import EXECUTE
from processes import wait_for
from receiver import HOOKS
from service import ROOT, VERSION

ROUTES = tables.entries("server/api/routes.def", "ROUTE")
PATHS = dict(tables.entries("server/api/routes.def", "PATH"))
KEYED = [entry for entry in ROUTES if "ROUTE_KEY" in entry[2]]


@pytest.fixture(scope="module")
def document(server):
    reply = server.request("GET", "/openapi.json", key=False)
    assert reply.status == 200
    return reply.json


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


# --- the document ---


def test_every_route_is_in_it(document):
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(entry[0], PATHS[entry[1]]) for entry in ROUTES}
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for method, path, flags, _, _, summary, *_ in ROUTES:
        operation = document["paths"][PATHS[path]][method.lower()]
        assert operation["summary"] == summary
        assert ({"key": []} in operation["security"]) == ("ROUTE_KEY" in flags)
        assert ("401" in operation["responses"]) == ("ROUTE_KEY" in flags)
        assert ("415" in operation["responses"]) == ("requestBody" in operation) == ("ROUTE_JSON" in flags)
        places = {document["components"]["parameters"][ref["$ref"].rpartition("/")[2]]["in"]
                  for ref in operation.get("parameters", [])}
        assert ("ROUTE_QUERY" in flags) == ("query" in places) and ("ROUTE_QUERY" not in flags or len(places) == 1)
        assert set(re.findall(r"\{(\w+)\}", PATHS[path])) == {
            ref["$ref"].rpartition("/")[2] for ref in operation.get("parameters", [])
            if document["components"]["parameters"][ref["$ref"].rpartition("/")[2]]["in"] == "path"}


@pytest.mark.parametrize("entry", KEYED, ids=[f"{entry[0]} {PATHS[entry[1]]}" for entry in KEYED])
def test_an_unknown_parameter_in_the_query(server, entry):
    path = PATHS[entry[1]].replace("{id}", "01a20dd0-d7be-7fdd-b408-489266bfe471")
    reply = server.request(entry[0], path + "?wat=1", {} if "ROUTE_JSON" in entry[2] else None)
    assert reply.status == 400 and reply["error"].startswith("wat: unknown parameter in the query; ")
    assert server.request(entry[0], path + "?wat=1", key=False).status == 401


def test_its_words_are_the_tables(document):
    schemas = document["components"]["schemas"]
    outcomes = tables.entries("base/outcome.def", "OUTCOME")
    words = {o[2] for o in outcomes if o[2]}
    assert set(schemas["Failure"]["properties"]["reason"]["enum"]) == words
    assert set(schemas["Failure"]["properties"]["code"]["enum"]) == {int(o[1]) for o in outcomes if o[2]}
    assert schemas["State"]["enum"] == ["queued", "running", "done", "failed", "cancelled", "dead"]
    meanings = {(status, words) for status, _, words in tables.entries("server/api/replies.def", "REPLY")}
    found = set()
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert status == "default" or (status, response["description"]) in meanings
                found.add((status, response["description"]))
                assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))


    assert found >= meanings, "none is there for nothing"


def contents(document):
    """(operation's id, status or None for a request, media type, what is said of it) of all that is sent."""
    for item in document["paths"].values():
        for operation in item.values():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                yield operation["operationId"], None, kind, content
            for status, response in operation["responses"].items():
                for kind, content in response["content"].items():
                    yield operation["operationId"], status, kind, content


def test_every_operation_has_examples_that_are_right(document):
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not here")
    examples, used = document["components"]["examples"], set()
    for where in contents(document):
        _, status, kind, content = where
        names = {ref["$ref"].rpartition("/")[2] for ref in content.get("examples", {}).values()}
        assert names or kind not in ("application/json", "text/plain"), f"no example: {where}"
        used |= names
        validator = jsonschema.Draft202012Validator({**content["schema"], "components": document["components"]})
        for name in names:
            value = examples[name]["value"]
            assert examples[name]["summary"]
            validator.validate(value)
            if isinstance(value, dict) and isinstance(value.get("code"), int) and status not in (None, "default"):
                assert str(value["code"]) == status, (where, name)
        described = [one["$ref"].rpartition("/")[2] for one in content["schema"].get("anyOf", [content["schema"]]) if "$ref" in one]
        for name in described:
            own = f"{name}{status}" in examples or name in examples
            assert own or status == "default", f"no example of {name} with {status}"
    assert used == set(examples), "none is there for nothing"
    versions = re.findall(r'"(?:build_number|title": "Hatchery", "version)": ([^,}]+)', json.dumps(examples))
    assert set(versions) == {f'"{VERSION}"'}, "they show this version"


def test_the_example_of_a_request_is_answered_as_the_example_of_its_reply(server, document):
    examples = document["components"]["examples"]
    reply = server.request("POST", EXECUTE, examples["Program"]["value"]).json
    assert reply["response"] == examples["Success"]["value"]["response"] and set(reply) == set(examples["Success"]["value"])
    wrong = server.request("POST", EXECUTE, {"cod": "x"}).json
    assert wrong == examples["Error400"]["value"]
    assert server.request("POST", EXECUTE, {}, key=False).json == examples["Error401"]["value"]
    sentences = {code: sentence for code, _, sentence in tables.entries("server/http/status.def", "STATUS")}
    for name in ("Error401", "Error404", "Error408", "Error413", "Error415", "Error503"):
        assert examples[name]["value"]["error"] == sentences[name[5:]], name


def test_it_is_well_formed(document):
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not here")
    for ref in references(document):
        node = document
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
    used = {ref.rpartition("/")[2] for ref in references(document)}
    assert set(document["components"]["schemas"]) == used & set(document["components"]["schemas"]), "none is there for nothing"
    assert "@" not in json.dumps(document["components"]), "a mark that was not replaced"


# --- the replies are as described ---


def test_a_reply_that_is_not_described_is_found(document):
    """The check itself: what is missing, too much, of another type or status."""
    pytest.importorskip("jsonschema", reason="python3-jsonschema is not here")
    from contract import Contract
    from client import Reply
    good = {"code": 401, "error": "x", "message": "x"}
    headers = {"content-type": "application/json"}
    contract = Contract(document)

    def check(status, body, method="POST", path=EXECUTE):
        contract.check(method, path, Reply(status, headers, json.dumps(body).encode()))
    check(401, good)
    for status, body in ((401, {**good, "more": 1}), (401, {"code": 401}), (401, {**good, "error": 1}), (418, good), (200, good)):
        with pytest.raises(AssertionError):
            check(status, body)
    with pytest.raises(AssertionError):
        check(409, good, "GET", "/v1/jobs")
    with pytest.raises(AssertionError):
        contract.check("GET", "/healthz", Reply(200, {"content-type": "text/plain"}, b""))


def requeue_a_dead_job(server, receiver):
    dead = server.run("import time; time.sleep(250)", timeout=300, webhook_url=receiver.url("ok/dead"))["job_id"]
    path = f"/v1/jobs/{dead}"
    server.kill_zygote_under(dead)
    wait_for(lambda: server.request("GET", path).json.get("delivery") == "delivered", 30)
    assert server.request("POST", f"{path}/requeue").status == 202
    assert server.request("DELETE", path).status == 200


def test_every_operation_answers_as_described(make_server, receiver, contract):
    if contract is None:
        pytest.skip("python3-jsonschema is not here")
    server = make_server(env=HOOKS)
    before = set(contract.checked)
    contract.checked.clear()
    for code in ("return 1", "1 / 0", "x = = 1", "return {1}", "import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)",
                 "print('x' * 2000000)", "raise ValueError('é')"):
        server.run(code, id="mine")
    assert server.run("while True: pass", timeout=1).status == 408
    job = server.run("return {'a': [1, None]}", webhook_url=receiver.url("ok/contract"), id="x")["job_id"]
    failed = server.run("1 / 0", webhook_url=receiver.url("gone/contract"))["job_id"]
    receiver.wait("ok/contract")
    receiver.wait("gone/contract")
    wait_for(lambda: server.request("GET", f"/v1/jobs/{job}")["delivery"] == "delivered", 20)
    wait_for(lambda: server.request("GET", f"/v1/jobs/{failed}")["delivery"] == "given up", 20)
    long = server.run("import time; time.sleep(100)", webhook_url=receiver.url("ok/cancelled"))["job_id"]
    for one in (job, failed, long):
        server.request("GET", f"/v1/jobs/{one}")
        server.request("GET", f"/v1/jobs/{one}/deliveries")
        server.request("POST", "/v1/toolkit/job/status", {"job_id": one})
    server.request("GET", "/v1/packages")
    server.request("POST", "/v1/toolkit/jobs/status", {})
    server.request("POST", "/v1/toolkit/jobs/status", {"since_seconds": "x"})
    server.request("POST", "/v1/toolkit/job/status", {})
    assert len(server.request("GET", "/v1/jobs?limit=2")["jobs"]) == 2
    server.request("GET", "/v1/jobs?state=nonsense")
    wait_for(lambda: server.request("DELETE", f"/v1/jobs/{long}").status in (200, 409), 20)
    assert server.request("DELETE", f"/v1/jobs/{long}").status == 409
    receiver.wait("ok/cancelled")
    wait_for(lambda: server.request("POST", f"/v1/jobs/{job}/redeliver").status == 202, 20)
    assert server.request("POST", f"/v1/jobs/{job}/requeue").status == 409
    requeue_a_dead_job(server, receiver)
    unknown = "01234567-89ab-7def-8123-456789abcdef"
    for method, path in (("GET", f"/v1/jobs/{unknown}"), ("DELETE", f"/v1/jobs/{unknown}"), ("GET", f"/v1/jobs/{unknown}/deliveries"),
                         ("POST", f"/v1/jobs/{unknown}/redeliver"), ("POST", f"/v1/jobs/{unknown}/requeue"), ("GET", "/v1/jobs/x"), ("DELETE", "/v1/jobs/x"),
                         ("GET", "/v1/jobs/x/deliveries"), ("POST", "/v1/jobs/x/redeliver")):
        server.request(method, path)
    server.request("POST", "/v1/toolkit/job/status", {"job_id": unknown})
    for status, body in ((200, {"code": "return 1"}), (200, {"code": "return 1"}), (422, {"code": "return 2"})):
        assert server.request("POST", EXECUTE, body, headers={"idempotency-key": "contract"}).status == status
    server.request("GET", "/v1/toolkit/authenticate")
    for method, path, *_ in KEYED:
        server.request(method, PATHS[path].replace("{id}", unknown), {} if method == "POST" else None, key=False)
    for path in ("/healthz", "/livez", "/health", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css"):
        server.request("GET", path)
        server.request("HEAD", path)
    server.request("GET", "/", headers={"accept": "text/html"})
    server.request("GET", "/")
    server.request("POST", EXECUTE, b"{", headers={"content-type": "text/plain"})
    server.request("POST", EXECUTE, b"{")
    server.request("POST", EXECUTE, {"code": "x" * (2 << 20)})
    server.request("GET", "/nothing/here")
    server.request("PUT", EXECUTE)
    operations = {(PATHS[entry[1]], entry[0]) for entry in ROUTES}
    good = {(path, method) for path, method, status in contract.checked if status in (200, 202, 302)}
    assert good >= operations, "each was answered with what it is for"
    contract.checked |= before


# --- the page ---


def text_of(server, path):
    connection = server.connect()
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


@pytest.mark.parametrize("path, kind", [("/docs", "text/html"), ("/docs/docs.js", "text/javascript"), ("/docs/docs.css", "text/css")])
def test_the_page_loads_nothing_from_elsewhere(server, path, kind):
    answer, text = text_of(server, path)
    assert answer.status == 200 and answer.headers["content-type"] == f"{kind}; charset=utf-8"
    source = (ROOT / "src/server/api/docs" / {"/docs": "docs.html"}.get(path, path.rpartition("/")[2])).read_text()
    assert text == source, "it is embedded whole"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and set(policy.values()) == {"'none'", "'self'"}
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"(?:https?:)?//[\w.]+\.\w", re.sub(r"^\s*//.*$", "", text, flags=re.M)), "nothing of another host"
    assert "innerHTML" not in text and "eval(" not in text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", text), "nothing inline, which the policy forbids"


def test_the_page_names_what_is_there(server):
    _, page = text_of(server, "/docs")
    for target in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert text_of(server, target)[0].status == 200, target


@pytest.mark.skipif(not shutil.which("node"), reason="node is not here")
def test_the_pages_script_shows_every_operation(server, document, tmp_path):
    """Run with a few lines in the place of a browser's document."""
    (tmp_path / "document.json").write_text(json.dumps(document))
    stub = """
const fs = require("fs"), vm = require("vm");
class Element {
  constructor(name) { this.name = name; this.children = []; this.textContent = ""; this.value = ""; }
  append(child) { this.children.push(child); }
  prepend(text) { this.textContent = text + this.textContent; }
  addEventListener() {}
  get lastChild() { return this.children[this.children.length - 1]; }
  text() { return this.textContent + " " + this.children.map((child) => child.text()).join(" "); }
}
const elements = { about: new Element("p"), operations: new Element("main"), try: new Element("form"), code: new Element("textarea") };
const api = JSON.parse(fs.readFileSync(process.argv[2]));
const context = { document: { createElement: (name) => new Element(name), getElementById: (id) => elements[id] },
  location: { origin: "http://127.0.0.1:8080" },
  fetch: async (url) => { if (url !== "/openapi.json") throw url; return { json: async () => api }; } };
vm.runInNewContext(fs.readFileSync(process.argv[3], "utf8"), context);
setImmediate(() => setImmediate(() => console.log(elements.about.text() + elements.operations.text())));
"""
    (tmp_path / "stub.js").write_text(stub)
    done = subprocess.run(["node", str(tmp_path / "stub.js"), str(tmp_path / "document.json"), str(ROOT / "src/server/api/docs/docs.js")],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for path, item in document["paths"].items():
        for operation in item.values():
            assert path in done.stdout and operation["summary"] in done.stdout
    for word in (document["info"]["version"], "webhook_url?", "exit_code", '"worker_lost"', "needs the key", "Idempotency-Key?",
                 "integer or null (1 to 300)", "integer (1 to 1000, default 50)", "string or null (at most 16384 characters)"):
        assert word in done.stdout, word
    assert "Example: it returned a value" in done.stdout and "400 The program failed, or the request is wrong" in done.stdout
    curl = shlex.split(re.search(r"curl .*?'\{.*?\}'", done.stdout, re.S).group().replace("\\\n", ""))
    assert curl[3:7] == ["-H", "x-api-key: YOUR-KEY", "-H", "content-type: application/json"], curl
    assert json.loads(curl[-1]) == {"code": 'return {"answer": 6 * 7}'} and curl[2].endswith("/v1/code/execute/python")
