# SPDX-License-Identifier: Apache-2.0
"""The workflow for n8n and the blueprint for Make have the shape that these import, and the requests in them work."""
import json
import re

import pytest

from client import EXECUTE
from service import ROOT


def load(name):
    return json.loads((ROOT / "examples" / name).read_text())


def n8n_nodes():
    return {node["name"]: node for node in load("n8n-workflow.json")["nodes"]}


def n8n_body(name, code, resume_url):
    """What n8n makes of the node's expression: a leading = and JavaScript between double braces."""
    text = n8n_nodes()[name]["parameters"]["jsonBody"]
    assert text[0] == "="
    words = {"JSON.stringify($json.code)": json.dumps(code), "$execution.id": "231", "$execution.resumeUrl": resume_url}
    return re.sub(r"\{\{ (.*?) \}\}", lambda match: words[match[1]], text[1:])


def make_modules():
    return {module["metadata"]["designer"]["name"]: module for module in load("make-blueprint.json")["flow"]}


def test_the_workflows_shape():
    workflow, nodes = load("n8n-workflow.json"), n8n_nodes()
    assert len(nodes) == len(workflow["nodes"]) == len({node["id"] for node in workflow["nodes"]})
    for node in nodes.values():
        assert node["type"].startswith("n8n-nodes-base.") and node["typeVersion"] and len(node["position"]) == 2
    reached = {"Start"}
    for source, links in workflow["connections"].items():
        assert source in nodes
        for link in (link for output in links["main"] for link in output):
            assert link["type"] == "main" and link["index"] == 0
            reached.add(link["node"])
    assert reached == set(nodes)
    for node in nodes.values():
        assert "credentials" not in node and "apiKey" not in json.dumps(node)
    wait = nodes["Wait for its reply"]
    assert wait["parameters"]["resume"] == "webhook" and wait["parameters"]["httpMethod"] == "POST" and wait["webhookId"]


@pytest.mark.parametrize("name", ["Run it", "Queue it"])
def test_the_nodes_ask_for_the_right_thing(name):
    parameters = n8n_nodes()[name]["parameters"]
    assert parameters["method"] == "POST" and parameters["url"].endswith(EXECUTE)
    assert (parameters["specifyBody"], parameters["genericAuthType"]) == ("json", "httpHeaderAuth")


def test_n8n_runs_a_program(server):
    code = json.loads(n8n_nodes()["Program"]["parameters"]["jsonOutput"])["code"]
    reply = server.request("POST", EXECUTE, n8n_body("Run it", code, ""))
    assert reply.response["result"] == {"answer": 42} and reply.stdout == "Hello from a box\n"
    reply = server.request("POST", EXECUTE, n8n_body("Run it", 'raise ValueError("\\"quoted\\"")', ""))
    assert reply.status == 400 and reply["error"].endswith('ValueError: "quoted"\n')


def test_n8n_queues_a_program_and_is_woken(hooks, receiver):
    """n8n answers 404 until the Wait node is there: the delivery is tried again."""
    code = json.loads(n8n_nodes()["Long program"]["parameters"]["jsonOutput"])["code"]
    reply = hooks.request("POST", EXECUTE, n8n_body("Queue it", code, receiver.url("unready/example")))
    assert reply.status == 202 and reply["id"] == "231"
    first, second = receiver.wait("unready/example", 2)
    body = json.loads(second.body)
    assert body["job_id"] == reply["job_id"] and body["id"] == "231" and body["response"]["result"] == {"answer": 42}


def test_the_blueprints_shape():
    blueprint, modules = load("make-blueprint.json"), make_modules()
    assert set(blueprint) == {"name", "flow", "metadata"} and blueprint["metadata"]["version"] == 1
    assert len({module["id"] for module in blueprint["flow"]}) == len(modules) == 2
    for module in modules.values():
        mapper = module["mapper"]
        assert (module["module"], module["version"]) == ("http:ActionSendData", 3)
        assert (mapper["method"], mapper["bodyType"], mapper["contentType"]) == ("post", "raw", "application/json")
        assert mapper["url"].startswith("https://") and mapper["url"].endswith(EXECUTE)
        assert mapper["rejectUnauthorized"] and mapper["parseResponse"] and int(mapper["timeout"]) <= 300
        assert [header["name"] for header in mapper["headers"]] == ["x-api-key"]


def test_make_runs_and_queues_a_program(hooks, receiver):
    reply = hooks.request("POST", EXECUTE, make_modules()["Run it"]["mapper"]["data"])
    assert reply.response["result"] == {"answer": 42}
    body = json.loads(make_modules()["Queue it"]["mapper"]["data"])
    assert body["webhook_url"].startswith("https://")
    reply = hooks.request("POST", EXECUTE, {**body, "webhook_url": receiver.url("ok/make")})
    assert reply.status == 202
    assert json.loads(receiver.wait("ok/make", 1)[0].body)["job_id"] == reply["job_id"]
