# SPDX-License-Identifier: Apache-2.0
"""`server` is shared by all tests that do it no harm; `make_server` makes one with a configuration of its own."""
import signal

import pytest

import contract as contract_module
from receiver import HOOKS, Receiver
from service import Service

# A shell that starts us in the background, or nohup(1), has some signals ignored, which all that we start would inherit.
# What has a handler is a program's own again when it is executed.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def contract():
    """The description of the API, which every reply that Service.request() gets is held against."""
    if contract_module.jsonschema is None:
        yield None
        return
    with Service("--state", "none") as service:
        Service.contract = contract_module.Contract(service.request("GET", "/openapi.json", key=False).json)
    yield Service.contract
    Service.contract = None


@pytest.fixture(scope="session")
def server():
    with Service() as service:
        yield service


@pytest.fixture
def make_server():
    made = []

    def make(*arguments, **keywords):
        made.append(Service(*arguments, **keywords))
        return made[-1]

    yield make
    for service in made:
        if service.log_path.is_file():
            print(service.log_text()[-5000:])  # shown where the test has failed
        service.stop(at_once=True)
        service.directory.cleanup()


def pytest_make_parametrize_id(val):
    """Long values are told by their beginning: an id is a line of the report."""
    text = repr(val)
    return f"{text[:50]}..{len(text)}" if isinstance(val, (str, bytes)) and len(text) > 80 else None


@pytest.fixture(scope="session")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="session")
def hooks():
    """A server whose webhooks may go to loopback, with a quick schedule."""
    with Service(env=HOOKS) as service:
        yield service
