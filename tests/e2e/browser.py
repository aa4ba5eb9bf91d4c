# SPDX-License-Identifier: Apache-2.0
"""Chromium by chromedriver, in the W3C's WebDriver protocol: as much of it as the tests of /docs need."""
import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile

from processes import wait_for

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
CTRL, ENTER, TAB = "\ue009", "\ue007", "\ue004"


def missing():
    return [name for name in ("chromium", "chromedriver") if not shutil.which(name)]


class Browser:
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="hatchery-browser-", ignore_cleanup_errors=True)
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = probe.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
        self.session = None
        wait_for(self.is_there, 30, "chromedriver answers")
        options = {"binary": shutil.which("chromium"), "args": [*ARGUMENTS, f"--user-data-dir={self.directory.name}"]}
        always = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": always}})["sessionId"]

    def is_there(self):
        assert self.driver.poll() is None, "chromedriver ended"
        with contextlib.suppress(OSError):
            return self.call("GET", "/status")["ready"]

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request(method, path, body=None if body is None else json.dumps(body), headers={"content-type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def __call__(self, method, path, body=None):
        return self.call(method, f"/session/{self.session}{path}", body)

    def open(self, url, width=1280, height=900, dark=False):
        self("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})
        self("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}})
        self("POST", "/url", {"url": url})

    def script(self, text, *arguments):
        return self("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def find(self, css):
        return self("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def type(self, css, text):
        self("POST", f"/element/{self.find(css)}/value", {"text": text})

    def set(self, css, text):
        self("POST", f"/element/{self.find(css)}/clear", {})
        self.type(css, text)

    def click(self, css):
        self("POST", f"/element/{self.find(css)}/click", {})

    def press(self, keys):
        """To whatever has the focus."""
        self("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]}]})

    def text(self, css):
        return self.script("return document.querySelector(arguments[0]).innerText", css)

    def complaints(self):
        """What the browser has said of the page since the last time: refused by the policy, not found, an exception."""
        return [entry["message"] for entry in self("POST", "/se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path):
        path.write_bytes(base64.b64decode(self("GET", "/screenshot")))

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            if self.session:
                self("DELETE", "")
        self.driver.terminate()
        self.driver.wait(20)
        self.directory.cleanup()
