"""curl through the proxy, in each of the ways that it knows."""

import re
import ssl
import subprocess

import pytest

from client import USER, connect, receive_all
from daemon import DEADLINE
from origin import pattern

pytestmark = pytest.mark.needs("curl")

SIZE = 300000


def curl(*args):
    """Runs curl: returncode, stdout (bytes), stderr."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", str(DEADLINE),
         "--noproxy", "", *map(str, args)],
        capture_output=True, check=False, timeout=2 * DEADLINE,
        env={"PATH": "/usr/bin:/bin"})


def body(*args):
    done = curl(*args)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def https_context(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.good.cert, ca.good.key)
    return context


def proxy(kind, port):
    """curl's flags for a proxy of this kind."""
    return {
        "socks5": ["--socks5", f"127.0.0.1:{port}"],
        "socks5h": ["--socks5-hostname", f"127.0.0.1:{port}"],
        "socks4": ["--socks4", f"127.0.0.1:{port}"],
        "socks4a": ["--socks4a", f"127.0.0.1:{port}"],
        "connect": ["--proxy", f"http://127.0.0.1:{port}", "--proxytunnel"],
        "plain": ["--proxy", f"http://127.0.0.1:{port}"],
    }[kind]


KINDS = ["socks5", "socks5h", "socks4", "socks4a", "connect", "plain"]
NAMES = ["socks5h", "socks4a", "connect", "plain"]
V6 = ["socks5", "socks5h", "connect", "plain"]


@pytest.mark.parametrize("kind", KINDS)
def test_http(culvert, edge, http_origin, kind):
    server = http_origin()
    assert body(*proxy(kind, culvert.port),
                server.url(f"/bytes/{SIZE}")) == pattern(SIZE)
    edge.wait_for(fr"to 127\.0\.0\.1:{server.port} .* 3\d{{5}} down")


@pytest.mark.parametrize("kind", KINDS)
def test_https(culvert, ca, http_origin, https_context, kind):
    server = http_origin(context=https_context)
    assert body(*proxy(kind, culvert.port), "--cacert", ca.root.cert,
                server.url(f"/bytes/{SIZE}")) == pattern(SIZE)


@pytest.mark.parametrize("kind", NAMES)
def test_name(culvert, edge, http_origin, kind):
    """The name reaches the edge as a name."""
    server = http_origin()
    url = server.url("/here").replace("127.0.0.1", "localhost")
    assert body(*proxy(kind, culvert.port), url) == b"/here"
    edge.wait_for(fr"to localhost:{server.port} ")


@pytest.mark.parametrize("kind", NAMES)
def test_odd_names(embedded, http_origin, kind):
    """As curl sends them, and as ssh and others would without a proxy."""
    server = http_origin()
    for name in ("localhost.", "LOCALHOST.", "a.b.localhost", "127.0.0.1."):
        url = server.url("/odd").replace("127.0.0.1", name)
        assert body(*proxy(kind, embedded.port), url) == b"/odd"


@pytest.mark.parametrize("kind", V6)
def test_ipv6(culvert, http_origin, kind):
    server = http_origin(host="::1")
    assert body(*proxy(kind, culvert.port), server.url("/six")) == b"/six"


def test_upload(culvert, http_origin, tmp_path):
    server = http_origin()
    (tmp_path / "body").write_bytes(pattern(SIZE))
    digest = subprocess.run(
        ["sha256sum", tmp_path / "body"], check=True, text=True,
        capture_output=True, timeout=DEADLINE).stdout.split()[0]
    for kind in KINDS:
        assert body(*proxy(kind, culvert.port), "--data-binary",
                    f"@{tmp_path / 'body'}", server.url()) == digest.encode()


# ---- A listener with a password ----

@pytest.mark.parametrize("kind", ["socks5h", "connect", "plain"])
def test_right_password(start_culvert, edge, http_origin, users, kind):
    culvert = start_culvert(edge, "--listen-users", users)
    server = http_origin()
    assert body(*proxy(kind, culvert.port), "--proxy-user",
                ":".join(USER), server.url("/in")) == b"/in"


@pytest.mark.parametrize("kind", ["socks5h", "connect", "plain"])
@pytest.mark.parametrize("user", [None, "alice:wrong", "bob:correct horse"])
def test_wrong_password(start_culvert, edge, http_origin, users, kind, user):
    culvert = start_culvert(edge, "--listen-users", users)
    server = http_origin()
    flags = ["--proxy-user", user] if user else []
    done = curl(*proxy(kind, culvert.port), *flags, "--write-out",
                "%{http_code} %{http_connect}", server.url("/in"))
    if kind == "socks5h":
        assert done.returncode == 97, done.stderr
    else:
        assert b"407" in done.stdout
    assert server.requests == []


def test_socks4_has_no_password(start_culvert, edge, http_origin, users):
    culvert = start_culvert(edge, "--listen-users", users)
    server = http_origin()
    assert curl(*proxy("socks4", culvert.port), server.url()).returncode == 97
    assert server.requests == []


# ---- The proxy's own pages ----

def test_pac(embedded):
    """The browser gets the listener's own address."""
    done = body(f"http://127.0.0.1:{embedded.port}/proxy.pac", "--include")
    head, _, pac = done.decode().partition("\r\n\r\n")
    assert "content-type: application/x-ns-proxy-autoconfig" in head.lower()
    assert f'"SOCKS5 127.0.0.1:{embedded.port}; ' \
        f'PROXY 127.0.0.1:{embedded.port}"' in pac


def test_page(embedded):
    page = body(f"http://localhost:{embedded.port}/").decode()
    for line in re.findall(r"curl (--.*) https://example.com/", page):
        assert f"127.0.0.1:{embedded.port}" in line
    assert page.count("curl ") == 2


@pytest.mark.parametrize("host", [
    "rebound.example", "rebound.example:{port}", "127.0.0.1:1",
    "127.0.0.2:{port}", "localhost.rebound.example:{port}"])
def test_rebinding(embedded, host):
    """A page of another site must not read the proxy's own."""
    host = host.format(port=embedded.port)
    for path in ("/", "/proxy.pac"):
        with connect(embedded.port) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
                         .encode())
            answer = receive_all(sock)
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert b"FindProxy" not in answer


def test_tls_on_the_plain_port(culvert):
    """As `--proxy https://` has it: an alert, and a sentence in the log."""
    for _ in range(2):
        done = curl("--proxy", f"https://127.0.0.1:{culvert.port}",
                    "http://127.0.0.1/")
        assert done.returncode == 35
        assert b"alert unexpected message" in done.stderr
    culvert.wait_idle()
    assert len(re.findall(r"warning: 127\.0\.0\.1:\d+ speaks TLS to this "
                          r"port, .* must say http://, not https://",
                          culvert.log)) == 1
