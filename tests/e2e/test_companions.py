# SPDX-License-Identifier: Apache-2.0
"""Beside the runs: whose key it is, how the server is, and what each reply says of itself."""
import pytest

from contract import ENVELOPE, check_envelope, check_refusal


def test_authenticate(server):
    reply = server.request("GET", "/v1/toolkit/authenticate")
    assert ENVELOPE <= set(reply.json)
    assert reply.response == "Authorized"
    reply = server.request("GET", "/v1/toolkit/authenticate", key=False)
    check_refusal(reply, 401, "Unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(server, path):
    assert server.request("GET", path, key=False).status == 200


@pytest.mark.parametrize("id", ["", "x" * 10000, "ä\u2028🐍", '"}, \\', "a\r\nSet-Cookie: x", "\0", "null"])
def test_the_id_comes_back_as_it_is(server, id):
    reply = server.run("return 1", id=id)
    check_envelope(reply, id)
    assert "set-cookie" not in reply.headers


def test_numbers_differ_from_run_to_run(server):
    replies = [server.run("return 1") for _ in range(5)]
    assert len({reply["job_id"] for reply in replies}) == 5
    assert len({reply["pid"] for reply in replies}) == 1, "it is the server's"
    assert len({reply["queue_id"] for reply in replies}) == 1


def test_a_program_has_a_user_name_in_every_slot(server):
    """The home directory and the name do not depend on which slot, and so which user id, a run was given."""
    code = ("import grp, os, pathlib, pwd\n"
            "user = pwd.getpwuid(os.getuid())\n"
            "return [os.getuid(), user.pw_dir, grp.getgrgid(os.getgid()).gr_name, pathlib.Path('.').owner()]")
    seen = {}
    for _ in range(40):
        uid, home, group, owner = server.run(code).response["result"]
        seen[uid] = (home, group, owner)
    if 0 in seen:  # an ordinary user's server has one id for all
        assert len(seen) == 1
    else:
        assert len(seen) > 1 and set(seen.values()) == {("/run/box/work", "box", "box")}
