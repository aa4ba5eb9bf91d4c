# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md: every alert has its heading, and a backup that was made as it says can be restored."""
import os
import re
import shutil
import sqlite3

import pytest

import tables
from processes import wait_for
from service import ROOT

yaml = pytest.importorskip("yaml")
TEXT = (ROOT / "docs/operations.md").read_text()


def test_every_alert_has_its_heading():
    (group,) = yaml.safe_load((ROOT / "packaging/prometheus/hatchery.rules.yml").read_text())["groups"]
    alerts = [rule["alert"] for rule in group["rules"]]
    headings = re.findall(r"^### (\w+)\n\n(\S.+)$", TEXT, re.M)
    assert [name for name, _ in headings] == alerts and len(alerts) >= 12
    paragraphs = TEXT.partition("## What each alert means")[2].split("\n### ")[1:]
    assert all("Look:" in paragraph for paragraph in paragraphs)


def test_what_it_names_is_there():
    metrics = tables.metrics()
    stems = set(metrics)
    for name in re.findall(r"\bhatchery_[a-z_]+", TEXT):
        assert name in stems, name
    keys = {f"{section}.{key}" for section, key, *_ in tables.entries("conf/conf.def", "CONF")}
    sections = {key.split(".")[0] for key in keys}
    for key in re.findall(r"`(\w+\.\w+)(?: = [^`]*)?`", TEXT):
        assert key in keys or key.split(".")[0] not in sections or key == "jobs.db", key


def test_a_backup_can_be_restored(make_server, tmp_path):
    server = make_server()
    reply = server.request("POST", "/v1/code/execute/python", {"code": "return 'kept'"}, headers={"idempotency-key": "once"})
    job = reply["job_id"]
    copy = tmp_path / "jobs.db"
    with sqlite3.connect(server.state_dir / "jobs.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)  # what the shell's .backup does
    assert server.request("GET", f"/v1/jobs/{job}").status == 200
    server.stop()
    was = os.stat(server.state_dir / "jobs.db")
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm"):
        (server.state_dir / name).unlink(missing_ok=True)
    restored = server.state_dir / "jobs.db"
    shutil.copy(copy, restored)
    os.chown(restored, was.st_uid, was.st_gid)
    restored.chmod(was.st_mode & 0o777)
    server.announcement = ""
    server.start()
    wait_for(lambda: server.request("GET", "/readyz", key=False)["store"] == "ok")
    again = server.request("POST", "/v1/code/execute/python", {"code": "return 'kept'"}, headers={"idempotency-key": "once"})
    assert again["job_id"] == job and again.response["result"] == "kept"
