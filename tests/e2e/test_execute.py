# SPDX-License-Identifier: Apache-2.0
"""POST /v1/code/execute/python: the contract."""


def test_the_seed(server):
    reply = server.request("POST", "/v1/code/execute/python",
                           {"code": "print('Hello, World!')", "timeout": 10, "id": "unique-request-id"})
    assert reply.status == 200
    assert reply["code"] == 200
    assert reply["id"] == "unique-request-id"
    assert len(reply["job_id"]) == 36
    assert reply["response"] == {"result": None, "stdout": "Hello, World!\n", "stderr": "", "exit_code": 0}
    assert reply["message"] == "success"
    assert {"pid", "queue_id", "run_time", "queue_time", "total_time", "queue_length", "build_number"} <= set(reply.json)
