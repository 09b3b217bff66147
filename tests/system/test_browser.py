"""A browser: a page and its subresources, through each kind of proxy."""

import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.parse

import pytest

from daemon import DEADLINE, environment, wait_until
from origin import Handler, HttpOrigin, read_request
from sites import SHOWN

pytestmark = pytest.mark.needs("chromium")

CHROMIUM = shutil.which("chromium") or "chromium-browser"
FLAGS = ["--headless", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update",
         # Here the proxy is to be used for loopback, too.
         "--proxy-bypass-list=<-loopback>"]

# The content of each subresource, by its number.
KINDS = {
    "css": ("text/css", ":root {{ --s{0}: 1 }}\n/* {1} */\n"),
    "js": ("text/javascript", "arrived('/js/{0}');\n/* {1} */\n"),
    "svg": ("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg" '
            'width="{0}" height="1"><!-- {1} --></svg>\n'),
    "txt": ("text/plain", "{0} {1}\n"),
}
EACH = 30
PATHS = {f"/{kind}/{i}" for kind in KINDS for i in range(1, EACH + 1)}

# The page itself reports what has arrived: scripts that ran, styles that
# apply, images of the right size, texts as they should be.
PAGE = """<!DOCTYPE html>
<html><head><title>120</title><script>
const paths = new Set();
function arrived(path) {
	paths.add(path);
	if (paths.size == %d)
		fetch("/done");
}
function styled(i) {
	const root = getComputedStyle(document.documentElement);
	if (root.getPropertyValue("--s" + i).trim() == "1")
		arrived("/css/" + i);
}
function drawn(img, i) {
	if (img.naturalWidth == i)
		arrived("/svg/" + i);
}
async function read(i) {
	const answer = await fetch("/txt/" + i);
	if ((await answer.text()).startsWith(i + " "))
		arrived("/txt/" + i);
}
</script>
%s
</head><body>
%s
</body></html>
"""
NUMBERS = range(1, EACH + 1)
HTML = PAGE % (
    len(PATHS),
    "\n".join(f'<link rel="stylesheet" href="/css/{i}" onload="styled({i})">'
              for i in NUMBERS),
    "\n".join(f'<script src="/js/{i}"></script><script>read({i})</script>'
              f'<img src="/svg/{i}" onload="drawn(this, {i})">'
              for i in NUMBERS))


def content(path):
    """The type and the text of a path; some are long."""
    if path not in PATHS:
        return "text/html; charset=utf-8", HTML if path == "/" else ""
    kind, number = path.split("/")[1:]
    mime, text = KINDS[kind]
    return mime, text.format(number, "." * (int(number) * 1999))


class PageHandler(Handler):
    def do_GET(self):
        self.server.requests.append(self.path)
        mime, text = content(self.path)
        self.send_response(200)
        self.send_header("Content-Type", mime)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class PageOrigin(HttpOrigin):
    connections = 0

    def verify_request(self, request, client_address):
        self.connections += 1
        return True


@pytest.fixture
def page(request, ca):
    """An origin of the page by the parameter's scheme."""
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.good.cert, ca.good.key)
    with contextlib.closing(PageOrigin(handler=PageHandler,
                                       context=context)) as server:
        server.address = f"{request.param}://localhost:{server.port}/"
        yield server


def end(process):
    """Ends a browser, and its processes."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(DEADLINE)


@contextlib.contextmanager
def chromium(directory, *args):
    """A browser of its own, which is gone afterwards."""
    if os.geteuid() == 0:
        args = ("--no-sandbox", *args)
    with contextlib.ExitStack() as stack:
        # It leaves a socket there, and tmp_path may be too long for its name.
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        log = stack.enter_context(open(directory / "browser.log", "wb"))
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={directory}/profile", *args],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**environment(), "HOME": str(directory), "TMPDIR": scratch},
            start_new_session=True)
        stack.callback(end, process)
        yield


# Hosts that only this machine or its network knows, and others that look so.
NEAR = ["intranet", "printer.local", "x.localhost", "a.internal",
        "nas.home.arpa", "10.1.2.3", "172.16.0.1", "172.31.255.254",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.2",
        "[fd00::1]", "[fe80::1]", "[::1]", "[fc00::a]", "PRINTER.Local"]
FAR = ["10.1.2.3.example", "172.32.0.1", "172.15.0.1", "192.169.1.1",
       "100.128.0.1", "11.1.2.3", "local.example", "notlocal.example",
       "10.example", "[2001:db8::1]", "[fd::1]", "[::2]", "fd00.example"]


class NearHandler(Handler):
    def do_GET(self):
        self.server.requests.append(self.path)
        body = self.server.page if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("all_of_it", [False, True], ids=["", "all"])
def test_pac_in_a_browser(start_embedded, http_origin, tmp_path, all_of_it):
    """Local names are reached directly, and all others by the proxy. All names
    lead the browser here: the path names the request."""
    server = http_origin(handler=NearHandler)
    culvert = start_embedded("--deny", "0.0.0.0/0", "--deny", "::/0")
    server.page = "".join(f'<img src="http://{host}:{server.port}/{i}">'
                          for i, host in enumerate(NEAR + FAR)).encode()
    query = "?all" if all_of_it else ""
    # Chromium uses no proxy for loopback and link-local addresses.
    never = {"x.localhost", "127.0.0.2", "[::1]", "169.254.169.254",
             "[fe80::1]"}
    near = {host.lower() for host in (never if all_of_it else NEAR)}
    hosts = {host.lower() for host in NEAR + FAR}
    with chromium(tmp_path, f"--proxy-pac-url=http://127.0.0.1:{culvert.port}"
                  f"/proxy.pac{query}",
                  "--host-resolver-rules=MAP * 127.0.0.1, EXCLUDE 127.0.0.1",
                  f"http://127.0.0.1:{server.port}/"):
        def asked():
            return {match.strip("[]") if ":" not in match else match
                    for match in re.findall(
                        rf" to (\S+):{server.port}(?: \(\S+\))?: .* down",
                        culvert.log)}

        def direct():
            return {host.lower() for i, host in enumerate(NEAR + FAR)
                    if f"/{i}" in server.requests}

        wait_until(lambda: asked() | direct() >= hosts,
                   "each host is asked for in some way")
        assert direct() == near
        assert asked() == hosts - near


@pytest.mark.parametrize("proxy", ["socks5", "http"])
@pytest.mark.parametrize("page", ["http", "https"], indirect=True)
def test_page(page, proxy, culvert, edge, ca, tmp_path):
    key = ca.good.pin().removeprefix("sha256//")
    with chromium(tmp_path, f"--proxy-server={proxy}://127.0.0.1:"
                  f"{culvert.port}",
                  f"--ignore-certificate-errors-spki-list={key}",
                  page.address):
        wait_until(lambda: "/done" in page.requests,
                   f"a whole page; {tmp_path}/browser.log may say why")
    assert PATHS <= set(page.requests)
    # Each connection at the origin was the edge's, to a name that was resolved
    # only there.
    end = rf"to localhost:{page.port} \(127\.0\.0\.1:{page.port}\): "
    edge.wait_for(end, page.connections)
    culvert.wait_idle()
    assert len(re.findall(end, edge.log)) == page.connections


# ---- Invalid responses ----

# Renders every response in a frame, and reports what a script and a user see
# of it.
SITES = """<!DOCTYPE html>
<html><body><script>
async function fetched(path) {
	try {
		const answer = await fetch(path);
		return [answer.status, answer.statusText, await answer.text()];
	} catch (error) {
		return [String(error)];
	}
}
async function shown(path) {
	const frame = document.createElement("iframe");
	const loaded = new Promise(done => frame.onload = done);
	frame.src = path;
	document.body.append(frame);
	await loaded;
	return frame.contentDocument && frame.contentDocument.body.innerText;
}
async function both(name) {
	const path = "/" + encodeURIComponent(name);
	return [name, await fetched(path), await shown(path)];
}
Promise.all(%s.map(both)).then(report =>
	fetch("/report", {method: "POST", body: JSON.stringify(report)}));
</script></body></html>
""" % json.dumps(list(SHOWN))


class Sites:
    """One origin for all of them."""

    def __init__(self):
        self.report = None

    def __call__(self, sock):
        head, body = read_request(sock)
        name = urllib.parse.unquote(head.split()[1].split("?")[0][1:])
        if name == "report":
            self.report = {name: rest for name, *rest in json.loads(body)}
        sock.sendall(SHOWN.get(name) or (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" +
            (SITES.encode() if name == "" else b"")))


def test_what_sites_send(culvert, origin, tmp_path):
    """Directly, by SOCKS and by HTTP, the three renderings are equal."""
    reports = {}
    for way in ("direct", "socks5", "http"):
        sites = Sites()
        address = f"http://127.0.0.1:{origin(sites).port}/"
        (tmp_path / way).mkdir()
        proxy = "direct://" if way == "direct" else \
            f"{way}://127.0.0.1:{culvert.port}"
        with chromium(tmp_path / way, f"--proxy-server={proxy}", address):
            wait_until(lambda sites=sites: sites.report is not None,
                       f"a report; {tmp_path}/{way}/browser.log may say why")
        reports[way] = sites.report
    assert len(reports["direct"]) == len(SHOWN) > 20
    for name, outcome in reports["direct"].items():
        assert "hello" in outcome[0][-1] and "hello" in outcome[1], name
    assert reports["socks5"] == reports["direct"]
    assert reports["http"] == reports["direct"]
