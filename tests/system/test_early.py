"""Data that clients send with their request, before the reply."""

import contextlib
import socket
import threading

import pytest

from client import (CONNECTION_REFUSED, GENERAL_FAILURE, SUCCEEDED, connect,
                    http_head, receive, receive_all, socks5_reply,
                    socks5_request)
from daemon import wait_until
from messages import CONNECTED
from origin import pattern
from test_nat import Nat

# Bytes: one packet's worth, more than culvert keeps, and more than a window.
SIZES = [100, 50_000, 3_000_000]


def socks5(port):
    return b"\5\1\0" + socks5_request("127.0.0.1", port)


def socks5_answer(sock):
    assert receive(sock, 2) == b"\5\0"
    return socks5_reply(sock)


def socks4a(port):
    return b"\4\1" + port.to_bytes(2, "big") + b"\0\0\0\1me\0localhost\0"


def socks4a_answer(sock):
    return receive(sock, 8)[1]


def http(port):
    return (f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n\r\n").encode()


def http_answer(sock):
    return http_head(sock)[0]


# A request, the reader of its reply, a tunnel, and a closed port.
KINDS = {
    "socks5": (socks5, socks5_answer, SUCCEEDED, CONNECTION_REFUSED),
    "socks4a": (socks4a, socks4a_answer, 0x5a, 0x5b),
    "connect": (http, http_answer, 200, 502),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


def start_talking(sock, data):
    """Sends in a thread; a refusal may arrive before all is sent."""
    def talk():
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("size", SIZES)
def test_said_at_once(culvert, origin, kind, size):
    request, answer, granted, _ = kind
    server = origin()
    with connect(culvert.port) as sock:
        start_talking(sock, request(server.port) + pattern(size))
        assert answer(sock) == granted
        assert receive_all(sock) == pattern(size)
    assert server.connections == 1
    culvert.wait_idle()
    assert culvert.status()["bytes"] == {"up": size, "down": size}


def test_said_while_it_waits(edge, culvert, origin):
    """Piece by piece, while the edge stands still; with its end as well."""
    server = origin()
    with connect(culvert.port) as sock:
        with edge.halted():
            sock.sendall(socks5(server.port))
            said = 0
            for i in range(10):
                sock.sendall(pattern(100, said))
                said += 100
                wait_until(lambda: said_ahead(culvert) == said, f"piece {i}")
            sock.shutdown(socket.SHUT_WR)
        assert socks5_answer(sock) == SUCCEEDED
        assert receive_all(sock) == pattern(said)


def said_ahead(culvert):
    """Bytes of the only tunnel, for which the edge has not answered."""
    return sum(t["bytes"]["up"] for t in culvert.ctl("tunnels")["tunnels"]
               if t["state"] == "waiting")


@pytest.mark.parametrize("size", SIZES)
def test_refused(culvert, kind, size):
    """The refusal arrives, whatever comes with the request."""
    request, answer, _, refused = kind
    with socket.socket() as nobody, connect(culvert.port) as sock:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        start_talking(sock, request(port) + pattern(size))
        assert answer(sock) == refused
    culvert.wait_idle()


def test_prohibited(start_edge, start_culvert, origin):
    server = origin()
    culvert = start_culvert(start_edge(allow=False))
    with connect(culvert.port) as sock:
        sock.sendall(http(server.port) + pattern(100))
        assert http_answer(sock) == 403
    assert server.connections == 0


# ---- The connection is lost before the answer ----

class OneWay(Nat):
    """A path to the edge on which nothing comes back for a while, and from an
    old edge nothing at all."""

    silent = False

    def down(self, sock):
        source = sock.recvfrom(1, socket.MSG_PEEK)[1]
        if self.silent or source != self.edge:
            sock.recv(65536)
        else:
            super().down(sock)


@pytest.fixture
def ask_and_lose(edge, start_edge, start_culvert):
    """
    ask_and_lose(request, heard) → culvert and a client's socket. No answer
    arrives; when heard() is true, another edge is there that does not know of
    the connection.
    """
    with contextlib.closing(OneWay(edge)) as relay:
        def ask(request, heard):
            culvert = start_culvert(relay.port)
            relay.silent = True
            sock = connect(culvert.port)
            sock.sendall(request)
            wait_until(heard, "that the origin hears it")
            edge.kill()
            relay.edge = ("127.0.0.1", start_edge().port)
            relay.silent = False
            return culvert, sock

        yield ask


def test_lost_with_the_connection(ask_and_lose, origin, kind):
    """The origin has it: it must not get it again."""
    request, answer, granted, _ = kind
    heard = []

    def listen(sock):
        heard.append(receive(sock, 100))
        receive_all(sock)

    server = origin(listen)
    culvert, sock = ask_and_lose(request(server.port) + pattern(100),
                                 lambda: heard)
    with sock:
        code = answer(sock)
        assert code != granted
        assert code in (GENERAL_FAILURE, 0x5b, 502)
        text = receive_all(sock)
    culvert.wait_for("may or may not have received")
    assert code != 502 or b"may or may not have received" in text
    culvert.wait_for(CONNECTED, count=2)
    with connect(culvert.port) as sock:
        sock.sendall(request(server.port))
        assert answer(sock) == granted
    culvert.wait_idle()
    assert heard == [pattern(100)]


def test_get_is_said_again(ask_and_lose, http_origin):
    server = http_origin()
    _, sock = ask_and_lose(
        f"GET {server.url('/again')} HTTP/1.1\r\n"
        "Host: x\r\nConnection: close\r\n\r\n".encode(),
        lambda: server.requests)
    with sock:
        assert receive_all(sock).endswith(b"\r\n\r\n/again")
    assert server.requests == ["/again", "/again"]


def test_post_is_said_once(ask_and_lose, origin):
    """It waits for the tunnel, and so outlives the connection."""
    heard = []

    def serve(sock):
        heard.append(receive(sock, 4))
        while not heard[-1].endswith(b"once"):
            heard[-1] += receive(sock, 1)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = origin(serve)
    culvert, sock = ask_and_lose(
        f"POST http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
        "Host: x\r\nContent-Length: 4\r\n\r\nonce".encode(),
        lambda: server.connections)
    with sock:
        assert http_head(sock)[0] == 200
    culvert.wait_idle()
    assert len(heard) == 1
