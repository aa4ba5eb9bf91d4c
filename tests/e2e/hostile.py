# SPDX-License-Identifier: Apache-2.0
"""Programs that mean harm: each reply must be whole, and the server as good as before."""
import textwrap
import time

LATE = 8  # seconds that a loaded machine may add to a timeout of one


def attack(server, code, **members):
    """Run @code; every reply must be whole, and the server as good as before."""
    members.setdefault("timeout", 20)
    started = time.monotonic()
    reply = server.run(textwrap.dedent(code), **members)
    assert time.monotonic() - started < members["timeout"] + LATE
    assert reply.status in (200, 400, 408, 500), reply
    body = reply["response"] if reply.status == 200 else reply.json
    assert isinstance(body["stdout"], str) and isinstance(body["stderr"], str)
    assert 0 <= body["exit_code"] <= 255
    assert reply["code"] == reply.status
    assert (reply["response"] is not None) == (reply.status == 200) == ("error" not in reply)
    if reply.status != 200:
        assert reply["error"] and reply["message"] and "\n" not in reply["message"]
        assert reply["reason"] in ("exception", "syntax", "exit", "signal", "timeout", "memory", "result")
    after = server.run("print('next')\nreturn 7")
    assert after.response == {"result": 7, "stdout": "next\n", "stderr": "", "exit_code": 0}
    return reply


def succeeded(reply, result, stdout=None):
    assert reply.response["result"] == result, reply
    assert reply.response["exit_code"] == 0
    if stdout is not None:
        assert reply.stdout == stdout
