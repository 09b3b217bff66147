"""Firefox as a client of our edge: its proxy type masque, by an extension."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from daemon import DEADLINE, environment, wait_until
from test_browser import end

FIREFOX = shutil.which("firefox-esr")
CERTUTIL = shutil.which("certutil")

# Seconds: as long as Firefox itself waits for a proxy, and more.
PAGE_DEADLINE = 30

PREFS = {
    "marionette.port": 0,
    "network.http.http3.disable_when_third_party_roots_found": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.trr.mode": 5,
    "app.update.enabled": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "services.settings.server": "data:,",
}
MANIFEST = {
    "manifest_version": 2, "name": "proxy", "version": "1",
    "permissions": ["proxy", "<all_urls>"],
    "background": {"scripts": ["proxy.js"]},
    "browser_specific_settings": {"gecko": {"id": "proxy@example.org"}},
}
SCRIPT = """browser.proxy.onRequest.addListener(() => ({
	type: "masque", host: "localhost", port: %d,
	masqueTemplate: "/.well-known/masque/udp/{target_host}/{target_port}/",
}), { urls: ["<all_urls>"] });
"""


class Marionette:
    """Its remote control: lengths and JSON over TCP."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.stream = self.sock.makefile("rb")
        self.number = 0
        self.read()

    def read(self):
        digits = b""
        while not digits.endswith(b":"):
            digits += self.stream.read(1)
        return json.loads(self.stream.read(int(digits[:-1])))

    def call(self, command, **parameters):
        """Returns the error, or None, and the result."""
        self.number += 1
        message = json.dumps([0, self.number, command, parameters]).encode()
        self.sock.sendall(b"%d:%s" % (len(message), message))
        return self.read()[2:]

    def close(self):
        self.stream.close()
        self.sock.close()


@contextlib.contextmanager
def firefox(directory, root, extension):
    profile = directory / "profile"
    profile.mkdir()
    (profile / "user.js").write_text("".join(
        f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
        for name, value in PREFS.items()))
    database = f"sql:{profile}"
    for args in (("-N", "--empty-password"),
                 ("-A", "-n", "test", "-t", "C,,", "-i", root)):
        subprocess.run([CERTUTIL, *args, "-d", database], check=True,
                       timeout=DEADLINE)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        log = stack.enter_context(open(directory / "firefox.log", "wb"))
        process = subprocess.Popen(
            [FIREFOX, "--headless", "--marionette", "--profile", profile],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**environment(), "HOME": str(directory), "TMPDIR": scratch},
            start_new_session=True)
        stack.callback(end, process)
        ready = profile / "MarionetteActivePort"
        port = wait_until(lambda: ready.exists() and ready.read_text(),
                          "Firefox listens")
        browser = stack.enter_context(
            contextlib.closing(Marionette(int(port))))
        browser.call("WebDriver:NewSession")
        browser.call("WebDriver:SetTimeouts", pageLoad=1000 * PAGE_DEADLINE)
        error, _ = browser.call("Addon:Install", path=str(extension),
                                temporary=True)
        assert error is None
        yield browser


@pytest.mark.needs("firefox-esr")
@pytest.mark.skipif(FIREFOX is None or CERTUTIL is None,
                    reason="firefox-esr or libnss3-tools is not installed")
def test_refusals_reach_firefox(start_edge, ca, tmp_path):
    """It shows its own page for a refusal, and does not wait for more: so it
    did where STOP_SENDING came with the response."""
    edge = start_edge("--grace", "0")
    extension = tmp_path / "extension"
    extension.mkdir()
    (extension / "manifest.json").write_text(json.dumps(MANIFEST))
    (extension / "proxy.js").write_text(SCRIPT % edge.port)
    with firefox(tmp_path, ca.root.cert, extension) as browser:
        for url in ("https://10.0.0.1/", "https://10.0.0.2/"):
            error, _ = browser.call("WebDriver:Navigate", url=url)
            edge.wait_for(f"to {re.escape(url[8:-1])}:443 .* "
                          "destination_ip_prohibited")
            assert error is not None
            assert "about:neterror?e=proxyConnectFailure" in error["message"]
