"""Rules: which target goes where, as the user wrote them."""

import json
import socket

import pytest

from client import (CONNECTION_REFUSED, HOST_UNREACHABLE, NOT_ALLOWED,
                    SUCCEEDED, http_connect, receive, receive_all,
                    socks5_connect, socks5_tunnel)
from daemon import run
from messages import NOT_RELOADED
from test_refusals import closed_port, refused_everywhere
from test_reload import Tunnel, reload, renew


@pytest.fixture
def ruled(tmp_path, start_culvert):
    """ruled(edge, text) → a culvert with these rules, which has `rules`."""
    def start(edge, text, *flags):
        path = tmp_path / "work.rules"
        path.write_text(text)
        culvert = start_culvert(edge, "--rules", path, *flags)
        culvert.rules = path
        return culvert

    return start


@pytest.fixture
def closed(start_edge):
    """An edge that allows no loopback: only direct connections get there."""
    return start_edge(allow=False)


def reaches(culvert, host, port):
    """Echoes over a tunnel of each front end, half-close included."""
    sock = socks5_tunnel(culvert.port, host, port)
    sock.sendall(b"by SOCKS")
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock) == b"by SOCKS"
    sock.close()
    sock, status, _ = http_connect(culvert.port, host, port)
    assert status == 200
    sock.sendall(b"by HTTP")
    assert receive(sock, 7) == b"by HTTP"
    sock.close()


def test_direct(ruled, closed, origin):
    """The edge does not allow this origin, and this machine reaches it."""
    server = origin()
    culvert = ruled(closed, f"direct 127.0.0.1:{server.port} localhost\n")
    reaches(culvert, "127.0.0.1", server.port)
    reaches(culvert, "localhost", server.port)
    other = origin()
    _, code = socks5_connect(culvert.port, "127.0.0.1", other.port)
    assert code == NOT_ALLOWED


def test_direct_plain_http(ruled, closed, http_origin):
    server = http_origin()
    culvert = ruled(closed, "direct 127.0.0.0/8\n")
    host = f"127.0.0.1:{server.port}"
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", culvert.port)) as sock:
            sock.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n"
                         "Connection: close\r\n\r\n".encode())
            assert receive_all(sock).startswith(b"HTTP/1.1 200 ")


def test_direct_transfer(ruled, closed, origin):
    """Ten megabytes both ways."""
    server = origin()
    culvert = ruled(closed, "direct *\n")
    sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    sock.settimeout(60)
    block = bytes(range(256)) * 4096
    for _ in range(10):
        sock.sendall(block)
        assert receive(sock, len(block)) == block
    sock.close()


@pytest.mark.parametrize("host, code, status, text", [
    ("127.0.0.1", CONNECTION_REFUSED, 502, "refused the connection"),
    ("nowhere.invalid", HOST_UNREACHABLE, 502, "does not resolve"),
    ("127.1", HOST_UNREACHABLE, 502, "does not resolve")])
def test_direct_fails(ruled, closed, host, code, status, text):
    culvert = ruled(closed, "direct *\n")
    if host == "nowhere.invalid":
        # Without a name server it is a time-out, after a while.
        try:
            socket.getaddrinfo(host, 80)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                pytest.skip("no name server here")
    refused_everywhere(culvert, host, closed_port(), code, status, text)


def test_block(ruled, edge, origin):
    """In each protocol, with the place where the rule is written."""
    server = origin()
    culvert = ruled(edge, "# what I do not want\n"
                    "block ads.example *.tracker.example :25\ntunnel *\n")
    for host in ("ads.example", "ADS.example", "a.b.tracker.example"):
        refused_everywhere(culvert, host, 443, NOT_ALLOWED, 403,
                           f"{culvert.rules}:2")
    refused_everywhere(culvert, "127.0.0.1", 25, NOT_ALLOWED, 403,
                       f"{culvert.rules}:2")
    reaches(culvert, "127.0.0.1", server.port)


def test_lists(ruled, edge, tmp_path):
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n"
                                    "0.0.0.0 ads.example other.example\n")
    culvert = ruled(edge, "block @hosts\n")
    refused_everywhere(culvert, "other.example", 80, NOT_ALLOWED, 403,
                       f"{tmp_path}/hosts:2")


def test_no_rule_covers_it(ruled, edge, origin):
    culvert = ruled(edge, "block ads.example\n")
    reaches(culvert, "127.0.0.1", origin().port)


def test_rules_are_replaced(ruled, edge, origin, tmp_path):
    """All at once, or not at all; open tunnels go on."""
    server = origin()
    (tmp_path / "list").write_text("ads.example\n")
    culvert = ruled(edge, "block @list\n")
    tunnel = Tunnel(culvert, server)
    renew(culvert.rules, "block @list 127.0.0.1\n")
    renew(tmp_path / "list", "other.example\n")
    reload(culvert)
    for host in ("127.0.0.1", "other.example"):
        _, code = socks5_connect(culvert.port, host, server.port)
        assert code == NOT_ALLOWED
    tunnel.works()
    renew(culvert.rules, "tunnel *\nblock a*b\n")
    reload(culvert)
    assert f"{culvert.rules}:2: a*b: a * stands alone" in culvert.log
    assert NOT_RELOADED in culvert.log
    _, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    assert code == NOT_ALLOWED
    renew(culvert.rules, "tunnel *\n")
    reload(culvert)
    _, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    assert code == SUCCEEDED
    tunnel.works()


@pytest.mark.parametrize("text, error", [
    ("direct\n", ":1: the rule has no pattern behind its action"),
    ("allow *\n", ":1: allow is no action: tunnel, edge:NAME, direct or block"),
    ("\nblock 10.0.0.1/8\n", ":2: 10.0.0.1/8: this is not a network"),
    ("block @nothing\n", "nothing: No such file or directory"),
    ("edge:eu *\n", ": there is no edge of the name eu")])
def test_wrong_rules(tmp_path, text, error):
    path = tmp_path / "work.rules"
    path.write_text(text)
    done = run("culvert", "-l", "127.0.0.1:0", "--control", tmp_path / "sock",
               "--embedded-edge", "--rules", path)
    assert done.returncode == 1
    assert error in done.stderr


def test_culvertctl_route(ruled, edge, tmp_path):
    culvert = ruled(edge, "direct *.corp.example\nblock ads.example:443\n"
                    "tunnel *.example\n")

    def route(target, *flags):
        return run("culvertctl", "--control", culvert.control, *flags, "route",
                   target)

    assert route("www.corp.example:22").stdout == (
        "target     www.corp.example:22\n"
        "action     direct\n"
        f"rule       {culvert.rules}:1\n")
    assert json.loads(route("ads.example", "--json").stdout) == {
        "target": "ads.example:443", "action": "block",
        "file": str(culvert.rules), "line": 2, "edge": None}
    answer = route("b.example").stdout
    assert "action     tunnel" in answer
    assert f"edge       127.0.0.1:{edge.port}" in answer
    assert "rule       none covers it" in route("[2001:db8::1]:80").stdout
    wrong = route("a b")
    assert wrong.returncode == 2
    assert "HOST or HOST:PORT" in wrong.stderr
    assert run("culvertctl", "route").returncode == 2
