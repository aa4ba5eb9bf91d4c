# SPDX-License-Identifier: Apache-2.0
"""What every reply must be like: what /openapi.json promises, and the members of replies to runs and of refusals."""
import re
import uuid

from service import VERSION

try:
    import jsonschema
except ImportError:  # Debian: python3-jsonschema
    jsonschema = None

ENVELOPE = {"code", "id", "job_id", "response", "message", "pid", "queue_id", "run_time", "queue_time", "total_time",
            "queue_length", "build_number"}


class Contract:
    """The paths of a description; check() fails where a reply is not as described."""

    def __init__(self, document):
        self.document = document
        self.validators = {}
        self.checked = set()  # (path, method, status)
        # The more exact path first: /v1/jobs/{id} takes any word.
        self.paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in sorted(document["paths"], key=lambda p: "{" in p)]

    def validator(self, name):
        if name not in self.validators:
            schema = {"$ref": f"#/components/schemas/{name}"} if isinstance(name, str) else \
                {"anyOf": [{"$ref": f"#/components/schemas/{one}"} for one in name]}
            self.validators[name] = jsonschema.Draft202012Validator({**schema, "components": self.document["components"]})
        return self.validators[name]

    def find(self, method, target):
        path = target.partition("?")[0]
        for pattern, template in self.paths:
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][template]:
                return template, self.document["paths"][template][method.lower()]
        return None, None

    def names(self, content):
        """The schemas of a reply that is JSON."""
        schema = content["application/json"]["schema"]
        names = tuple(one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema]))
        return names[0] if len(names) == 1 else names

    def check(self, method, target, reply):
        template, operation = self.find("GET" if method == "HEAD" else method, target)
        where = f"{method} {target} -> {reply.status}"
        if operation is None:
            assert reply.status in (400, 401, 404, 405, 408, 414, 417, 431, 501, 503, 505), where
            names, content = "Error", None
        else:
            response = operation["responses"].get(str(reply.status)) or operation["responses"]["default"]
            content = response["content"]
            if str(reply.status) not in operation["responses"]:
                assert reply.status in (400, 408, 413, 414, 417, 431, 501, 503, 505), f"{where} is not described"
            self.checked.add((template, method, reply.status))
        media = reply.headers["content-type"].partition(";")[0]
        if content and "application/json" not in content:
            assert media in content, f"{where}: {media}"
            return
        assert media == "application/json", where
        if method == "HEAD":
            assert not reply.body
            return
        errors = list(self.validator(names if content is None else self.names(content)).iter_errors(reply.json))
        assert not errors, f"{where} is not as /openapi.json says: {errors[0].message} in {reply.body[:2000]}"


def check_envelope(reply, id=None):
    """The members of every reply to a run."""
    assert ENVELOPE <= set(reply.json)
    assert reply["code"] == reply.status
    assert reply["id"] == id
    assert str(uuid.UUID(reply["job_id"])) == reply["job_id"]
    for name in ("pid", "queue_id", "queue_length"):
        assert type(reply[name]) is int
    assert reply["build_number"] == VERSION
    for name in (b"run_time", b"queue_time", b"total_time"):
        assert re.search(rb'"%s": \d+\.\d{6}[,}]' % name, reply.body), "to the microsecond"
    assert reply["total_time"] >= reply["run_time"] > 0
    assert reply["queue_time"] >= 0
    assert reply.headers["content-type"] == "application/json"


def check_refusal(reply, status, *words):
    assert reply.status == status, reply
    assert reply["code"] == status
    assert reply["message"] == reply["error"]
    assert reply.headers["content-type"] == "application/json"
    for word in words:
        assert word in reply["error"], reply["error"]
