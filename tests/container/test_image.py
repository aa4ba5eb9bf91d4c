# SPDX-License-Identifier: Apache-2.0
"""What an engine makes of the Dockerfile (tests/container/image)."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from processes import wait_for  # noqa: E402
from service import HATCHERY, Service  # noqa: E402

pytestmark = pytest.mark.skipif("IMAGE_JSON" not in os.environ, reason="tests/container/image runs this")


@pytest.fixture(scope="module")
def image():
    (described,) = json.loads(pathlib.Path(os.environ["IMAGE_JSON"]).read_text())
    return described


def test_it_says_what_it_is(image):
    config = image["Config"]
    assert config["User"] == "10001:10001" and config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/usr/bin/hatchery"] and config["Cmd"] == ["serve"]
    assert config["Labels"]["org.opencontainers.image.revision"] == os.environ["IMAGE_REVISION"]
    assert list(config["Volumes"]) == ["/var/lib/hatchery"] and list(config["ExposedPorts"]) == ["8080/tcp"]


def test_its_health_check_is_known(image):
    check = image.get("Healthcheck") or image.get("HealthCheck") or image["Config"].get("Healthcheck")
    assert check["Test"] == ["CMD", "/usr/bin/hatchery", "health"]


def test_it_starts_as_it_is():
    """No word of the command line but the address."""
    with Service() as service:
        wait_for(lambda: service.request("GET", "/readyz", key=False).status == 200)
        ready = service.request("GET", "/readyz", key=False)
        assert ready["store"] == "ok" and set(ready["isolation"]["missing"]) <= {"ids", "cgroup"}
        assert service.run("import sys\nreturn sys.version_info[:2]").response["result"] == [3, 11]


def test_it_refuses_to_start_without_a_layer_that_is_required():
    done = subprocess.run([HATCHERY, "serve"], env={**os.environ, "API_KEY": "k", "HATCHERY_ISOLATION_REQUIRE": "all -ids"},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, 2) and "the layer 'cgroup'" in done.stderr and done.stdout == ""


def test_health_where_nothing_runs():
    done = subprocess.run([HATCHERY, "health"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "0.0.0.0:8080" in done.stderr
