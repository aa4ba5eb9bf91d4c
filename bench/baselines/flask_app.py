# SPDX-License-Identifier: Apache-2.0
#
# The well-known form of this API, as a baseline for the bench: a Flask endpoint that writes the program to a
# file and starts python3 on it, one new process a request, with no jail around it. bench.py starts it under gunicorn,
# on loopback and for the length of the measurement only. Never serve anything with it: it runs what it is sent, as you.

import hmac
import os
import subprocess
import sys
import tempfile
import time
import uuid

from flask import Flask, jsonify, request

app = Flask(__name__)


def run_file(path, timeout):
    """Run the file in a new interpreter; the reply's status and body."""
    try:
        done = subprocess.run([sys.executable, path], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return 408, {"error": f"Execution timed out after {timeout} seconds"}
    if done.returncode != 0:
        return 400, {"error": done.stderr, "stdout": done.stdout, "exit_code": done.returncode}
    result = {"result": None, "stdout": done.stdout, "stderr": done.stderr, "exit_code": 0}
    return 200, {"response": result, "message": "success"}


@app.post("/v1/code/execute/python")
def execute():
    if not hmac.compare_digest(request.headers.get("x-api-key", ""), os.environ["API_KEY"]):
        return jsonify(error="Unauthorized"), 401
    started = time.monotonic()
    asked = request.get_json()
    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as program:
        program.write(asked["code"])
        program.flush()
        status, reply = run_file(program.name, asked.get("timeout", 30))
    reply.update(code=status, id=asked.get("id"), job_id=str(uuid.uuid4()), pid=os.getpid(),
                 run_time=round(time.monotonic() - started, 6))
    return jsonify(reply), status
