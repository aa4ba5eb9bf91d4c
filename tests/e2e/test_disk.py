# SPDX-License-Identifier: Apache-2.0
"""The store's disk goes bad under a running server: full, read-only, damaged.  What was accepted is kept, synchronous runs
go on, and where the disk gets well again so does the store, by itself."""
import contextlib
import json
import os
import shutil
import subprocess

import pytest

from processes import wait_for
from receiver import HOOKS
from service import ASLEEP

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")


def call(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def mounted(directory, *options):
    call("mount", *options, directory)
    try:
        yield directory
    finally:
        call("umount", "-l", directory)


def store_word(service):
    return service.request("GET", "/readyz", key=False)["store"]


def check_refused(service, url, words):
    """An asynchronous request is refused by name, a synchronous one runs."""
    reply = service.run("return 1", webhook_url=url)
    assert reply.status == 503 and words in reply["error"] and int(reply.headers["retry-after"]) >= 1
    reply = service.request("POST", "/v1/code/execute/python", {"code": "return 2"}, headers={"idempotency-key": "k"})
    assert reply.status == 503 and words in reply["error"]
    assert service.run("return 'sync'").response["result"] == "sync"
    assert store_word(service) == "failing"


def results(receiver, path, count):
    return sorted(json.loads(d.body)["response"]["result"] for d in receiver.wait(path, count, 60))


def submit(service, url):
    """Three jobs of which the first runs until it is woken; its id."""
    jobs = [service.run(f"{ASLEEP if n == 0 else 'pass'}; return {n}", timeout=250, webhook_url=url) for n in range(3)]
    assert [job.status for job in jobs] == [202] * 3
    wait_for(lambda: service.below("sleep"), 30, "the first one runs")
    return jobs[0]["job_id"]


def fill(path, receiver, service):
    """Take all the room that is left, whatever the store makes free meanwhile, until it refuses."""
    accepted = []
    with open(path, "wb", 0) as file:
        while True:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            reply = service.run("#" + "x" * 20000 + "\nreturn 'late'", webhook_url=receiver.url("ok/filled/late"))
            if reply.status == 503:
                return accepted
            assert reply.status == 202
            accepted.append(reply["job_id"])


def test_a_disk_that_fills_and_is_emptied(make_server, receiver, tmp_path):
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=8m,mode=755", "none"):
        service = make_server("--state", str(tmp_path / "state"), env={**HOOKS, "HATCHERY_POOL_MAX_RUNS": "1"})
        first = submit(service, receiver.url("ok/filled"))  # which ends while there is no room for its result
        late = fill(tmp_path / "filler", receiver, service)
        service.end_sleepers()
        check_refused(service, receiver.url("ok/filled"), "full")
        service.logged("run finished", job_id=first)
        check_refused(service, receiver.url("ok/filled"), "full")
        line = service.logged("the store refuses to write: asynchronous requests get 503 until it can")
        assert line["errno"] == "ENOSPC" and "free some space" in line["hint"]
        os.unlink(tmp_path / "filler")
        wait_for(lambda: store_word(service) == "ok", 20, "well again, and nobody has asked for anything")
        service.logged("the store writes again")
        assert results(receiver, "ok/filled", 3) == [0, 1, 2], "each once"
        if late:
            assert len({json.loads(d.body)["job_id"] for d in receiver.wait("ok/filled/late", len(late), 60)}) == len(late)
        assert service.run("return 'again'", webhook_url=receiver.url("ok/filled/again")).status == 202
        assert results(receiver, "ok/filled/again", 1) == ["again"]
        assert service.stop() == 0


def mended(image, directory):
    """Unmounted, checked, mounted: false where the loop device of before was still on its way out."""
    subprocess.run(["umount", directory], capture_output=True)
    if subprocess.run(["fsck.ext4", "-f", "-y", image], capture_output=True).returncode > 1:
        return False
    call("mount", "-o", "loop", image, directory)
    with contextlib.suppress(OSError):
        (directory / "written").write_text("x")
        (directory / "written").unlink()
        return True
    return False


def test_a_file_system_that_becomes_read_only(make_server, receiver, tmp_path):
    """As ext4 does after an error of the disk, under files that are open.  Only an unmounting makes it well."""
    image, directory = tmp_path / "image", tmp_path / "disk"
    directory.mkdir()
    try:
        call("truncate", "-s", "16M", image)
        call("mkfs.ext4", "-q", image)
        call("mount", "-o", "loop,errors=remount-ro", image, directory)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no loop devices with ext4 here")
    try:
        trigger = f"/sys/fs/ext4/{os.path.basename(call('findmnt', '-n', '-o', 'SOURCE', directory))}/trigger_fs_error"
        if not os.access(trigger, os.W_OK):
            pytest.skip("no way to make ext4 find an error")
        directory.chmod(0o755)
        service = make_server("--state", str(directory / "state"), env={**HOOKS, "HATCHERY_POOL_MAX_RUNS": "1"})
        first = submit(service, receiver.url("ok/ro"))
        server = service.child("server")
        with open(trigger, "w") as file:
            file.write("1")
        # The first that writes may still find the journal being given up, which is no more than an EIO.
        wait_for(lambda: "read-only" in service.run("return 1", webhook_url=receiver.url("ok/ro"))["error"], 20)
        service.end_sleepers()
        check_refused(service, receiver.url("ok/ro"), "read-only")
        service.logged("run finished", job_id=first)
        check_refused(service, receiver.url("ok/ro"), "read-only")
        line = service.logged("the store refuses to write: asynchronous requests get 503 until it can", errno="EROFS")
        assert "remount" in line["hint"]
        assert service.child("server") == server
        assert service.stop(at_once=True) == 0
        wait_for(lambda: mended(image, directory), 20, "a disk that can be written to")
        service.announcement = ""
        service.start()
        wait_for(lambda: service.below("sleep"), 30, "what could not be kept of the first one is run again")
        service.end_sleepers()
        assert results(receiver, "ok/ro", 3) == [0, 1, 2]
        assert service.stop() == 0
    finally:
        subprocess.run(["umount", "-l", directory], capture_output=True)


def test_a_file_that_is_damaged_and_restored(make_server, receiver, tmp_path):
    service = make_server(env={**HOOKS, "HATCHERY_POOL_MAX_RUNS": "1"})
    jobs = [service.run(f"return {n}", webhook_url=receiver.url("ok/torn"))["job_id"] for n in range(20)]
    assert results(receiver, "ok/torn", 20) == list(range(20))
    store, log = service.state_dir / "jobs.db", service.state_dir / "jobs.db-wal"
    wait_for(lambda: log.stat().st_size == 0, 20, "all of it is in the file")
    shutil.copyfile(store, tmp_path / "copy")
    good = store.read_bytes()
    with open(store, "r+b") as file:  # as the disk would do it: the same file, and only the first page is as it was
        file.seek(4096)
        file.write(os.urandom(len(good) - 4096))

    def noticed():
        return service.request("GET", f"/v1/jobs/{jobs[0]}").status == 503

    wait_for(noticed, 20, "a page that is none")
    check_refused(service, receiver.url("ok/torn"), "damaged")
    line = service.logged("the store is damaged: asynchronous requests get 503 until its file is restored")
    assert "malformed" in line["sqlite"] and "backup" in line["hint"]
    with open(store, "r+b") as file:
        file.write(good)
    wait_for(lambda: store_word(service) == "ok", 20, "well again")
    assert service.run("return 'again'", webhook_url=receiver.url("ok/torn/again")).status == 202
    assert results(receiver, "ok/torn/again", 1) == ["again"]
    assert [service.request("GET", f"/v1/jobs/{job_id}")["reply"]["response"]["result"] for job_id in jobs] == list(range(20))
    assert len(service.log("the store is damaged: asynchronous requests get 503 until its file is restored")) == 1
    assert service.stop() == 0


@pytest.mark.parametrize("name", ["jobs.db", "jobs.db-wal"])
def test_files_that_are_taken_away_and_put_back(make_server, receiver, name):
    service = make_server(env=HOOKS)
    assert service.run("return 1", webhook_url=receiver.url(f"ok/away/{name}")).status == 202
    receiver.wait(f"ok/away/{name}")
    os.rename(service.state_dir / name, service.state_dir / "away")
    check_refused(service, receiver.url("ok/away/no"), "cannot be used")
    line = service.logged("the store refuses to write: asynchronous requests get 503 until it can")
    assert line["errno"] == "EIDRM" and "put its files back" in line["hint"]
    os.rename(service.state_dir / "away", service.state_dir / name)
    wait_for(lambda: store_word(service) == "ok", 20, "well again")
    assert service.run("return 2", webhook_url=receiver.url(f"ok/away/{name}")).status == 202
    assert results(receiver, f"ok/away/{name}", 2) == [1, 2]
