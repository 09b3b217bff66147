"""The log: a line for each tunnel, and no more than its level allows."""

import base64
import json
import os
import socket
import subprocess

import pytest

from client import (HOST_UNREACHABLE, NOT_ALLOWED, USER, connect,
                    http_connect, http_head, receive, receive_all, reset,
                    socks5_connect, socks5_greet, socks5_tunnel)
from daemon import BUILD, DEADLINE, environment, wait_until

# A closed port, and an address that is out of reach.
NOWHERE = "nowhere.invalid"
PROHIBITED = "10.77.66.55"

# The line of a tunnel's end, as text and as an object.
SENTENCE = " bytes up, "
MESSAGE = "tunnel ended"

WRONG = "wrong horse"
MISTYPED = "sesame, open"


def ends(daemon, json_format):
    """The lines of tunnels' ends."""
    lines = daemon.log.splitlines()
    if json_format:
        return [line for line in map(json.loads, lines)
                if line["message"] == MESSAGE]
    return [line for line in lines if SENTENCE in line]


def basic(user):
    return base64.b64encode(":".join(user).encode()).decode()


def use(proxy, server):
    """Tunnels of all kinds of ends; returns how many clients that took."""
    local = ("127.0.0.1", server.port)
    with socks5_tunnel(proxy, *local, USER) as sock:
        sock.sendall(b"ping")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"ping"
    sock = socks5_tunnel(proxy, *local, USER)
    sock.sendall(b"x")
    receive(sock, 1)
    reset(sock)
    for host, code in ((NOWHERE, HOST_UNREACHABLE),
                       (PROHIBITED, NOT_ALLOWED)):
        sock, got = socks5_connect(proxy, host, 80, USER)
        assert got == code
        sock.close()
    allowed = f"Proxy-Authorization: Basic {basic(USER)}\r\n"
    denied = f"Proxy-Authorization: Basic {basic((MISTYPED, WRONG))}\r\n"
    for fields, status in ((allowed, 502), (denied, 407), ("", 407)):
        sock, got, _ = http_connect(proxy, NOWHERE, 80, fields)
        assert got == status
        sock.close()
    with connect(proxy) as sock:
        assert not socks5_greet(sock, (USER[0], WRONG))
    with connect(proxy) as sock:
        sock.sendall(f"GET http://{NOWHERE}/{WRONG}\x01 HTTP/1.1\r\n"
                     f"Host: {NOWHERE}\r\n{allowed}\r\n".encode())
        assert http_head(sock)[0] == 400 # a control character
    return 9


@pytest.fixture(params=[("text", ""), ("text", "-v"), ("text", "-vv"),
                        ("json", ""), ("json", "-v"), ("json", "-vv")],
                ids=" ".join)
def logs(request, start, ca, users, tmp_path, origin):
    """(json?, level, culvert, edge, clients) after the traffic of use()."""
    form, level = request.param
    secret = tmp_path / "secret"
    secret.write_text(":".join(USER) + "\n")
    secret.chmod(0o600)
    flags = ("--log-format", form, *([level] if level else []))
    edge = start("culvert-edge", "-l", "127.0.0.1:0", "--cert", ca.good.cert,
                 "--key", ca.good.key, "--allow", "127.0.0.0/8", "--users",
                 users, *flags)
    culvert = start("culvert", "-l", "127.0.0.1:0", "--listen-users", users,
                    "-e", f"127.0.0.1:{edge.port}", "--ca", ca.root.cert,
                    "--user-file", secret, *flags)
    clients = use(culvert.port, origin())
    stranger = start("culvert", "-l", "127.0.0.1:0", "--ca", ca.root.cert,
                     "-e", f"127.0.0.1:{edge.port}", "--user",
                     f"{MISTYPED}:{WRONG}", *flags)
    sock, code = socks5_connect(stranger.port, NOWHERE, 80)
    assert code == NOT_ALLOWED
    sock.close()
    if level:
        wait_until(lambda: len(ends(culvert, form == "json")) >= clients,
                   "each client has its line")
    return form == "json", level, culvert, edge, clients


def test_what_is_logged(logs, users):
    json_format, level, culvert, edge, clients = logs
    for daemon in (culvert, edge):
        daemon.stop()
    both = culvert.log + edge.log
    for secret in (USER[1], WRONG, MISTYPED, basic(USER),
                   basic((MISTYPED, WRONG)),
                   users.read_text().split(":")[1].strip()):
        assert secret not in both
    for target in (NOWHERE, PROHIBITED):
        assert (target in culvert.log) == (level == "-vv")
        assert (target in edge.log) == (level == "-vv")
    assert len(ends(culvert, json_format)) == (clients if level else 0)
    # The client without a password, and those whose request reached the edge.
    assert len(ends(edge, json_format)) == (6 if level else 0)
    if json_format:
        for line in map(json.loads, both.splitlines()):
            assert {"time", "level", "program", "message"} <= set(line)


def test_members(start_culvert, start_edge, origin):
    """The figures and the texts of a tunnel are its own."""
    flags = ("--log-format", "json")
    server = origin(lambda sock: sock.sendall(receive(sock, 5) * 2))
    edge = start_edge(*flags)
    culvert = start_culvert(edge, *flags)
    with socks5_tunnel(culvert.port, "localhost", server.port) as sock:
        client = sock.getsockname()
        sock.sendall(b"hello")
        assert receive_all(sock) == b"hellohello"
    for daemon in (culvert, edge):
        wait_until(lambda d=daemon: ends(d, True), "the tunnel has its line")
    (here,), (there,) = ends(culvert, True), ends(edge, True)
    for line in (here, there):
        assert (line["bytes_up"], line["bytes_down"]) == (5, 10)
        assert line["target"] == f"localhost:{server.port}"
        assert line["reason"] == "done"
        assert 0 <= line["duration_s"] < 60
        assert line["level"] == "info"
    assert here["client"] == f"127.0.0.1:{client[1]}"
    assert here["kind"] == "socks5"
    assert there["address"] == f"127.0.0.1:{server.port}"
    assert "user" not in there


def test_requests_that_are_no_tunnels(start_culvert, start_edge):
    """A refusal says why, on the side that refuses."""
    edge = start_edge()
    culvert = start_culvert(edge)
    cases = {
        b"\5\1\1": "no method in common",
        b"\5\1\0\5\2\0\1\0\0\0\0\0\1": "only CONNECT is served",
        b"\4\2\0\1\0\0\0\1\0": "only CONNECT is served",
        b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n":
            "asked for the proxy's own page",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n":
            "Content-Length",
    }
    for request, reason in cases.items():
        with connect(culvert.port) as sock:
            client = sock.getsockname()[1]
            sock.sendall(request)
            receive_all(sock)
        culvert.wait_for(rf"127\.0\.0\.1:{client} by \S+: 0 bytes up, "
                         rf"0 down, \S+ s: .*{reason}")


@pytest.mark.parametrize("form", ["text", "json"])
def test_priorities(ca, form):
    """Under the journal lines begin with their priority, in both formats."""
    reader, writer = os.pipe()
    about = os.fstat(writer)
    with open(reader, encoding="ascii") as log:
        with open(writer, "wb") as end:
            # An address that is not ours, so that it ends with an error.
            done = subprocess.run(
                [BUILD / "culvert-edge", "-l", "192.0.2.1:1", "--open",
                 "--cert", ca.good.cert, "--key", ca.good.key,
                 "--log-format", form], stderr=end, check=False,
                env={**environment(), "JOURNAL_STREAM":
                     f"{about.st_dev}:{about.st_ino}"}, timeout=DEADLINE)
        text = log.read()
    assert done.returncode == 1
    text = text.splitlines()[-1]
    assert text.startswith("<3>")
    message = json.loads(text[3:])["message"] if form == "json" else text[3:]
    assert message.startswith("cannot listen on 192.0.2.1:1: ")
